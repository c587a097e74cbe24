// SPDX-License-Identifier: Apache-2.0
// The example of docs/kinds.md: netdev.kind "bridge", a bridge of the pod's own for the containers' nested guests.
#pragma once

#include "fairlead/devices/netdev/virtual_link.h"

namespace fairlead::devices::netdev {

class PodBridgeKind final : public VirtualLink {
 public:
  [[nodiscard]] std::span<const fields::Field> fields() const override { return kCommonFields; }

 protected:
  [[nodiscard]] std::string_view kind() const override { return "bridge"; }
  [[nodiscard]] netlink::NewLink sample(netlink::IfIndex /*parent*/) const override {
    return {.kind = netlink::Bridge{}};
  }
  Result<> resolve(const PlanInput& input, const fields::Values& values, const CommonValues& /*common*/,
                   NetdevPlan& /*plan*/) const override {
    return require_virtual_device(input, values, kind());
  }
  Result<netlink::NewLink> make(const NetdevPlan& /*plan*/, const Marker& /*marker*/, const Place& /*node*/,
                                const NodeOptions& /*options*/) const override {
    return netlink::NewLink{.kind = netlink::Bridge{}};
  }
};

}  // namespace fairlead::devices::netdev
