// SPDX-License-Identifier: Apache-2.0
// netdev.kind "host-device": a whole NIC of the node moves into the pod, and returns to the node as it was.
#pragma once

#include "fairlead/devices/netdev/netdev_kind.h"

namespace fairlead::devices::netdev {

class HostDeviceKind : public NetdevKind {
 public:
  [[nodiscard]] std::span<const fields::Field> fields() const override;
  [[nodiscard]] fields::Risk risk() const override { return fields::Risk::kOwn; }
  [[nodiscard]] Offers offers(const OfferInput& input) const override;
  Result<> check_is_same(std::string_view reported, const Offer& now, const std::string& who) const override;
  Result<DevicePlan> plan(const PlanInput& input, const fields::Values& values) const override;
  Result<Attached> attach(const AttachInput& input) const override;
  Result<std::string> stage(const DeviceInput& input) const override;
  Result<> detach(const DetachInput& input) const override;
  Result<> node_changed(const Side& node, const NodeOptions& options) const override;

 protected:
  [[nodiscard]] std::string_view kind() const override { return "host-device"; }
  /// A NIC has the kind that it has.
  [[nodiscard]] bool may_be(const netlink::Link& /*link*/) const override { return true; }
};

}  // namespace fairlead::devices::netdev
