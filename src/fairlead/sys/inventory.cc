// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/inventory.h"

#include <linux/rtnetlink.h>
#include <net/if_arp.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <utility>

namespace fairlead::sys {
namespace {

using netlink::Address;
using netlink::IfIndex;
using netlink::IpAddress;
using netlink::IpPrefix;
using netlink::Link;
using netlink::Route;

/// Indices of all links the node lives on: those with a default route, and everything below them.
std::set<IfIndex> find_uplinks(const std::vector<Link>& links, const std::vector<Route>& routes) {
  std::vector<IfIndex> to_visit;
  for (const Route& route : routes) {
    if (route.table != netlink::kMainTable || !route.destination.is_default() || route.type != RTN_UNICAST) {
      continue;
    }
    for (const auto& hop : route.hops) {
      to_visit.push_back(hop.link);
    }
  }
  std::set<IfIndex> uplinks;
  while (!to_visit.empty()) {
    const IfIndex index = to_visit.back();
    to_visit.pop_back();
    if (!index.valid() || !uplinks.insert(index).second) {
      continue;
    }
    for (const Link& link : links) {
      if (link.index == index) {
        to_visit.push_back(link.local_parent());
      }
      if (link.master == index) {
        to_visit.push_back(link.index);
      }
    }
  }
  return uplinks;
}

bool is_default_route(const Route& route) {
  return route.destination.is_default() && route.type == RTN_UNICAST;
}

std::string family_of(const Route& route) { return route.destination.is_v6() ? "IPv6" : "IPv4"; }

/// "a default route that a router advertisement brought (IPv6, metric 1024)"
std::string describe(const Route& route) {
  std::string text = "a default route of ";
  if (route.table != netlink::kMainTable) {
    text += "table " + std::to_string(route.table);
  } else if (route.protocol == RTPROT_RA) {
    text += "a router advertisement";
  } else if (route.protocol == RTPROT_DHCP) {
    text += "DHCP";
  } else {
    text += "its own";
  }
  return text + " (" + family_of(route) + ", metric " + std::to_string(route.metric) + ")";
}

/// Indices are those of one dump, so that a link is there for each but what vanished meanwhile.
using Uses = std::map<IfIndex, std::vector<NodeUse>>;

void add_use(Uses& uses, IfIndex link, NodeUse use) {
  std::vector<NodeUse>& all = uses[link];
  if (link.valid() && std::ranges::find(all, use) == all.end()) {
    all.push_back(std::move(use));
  }
}

void add_default_routes(Uses& uses, const std::vector<Route>& routes) {
  std::map<bool, std::uint32_t> best;  // by family
  for (const Route& route : routes) {
    if (is_default_route(route) && route.table == netlink::kMainTable) {
      const auto [there, is_new] = best.emplace(route.destination.is_v6(), route.metric);
      there->second = std::min(there->second, route.metric);
    }
  }
  for (const Route& route : routes) {
    if (!is_default_route(route)) {
      continue;
    }
    const bool v6 = route.destination.is_v6();
    const bool is_best = route.table == netlink::kMainTable && best.at(v6) == route.metric;
    const NodeUse use = {.kind = is_best ? NodeUse::Kind::kBestRoute : NodeUse::Kind::kOtherRoute,
                         .v6 = v6,
                         .text = is_best ? "carries the node's default route (" + family_of(route) + ")"
                                         : "has " + describe(route)};
    for (const auto& hop : route.hops) {
      add_use(uses, hop.link, use);
    }
  }
}

/// Where packets to that address leave by the main table: longest prefix, then lowest metric.
std::vector<IfIndex> links_towards(const IpAddress& address, const std::vector<Route>& routes) {
  const Route* best = nullptr;
  for (const Route& route : routes) {
    const IpPrefix& to = route.destination;
    const bool matches = route.table == netlink::kMainTable && route.type == RTN_UNICAST &&
                         to.is_v6() == address.is_v6() &&
                         address.masked(to.length()) == to.network().address();
    if (matches && (best == nullptr || to.length() > best->destination.length() ||
                    (to.length() == best->destination.length() && route.metric < best->metric))) {
      best = &route;
    }
  }
  std::vector<IfIndex> links;
  if (best != nullptr) {
    for (const auto& hop : best->hops) {
      links.push_back(hop.link);
    }
  }
  return links;
}

std::vector<IfIndex> links_with(const IpAddress& address, const std::vector<Address>& addresses) {
  std::vector<IfIndex> links;
  for (const Address& one : addresses) {
    if (one.prefix.address() == address) {
      links.push_back(one.link);
    }
  }
  return links;
}

void add_tunnels(Uses& uses, const std::vector<Link>& links, const std::vector<Route>& routes,
                 const std::vector<Address>& addresses) {
  for (const Link& link : links) {
    const NodeUse use = {.kind = NodeUse::Kind::kTunnel, .text = "carries the tunnel " + link.name};
    std::vector<IfIndex> below;
    if (link.tunnel) {
      below.push_back(link.tunnel->link);
      if (link.tunnel->local) {
        std::ranges::copy(links_with(*link.tunnel->local, addresses), std::back_inserter(below));
      }
      if (link.tunnel->remote) {
        std::ranges::copy(links_towards(*link.tunnel->remote, routes), std::back_inserter(below));
      }
    }
    for (const IfIndex one : below) {
      if (one != link.index) {
        add_use(uses, one, use);
      }
    }
    // WireGuard, tun and others do not report their lower link. If the node's default route leads into such a
    // link, its outer packets may leave over any link with a gateway.
    const bool tells = std::ranges::any_of(below, &IfIndex::valid) || link.local_parent().valid();
    const auto own = uses.find(link.index);
    if (tells || link.arphrd != ARPHRD_NONE || own == uses.end() || own->second.empty()) {
      continue;
    }
    for (const Route& route : routes) {
      for (const auto& hop : route.hops) {
        if (route.table == netlink::kMainTable && hop.gateway && hop.link != link.index) {
          add_use(uses, hop.link,
                  {.kind = NodeUse::Kind::kMaybeTunnel,
                   .text = "may carry the tunnel " + link.name + ", which has a default route"});
        }
      }
    }
  }
}

/// By link; each once, in the order of the routes. A node with many routes has few gateways.
std::map<IfIndex, std::vector<IpAddress>> find_gateways(const std::vector<Route>& routes) {
  std::map<IfIndex, std::vector<IpAddress>> gateways;
  for (const Route& route : routes) {
    for (const auto& hop : route.hops) {
      if (!hop.gateway || !hop.link.valid()) {
        continue;
      }
      std::vector<IpAddress>& of_link = gateways[hop.link];
      if (std::ranges::find(of_link, *hop.gateway) == of_link.end()) {
        of_link.push_back(*hop.gateway);
      }
    }
  }
  return gateways;
}

std::optional<PciDevice> find_pci(const Link& link, const std::string& sysfs_root) {
  const auto bdf = pci_function_of(sysfs_root, link.parent_bus, link.parent_dev);
  if (!bdf) {
    return std::nullopt;
  }
  auto device = read_pci_device(sysfs_root, *bdf);
  return device ? std::move(*device) : std::nullopt;
}

}  // namespace

const InventoryLink* Inventory::find(std::string_view name) const& {
  const auto found = std::ranges::find_if(links_, [&](const auto& one) { return one.link.has_name(name); });
  return found == links_.end() ? nullptr : &*found;
}

const InventoryLink* Inventory::find(netlink::IfIndex index) const& {
  const auto found = std::ranges::find_if(links_, [&](const auto& one) { return one.link.index == index; });
  return found == links_.end() ? nullptr : &*found;
}

std::vector<const InventoryLink*> Inventory::find_bdf(std::string_view bdf) const& {
  std::vector<const InventoryLink*> found;
  for (const InventoryLink& one : links_) {
    if (one.link.parent_bus == "pci" && one.link.parent_dev == bdf) {
      found.push_back(&one);
    }
  }
  return found;
}

std::vector<Inventory::StackEntry> Inventory::stack_of(IfIndex index) const& {
  std::vector<StackEntry> stack;
  const auto add = [&](const InventoryLink* link, Where where) {
    if (link != nullptr && std::ranges::find(stack, link, &StackEntry::link) == stack.end()) {
      stack.push_back({.link = link, .where = where});
    }
  };
  add(find(index), Where::kItself);
  for (std::size_t at = 0; at < stack.size(); ++at) {
    const InventoryLink& upper = *stack[at].link;
    add(find(upper.link.local_parent()), Where::kBelow);
    for (const InventoryLink& one : links_) {
      if (one.link.master == upper.link.index) {
        add(&one, Where::kBelow);
      }
    }
  }
  for (std::size_t at = 0; at < stack.size(); ++at) {
    const InventoryLink& lower = *stack[at].link;
    add(find(lower.link.master), Where::kAbove);
    for (const InventoryLink& one : links_) {
      if (one.link.local_parent() == lower.link.index && one.link.kind != "veth") {
        add(&one, Where::kAbove);
      }
    }
  }
  return stack;
}

Inventory make_inventory(std::vector<Link> links, const std::vector<Route>& routes,
                         const InventoryOptions& options, const std::vector<Address>& addresses) {
  std::ranges::sort(links, {}, &Link::index);
  const auto uplinks = find_uplinks(links, routes);
  Uses uses;
  add_default_routes(uses, routes);
  add_tunnels(uses, links, routes, addresses);
  auto gateways = find_gateways(routes);
  std::vector<InventoryLink> joined;
  joined.reserve(links.size());
  for (Link& link : links) {
    InventoryLink one{
        .link = {}, .pci = find_pci(link, options.sysfs_root), .is_uplink = uplinks.contains(link.index)};
    one.driver = one.pci && link.parent_bus == "pci"
                     ? one.pci->driver
                     : driver_of(options.sysfs_root, link.parent_bus, link.parent_dev);
    one.dev_port = dev_port_of(options.sysfs_root, link.parent_bus, link.parent_dev, link.name);
    if (const auto found = uses.find(link.index); found != uses.end()) {
      one.uses = std::move(found->second);
    }
    if (const auto found = gateways.find(link.index); found != gateways.end()) {
      one.gateways = std::move(found->second);
    }
    for (const Address& address : addresses) {
      if (address.link == link.index) {
        one.addresses.push_back(address.prefix.address());
      }
    }
    one.link = std::move(link);
    joined.push_back(std::move(one));
  }
  return Inventory(std::move(joined));
}

Result<Inventory> read_inventory(netlink::Socket& socket, const InventoryOptions& options) {
  FL_ASSIGN(auto links, socket.links(), "read the inventory");
  FL_ASSIGN(const auto routes, socket.routes(), "read the inventory");
  FL_ASSIGN(const auto addresses, socket.addresses(), "read the inventory");
  return make_inventory(std::move(links), routes, options, addresses);
}

}  // namespace fairlead::sys
