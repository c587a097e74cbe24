// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/link_use.h"

#include <algorithm>

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

std::string conflict(const LinkUse& own, const LinkUse& theirs) {
  const auto wish = std::ranges::find_first_of(own.wants, theirs.wants);
  if (wish != own.wants.end()) {
    return "the " + *wish;
  }
  for (const auto& [what, value] : own.must_agree) {
    const auto their = theirs.must_agree.find(what);
    if (their != theirs.must_agree.end() && their->second != value) {
      return "a link of another mode (" + their->second + ")";
    }
  }
  return "";
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
    use.wants.push_back("address " + prefix.address().to_string());
  }
  if (body->mac) {
    use.wants.push_back("MAC address " + body->mac->to_string());
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
