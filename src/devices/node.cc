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

constexpr std::size_t kDnsLabelMax = 63;
constexpr std::size_t kAttributeStringMax = 64;  // resource/v1 DeviceAttributeMaxValueLength

bool is_label_char(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_dns_label(std::string_view name) {
  return !name.empty() && name.size() <= kDnsLabelMax && is_label_char(name.front()) &&
         is_label_char(name.back()) &&
         std::ranges::all_of(name, [](char c) { return is_label_char(c) || c == '-'; });
}

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

const sys::InventoryLink* NodeView::find_device(std::string_view name) const {
  const auto& links = inventory_.links();
  const auto it = std::ranges::find_if(links, [&](const sys::InventoryLink& link) {
    return is_candidate(link) && device_name(link.link.name) == name;
  });
  return it == links.end() ? nullptr : &*it;
}

std::string device_name(std::string_view link_name) {
  if (is_dns_label(link_name) && link_name != kVirtualDevice) {
    return std::string(link_name);
  }
  std::string label = "net-";
  std::uint32_t hash = 0x811c9dc5U;  // FNV-1a: two names that become one label stay two devices
  for (const char c : link_name) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    label += is_label_char(lower) ? lower : '-';
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193U;
  }
  return label + "-" + hex(hash, 8);
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

dra::Device nic_device(const sys::InventoryLink& link) {
  dra::Device device{.name = device_name(link.link.name)};
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

std::vector<dra::Device> published_devices(const NodeView& node,
                                           const std::vector<sys::InventoryLink>& taken) {
  std::vector<dra::Device> nics;
  for (const sys::InventoryLink& nic : taken) {
    nics.push_back(nic_device(nic));
  }
  for (const sys::InventoryLink& link : node.inventory().links()) {
    const bool is_taken =
        std::ranges::any_of(taken, [&](const sys::InventoryLink& was) { return same_nic(was, link.link); });
    if (!is_taken && node.is_offered(link)) {
      nics.push_back(nic_device(link));
    }
  }
  std::ranges::sort(nics, {}, &dra::Device::name);
  // A NIC that came home under another's name while its claim still stands: one name, one device.
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
