// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/node.h"

#include <fnmatch.h>
#include <net/if_arp.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "fairlead/devices/marker.h"

namespace fairlead::devices {
namespace {

bool matches_any(const std::vector<std::string>& globs, const netlink::Link& link) {
  return std::ranges::any_of(
      globs, [&](const std::string& glob) { return ::fnmatch(glob.c_str(), link.name.c_str(), 0) == 0; });
}

/// Whole NICs only, of the two families whose links we know how to hand out.
bool looks_physical(const netlink::Link& link) {
  const bool known_family = link.arphrd == ARPHRD_ETHER || link.arphrd == ARPHRD_INFINIBAND;
  return known_family && (link.kind.empty() || link.parent_bus == "pci");
}

}  // namespace

bool sits_on(const netlink::Link& upper, const netlink::Link& lower) {
  return upper.local_parent() == lower.index && upper.kind != "veth";
}

namespace {

/// Links that stay in their network namespace (dev->netns_immutable, before Linux 6.14 NETIF_F_NETNS_LOCAL);
/// kernels before 6.15 do not report this. Wireless ones move with all links of their radio, if at all.
bool is_immovable(const sys::InventoryLink& link, const std::string& sysfs_root) {
  constexpr std::array<std::string_view, 7> kKinds = {"bridge", "bond",   "team",       "vrf",
                                                      "hsr",    "batadv", "openvswitch"};
  if (std::ranges::find(kKinds, link.link.kind) != kKinds.end()) {
    return true;
  }
  return link.pci &&
         ::access((sysfs_root + "/bus/pci/devices/" + link.pci->bdf + "/ieee80211").c_str(), F_OK) == 0;
}

}  // namespace

std::string_view to_string(Withheld::Why why) {
  using Why = Withheld::Why;
  switch (why) {
    case Why::kUplink:
      return "uplink";
    case Why::kNodeAddress:
      return "node-address";
    case Why::kTunnel:
      return "tunnel";
    case Why::kUplinkFlag:
      return "uplink-flag";
    case Why::kNodeUnknown:
      return "node-unknown";
    case Why::kUplinkMissing:
      return "uplink-missing";
    case Why::kDriversUnknown:
      return "drivers-unknown";
    case Why::kOtherRoute:
      return "other-route";
    case Why::kWasUplink:
      return "was-uplink";
    case Why::kMaybeTunnel:
      return "maybe-tunnel";
    case Why::kImmovable:
      return "immovable";
    case Why::kPort:
      return "port";
    case Why::kLinkOnIt:
      return "link-on-it";
    case Why::kClaims:
      return "claims";
    case Why::kOtherDriver:
      return "other-driver";
    case Why::kVfs:
      return "vfs";
    case Why::kRdma:
      return "rdma";
  }
  return "unknown";
}

NodeView::NodeView(sys::Inventory inventory, const NodeOptions& options,
                   std::vector<sys::InventoryLink> shared, OtherDrivers other_drivers, RdmaLinks rdma_links)
    : inventory_(std::move(inventory)),
      options_(&options),
      shared_(std::move(shared)),
      other_drivers_(std::move(other_drivers)),
      rdma_links_(std::move(rdma_links)) {
  NodeMemory::Known known{.addresses = std::vector<netlink::IpAddress>(), .problem = {}, .uplinks = {}};
  if (options.memory) {
    known = options.memory->known();
  }
  if (!known.addresses) {
    node_unknown_ = known.problem;
  }
  addresses_ = known.addresses.value_or(std::vector<netlink::IpAddress>());
  find_own(known);
  find_releasable(known);
}

void NodeView::add_stack(Reasons& reasons, const sys::InventoryLink& link, Withheld::Why why,
                         const std::string& predicate) {
  using Where = sys::Inventory::Where;
  for (const auto& [one, where] : inventory_.stack_of(link.link.index)) {
    std::string text = "it " + predicate;
    if (where == Where::kBelow) {
      text = link.link.name + ", which sits on it, " + predicate;
    } else if (where == Where::kAbove) {
      text = "it depends on " + link.link.name + ", which " + predicate;
    }
    reasons.emplace(one->link.index, Withheld{.why = why, .text = std::move(text)});
  }
}

void NodeView::find_own(const NodeMemory::Known& known) {
  for (const std::string& name : options_->uplinks) {
    if (const sys::InventoryLink* link = inventory_.find(name)) {
      add_stack(own_, *link, Withheld::Why::kUplinkFlag, "is the node's own (--uplink)");
    }
  }
  const auto addresses = known.addresses.value_or(std::vector<netlink::IpAddress>());
  for (const sys::InventoryLink& link : inventory_.links()) {
    for (const netlink::IpAddress& address : link.addresses) {
      if (std::ranges::find(addresses, address) != addresses.end()) {
        add_stack(own_, link, Withheld::Why::kNodeAddress, "has the Node's address " + address.to_string());
      }
    }
  }
  // Of a family in which the node has no address, a default route may be a data NIC's (a router advertisement
  // on a cluster of IPv4): it counts as the node's, but --not-uplink may say otherwise.
  const auto is_of_the_node = [&](const sys::NodeUse& use) {
    if (addresses.empty()) {
      return !use.v6 || std::ranges::none_of(inventory_.links(), [](const sys::InventoryLink& link) {
        return std::ranges::any_of(link.uses, [](const sys::NodeUse& other) {
          return other.kind == sys::NodeUse::Kind::kBestRoute && !other.v6;
        });
      });
    }
    return std::ranges::any_of(addresses,
                               [&](const netlink::IpAddress& address) { return address.is_v6() == use.v6; });
  };
  for (const sys::InventoryLink& link : inventory_.links()) {
    for (const sys::NodeUse& use : link.uses) {
      if (use.kind == sys::NodeUse::Kind::kTunnel) {
        add_stack(own_, link, Withheld::Why::kTunnel, use.text);
      } else if (use.kind == sys::NodeUse::Kind::kBestRoute) {
        add_stack(is_of_the_node(use) ? own_ : releasable_, link, Withheld::Why::kUplink, use.text);
      }
    }
  }
  std::vector<const sys::InventoryLink*> links;
  for (const sys::InventoryLink& link : inventory_.links()) {
    links.push_back(&link);
  }
  const auto names = fairlead::devices::device_names(links);
  for (std::size_t i = 0; i < links.size(); ++i) {
    names_[links[i]->link.index] = names[i];
  }
}

void NodeView::find_releasable(const NodeMemory::Known& known) {
  for (const sys::InventoryLink& link : inventory_.links()) {
    for (const sys::NodeUse& use : link.uses) {
      if (use.kind == sys::NodeUse::Kind::kOtherRoute) {
        add_stack(releasable_, link, Withheld::Why::kOtherRoute, use.text);
      } else if (use.kind == sys::NodeUse::Kind::kMaybeTunnel) {
        add_stack(releasable_, link, Withheld::Why::kMaybeTunnel, use.text);
      }
    }
  }
  for (const sys::InventoryLink& link : inventory_.links()) {
    if (std::ranges::any_of(known.uplinks, [&](const auto& was) { return is_same_link(was, link.link); })) {
      releasable_.emplace(link.link.index,
                          Withheld{.why = Withheld::Why::kWasUplink,
                                   .text = "it was the node's uplink since the node came up"});
    }
  }
}

bool NodeView::is_released(const sys::InventoryLink& link) const {
  return std::ranges::any_of(options_->not_uplinks, [&](const std::string& pattern) {
    const auto matches = [&](const std::string& name) {
      return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
    };
    const bool same_function = (link.pci && link.pci->bdf == pattern) ||
                               (link.link.parent_bus == "pci" && link.link.parent_dev == pattern);
    return same_function || matches(link.link.name) || std::ranges::any_of(link.link.altnames, matches);
  });
}

bool NodeView::is_uplink(const sys::InventoryLink& link) const { return own_.contains(link.link.index); }

bool NodeView::is_candidate(const sys::InventoryLink& link) const {
  if (link.link.is_loopback() || link.link.name == kVirtualDevice) {
    return false;
  }
  // Links we made ourselves match a glob such as "*"; a NIC with our marker is one that is being handed out.
  const bool made_by_us = !link.link.kind.empty() && Marker::parse(link.link.alias).has_value();
  return looks_physical(link.link) || (matches_any(options_->host_devices, link.link) && !made_by_us);
}

std::optional<Withheld> NodeView::problem() const {
  if (node_unknown_) {
    return Withheld{.why = Withheld::Why::kNodeUnknown,
                    .text = "which link has the Node's address is not known: " + *node_unknown_};
  }
  for (const std::string& name : options_->uplinks) {
    if (inventory_.find(name) == nullptr) {
      return Withheld{.why = Withheld::Why::kUplinkMissing,
                      .text = "--uplink names " + name +
                              ", and this node has no such link; correct the flag, or bring the link back"};
    }
  }
  if (other_drivers_.problem) {
    return Withheld{.why = Withheld::Why::kDriversUnknown, .text = *other_drivers_.problem};
  }
  return std::nullopt;
}

std::optional<Withheld> NodeView::withheld(const sys::InventoryLink& link) const {
  if (const auto own = own_.find(link.link.index); own != own_.end()) {
    return own->second;
  }
  if (const auto unknown = problem()) {
    return unknown;
  }
  if (const auto reason = releasable_.find(link.link.index);
      reason != releasable_.end() && !is_released(link)) {
    return Withheld{.why = reason->second.why,
                    .text = reason->second.text + " (--not-uplink releases a NIC that is not the node's)"};
  }
  return use_of(link);
}

std::optional<Withheld> NodeView::withheld_for_rdma(const sys::InventoryLink& link) const {
  const std::string released =
      " (--not-uplink releases its RDMA device, which leaves the interface on the node)";
  for (const Reasons* reasons : {&own_, &releasable_}) {
    if (const auto found = reasons->find(link.link.index); found != reasons->end() && !is_released(link)) {
      return Withheld{.why = found->second.why,
                      .text = "of its interface " + link.link.name + ": " + found->second.text + released};
    }
  }
  return problem();
}

std::optional<std::string> NodeView::other_driver_of(std::string_view bdf) const {
  sys::InventoryLink function;
  function.link.parent_bus = "pci";
  function.link.parent_dev = bdf;
  const std::string name = permanent_name(function);
  const auto found = std::ranges::find_if(other_drivers_.nics, [&](const auto& nic) {
    return nic.first == name || nic.first.starts_with(name + "-");  // one of several ports
  });
  return found == other_drivers_.nics.end() ? std::nullopt : std::optional(found->second);
}

/// Who has it for something else.
std::optional<Withheld> NodeView::use_of(const sys::InventoryLink& link) const {
  using Why = Withheld::Why;
  if (is_immovable(link, options_->sysfs_root)) {
    return Withheld{.why = Why::kImmovable, .text = "the kernel moves no such link into a pod"};
  }
  if (link.link.master.valid()) {
    const sys::InventoryLink* owner = inventory_.find(link.link.master);
    return Withheld{.why = Why::kPort,
                    .text = "it is a port of " + (owner == nullptr ? "another link" : owner->link.name)};
  }
  if (link.pci && link.pci->sriov_num_vfs > 0) {
    return Withheld{.why = Why::kVfs,
                    .text = "it is a physical function with " + std::to_string(link.pci->sriov_num_vfs) +
                            " virtual functions, whose settings and link are in its owner's hand"};
  }
  if (const auto rdma = rdma_links_.find(link.link.index); rdma != rdma_links_.end()) {
    return Withheld{.why = Why::kRdma, .text = rdma->second};
  }
  if (const auto other = other_drivers_.nics.find(node_wide_name(link)); other != other_drivers_.nics.end()) {
    return Withheld{.why = Why::kOtherDriver, .text = other->second};
  }
  const auto& links = inventory_.links();
  const auto on_it = std::ranges::find_if(links, [&](const sys::InventoryLink& other) {
    // Our own links are known from the plans of their claims, also when they are in a pod.
    const auto marker = Marker::parse(other.link.alias);
    const bool ours = marker && marker->driver == options_->driver_name;
    return sits_on(other.link, link.link) && !ours;
  });
  if (on_it != links.end()) {
    return Withheld{.why = Why::kLinkOnIt, .text = on_it->link.name + " of this node sits on it"};
  }
  if (std::ranges::any_of(shared_, [&](const auto& one) { return is_same_link(one, link.link); })) {
    return Withheld{.why = Why::kClaims, .text = "interfaces of claims sit on it"};
  }
  return std::nullopt;
}

bool NodeView::is_offered(const sys::InventoryLink& link) const {
  return is_candidate(link) && !withheld(link);
}

const sys::InventoryLink* NodeView::link_on(const sys::InventoryLink& link) const {
  const auto& links = inventory_.links();
  const auto it = std::ranges::find_if(
      links, [&](const sys::InventoryLink& other) { return sits_on(other.link, link.link); });
  return it == links.end() ? nullptr : &*it;
}

std::string NodeView::device_name(const sys::InventoryLink& link) const {
  const auto known = names_.find(link.link.index);
  return known == names_.end() ? permanent_name(link) : known->second;
}

NicIdentity NodeView::identity(const sys::InventoryLink& link) const {
  NicIdentity identity = identity_of(link, inventory_);
  identity.name = device_name(link);
  return identity;
}

const sys::InventoryLink* NodeView::find_device(std::string_view name) const {
  const auto& links = inventory_.links();
  const auto find_by = [&](const auto& name_of) {
    const auto it = std::ranges::find_if(
        links, [&](const sys::InventoryLink& link) { return is_candidate(link) && name_of(link) == name; });
    return it == links.end() ? nullptr : &*it;
  };
  if (const auto* link = find_by([&](const sys::InventoryLink& each) { return device_name(each); })) {
    return link;
  }
  // What else sits on its function may be in a pod now, so that the plain name is enough for it.
  if (const auto* link = find_by(name_with_mac)) {
    return link;
  }
  return find_by([](const sys::InventoryLink& each) { return name_by_link(each.link.name); });
}

namespace {

bool has_port(const netlink::Link& link) {
  return !link.phys_port_name.empty() || !link.phys_port_id.empty();
}

bool same_port(const netlink::Link& was, const netlink::Link& now) {
  return was.phys_port_name == now.phys_port_name && was.phys_port_id == now.phys_port_id &&
         was.phys_switch_id == now.phys_switch_id;
}

}  // namespace

bool has_identity(const netlink::Link& link) {
  return !link.permanent_mac.empty() || (!link.parent_dev.empty() && has_port(link));
}

bool may_be_nic(const sys::InventoryLink& was, const netlink::Link& now) {
  if (was.link.kind != now.kind || was.link.arphrd != now.arphrd || was.link.parent_bus != now.parent_bus ||
      was.link.parent_dev != now.parent_dev) {
    return false;
  }
  if (!was.link.permanent_mac.empty() && was.link.permanent_mac != now.permanent_mac) {
    return false;
  }
  // If the driver reports no permanent MAC, these distinguish the ports of one device. If it does, they are
  // compared only when both are known: a card that changes its mode gains or loses them.
  const bool ports_known = has_port(was.link) && (was.link.permanent_mac.empty() || has_port(now));
  return !ports_known || same_port(was.link, now);
}

bool same_nic(const sys::InventoryLink& was, const netlink::Link& now) {
  if (!may_be_nic(was, now)) {
    return false;
  }
  if (has_identity(was.link)) {
    return true;
  }
  // One of several links of a device, perhaps (records of 0.1 have no ports).
  if (!was.link.parent_dev.empty()) {
    return was.link.index == now.index;
  }
  return was.link.index == now.index && (was.link.mac == now.mac || was.link.name == now.name);
}

bool is_same_link(const sys::InventoryLink& was, const netlink::Link& now) {
  if (!was.link.index.valid()) {
    return now.has_name(was.link.name);
  }
  const bool same_index =
      was.link.index == now.index && was.link.kind == now.kind && was.link.arphrd == now.arphrd;
  const bool has_identity = !was.link.permanent_mac.empty() || !was.link.parent_dev.empty();
  return has_identity ? same_nic(was, now) : same_index;
}

}  // namespace fairlead::devices
