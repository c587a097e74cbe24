// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/link_search.h"

#include <cerrno>
#include <vector>

namespace drydock {

namespace netlink = fairlead::netlink;
using fairlead::Result;
using netlink::IfIndex;
using netlink::Link;

int likeness(const Link& recorded, const Link& seen) {
  if (recorded.kind != seen.kind) {
    return 0;
  }
  if (is_on_bus(recorded)) {
    const bool other_port = !recorded.permanent_mac.empty() && !seen.permanent_mac.empty() &&
                            recorded.permanent_mac != seen.permanent_mac;
    return recorded.parent_bus == seen.parent_bus && recorded.parent_dev == seen.parent_dev && !other_port
               ? kSure
               : 0;
  }
  if (is_on_bus(seen)) {
    return 0;
  }
  const int mac = !recorded.mac.empty() && recorded.mac == seen.mac ? 4 : 0;
  const int index = recorded.index == seen.index ? 2 : 0;
  const int name = seen.has_name(recorded.name) ? 1 : 0;
  // A MAC is sufficient, unless it may be that of a lower link and so of others on that; an index or a name
  // alone may easily belong to another link.
  const bool own_mac = recorded.kind != "vlan" && recorded.kind != "macvlan" && recorded.kind != "ipvlan";
  const bool is_it = mac > 0 ? own_mac || index + name > 0 : index > 0 && name > 0;
  return is_it ? mac + index + name : 0;
}

bool is_on_bus(const Link& link) { return !link.parent_dev.empty(); }
bool outlives_namespace(const Link& link) { return link.kind.empty() || link.kind == "can"; }

Result<std::optional<IfIndex>> told_by_peer(const Link& recorded, netlink::Socket& machine) {
  if (recorded.kind != "veth" || !recorded.local_parent().valid()) {
    return std::optional<IfIndex>();
  }
  FL_ASSIGN(const auto peer, machine.link(recorded.local_parent()));
  return peer && peer->kind == "veth" ? std::optional(peer->parent) : std::nullopt;
}

Result<std::optional<Found>> look_in(const Link& recorded, int netns, std::optional<IfIndex> told) {
  FL_ASSIGN(auto socket, netlink::Socket::open_in(netns));
  FL_ASSIGN(const auto links, socket.links());
  int best = 0;
  std::optional<Found> out;
  for (const auto& link : links) {
    const bool is_told = told == link.index && link.kind == recorded.kind && link.parent == recorded.parent;
    if (const int sure = is_told ? kSure : likeness(recorded, link); sure > best) {
      best = sure;
      out = Found{.link = link, .netns = netns};
    }
  }
  return out;
}

Result<std::string> free_name(const std::string& wanted, netlink::Socket& there) {
  std::string name = wanted;
  FL_ASSIGN(auto taken, there.link(name));
  for (int number = 0; taken; ++number) {
    name = "dev" + std::to_string(number);
    FL_ASSIGN(taken, there.link(name));
  }
  return name;
}

Result<Link> move_anyhow(const Found& found, int netns, const std::string& name) {
  FL_ASSIGN(auto away, netlink::Socket::open_in(found.netns));
  FL_ASSIGN(auto there, netlink::Socket::open_in(netns));
  constexpr int kAttempts = 3;  // a name may be taken between the check and the move
  for (int attempt = 1;; ++attempt) {
    FL_ASSIGN(const auto now, away.link(found.link.index));
    for (const auto& altname : now ? now->altnames : std::vector<std::string>()) {
      FL_ASSIGN(const auto taken, there.link(altname));
      if (taken || altname == name) {
        FL_TRY(away.delete_altname(found.link.index, altname));
      }
    }
    FL_ASSIGN(const auto as, free_name(name, there));
    auto moved = away.move_link(
        {.link = found.link.index, .netns = netns, .new_name = now && as == now->name ? std::string() : as});
    if (moved || moved.error().sys_errno() != EEXIST || attempt == kAttempts) {
      return moved;
    }
  }
}

}  // namespace drydock
