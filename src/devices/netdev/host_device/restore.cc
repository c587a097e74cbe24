// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/host_device/restore.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "fairlead/core/log.h"
#include "fairlead/devices/netdev/common.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::Link;

/// What somebody set, and what goes with the link: a route with hops over several links is nobody's NIC's.
bool is_static_route_of(const netlink::Route& route, netlink::IfIndex link) {
  return (route.protocol == RTPROT_STATIC || route.protocol == RTPROT_BOOT) && route.type == RTN_UNICAST &&
         route.table != RT_TABLE_LOCAL && route.hops.size() == 1 && route.hops.front().link == link;
}

/// Not fatal: a NIC at home without one of its routes is better than one that never comes home.
void restore_routes(netlink::Socket& node, const Link& nic, const std::vector<netlink::NewRoute>& routes) {
  for (netlink::NewRoute route : routes) {
    route.link = nic.index;
    auto added = node.add_route(route);
    if (!added && route.gateway) {
      route.onlink = true;  // the dump does not say whether it was; here no address covers the gateway
      added = node.add_route(route);
    }
    if (!added) {
      log::warn(
          "a static route of a NIC that came home cannot be restored",
          {{"nic", nic.name}, {"route", route.destination.to_string()}, {"error", added.error().what()}});
    }
  }
}

/// Those that the pod gave it would follow it home, and one that a link of the node has by now would hold it
/// up.
Result<> drop_foreign_altnames(netlink::Socket& socket, const Link& now, const Link& was) {
  netlink::Batch batch;
  for (const std::string& altname : now.altnames) {
    if (std::ranges::find(was.altnames, altname) == was.altnames.end()) {
      batch.delete_altname(now.index, altname);
    }
  }
  return batch.empty() ? Result<>() : socket.run(std::move(batch));
}

/// The recorded set of altnames. One that another link has taken meanwhile stays with that link.
Result<> add_missing_altnames(netlink::Socket& node, const Link& now, const Link& was) {
  for (const std::string& altname : was.altnames) {
    if (std::ranges::find(now.altnames, altname) != now.altnames.end()) {
      continue;
    }
    const auto added = node.add_altname(now.index, altname);
    if (!added && added.error().code() != Code::kExists) {
      return added.error();
    }
    if (!added) {
      log::warn("an altname of a NIC that came home belongs to another link now",
                {{"nic", was.name}, {"altname", altname}});
    }
  }
  return {};
}

/// Whether the NIC can have its name. It can when a NIC of ours had that, too: it waits under its transit
/// name.
Result<bool> make_room(netlink::Socket& node, const Link& now, const std::string& name) {
  FL_ASSIGN(const auto other, node.link(name), "");
  if (!other || other->index == now.index) {
    return true;
  }
  const auto marker = Marker::parse(other->alias);
  if (!marker || other->alias != marker->alias()) {
    return false;
  }
  if (other->name != name) {
    FL_TRY(node.delete_altname(other->index, name), "");
    return true;
  }
  FL_TRY(node.set_down(other->index), "");
  FL_TRY(node.rename(other->index, marker->transit_name()), "");
  return true;
}

std::string waiting_sentence(const Link& was, const std::string& meanwhile) {
  return "the NIC " + was.name + " came home as it was, but another link of the node is called " + was.name +
         " now: until that one is gone or renamed the NIC is called " + meanwhile;
}

}  // namespace

Result<Original> remember(const sys::InventoryLink& nic, const std::vector<netlink::Address>& addresses,
                          const std::vector<netlink::Route>& routes) {
  Original original{.link = nic};
  for (const netlink::Address& address : addresses) {
    if ((address.flags & IFA_F_PERMANENT) != 0 && address.scope == RT_SCOPE_UNIVERSE) {
      original.addresses.push_back(address.prefix);
    }
  }
  for (const netlink::Route& route : routes) {
    if (is_static_route_of(route, nic.link.index)) {
      netlink::NewRoute wanted{.destination = route.destination,
                               .gateway = route.hops.front().gateway,
                               .metric = route.metric,
                               .table = route.table};
      if (!route.destination.is_v6()) {
        wanted.scope = route.scope;
      }
      wanted.source = route.source;
      original.routes.push_back(std::move(wanted));
    }
  }
  // Those that make a gateway reachable come first.
  std::ranges::stable_partition(original.routes, [](const auto& route) { return !route.gateway; });
  return original;
}

Result<> restore_addresses(netlink::Socket& node, netlink::IfIndex link,
                           const std::vector<netlink::IpPrefix>& wanted) {
  FL_ASSIGN(const auto present, node.addresses(link), "");
  for (const netlink::Address& address : present) {
    const bool ours_to_remove = address.scope == RT_SCOPE_UNIVERSE && (address.flags & IFA_F_PERMANENT) != 0;
    if (ours_to_remove && std::ranges::find(wanted, address.prefix) == wanted.end()) {
      FL_TRY(node.delete_address(link, address.prefix), "");
    }
  }
  netlink::Batch batch;
  for (const netlink::IpPrefix& prefix : wanted) {
    batch.add_address({.link = link, .prefix = prefix});
  }
  return batch.empty() ? Result<>() : node.run(std::move(batch));
}

Result<Restored> restore(netlink::Socket& node, const Link& now, const Original& original,
                         const Marker& marker) {
  const Link& was = original.link.link;
  Restored restored;
  // First: its name may be among those that the pod gave it.
  FL_TRY(drop_foreign_altnames(node, now, was), "");
  FL_ASSIGN(const bool has_its_name, make_room(node, now, was.name), "");
  const std::string name = has_its_name ? was.name : marker.transit_name();
  if (!has_its_name) {
    restored.waits = waiting_sentence(was, name);
  }
  // Down: kernels before 6.2 rename nothing that is up, and many drivers take a MAC only then.
  netlink::LinkChange change;
  if (now.name != name) {
    change.name = name;
  }
  if (now.mac != was.mac) {
    change.mac = was.mac;
  }
  if (now.mtu != was.mtu) {
    change.mtu = was.mtu;
  }
  FL_TRY(node.set_down(now.index), "");
  FL_TRY(node.change_link(now.index, change), "");
  if (was.is_up()) {
    FL_TRY(node.set_up(now.index), "");
  }
  FL_TRY(add_missing_altnames(node, now, was), "");
  FL_TRY(restore_addresses(node, now.index, original.addresses), "");
  if (was.is_up()) {
    restore_routes(node, now, original.routes);
  }
  // Last: until here the marker says that there is work left.
  const NameWanted waits{.driver = marker.driver, .name = was.name, .alias = was.alias};
  FL_TRY(node.change_link(now.index, {.alias = has_its_name ? was.alias : waits.text()}), "");
  if (!restored.waits.empty()) {
    log::warn("a NIC cannot have its name", {{"nic", was.name}, {"error", restored.waits}});
  }
  return restored;
}

Result<Restored> bring_home(const Place& pod, const Place& node, const Link& there, const Original& original,
                            const Marker& marker) {
  FL_TRY(pod.socket->set_down(there.index), "");
  if (there.alias != marker.alias()) {
    FL_TRY(pod.socket->change_link(there.index, {.alias = marker.alias()}), "");
  }
  FL_TRY(drop_foreign_altnames(*pod.socket, there, original.link.link), "");
  // In transit under a name of its own: its old one may be taken by now, and a NIC must never be stuck.
  FL_ASSIGN(
      const Link home,
      pod.socket->move_link({.link = there.index, .netns = node.netns, .new_name = marker.transit_name()}),
      "take the NIC " + original.link.link.name + " home");
  return restore(*node.socket, home, original, marker);
}

Result<int> give_names_back(netlink::Socket& node, const std::string& driver_name) {
  FL_ASSIGN(const auto links, node.links(), "");
  int waiting = 0;
  for (const Link& link : links) {
    const auto wanted = NameWanted::parse(link.alias);
    if (!wanted || wanted->driver != driver_name) {
      continue;
    }
    FL_ASSIGN(const auto other, node.link(wanted->name), "");
    if (other && other->index != link.index) {
      ++waiting;
      continue;
    }
    FL_ASSIGN(const auto addresses, node.addresses(link.index), "");
    FL_ASSIGN(const auto routes, node.routes(), "");
    FL_ASSIGN(Original original, remember({.link = link}, addresses, routes), "");
    original.link.link.name = wanted->name;
    original.link.link.alias = wanted->alias;
    FL_TRY(restore(node, link, original, {.driver = driver_name}),
           "give the NIC " + wanted->name + " its name");
    log::info("a NIC has its name again", {{"nic", wanted->name}, {"was", link.name}});
  }
  return waiting;
}

}  // namespace fairlead::devices::netdev
