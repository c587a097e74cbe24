// SPDX-License-Identifier: Apache-2.0
// netdev.kind "veth": a pair, one end in the pod, the other on the node; the host end is a port of `bridge`
// if one is named.
#pragma once

#include "fairlead/devices/netdev/virtual_link.h"

namespace fairlead::devices::netdev {

class VethKind : public VirtualLink {
 public:
  [[nodiscard]] std::span<const fields::Field> fields() const override;
  /// Without a bridge the host end is a way to the node beside the cluster's network and its policies.
  [[nodiscard]] fields::Risk risk() const override { return fields::Risk::kNode; }

 protected:
  [[nodiscard]] std::string_view kind() const override { return "veth"; }
  [[nodiscard]] netlink::NewLink sample(netlink::IfIndex /*parent*/) const override {
    return {.kind = netlink::Veth{.peer = {.name = "probe-peer"}}};
  }
  Result<> resolve(const PlanInput& input, const fields::Values& values, const CommonValues& common,
                   NetdevPlan& plan) const override;
  Result<netlink::NewLink> make(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                const NodeOptions& options) const override;
  Result<> remove_host_side(const Marker& marker, const Place& node) const override;
  Result<> finish_host_side(const NetdevPlan& plan, const Marker& marker, const Place& node) const override;
};

}  // namespace fairlead::devices::netdev
