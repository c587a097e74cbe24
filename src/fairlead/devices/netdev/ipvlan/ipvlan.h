// SPDX-License-Identifier: Apache-2.0
// netdev.kind "ipvlan": an interface with addresses of its own on a link of the node, `master`, whose MAC address it
// shares: for networks that allow one MAC address per port. On a request that was allocated a whole NIC, that NIC
// is the master.
#pragma once

#include "fairlead/devices/netdev/virtual_link.h"

namespace fairlead::devices::netdev {

class IpvlanKind final : public VirtualLink {
 public:
  [[nodiscard]] std::span<const fields::Field> fields() const override;
  [[nodiscard]] fields::Risk risk() const override { return fields::Risk::kOwn; }

 protected:
  [[nodiscard]] std::string_view kind() const override { return "ipvlan"; }
  [[nodiscard]] netlink::NewLink sample(netlink::IfIndex parent) const override {
    return {.kind = netlink::Ipvlan{.parent = parent}};
  }
  [[nodiscard]] Error refused(Error error, const NetdevPlan& plan) const override;
  Result<> resolve(const PlanInput& input, const fields::Values& values, const CommonValues& common,
                   NetdevPlan& plan) const override;
  Result<netlink::NewLink> make(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                const NodeOptions& options) const override;
};

}  // namespace fairlead::devices::netdev
