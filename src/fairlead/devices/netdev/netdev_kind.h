// SPDX-License-Identifier: Apache-2.0
// What all kinds of type "netdev" share: the plan and how it is kept, the name in the pod, the claim's status,
// and what is done about links that no record knows.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/place.h"
#include "fairlead/devices/netdev/plan.h"

namespace fairlead::devices::netdev {

class NetdevKind : public Kind, public Staging {
 public:
  [[nodiscard]] KindName name() const final { return {.type = "netdev", .kind = std::string(kind())}; }
  Result<PlanBodyPtr> read(std::string_view json, std::string_view name_in_pod) const override;
  [[nodiscard]] Needs needs(const PlanBody& body) const override;
  /// The interface's name, for containers.
  Result<cdi::ContainerEdits> prepare(const PrepareInput& input) const override;
  Result<dra::DeviceReport> inspect(const InspectInput& input) const override;
  Result<bool> is_claim_in(const Side& pod, const Marker& claim) const override;
  Result<> mark_for_previous(const Side& pod, const Marker& marker) const override;
  /// Once for all kinds of the type.
  Result<> sweep(const SweepInput& input) const override;
  [[nodiscard]] const Staging* staging() const override { return this; }
  Result<> receive(const AttachInput& input) const override;
  Result<dra::DeviceReport> inspect_staged(const Side& node, const std::string& name) const override;

 protected:
  [[nodiscard]] virtual std::string_view kind() const = 0;
  /// Whether a link in the pod may be one that this kind put there.
  [[nodiscard]] virtual bool may_be(const netlink::Link& link) const = 0;
};

/// kCorrupt when the plan is no netdev's.
Result<const NetdevPlan*> netdev_plan(const DevicePlan& plan);
/// nullptr when the plan is no netdev's.
const NetdevPlan* find_netdev_plan(const DevicePlan& plan);

}  // namespace fairlead::devices::netdev
