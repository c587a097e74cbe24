// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/host_device/restore.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <ranges>
#include <thread>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/devices/netdev/common.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::Link;

using netlink::Told;
using netlink::ToldAddress;
using netlink::ToldRoute;
namespace codec = netlink::codec;

/// Of the plain ones, which records of version 0.1 have.
bool is_global(const netlink::Address& address) {
  return (address.flags & IFA_F_PERMANENT) != 0 && address.scope == RT_SCOPE_UNIVERSE;
}

/// The kernel's own come by themselves.
bool is_set_by_somebody(const netlink::Address& address) {
  const bool is_kernels = (address.protocol >= IFAPROT_KERNEL_LO && address.protocol <= IFAPROT_KERNEL_LL) ||
                          (address.flags & IFA_F_STABLE_PRIVACY) != 0;
  return (address.flags & IFA_F_PERMANENT) != 0 && !is_kernels;
}

/// One of a kernel before 5.18 may be the kernel's own as well.
bool is_link_local(const netlink::Address& address) {
  return address.prefix.is_v6() && address.scope == RT_SCOPE_LINK;
}

bool is_static(const netlink::Route& route) {
  return route.protocol == RTPROT_STATIC || route.protocol == RTPROT_BOOT;
}

/// Of the plain ones.
bool is_plain_route_of(const netlink::Route& route, netlink::IfIndex link) {
  return is_static(route) && route.type == RTN_UNICAST && route.table != RT_TABLE_LOCAL &&
         route.hops.size() == 1 && route.hops.front().link == link;
}

/// A prefix route that a network manager added in place of the kernel's: its address has IFA_F_NOPREFIXROUTE
/// (NetworkManager does so).
bool is_prefix_route_of(const netlink::Route& route, const netlink::Address& address) {
  const netlink::IpPrefix on_link(address.peer.value_or(address.prefix.address()), address.prefix.length());
  return route.protocol == RTPROT_KERNEL && route.type == RTN_UNICAST && route.table != RT_TABLE_LOCAL &&
         is_set_by_somebody(address) && (address.flags & IFA_F_NOPREFIXROUTE) != 0 &&
         route.destination == on_link.network();
}

/// A route that was configured permanently and is removed with the link. A route with hops over several links
/// belongs to no single NIC.
bool is_route_of(const ToldRoute& told, netlink::IfIndex link, const std::vector<ToldAddress>& addresses) {
  const netlink::Route& route = told.route;
  return !told.expires && !told.told.empty() &&
         std::ranges::all_of(route.hops, [&](const netlink::NextHop& hop) { return hop.link == link; }) &&
         (is_static(route) || std::ranges::any_of(addresses, [&](const ToldAddress& address) {
            return is_prefix_route_of(route, address.address);
          }));
}

bool has_gateway(const netlink::Route& route) {
  return std::ranges::any_of(route.hops, [](const netlink::NextHop& hop) { return hop.gateway.has_value(); });
}

/// As a record of version 0.1 has it.
netlink::NewRoute plain_route(const netlink::Route& route) {
  netlink::NewRoute plain{.destination = route.destination,
                          .gateway = route.hops.front().gateway,
                          .metric = route.metric,
                          .table = route.table};
  if (!route.destination.is_v6()) {
    plain.scope = route.scope;
  }
  plain.source = route.source;
  return plain;
}

/// Not fatal: a NIC on the node without one of its routes is better than one that never returns.
void note_lost_route(const Link& nic, const Result<>& added) {
  if (!added) {
    log::warn("cannot restore a static route of a returned NIC",
              {{"nic", nic.name}, {"error", added.error().what()}});
  }
}

void restore_told_routes(netlink::Socket& node, const Link& nic, const std::vector<Told>& routes) {
  for (const Told& route : routes) {
    note_lost_route(nic, node.put_route(nic.index, route));
  }
}

void restore_plain_routes(netlink::Socket& node, const Link& nic,
                          const std::vector<netlink::NewRoute>& routes) {
  for (netlink::NewRoute route : routes) {
    route.link = nic.index;
    auto added = node.add_route(route);
    if (!added && route.gateway) {
      route.onlink = true;  // the record does not say whether it was; here no address covers the gateway
      added = node.add_route(route);
    }
    note_lost_route(nic, added);
  }
}

/// What the kernel does not give back to a NIC that returned to the node: an IPv6 address where IPv6 is off by now, the
/// MAC of a VF that its PF has set since. Not fatal, for a further try would be refused as well: a NIC at
/// home without one of its settings is better than a claim that never ends.
void note_refused(const Result<>& done, const Link& nic, const std::string& setting) {
  if (!done) {
    log::warn("cannot restore a setting of a returned NIC",
              {{"nic", nic.name}, {"setting", setting}, {"error", done.error().what()}});
  }
}

/// Those that the pod gave it would follow it to the node.
void drop_foreign_altnames(netlink::Socket& node, const Link& now, const Link& was) {
  for (const std::string& altname : now.altnames) {
    if (std::ranges::find(was.altnames, altname) == was.altnames.end()) {
      note_refused(node.delete_altname(now.index, altname), was, "without altname " + altname);
    }
  }
}

/// Each that a link of the node has by now would keep the NIC in the pod, also one of its own. It gets those
/// back on the node.
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
  return "the NIC " + was.name + " returned to the node as it was, but another link of the node is called " +
         was.name + " now: until that one is gone or renamed the NIC is called " + meanwhile;
}

}  // namespace

Original remember(const sys::InventoryLink& nic, const std::vector<ToldAddress>& addresses,
                  const std::vector<ToldRoute>& routes, sys::LinkSettings settings) {
  Original original{.link = nic, .details = Details{.settings = std::move(settings)}};
  for (const auto& [address, told] : addresses) {
    if (is_set_by_somebody(address)) {
      original.details->addresses.push_back(told);
    }
    if (is_global(address)) {
      original.addresses.push_back(address.prefix);
    }
  }
  // Those that make a gateway reachable come first.
  for (const bool with_gateway : {false, true}) {
    for (const ToldRoute& route : routes) {
      if (has_gateway(route.route) != with_gateway) {
        continue;
      }
      if (is_route_of(route, nic.link.index, addresses)) {
        original.details->routes.push_back(route.told);
      }
      if (is_plain_route_of(route.route, nic.link.index)) {
        original.routes.push_back(plain_route(route.route));
      }
    }
  }
  return original;
}

std::string lent_alias(const Original& original, const Marker& marker) {
  return marker.lent_alias(original.link.link.name, original.link.link.alias);
}

Result<> remove_addresses(netlink::Socket& node, netlink::IfIndex link) {
  FL_ASSIGN(const auto present, node.told_addresses(link));
  for (const auto& [address, told] : present) {
    if (is_set_by_somebody(address)) {
      FL_TRY(node.delete_address(link, told));
    }
  }
  return {};
}

void reset_link(netlink::Socket& socket, const Link& now, const Original& original) {
  const Link& was = original.link.link;
  if (now.mac != was.mac) {
    note_refused(socket.change_link(now.index, {.mac = was.mac}), was, "MAC " + was.mac.to_string());
  }
  if (now.mtu != was.mtu) {
    note_refused(socket.change_link(now.index, {.mtu = was.mtu}), was, "MTU " + std::to_string(was.mtu));
  }
  const netlink::FlagChange flags{.mask = (now.flags ^ was.flags) & netlink::kSettableFlags,
                                  .flags = was.flags};
  if (flags.mask != 0) {
    note_refused(socket.change_link(now.index, {.flags = flags}), was, "flags");
  }
  if (!original.details) {
    return;  // of version 0.1, which did not know the others
  }
  if (now.group != was.group) {
    note_refused(socket.change_link(now.index, {.group = was.group}), was,
                 "group " + std::to_string(was.group));
  }
  if (now.tx_queue_len != was.tx_queue_len) {
    note_refused(socket.change_link(now.index, {.tx_queue_len = was.tx_queue_len}), was,
                 "txqueuelen " + std::to_string(was.tx_queue_len));
  }
  if (now.mode != was.mode) {
    note_refused(socket.change_link(now.index, {.mode = was.mode}), was, "mode " + std::to_string(was.mode));
  }
  if (now.limits != was.limits) {
    note_refused(socket.change_link(now.index, {.limits = was.limits}), was, "GSO and GRO limits");
  }
}

namespace {

/// Addresses as a record of version 0.1 has them: others (a tenant's) go, missing ones come back. What is
/// refused is noted.
Result<> restore_plain_addresses(netlink::Socket& node, const Link& now, const Original& original) {
  const Link& was = original.link.link;
  FL_ASSIGN(const auto present, node.addresses(now.index));
  for (const netlink::Address& address : present) {
    if (is_global(address) &&
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

void restore_settings(netlink::Socket& node, const std::string& name, sys::LinkIs link,
                      const Original& original) {
  if (!original.details) {
    return;
  }
  for (const auto& [path, error] : sys::restore_link_settings(node, name, link, original.details->settings)) {
    note_refused(error, original.link.link, path);
  }
}

/// The kernel resets the MTU for IPv6 when a link that was set up gets its carrier. If the NIC had another
/// one, this waits briefly for that: a value restored earlier would be overwritten.
void wait_for_ipv6_mtu(netlink::Socket& node, netlink::IfIndex nic, const Original& original) {
  constexpr std::chrono::seconds kCarrierTime{2};
  constexpr std::chrono::milliseconds kLookAgain{10};
  if (!original.details || !original.link.link.is_running()) {
    return;
  }
  const auto ipv6 = original.details->settings.find("ipv6/conf");
  if (ipv6 == original.details->settings.end() || !ipv6->second.contains("mtu")) {
    return;
  }
  const auto end = std::chrono::steady_clock::now() + kCarrierTime;
  while (std::chrono::steady_clock::now() < end) {
    const auto now = node.link(nic);
    if (!now || !*now || (*now)->is_running()) {
      return;
    }
    std::this_thread::sleep_for(kLookAgain);
  }
}

bool contains(const std::vector<Told>& addresses, const Told& told) {
  return std::ranges::any_of(addresses, [&](const Told& one) { return codec::same_address(one, told); });
}

/// The same with all that they had. An address that is there with something else is put back anew.
Result<> restore_told_addresses(netlink::Socket& node, const Link& now, const Link& was,
                                const std::vector<Told>& wanted) {
  FL_ASSIGN(const auto before, node.told_addresses(now.index));
  for (const auto& [address, told] : before) {
    if (is_set_by_somebody(address) && !is_link_local(address) && !contains(wanted, told)) {
      note_refused(node.delete_address(now.index, told), was,
                   "without address " + address.prefix.to_string());
    }
  }
  FL_ASSIGN(const auto left, node.told_addresses(now.index));
  std::vector<Told> present;
  std::ranges::transform(left, std::back_inserter(present), &ToldAddress::told);
  const auto put = [&](const Told& told) {
    if (!contains(present, told)) {
      note_refused(node.put_address(now.index, told), was, "address");
    }
  };
  // The kernel lists IPv4 addresses in the order in which they came, and IPv6 addresses the last one first
  // (net/ipv6/addrconf.c ipv6_link_dev_addr). The order decides which one is used as a source.
  std::ranges::for_each(wanted, [&](const Told& told) { codec::is_ipv6(told) ? void() : put(told); });
  std::ranges::for_each(std::views::reverse(wanted),
                        [&](const Told& told) { codec::is_ipv6(told) ? put(told) : void(); });
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
  reset_link(node, now, original);
  restore_settings(node, name, sys::LinkIs::kDown, original);
  if (was.is_up()) {
    note_refused(node.set_up(now.index), was, "up");
    wait_for_ipv6_mtu(node, now.index, original);
    restore_settings(node, name, sys::LinkIs::kUp, original);
  }
  add_missing_altnames(node, now, was);
  FL_TRY(original.details ? restore_told_addresses(node, now, was, original.details->addresses)
                          : restore_plain_addresses(node, now, original));
  if (was.is_up() && original.details) {
    restore_told_routes(node, now, original.details->routes);
  } else if (was.is_up()) {
    restore_plain_routes(node, now, original.routes);
  }
  // Last: until here the marker says that there is work left.
  const NameWanted waits{.driver = marker.driver, .name = was.name, .alias = was.alias};
  FL_TRY(node.change_link(now.index, {.alias = has_its_name ? was.alias : waits.text()}));
  if (!restored.waits.empty()) {
    log::warn("cannot give a NIC its name back", {{"nic", was.name}, {"error", restored.waits}});
  }
  return restored;
}

namespace {

/// Links that the pod made on the NIC (VLANs, macvlans) would stay on it when it moves, and receive the
/// traffic of the NIC's next user (drivers/net/macvlan.c ignores that its lower link changes the namespace).
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
      "move the NIC " + original.link.link.name + " back to the node");
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
    FL_ASSIGN(const auto addresses, node.told_addresses(link.index));
    FL_ASSIGN(const auto routes, node.told_routes(link.index));
    Original original = remember({.link = link}, addresses, routes, {});  // its settings stay
    original.link.link.name = wanted->name;
    original.link.link.alias = wanted->alias;
    if (const auto named = restore(node, link, original, {.driver = driver_name}); !named) {
      ++waiting;  // the others need not wait for this one
      log::warn("cannot give a NIC its name back",
                {{"nic", wanted->name}, {"link", link.name}, {"error", named.error().what()}});
      continue;
    }
    log::info("a NIC got its name back", {{"nic", wanted->name}, {"was", link.name}});
  }
  return waiting;
}

}  // namespace fairlead::devices::netdev
