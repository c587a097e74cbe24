// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/link_use.h"

#include "fairlead/devices/netdev/netdev_kind.h"

namespace fairlead::devices::netdev {

std::optional<sys::InventoryLink> taken_nic(const DevicePlan& plan) {
  const NetdevPlan* body = find_netdev_plan(plan);
  return body == nullptr || !body->original ? std::nullopt : std::optional(body->original->link);
}

std::optional<sys::InventoryLink> shared_link(const DevicePlan& plan) {
  const NetdevPlan* body = find_netdev_plan(plan);
  return body == nullptr || body->exclusive ? std::nullopt : parent_of(*body);
}

std::optional<LinkUse> link_use(const DevicePlan& plan) {
  const NetdevPlan* body = find_netdev_plan(plan);
  if (body == nullptr) {
    return std::nullopt;
  }
  if (body->original) {
    return LinkUse{.link = body->original->link, .whole = true};
  }
  auto parent = parent_of(*body);
  if (!parent) {
    return std::nullopt;
  }
  LinkUse use{.link = *std::move(parent), .whole = body->exclusive};
  for (const netlink::IpPrefix& prefix : body->addresses) {
    use.wants.push_back("address " + prefix.address().to_string());
  }
  if (body->mac) {
    use.wants.push_back("MAC address " + body->mac->to_string());
  }
  return use;
}

}  // namespace fairlead::devices::netdev
