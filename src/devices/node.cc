// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/node.h"

#include <fnmatch.h>
#include <net/if_arp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

#include "fairlead/devices/marker.h"

namespace fairlead::devices {
namespace {

constexpr std::size_t kAttributeStringMax = 64;  // resource/v1 DeviceAttributeMaxValueLength

std::string hex(std::uint32_t value, int digits) {
  std::array<char, 16> text = {};
  (void)std::snprintf(text.data(), text.size(), "%0*x", digits, value);
  return text.data();
}

bool matches_any(const std::vector<std::string>& globs, const netlink::Link& link) {
  return std::ranges::any_of(
      globs, [&](const std::string& glob) { return ::fnmatch(glob.c_str(), link.name.c_str(), 0) == 0; });
}

/// Whole NICs only, of the two families whose links we know how to hand out.
bool looks_physical(const netlink::Link& link) {
  const bool known_family = link.arphrd == ARPHRD_ETHER || link.arphrd == ARPHRD_INFINIBAND;
  return known_family && (link.kind.empty() || link.parent_bus == "pci");
}

/// The parent of a veth is its other end: neither sits on the other.
bool sits_on(const netlink::Link& upper, const netlink::Link& lower) {
  return upper.local_parent() == lower.index && upper.kind != "veth";
}

void put(dra::Device& device, const std::string& key, std::string_view text) {
  if (!text.empty() && text.size() <= kAttributeStringMax) {
    device.attributes[key] = std::string(text);
  }
}

void put_pci(dra::Device& device, const sys::PciDevice& pci) {
  // The standard attributes of KEP-4381 and k8s.io/dynamic-resource-allocation/deviceattribute.
  put(device, "resource.kubernetes.io/pciBusID", pci.bdf);
  put(device, "resource.kubernetes.io/pcieRoot", pci.pcie_root);
  if (pci.numa_node >= 0) {
    device.attributes["resource.kubernetes.io/numaNode"] = std::int64_t{pci.numa_node};
  }
  put(device, "driver", pci.driver);
  put(device, "pciVendor", "0x" + hex(pci.vendor, 4));
  put(device, "pciDevice", "0x" + hex(pci.device, 4));
}

}  // namespace

NodeView::NodeView(sys::Inventory inventory, const NodeOptions& options,
                   std::vector<sys::InventoryLink> shared)
    : inventory_(std::move(inventory)), options_(&options), shared_(std::move(shared)) {
  for (const std::string& name : options.uplinks) {
    const sys::InventoryLink* link = inventory_.find(name);
    // What an uplink stands on (a VLAN's NIC) is as much the node's as the uplink; 16 bounds a loop.
    for (int depth = 0; link != nullptr && depth < 16; ++depth) {
      own_.insert(link->link.index);
      link = link->link.local_parent().valid() ? inventory_.find(link->link.local_parent()) : nullptr;
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

Result<NodeView> NodeView::read(const NodeOptions& options, std::vector<sys::InventoryLink> shared) {
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open(), "read this node's links");
  FL_ASSIGN(sys::Inventory inventory, sys::read_inventory(socket, {.sysfs_root = options.sysfs_root}),
            "read this node's links");
  return NodeView(std::move(inventory), options, std::move(shared));
}

bool NodeView::is_uplink(const sys::InventoryLink& link) const {
  return link.is_uplink || own_.contains(link.link.index);
}

bool NodeView::is_candidate(const sys::InventoryLink& link) const {
  if (link.link.is_loopback() || link.link.name == kVirtualDevice) {
    return false;
  }
  // Links we made ourselves match a glob such as "*"; a NIC with our marker is one that is being handed out.
  const bool made_by_us = !link.link.kind.empty() && Marker::parse(link.link.alias).has_value();
  return looks_physical(link.link) || (matches_any(options_->host_devices, link.link) && !made_by_us);
}

std::optional<Withheld> NodeView::withheld(const sys::InventoryLink& link) const {
  if (is_uplink(link)) {
    return Withheld{"it is the node's uplink and can never be taken"};
  }
  if (link.link.master.valid()) {
    const sys::InventoryLink* owner = inventory_.find(link.link.master);
    return Withheld{"it is a port of " + (owner == nullptr ? "another link" : owner->link.name)};
  }
  const auto& links = inventory_.links();
  const auto on_it = std::ranges::find_if(links, [&](const sys::InventoryLink& other) {
    // Of our own links the plans of their claims tell, also when they are in a pod.
    const auto marker = Marker::parse(other.link.alias);
    const bool ours = marker && marker->driver == options_->driver_name;
    return sits_on(other.link, link.link) && !ours;
  });
  if (on_it != links.end()) {
    return Withheld{on_it->link.name + " of this node sits on it"};
  }
  if (std::ranges::any_of(shared_, [&](const auto& one) { return is_same_link(one, link.link); })) {
    return Withheld{"interfaces of claims sit on it"};
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

dra::Device virtual_device(const NodeOptions& options) {
  dra::Device device{.name = std::string(kVirtualDevice), .allow_multiple_allocations = true};
  device.attributes["type"] = std::string("netdev");
  device.attributes["kind"] = std::string("virtual");
  // One allocation is one interface: whatever a claim asks for, the allocator rounds up to a valid value or
  // refuses (KEP-5075), so that slots limit what they are meant to limit.
  device.capacity["slots"] = {.value = std::to_string(options.slots),
                              .request_policy = {{.default_value = "1", .valid_values = {"1"}}}};
  return device;
}

dra::Device nic_device(const sys::InventoryLink& link, const std::string& name) {
  dra::Device device{.name = name};
  device.attributes["type"] = std::string("netdev");
  device.attributes["kind"] = std::string("host-device");
  device.attributes["virtual"] = link.link.parent_bus.empty() && !link.pci;
  device.attributes["mtu"] = static_cast<std::int64_t>(link.link.mtu);
  device.attributes["up"] = link.link.is_up();
  put(device, "ifName", link.link.name);
  put(device, "mac", link.link.mac.to_string());
  put(device, "state", netlink::to_string(link.link.operstate));
  put(device, "encapsulation", link.link.arphrd == ARPHRD_INFINIBAND ? "infiniband" : "ether");
  if (link.pci) {
    put_pci(device, *link.pci);
  }
  return device;
}

namespace {

/// The claim's name for a NIC that it has without taking it away (a macvlan sits on it), if one has it.
const HeldDevice* holder_of(const std::vector<HeldDevice>& held, const sys::InventoryLink& link,
                            const std::string& nic) {
  const auto it = std::ranges::find_if(held, [&](const HeldDevice& device) {
    return !device.was &&
           (device.nic.empty() ? device.name == name_by_link(link.link.name) : device.nic == nic);
  });
  return it == held.end() ? nullptr : &*it;
}

}  // namespace

std::vector<dra::Device> published_devices(const NodeView& node, const std::vector<HeldDevice>& held) {
  std::vector<dra::Device> nics;
  std::vector<const sys::InventoryLink*> links;  // and what is away: their names must not depend on that
  for (const HeldDevice& device : held) {
    if (device.was) {
      nics.push_back(nic_device(*device.was, device.name));
      links.push_back(&*device.was);
    }
  }
  const std::size_t away = links.size();
  for (const sys::InventoryLink& link : node.inventory().links()) {
    if (std::none_of(links.begin(), links.begin() + static_cast<std::ptrdiff_t>(away),
                     [&](const sys::InventoryLink* was) { return same_nic(*was, link.link); })) {
      links.push_back(&link);
    }
  }
  const auto names = device_names(links);
  for (std::size_t i = away; i < links.size(); ++i) {
    if (node.is_offered(*links[i])) {
      const HeldDevice* holder = holder_of(held, *links[i], names[i]);
      nics.push_back(nic_device(*links[i], holder == nullptr ? names[i] : holder->name));
    }
  }
  std::ranges::stable_sort(nics, {}, &dra::Device::name);
  // A link that has only its name, and the name of one that is away: one name, one device.
  const auto [first, last] = std::ranges::unique(nics, {}, &dra::Device::name);
  nics.erase(first, last);
  std::vector<dra::Device> devices = {virtual_device(node.options())};
  devices.insert(devices.end(), std::make_move_iterator(nics.begin()), std::make_move_iterator(nics.end()));
  return devices;
}

bool same_nic(const sys::InventoryLink& was, const netlink::Link& now) {
  if (was.link.kind != now.kind || was.link.arphrd != now.arphrd) {
    return false;
  }
  const bool same_parent = was.link.parent_bus == now.parent_bus && was.link.parent_dev == now.parent_dev;
  if (!was.link.permanent_mac.empty()) {
    return same_parent && was.link.permanent_mac == now.permanent_mac;
  }
  if (!was.link.parent_dev.empty()) {
    return same_parent;
  }
  // No identity of its own (a veth as the node's NIC): only our marker tells it; see HostDevice.
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
