// SPDX-License-Identifier: Apache-2.0
// What a device's plan has of the node's links: the NIC itself, or a place on a link that others may use, too.
// Devices of other types have none.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/devices/kind.h"
#include "fairlead/sys/inventory.h"

namespace fairlead::devices::netdev {

/// How a device of a claim has a link of the node.
struct LinkUse {
  sys::InventoryLink link;  // as it was when the claim was planned
  bool whole = false;       // for itself; else others may use it, too
  /// What no two can have on one link, for messages too: "address 192.0.2.5", "MAC address 02:00:00:00:00:01".
  std::vector<std::string> wants = {};
  std::map<std::string, std::string> must_agree = {};  // NetdevPlan::must_agree
};

/// As in LinkUse::wants.
std::string wanted_address(const netlink::IpAddress& address);
std::string wanted_mac(const netlink::MacAddress& mac);

// Of a device of several parts, ask for each part.

/// The NIC that this plan takes away from the node, as it was before.
std::optional<sys::InventoryLink> taken_nic(const DevicePlan& plan);
/// The link of the node that this plan puts a link on, and that others may use too: as a NIC it cannot be handed
/// out as a whole meanwhile.
std::optional<sys::InventoryLink> shared_link(const DevicePlan& plan);
/// The link of the node that this plan has, wholly or with others.
std::optional<LinkUse> link_use(const DevicePlan& plan);
/// Of the plans and their parts.
std::vector<LinkUse> link_uses(const std::vector<DevicePlan>& plans);

}  // namespace fairlead::devices::netdev
