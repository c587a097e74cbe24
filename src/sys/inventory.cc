// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/inventory.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <set>
#include <utility>

namespace fairlead::sys {
namespace {

using netlink::IfIndex;
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

Inventory make_inventory(std::vector<Link> links, const std::vector<Route>& routes,
                         const InventoryOptions& options) {
  std::ranges::sort(links, {}, &Link::index);
  const auto uplinks = find_uplinks(links, routes);
  std::vector<InventoryLink> joined;
  joined.reserve(links.size());
  for (Link& link : links) {
    auto pci = find_pci(link, options.sysfs_root);
    const bool is_uplink = uplinks.contains(link.index);
    auto driver = pci && link.parent_bus == "pci"
                      ? pci->driver
                      : driver_of(options.sysfs_root, link.parent_bus, link.parent_dev);
    const int dev_port = dev_port_of(options.sysfs_root, link.parent_bus, link.parent_dev, link.name);
    joined.push_back({.link = std::move(link),
                      .pci = std::move(pci),
                      .is_uplink = is_uplink,
                      .driver = std::move(driver),
                      .dev_port = dev_port});
  }
  return Inventory(std::move(joined));
}

Result<Inventory> read_inventory(netlink::Socket& socket, const InventoryOptions& options) {
  FL_ASSIGN(auto links, socket.links(), "read the inventory");
  FL_ASSIGN(const auto routes, socket.routes(netlink::kMainTable), "read the inventory");
  return make_inventory(std::move(links), routes, options);
}

}  // namespace fairlead::sys
