// SPDX-License-Identifier: Apache-2.0
// netdev.kind "vlan": an interface for the frames of one VLAN on a link of the node, `master`. On a request that was
// allocated a whole NIC, that NIC is the master.
#pragma once

#include "fairlead/devices/netdev/virtual_link.h"

namespace fairlead::devices::netdev {

class VlanKind final : public VirtualLink {
 public:
  [[nodiscard]] std::span<const fields::Field> fields() const override;
  [[nodiscard]] fields::Risk risk() const override { return fields::Risk::kOwn; }

 protected:
  [[nodiscard]] std::string_view kind() const override { return "vlan"; }
  [[nodiscard]] netlink::NewLink sample(netlink::IfIndex parent) const override {
    return {.kind = netlink::Vlan{.parent = parent, .id = 1}};
  }
  [[nodiscard]] Error refused(Error error, const NetdevPlan& plan) const override;
  Result<> resolve(const PlanInput& input, const fields::Values& values, const CommonValues& common,
                   NetdevPlan& plan) const override;
  Result<netlink::NewLink> make(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                const NodeOptions& options) const override;
};

}  // namespace fairlead::devices::netdev
