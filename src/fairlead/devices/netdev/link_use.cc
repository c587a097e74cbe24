// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/link_use.h"

#include "fairlead/devices/netdev/netdev_kind.h"

namespace fairlead::devices::netdev {

std::string wanted_address(const netlink::IpAddress& address) { return "address " + address.to_string(); }
std::string wanted_mac(const netlink::MacAddress& mac) { return "MAC address " + mac.to_string(); }

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
  LinkUse use{.link = *std::move(parent),
              .whole = body->exclusive,
              .wants = body->wants,
              .must_agree = body->must_agree};
  for (const netlink::IpPrefix& prefix : body->addresses) {
    use.wants.push_back(wanted_address(prefix.address()));
  }
  if (body->mac) {
    use.wants.push_back(wanted_mac(*body->mac));
  }
  return use;
}

std::vector<LinkUse> link_uses(const std::vector<DevicePlan>& plans) {
  std::vector<LinkUse> uses;
  for (const DevicePlan* plan : all_parts(plans)) {
    if (auto use = link_use(*plan)) {
      uses.push_back(*std::move(use));
    }
  }
  return uses;
}

}  // namespace fairlead::devices::netdev
