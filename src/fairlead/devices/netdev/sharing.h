// SPDX-License-Identifier: Apache-2.0
// Which claim uses which link of the node: a NIC is given to one claim only, and the parents of virtual links
// are identified by more than a name. Links in pods are not visible from the node, so the plans of the other
// claims are used.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/fields.h"
#include "fairlead/devices/netdev/place.h"
#include "fairlead/devices/netdev/plan.h"

namespace fairlead::devices::netdev {

/// kDenied: the link, or one below it, is a NIC that another claim (or another device of this one) has.
Result<> check_nobody_has(const PlanInput& input, const fields::Sourced<std::string>& field,
                          const sys::InventoryLink& link);
/// What a claim does with a NIC that it was allocated as a whole.
enum class NicUse : std::uint8_t {
  kBeside,  // a macvlan sits on it, and the node goes on to receive over it
  kAll,     // nothing comes to the node any more: it moves away, or a macvlan in mode passthru has it all
};

/// Checks that only this claim uses the NIC. kBusy, kDenied, kUnavailable: it is one of the node's own, a
/// link sits on it, or another device has it; the sentence begins with the allocated device. For kAll also
/// kBusy: the node itself has connections over the NIC's addresses, or from sockets bound to it. If the
/// kernel cannot report this, a line is logged. With NodeOptions::allow_connected the kernel is not asked.
Result<> check_alone(const PlanInput& input, const sys::InventoryLink& nic, NicUse use);
/// The same just before the effect, for changes since the claim was planned; the plans of other claims have
/// kept them away since. It also checks what cannot be asked without a side effect: whether macvlans or
/// similar links in other network namespaces sit on the NIC. Takes up to a second when they do.
Result<> check_still_alone(const Place& node, const NodeOptions& options, const netlink::Link& nic,
                           NicUse use);

/// A bridge or VLAN that was deleted and created again by its owner: it is identified by its name alone.
bool is_made_anew(const sys::InventoryLink& planned, const netlink::Link& now);

/// The link that was planned as a virtual link's parent: by its index; a NIC also by its identity; a virtual
/// link that was created again by name, kind and type. `name` is used alone for records of version 0.1, which
/// have nothing else. kNotFound: "the master \"nic1\" is gone from this node".
Result<netlink::Link> find_parent(const Place& node, const std::optional<sys::InventoryLink>& planned,
                                  const std::string& name, std::string_view what);

}  // namespace fairlead::devices::netdev
