// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/nic_offers.h"

#include <net/if_arp.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/devices/attributes.h"
#include "fairlead/devices/identity.h"
#include "fairlead/devices/netdev/link_use.h"

namespace fairlead::devices::netdev {
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
  put_attribute(device, "ifName", link.link.name);
  put_attribute(device, "mac", link.link.mac.to_string());
  put_attribute(device, "state", netlink::to_string(link.link.operstate));
  put_attribute(device, "encapsulation", link.link.arphrd == ARPHRD_INFINIBAND ? "infiniband" : "ether");
  if (link.pci) {
    put_pci_attributes(device, *link.pci);
  }
  return device;
}

Offers virtual_offers(const OfferInput& input) {
  if (!input.named.empty() && input.named != kVirtualDevice) {
    return {};
  }
  return {.devices = {{.device = virtual_device(input.node->options())}}};
}

namespace {

std::optional<NotOffered> not_offered(const std::optional<Withheld>& withheld) {
  return withheld ? std::optional(devices::not_offered(*withheld)) : std::nullopt;
}

Offers nic_named(const NodeView& node, std::string_view name) {
  const sys::InventoryLink* nic = name == kVirtualDevice ? nullptr : node.find_device(name);
  if (nic == nullptr) {
    return {};
  }
  const NicIdentity identity = node.identity(*nic);
  return {.devices = {{.device = nic_device(*nic, std::string(name)),
                       .identity = {.key = identity.name, .data = to_json(identity)},
                       .called = nic->link.name,
                       .withheld = not_offered(node.withheld(*nic))}}};
}

/// A claim has the NIC without taking it away (a macvlan sits on it).
bool is_held(std::span<const HeldDevice> held, const Offer& nic) {
  return std::ranges::any_of(held, [&](const HeldDevice& device) {
    return device.plan.key.empty()
               ? std::ranges::find(nic.former_names, device.name) != nic.former_names.end()
               : device.plan.key == nic.identity.key;
  });
}

}  // namespace

Offers nic_offers(const OfferInput& input) {
  const NodeView& node = *input.node;
  if (!input.named.empty()) {
    return nic_named(node, input.named);
  }
  Offers offers{.devices = {}, .problem = not_offered(node.problem())};
  if (offers.problem) {
    offers.problem->text = "no NIC of this node is offered: " + offers.problem->text;
  }
  std::vector<sys::InventoryLink> away;
  for (const HeldDevice& device : input.held) {
    for (const DevicePlan& part : device.plan.parts_or_self()) {
      if (auto was = taken_nic(part)) {
        offers.devices.push_back({.device = nic_device(*was, device.name),
                                  .identity = {.key = device.plan.key},
                                  .called = was->link.name});
        away.push_back(*std::move(was));
      }
    }
  }
  // Names must not depend on what is away.
  std::vector<const sys::InventoryLink*> links;
  for (const sys::InventoryLink& was : away) {
    links.push_back(&was);
  }
  for (const sys::InventoryLink& link : node.inventory().links()) {
    if (std::ranges::none_of(away, [&](const auto& was) { return same_nic(was, link.link); })) {
      links.push_back(&link);
    }
  }
  const auto names = device_names(links);
  for (std::size_t i = away.size(); i < links.size(); ++i) {
    const sys::InventoryLink& link = *links[i];
    Offer offer{.identity = {.key = names[i]},
                .called = link.link.name,
                .former_names = {name_by_link(link.link.name)}};
    if (!node.is_candidate(link) && !is_held(input.held, offer)) {
      continue;
    }
    offer.device = nic_device(link, names[i]);
    offer.withheld = not_offered(node.withheld(link));
    // A VLAN of the node that a claim has cannot be seen on it from here.
    if (!offer.withheld &&
        std::ranges::any_of(away, [&](const auto& was) { return sits_on(was.link, link.link); })) {
      offer.withheld =
          devices::not_offered({.why = Withheld::Why::kClaims, .text = "a claim has a link that sits on it"});
    }
    offers.devices.push_back(std::move(offer));
  }
  return offers;
}

}  // namespace fairlead::devices::netdev
