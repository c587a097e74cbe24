// SPDX-License-Identifier: Apache-2.0
// Messages about links (RTM_NEWLINK and its like) and the numbers of network namespaces. Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/link.h"
#include "fairlead/sys/netlink/message.h"

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
/// Any number; EEXIST if it has one.
Result<Bytes> give_netnsid(int netns);

// ---- responses and events
/// Of RTM_NEWLINK or RTM_DELLINK. nullopt for damaged ones and for those of a bridge's own family
/// (AF_BRIDGE): they describe a port, and their DELLINK does not mean that the link is gone.
std::optional<Link> read_link(const Message& message);
/// Negative: it has no number there.
std::optional<std::int32_t> read_netnsid(const Message& message);

}  // namespace fairlead::netlink::codec
