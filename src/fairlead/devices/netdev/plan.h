// SPDX-License-Identifier: Apache-2.0
// What a netdev kind decided, as it stands in the claim's record (DevicePlan::body).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/netdev/config.h"
#include "fairlead/sys/inventory.h"
#include "fairlead/sys/link_settings.h"

namespace fairlead::devices::netdev {

/// What records of version 0.1 do not say of a NIC.
struct Details {
  std::vector<netlink::Told> addresses;  // permanent ones that somebody set, in the kernel's order
  std::vector<netlink::Told> routes;     // that somebody set, those without gateway first
  sys::LinkSettings settings;            // that are not what a new link would have
};

/// How a NIC was before we touched it: what it gets back, and how it is found again.
struct Original {
  sys::InventoryLink link;  // name, altnames, alias, MAC, MTU, flags, PCI function
  /// Permanent, global ones, and static routes over this link alone, those without gateway first: what is
  /// known without `details`.
  std::vector<netlink::IpPrefix> addresses;
  std::vector<netlink::NewRoute> routes;
  std::optional<Details> details;  // nothing: the record is of version 0.1; nor does it say group and queue
};

struct NetdevPlan {
  std::optional<std::uint32_t> mtu;
  std::optional<netlink::MacAddress> mac;
  std::vector<netlink::IpPrefix> addresses;
  std::vector<RouteConfig> routes;
  std::string master;                                         // macvlan
  netlink::MacvlanMode mode = netlink::MacvlanMode::kBridge;  // macvlan; "bridge" is the CNI plugin's default
  std::string bridge;                                         // veth; empty: host end stands alone
  std::optional<Original> original;                           // host-device
  /// What `master` or `bridge` names, as it was when the claim was planned. Nothing in records of version
  /// 0.1.
  std::optional<sys::InventoryLink> parent;
  bool exclusive = false;  // macvlan: the master is a NIC that was allocated as a whole
};

std::string to_json(const NetdevPlan& plan);
/// kCorrupt when it is not ours.
Result<NetdevPlan> parse_plan(std::string_view json);
/// The link of the node that the planned one sits on; of records of version 0.1 only its name is known.
std::optional<sys::InventoryLink> parent_of(const NetdevPlan& plan);

}  // namespace fairlead::devices::netdev
