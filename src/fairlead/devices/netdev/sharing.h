// SPDX-License-Identifier: Apache-2.0
// Who has what on a link of the node: a NIC goes to one claim only, and what virtual links sit on is found
// again by what it is. Links in pods cannot be seen from the node, so the plans of the other claims tell.
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

/// The NIC may be this claim's alone. kBusy, kDenied, kUnavailable: it is the node's own, something sits on
/// it, or another device has it: one sentence that begins with the allocated device. For kAll also kBusy: the
/// node itself has connections over the NIC's addresses, or from sockets bound to it. Where the kernel cannot
/// tell, the log says so. NodeOptions::allow_connected: no question is asked.
Result<> check_alone(const PlanInput& input, const sys::InventoryLink& nic, NicUse use);
/// The same just before the effect, for what may have changed since the claim was planned; the plans of other
/// claims kept others away since. And what cannot be asked without an effect: whether macvlans or the like in
/// other network namespaces sit on the NIC. Takes up to a second when they do.
Result<> check_still_alone(const Place& node, const NodeOptions& options, const netlink::Link& nic,
                           NicUse use);

/// A bridge or VLAN in place of one that is gone, made by whoever manages it: its name is all that it ever was.
bool is_made_anew(const sys::InventoryLink& planned, const netlink::Link& now);

/// The link that was planned as a virtual link's place: by its index, NICs also by their identity, virtual
/// links that were made anew by name, kind and type. `name` alone counts in records of version 0.1, which
/// have nothing else. kNotFound: "the master \"nic1\" is gone from this node".
Result<netlink::Link> find_parent(netlink::Socket& node, const std::optional<sys::InventoryLink>& planned,
                                  const std::string& name, std::string_view what);

}  // namespace fairlead::devices::netdev
