// SPDX-License-Identifier: Apache-2.0
// netdev.kind "host-device": a whole NIC of the node moves into the pod, and comes home as it was.
#pragma once

#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/common.h"

namespace fairlead::devices::netdev {

class HostDeviceKind final : public Kind {
 public:
  [[nodiscard]] std::string_view type() const override { return "netdev"; }
  [[nodiscard]] std::string_view kind() const override { return "host-device"; }
  Result<DevicePlan> plan(const PlanInput& input, std::vector<Section> sections) const override;
  Result<Attached> attach(const AttachInput& input) const override;
  Result<std::string> stage(const StageInput& input) const override;
  Result<> detach(const DetachInput& input) const override;
  Result<> links_changed(netlink::Socket& node, const NodeOptions& options) const override;
  [[nodiscard]] std::optional<sys::InventoryLink> takes(const DevicePlan& plan) const override;
};

}  // namespace fairlead::devices::netdev
