// SPDX-License-Identifier: Apache-2.0
// The link of the node that a made link sits on (IFLA_LINK): a macvlan's, ipvlan's or VLAN's master. Which one may be
// it, and what several links on one parent must agree on.
#pragma once

#include <string>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/fields.h"
#include "fairlead/devices/netdev/place.h"
#include "fairlead/devices/netdev/plan.h"
#include "fairlead/devices/netdev/sharing.h"

namespace fairlead::devices::netdev {

struct ParentWish {
  std::string_view kind;                                 // "macvlan"
  std::string section;                                   // path of the last section, for what is missing
  const fields::Sourced<std::string>* master = nullptr;  // nullptr: not asked for
  /// What the link is to the node's own traffic over the parent.
  NicUse use = NicUse::kBeside;
  /// What receives in the parent's place (net/core/dev.c: one rx_handler per link), as of receiver_of(): all that
  /// sit on one parent must agree. Empty: the link leaves that alone.
  std::string receiver;
};

/// Of a link that sits on another one: "macvlan", "macvlan passthru", "ipvlan l2 bridge"; empty: none receives in the
/// parent's place.
std::string receiver_of(const netlink::Link& link);

/// The claim's parent: the NIC that was allocated as a whole, or the link that `master` names, after every check of
/// who may sit there. Fills in the plan's master, parent and exclusive.
Result<> plan_parent(const PlanInput& input, const ParentWish& wish, NetdevPlan& plan);

/// kDenied: the link is the node's own, and the claim's namespace may not name it as a parent (PlanInput::own_parents).
/// kUnavailable: it is not known whether it is.
Result<> check_own_parent(const PlanInput& input, const fields::Sourced<std::string>& field,
                          const sys::InventoryLink& link);

/// A MAC address and an MTU that are asked for, against the parent's.
Result<> check_mac_on_parent(const CommonValues& common, const NetdevPlan& plan);
Result<> check_mtu_on_parent(const CommonValues& common, const NetdevPlan& plan);

/// The parent as it is now, just before the effect, after a check of what may have become of it since plan().
/// `use`: as planned.
Result<netlink::Link> parent_again(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                   const NodeOptions& options, NicUse use);

}  // namespace fairlead::devices::netdev
