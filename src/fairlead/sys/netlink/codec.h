// SPDX-License-Identifier: Apache-2.0
// rtnetlink messages as bytes: values in, bytes out, and back. Pure: no socket, no root. What is read is
// taken as foreign: every length is checked, what does not fit is left out, nothing is trusted to be
// terminated.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/message.h"
#include "fairlead/sys/netlink/types.h"

namespace fairlead::netlink::codec {

// ---- requests; the sequence number is 0 until set_sequence()
Result<Bytes> create_link(const NewLink& link);
Result<Bytes> change_link(IfIndex link, const LinkChange& change);
/// The same for a link known by name only.
Result<Bytes> change_link(std::string_view name, const LinkChange& change);
/// Alternative names (RTM_NEWLINKPROP, RTM_DELLINKPROP; Linux 5.5): up to 127 bytes, unique in the namespace
/// as names are.
Result<Bytes> add_altname(IfIndex link, std::string_view altname);
Result<Bytes> delete_altname(IfIndex link, std::string_view altname);
Result<Bytes> move_link(const MoveLink& move);
Result<Bytes> delete_link(IfIndex link);
Result<Bytes> get_link(IfIndex link);
/// By name or altname.
Result<Bytes> get_link(std::string_view name);
Result<Bytes> dump_links();
/// The number that the socket's namespace has for another one.
Result<Bytes> get_netnsid(int netns);
Result<Bytes> add_address(const NewAddress& address);
Result<Bytes> delete_address(const NewAddress& address);
/// How an address is put back (put_address): IPv6 would look for duplicates first, for a second in which
/// nothing can use the address, so one that was in use is put back in two steps.
enum class PutStep : std::uint8_t {
  kAdd,     // in use at once, if it was
  kFinish,  // with the flags that it had
};
/// Of what told_address() answered. kFinish of an address that needs no second step: nothing.
Result<Bytes> put_address(IfIndex link, View told, PutStep step);
bool needs_finish(View told);
bool is_ipv6(View told);
Result<Bytes> delete_told_address(IfIndex link, View told);
/// Of what told_route() answered.
Result<Bytes> put_route(IfIndex link, View told);
/// AF_INET and AF_INET6 alike; of one link when the index is valid.
Result<Bytes> dump_addresses(IfIndex link);
Result<Bytes> add_route(const NewRoute& route);
/// Of a route that the kernel has told (RTM_NEWROUTE): the same with another metric. What only describes its
/// state (dead, offloaded, age) is left out.
Result<Bytes> copy_route(const Message& route, std::uint32_t metric);
/// Of a route that the kernel has told: this one, and no other to that destination, is deleted. Of IPv4
/// routes that differ in their metric only, the kernel takes 0 for "any" and deletes the lowest.
Result<Bytes> delete_route(const Message& route);
Result<Bytes> dump_routes(std::uint8_t family, std::optional<std::uint32_t> table);
Result<Bytes> dump_nexthops();

// ---- answers and events
/// Of RTM_NEWLINK or RTM_DELLINK. Nothing for damaged ones and for those of a bridge's own family
/// (AF_BRIDGE): they describe a port, and their DELLINK does not mean that the link is gone.
std::optional<Link> read_link(const Message& message);
/// Negative: it has no number there.
std::optional<std::int32_t> read_netnsid(const Message& message);
/// Of RTM_NEWADDR or RTM_DELADDR.
std::optional<Address> read_address(const Message& message);
/// Of the same, to be put back; empty for damaged ones.
Told told_address(const Message& message);
/// Whether two told addresses are the same, wherever they are in their duplicate address detection.
bool same_address(View one, View other);
/// Of RTM_NEWROUTE or RTM_DELROUTE. Nothing for other families than IP and for cached routes (RTM_F_CLONED).
std::optional<Route> read_route(const Message& message);
/// Of the same, to be put back over one link; `route` is what read_route() made of it, with the hops that its
/// nexthop object stands for. Empty for damaged ones, and for those of a nexthop object with several hops.
Told told_route(const Message& message, const Route& route);
bool expires(const Message& message);
/// Of RTM_NEWNEXTHOP.
std::optional<NextHopObject> read_nexthop(const Message& message);

}  // namespace fairlead::netlink::codec
