// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/host_device/find_nic.h"

#include <algorithm>

#include "fairlead/devices/node.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::Link;

constexpr std::string_view kVeth = "veth";

/// The one that satisfies it; nullptr when there is none.
template <class Predicate>
const Link* only(const std::vector<const Link*>& links, Predicate&& wanted) {
  const auto it = std::ranges::find_if(links, [&](const Link* link) { return wanted(*link); });
  return it == links.end() ? nullptr : *it;
}

bool is_of_another_device(const Link& link, const Marker& marker) {
  const auto found = Marker::parse(link.alias);
  return found && *found != marker;
}

/// The other end of a veth is for ever the same link. Where that is known, nothing else has to be asked.
bool has_the_same_peer(const Link& link, const NicSearch& search) {
  const Link& was = search.original->link.link;
  if (link.parent != was.parent) {
    return false;
  }
  return search.in_pod ? search.node_netnsid && link.parent_netnsid == search.node_netnsid
                       : link.parent_netnsid == was.parent_netnsid;
}

bool peer_tells(const NicSearch& search) {
  const Link& was = search.original->link.link;
  if (was.kind != kVeth || !was.parent.valid()) {
    return false;  // a record of 0.1 does not say it
  }
  return !search.in_pod || (!was.parent_netnsid && search.peer_is_on_node);
}

/// In the pod with its other end somewhere else than on the node: that has another number there, but the
/// same index.
bool may_have_the_peer(const Link& link, const NicSearch& search) {
  const Link& was = search.original->link.link;
  return was.kind != kVeth || !was.parent.valid() || link.parent == was.parent;
}

}  // namespace

const Link* pick_nic(const std::vector<Link>& links, const NicSearch& search) {
  const sys::InventoryLink& was = search.original->link;
  std::vector<const Link*> candidates;
  for (const Link& link : links) {
    if (may_be_nic(was, link) && !link.is_loopback()) {
      candidates.push_back(&link);
    }
  }
  const auto is_marked = [&](const Link& link) { return search.marker.marks(link.alias); };
  if (has_identity(was.link)) {
    // More than one: ports of a switch that share a MAC and have no names.
    return candidates.size() == 1 ? candidates.front() : only(candidates, is_marked);
  }
  if (peer_tells(search)) {
    const Link* found = only(candidates, [&](const Link& link) { return has_the_same_peer(link, search); });
    if (found != nullptr || search.in_pod) {
      return found;
    }
  }
  std::erase_if(candidates, [&](const Link* link) { return !may_have_the_peer(*link, search); });
  const Link* at_index = only(candidates, [&](const Link& link) {
    return search.in_pod ? link.index == search.index_in_pod : same_nic(was, link);
  });
  if (at_index != nullptr) {
    return at_index;
  }
  if (const Link* marked = only(candidates, is_marked)) {
    return marked;
  }
  // A device has one link nearly always: a VF without a MAC of its own that came back with another index.
  const bool alone = !was.link.parent_dev.empty() && candidates.size() == 1;
  return alone && !is_of_another_device(*candidates.front(), search.marker) ? candidates.front() : nullptr;
}

namespace {

std::optional<Link> copy_of(const Link* link) {
  return link == nullptr ? std::nullopt : std::optional(*link);
}

}  // namespace

Result<std::optional<Link>> find_on_node(netlink::Socket& node, const Original& original,
                                         const Marker& marker) {
  FL_ASSIGN(const auto links, node.links());
  return copy_of(pick_nic(links, {.original = &original, .marker = marker}));
}

Result<std::optional<Link>> find_in_pod(const Place& pod, const Place& node, const Original& original,
                                        const Marker& marker, netlink::IfIndex index_in_pod) {
  FL_ASSIGN(const auto links, pod.socket->links());
  NicSearch search{.original = &original, .marker = marker, .in_pod = true, .index_in_pod = index_in_pod};
  const Link& was = original.link.link;
  if (was.kind == kVeth && was.parent.valid() && !was.parent_netnsid) {
    FL_ASSIGN(const auto peer, node.socket->link(was.parent));
    search.peer_is_on_node = peer && peer->kind == kVeth;
    FL_ASSIGN(search.node_netnsid, pod.socket->netnsid_of(node.netns));
  }
  return copy_of(pick_nic(links, search));
}

}  // namespace fairlead::devices::netdev
