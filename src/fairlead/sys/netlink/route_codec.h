// SPDX-License-Identifier: Apache-2.0
// Messages about routes and nexthop objects (RTM_NEWROUTE and its like). Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/message.h"
#include "fairlead/sys/netlink/route.h"

namespace fairlead::netlink::codec {

// ---- requests; the sequence number is 0 until set_sequence()
Result<Bytes> add_route(const NewRoute& route);
/// For a route returned by told_route().
Result<Bytes> put_route(IfIndex link, View told);
/// For a route reported by the kernel (RTM_NEWROUTE): the same with another metric. Attributes that only
/// describe its state (dead, offloaded, age) are left out.
Result<Bytes> copy_route(const Message& route, std::uint32_t metric);
/// For a route reported by the kernel: deletes this one, and no other to that destination. Of IPv4 routes
/// that differ in their metric only, the kernel treats 0 as "any" and deletes the lowest.
Result<Bytes> delete_route(const Message& route);
Result<Bytes> dump_routes(std::uint8_t family, std::optional<std::uint32_t> table);
Result<Bytes> dump_nexthops();

// ---- responses and events
/// Of RTM_NEWROUTE or RTM_DELROUTE. nullopt for other families than IP and for cached routes (RTM_F_CLONED).
std::optional<Route> read_route(const Message& message);
/// From the same messages, to be restored over one link; `route` is the result of read_route(), with the hops
/// of its nexthop object. Empty for damaged ones, and for those of a nexthop object with several hops.
Told told_route(const Message& message, const Route& route);
bool expires(const Message& message);
/// Of RTM_NEWNEXTHOP.
std::optional<NextHopObject> read_nexthop(const Message& message);

}  // namespace fairlead::netlink::codec
