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

/// What somebody set; the kernel's own come by themselves.
bool is_to_be_restored(const netlink::Address& address) {
  return (address.flags & IFA_F_PERMANENT) != 0 && address.scope == RT_SCOPE_UNIVERSE;
}

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

/// What the kernel does not give back to a NIC that came home: an IPv6 address where IPv6 is off by now, the
/// MAC of a VF that its PF has set since. Not fatal, for a further try would be refused as well: a NIC at
/// home without one of its settings is better than a claim that never ends.
void note_refused(const Result<>& done, const Link& nic, const std::string& setting) {
  if (!done) {
    log::warn("a setting of a NIC that came home cannot be restored",
              {{"nic", nic.name}, {"setting", setting}, {"error", done.error().what()}});
  }
}

/// Those that the pod gave it would follow it home.
void drop_foreign_altnames(netlink::Socket& node, const Link& now, const Link& was) {
  for (const std::string& altname : now.altnames) {
    if (std::ranges::find(was.altnames, altname) == was.altnames.end()) {
      note_refused(node.delete_altname(now.index, altname), was, "without altname " + altname);
    }
  }
}

/// Each that a link of the node has by now would keep the NIC in the pod, also one of its own. It gets those
/// back at home.
Result<> drop_altnames(netlink::Socket& pod, const Link& there) {
  netlink::Batch batch;
  for (const std::string& altname : there.altnames) {
    batch.delete_altname(there.index, altname);
  }
  return batch.empty() ? Result<>() : pod.run(std::move(batch));
}

/// The recorded set of altnames. One that another link has taken meanwhile stays with that link.
void add_missing_altnames(netlink::Socket& node, const Link& now, const Link& was) {
  for (const std::string& altname : was.altnames) {
    if (std::ranges::find(now.altnames, altname) == now.altnames.end()) {
      note_refused(node.add_altname(now.index, altname), was, "altname " + altname);
    }
  }
}

/// Whether the NIC can have its name. It can when a NIC of ours had that, too: it waits under its transit
/// name.
Result<bool> make_room(netlink::Socket& node, const Link& now, const std::string& name) {
  FL_ASSIGN(const auto other, node.link(name));
  if (!other || other->index == now.index) {
    return true;
  }
  const auto ours = MarkedLink::parse(other->alias);
  if (!ours || ours->origin == MarkedLink::Origin::kHostEnd) {
    return false;
  }
  if (other->name != name) {
    FL_TRY(node.delete_altname(other->index, name));
    return true;
  }
  FL_TRY(node.set_down(other->index));
  FL_TRY(node.rename(other->index, ours->marker.transit_name()));
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
    if (is_to_be_restored(address)) {
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

std::string lent_alias(const Original& original, const Marker& marker) {
  return marker.lent_alias(original.link.link.name, original.link.link.alias);
}

Result<> remove_addresses(netlink::Socket& node, netlink::IfIndex link) {
  FL_ASSIGN(const auto present, node.addresses(link));
  for (const netlink::Address& address : present) {
    if (is_to_be_restored(address)) {
      FL_TRY(node.delete_address(link, address.prefix));
    }
  }
  return {};
}

namespace {

/// Addresses as recorded: others (a tenant's) go, missing ones come back. What is refused is noted.
Result<> restore_addresses(netlink::Socket& node, const Link& now, const Original& original) {
  const Link& was = original.link.link;
  FL_ASSIGN(const auto present, node.addresses(now.index));
  for (const netlink::Address& address : present) {
    if (is_to_be_restored(address) &&
        std::ranges::find(original.addresses, address.prefix) == original.addresses.end()) {
      note_refused(node.delete_address(now.index, address.prefix), was,
                   "without address " + address.prefix.to_string());
    }
  }
  for (const netlink::IpPrefix& prefix : original.addresses) {
    note_refused(node.add_address({.link = now.index, .prefix = prefix}), was,
                 "address " + prefix.to_string());
  }
  return {};
}

}  // namespace

Result<Restored> restore(netlink::Socket& node, const Link& now, const Original& original,
                         const Marker& marker) {
  const Link& was = original.link.link;
  Restored restored;
  // First: its name may be among those that the pod gave it.
  drop_foreign_altnames(node, now, was);
  FL_ASSIGN(const bool has_its_name, make_room(node, now, was.name));
  const std::string name = has_its_name ? was.name : marker.transit_name();
  if (!has_its_name) {
    restored.waits = waiting_sentence(was, name);
  }
  // Down: kernels before 6.2 rename nothing that is up, and many drivers take a MAC only then.
  FL_TRY(node.set_down(now.index));
  if (now.name != name) {
    FL_TRY(node.rename(now.index, name));
  }
  if (now.mac != was.mac) {
    note_refused(node.change_link(now.index, {.mac = was.mac}), was, "MAC " + was.mac.to_string());
  }
  if (now.mtu != was.mtu) {
    note_refused(node.change_link(now.index, {.mtu = was.mtu}), was, "MTU " + std::to_string(was.mtu));
  }
  if (was.is_up()) {
    note_refused(node.set_up(now.index), was, "up");
  }
  add_missing_altnames(node, now, was);
  FL_TRY(restore_addresses(node, now, original));
  if (was.is_up()) {
    restore_routes(node, now, original.routes);
  }
  // Last: until here the marker says that there is work left.
  const NameWanted waits{.driver = marker.driver, .name = was.name, .alias = was.alias};
  FL_TRY(node.change_link(now.index, {.alias = has_its_name ? was.alias : waits.text()}));
  if (!restored.waits.empty()) {
    log::warn("a NIC cannot have its name", {{"nic", was.name}, {"error", restored.waits}});
  }
  return restored;
}

namespace {

/// What the pod made on the NIC (VLANs, macvlans) would stay on it over the move, and hear whoever has the
/// NIC next (drivers/net/macvlan.c ignores that its lower link changes the namespace).
Result<> remove_links_on(netlink::Socket& pod, const Link& nic) {
  FL_ASSIGN(const auto links, pod.links());
  for (const Link& link : links) {
    if (link.local_parent() == nic.index && link.kind != "veth") {
      FL_TRY(pod.delete_link(link.index), "take the pod's link " + link.name + " off the NIC");
    }
  }
  return {};
}

}  // namespace

Result<Restored> bring_home(const Place& pod, const Place& node, const Link& there, const Original& original,
                            const Marker& marker) {
  FL_TRY(pod.socket->set_down(there.index));
  if (const std::string alias = lent_alias(original, marker); there.alias != alias) {
    FL_TRY(pod.socket->change_link(there.index, {.alias = alias}));
  }
  FL_TRY(drop_altnames(*pod.socket, there));
  FL_TRY(remove_links_on(*pod.socket, there));
  // In transit under a name of its own: its old one may be taken by now, and a NIC must never be stuck.
  FL_ASSIGN(
      const Link home,
      pod.socket->move_link({.link = there.index, .netns = node.netns, .new_name = marker.transit_name()}),
      "take the NIC " + original.link.link.name + " home");
  return restore(*node.socket, home, original, marker);
}

Result<int> give_names_back(netlink::Socket& node, const std::string& driver_name) {
  FL_ASSIGN(const auto links, node.links());
  int waiting = 0;
  for (const Link& link : links) {
    const auto wanted = NameWanted::parse(link.alias);
    if (!wanted || wanted->driver != driver_name) {
      continue;
    }
    FL_ASSIGN(const auto other, node.link(wanted->name));
    if (other && other->index != link.index) {
      ++waiting;
      continue;
    }
    FL_ASSIGN(const auto addresses, node.addresses(link.index));
    FL_ASSIGN(const auto routes, node.routes());
    FL_ASSIGN(Original original, remember({.link = link}, addresses, routes));
    original.link.link.name = wanted->name;
    original.link.link.alias = wanted->alias;
    if (const auto named = restore(node, link, original, {.driver = driver_name}); !named) {
      ++waiting;  // the others need not wait for this one
      log::warn("a NIC cannot have its name",
                {{"nic", wanted->name}, {"link", link.name}, {"error", named.error().what()}});
      continue;
    }
    log::info("a NIC has its name again", {{"nic", wanted->name}, {"was", link.name}});
  }
  return waiting;
}

}  // namespace fairlead::devices::netdev
