// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/rdma/rdma_offers.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "fairlead/devices/attributes.h"
#include "fairlead/devices/netdev/link_use.h"
#include "fairlead/devices/rdma/uverbs_nodes.h"

namespace fairlead::devices::rdma {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

dra::Device rdma_device(const std::string& name) {
  dra::Device device{.name = name};
  device.attributes["type"] = std::string("rdma");
  device.attributes["kind"] = std::string("uverbs");
  return device;
}

dra::Device device_of(const Hca& hca) {
  dra::Device device = rdma_device(hca.name);
  const sys::RdmaDevice& facts = *hca.device;
  put_attribute(device, "rdmaDevice", facts.name);
  put_attribute(device, "nodeGUID", facts.node_guid);
  put_attribute(device, "firmware", facts.firmware);
  put_attribute(device, "linkLayer", lower(facts.link_layer));
  put_attribute(device, "state", lower(facts.state));
  device.attributes["ports"] = std::int64_t{facts.ports};
  device.attributes["virtual"] = facts.is_software;
  if (hca.function != nullptr) {
    put_pci_attributes(device, hca.function->pci);
  } else {
    put_attribute(device, "resource.kubernetes.io/pciBusID", facts.bdf);
  }
  put_attribute(device, "ifName", hca.links.empty() ? facts.link : hca.links.front()->link.name);
  return device;
}

/// The device of a claim that has an RDMA device, of several parts.
bool has(const DevicePlan& plan, const std::string& name) {
  return std::ranges::any_of(plan.parts_or_self(), [&](const DevicePlan& part) {
    const UverbsPlan* uverbs = find_uverbs_plan(part);
    return uverbs != nullptr && uverbs->identity.name == name;
  });
}

bool is_held(std::span<const HeldDevice> held, const std::string& name) {
  return std::ranges::any_of(held, [&](const HeldDevice& device) { return has(device.plan, name); });
}

/// One that a claim has, and that is not here now: an allocated device stays in the slice.
Offer gone_offer(const HeldDevice& held, const UverbsPlan& plan) {
  Offer offer{.device = rdma_device(held.name), .identity = {.key = held.plan.key}, .called = plan.device};
  put_attribute(offer.device, "nodeGUID", plan.identity.node_guid);
  put_attribute(offer.device, "resource.kubernetes.io/pciBusID", plan.identity.pci_bus_id);
  return offer;
}

}  // namespace

std::optional<NotOffered> why_withheld(const NodeView& node, const Hca& hca,
                                       std::span<const HeldDevice> held) {
  if (hca.function != nullptr && hca.function->pci.sriov_num_vfs > 0) {
    return NotOffered{.reason = std::string(to_string(Withheld::Why::kVfs)),
                      .text = "it is of a physical function with " +
                              std::to_string(hca.function->pci.sriov_num_vfs) + " virtual functions"};
  }
  for (const sys::InventoryLink* link : hca.links) {
    if (const auto own = node.withheld_for_rdma(*link)) {
      return not_offered(*own);
    }
  }
  if (const auto problem = node.problem()) {
    return not_offered(*problem);
  }
  if (hca.device->bdf.empty()) {
    return std::nullopt;
  }
  if (auto other = node.other_driver_of(hca.device->bdf)) {
    return NotOffered{.reason = std::string(to_string(Withheld::Why::kOtherDriver)),
                      .text = *std::move(other)};
  }
  for (const HeldDevice& device : held) {
    for (const DevicePlan& part : device.plan.parts_or_self()) {
      if (const auto nic = netdev::taken_nic(part); nic && nic->pci && nic->pci->bdf == hca.device->bdf) {
        return NotOffered{.reason = std::string(to_string(Withheld::Why::kClaims)),
                          .text = "a claim has its network interface " + nic->link.name};
      }
    }
  }
  return std::nullopt;
}

Offers rdma_offers(const OfferInput& input) {
  Offers offers;
  if (input.facts == nullptr) {
    return offers;
  }
  const bool is_view = input.node->options().rdma_view == RdmaView::kRdma;
  const auto all = hcas(*input.facts);
  for (const Hca& hca : all) {
    if ((!is_view && !is_held(input.held, hca.name)) || (!input.named.empty() && input.named != hca.name)) {
      continue;
    }
    Offer offer{.device = device_of(hca),
                .identity = {.key = hca.name,
                             .data = R"({"identity":)" + to_json(identity_of(hca, *input.facts)) + "}"},
                .called = hca.device->name};
    offer.withheld = why_withheld(*input.node, hca, input.held);
    offers.devices.push_back(std::move(offer));
  }
  for (const HeldDevice& held : input.held) {
    const UverbsPlan* plan = find_uverbs_plan(held.plan);
    if (plan != nullptr &&
        std::ranges::none_of(all, [&](const Hca& hca) { return hca.name == plan->identity.name; })) {
      offers.devices.push_back(gone_offer(held, *plan));
    }
  }
  return offers;
}

RdmaLinks rdma_links(const sys::NodeFacts& facts, RdmaView view, std::span<const HeldDevice> held) {
  RdmaLinks links;
  for (const Hca& hca : hcas(facts)) {
    std::string why;
    if (view == RdmaView::kRdma) {
      why = "it is offered as the RDMA device " + hca.device->name + " (--rdma-view rdma)";
    } else if (is_held(held, hca.name)) {
      why = "a claim has its RDMA device " + hca.device->name;
    } else {
      continue;
    }
    for (const sys::InventoryLink* link : hca.links) {
      links.emplace(link->link.index, why);
    }
  }
  return links;
}

}  // namespace fairlead::devices::rdma
