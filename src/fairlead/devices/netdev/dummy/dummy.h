// SPDX-License-Identifier: Apache-2.0
// netdev.kind "dummy": an interface with nothing behind it.
#pragma once

#include "fairlead/devices/netdev/virtual_link.h"

namespace fairlead::devices::netdev {

class DummyKind final : public VirtualLink {
 public:
  [[nodiscard]] std::span<const fields::Field> fields() const override;
  [[nodiscard]] fields::Risk risk() const override { return fields::Risk::kOwn; }

 protected:
  [[nodiscard]] std::string_view kind() const override { return "dummy"; }
  [[nodiscard]] netlink::NewLink sample(netlink::IfIndex /*parent*/) const override {
    return {.kind = netlink::Dummy{}};
  }
  Result<> resolve(const PlanInput& input, const fields::Values& values, const CommonValues& common,
                   NetdevPlan& plan) const override;
  Result<netlink::NewLink> make(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                const NodeOptions& options) const override;
};

}  // namespace fairlead::devices::netdev
