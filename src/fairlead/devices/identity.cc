// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/identity.h"

#include <net/if_arp.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <map>

#include <nlohmann/json.hpp>

#include "fairlead/core/hash.h"
#include "fairlead/core/text.h"
#include "fairlead/devices/node.h"

namespace fairlead::devices {
namespace {

using nlohmann::json;

constexpr std::size_t kDnsLabelMax = 63;
constexpr std::size_t kGuidSize = 8;
/// Texts of a status that are longer are none of ours.
constexpr std::size_t kFactMax = 128;

bool is_label_char(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

std::string hex(std::uint32_t value) {
  std::array<char, 16> text = {};
  (void)std::snprintf(text.data(), text.size(), "%08x", value);
  return text.data();
}

/// Lower case, every other character a '-'.
std::string label_part(std::string_view text) {
  std::string part;
  for (const char c : text) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    part += is_label_char(lower) ? lower : '-';
  }
  return part;
}

/// What may have become too long, or end in '-', is cut and keeps its hash: two names that become one label stay
/// two devices.
std::string as_label(std::string text) {
  if (is_dns_label(text)) {
    return text;
  }
  const std::string tail = "-" + hex(fnv1a_32(text));
  text.resize(std::min(text.size(), kDnsLabelMax - tail.size()));
  return text + tail;
}

std::string address_text(const sys::InventoryLink& link) {
  const netlink::MacAddress& mac = link.link.permanent_mac;
  // A VLAN has the permanent address of the NIC below it (include/linux/etherdevice.h eth_hw_addr_inherit).
  const bool is_made_of_another = !link.link.kind.empty() && link.link.parent_bus.empty();
  if (mac.empty() || mac.is_zero() || is_made_of_another) {
    return {};
  }
  if (link.link.arphrd == ARPHRD_INFINIBAND && mac.octets().size() > kGuidSize) {
    return netlink::MacAddress(mac.octets().last(kGuidSize)).to_string();
  }
  return mac.to_string();
}

std::string without_colons(std::string text) {
  std::erase(text, ':');
  return text;
}

/// What sits on another bus, such as USB, shares the function of its host controller with others.
std::string pci_address(const sys::InventoryLink& link) {
  if (link.link.parent_bus == "pci") {
    return link.link.parent_dev;
  }
  return link.link.parent_bus == "virtio" && link.pci ? link.pci->bdf : std::string();
}

/// "p0", "p1s2": a port of the card itself, which has a function of its own or is told apart by dev_port.
bool is_card_port(std::string_view name) {
  return name.size() >= 2 && name[0] == 'p' && name[1] >= '0' && name[1] <= '9';
}

std::string port_of(const sys::InventoryLink& link) {
  if (!link.link.phys_port_name.empty() && !is_card_port(link.link.phys_port_name)) {
    return label_part(link.link.phys_port_name);
  }
  return link.dev_port > 0 ? "p" + std::to_string(link.dev_port) : std::string();
}

std::string pf_address(const sys::InventoryLink& vf, const sys::Inventory& inventory) {
  for (const sys::InventoryLink* link : inventory.find_bdf(vf.pci->physical_function)) {
    if (port_of(*link).empty()) {
      return address_text(*link);
    }
  }
  return {};
}

/// One string fact of the status. Its writer is not trusted: the text becomes part of an error sentence.
std::string fact(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    return {};
  }
  std::string text = *found;
  const bool plain =
      text.size() <= kFactMax && std::ranges::all_of(text, [](char c) {
        return is_label_char(c) || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == ':' || c == '.';
      });
  return plain ? text : std::string();
}

std::string describe(const NicIdentity& nic) {
  std::string text;
  const auto add = [&](std::string_view what, const std::string& value) {
    if (!value.empty()) {
      text += (text.empty() ? "" : ", ") + std::string(what) + " " + value;
    }
  };
  add("PCI address", nic.pci_bus_id);
  add("port", nic.port);
  add("permanent MAC", nic.permanent_mac);
  add("driver", nic.driver);
  add("permanent MAC of its PF", nic.pf_permanent_mac);
  return text.empty() ? "one without PCI address and permanent MAC" : "the one with " + text;
}

bool is_another(const NicIdentity& was, const NicIdentity& now) {
  const auto differs = [](const std::string& before, const std::string& after) {
    return !before.empty() && before != after;
  };
  return was.pci_bus_id != now.pci_bus_id || differs(was.port, now.port) ||
         differs(was.permanent_mac, now.permanent_mac) || differs(was.driver, now.driver) ||
         // The PF may be out of sight; then it says nothing.
         (!now.pf_permanent_mac.empty() && differs(was.pf_permanent_mac, now.pf_permanent_mac));
}

}  // namespace

NicIdentity identity_of(const sys::InventoryLink& link, const sys::Inventory& inventory) {
  NicIdentity identity{.name = permanent_name(link), .pci_bus_id = pci_address(link), .port = port_of(link)};
  if (link.pci && link.pci->is_vf()) {
    identity.pf_permanent_mac = pf_address(link, inventory);
    return identity;
  }
  identity.permanent_mac = address_text(link);
  if (identity.pci_bus_id.empty() && !identity.permanent_mac.empty()) {
    identity.driver = link.driver;
  }
  return identity;
}

std::string permanent_name(const sys::InventoryLink& link) {
  if (const std::string pci = pci_address(link); !pci.empty()) {
    const std::string port = port_of(link);
    return as_label("pci-" + label_part(pci) + (port.empty() ? "" : "-" + port));
  }
  if (const std::string mac = address_text(link); !mac.empty()) {
    return as_label("mac-" + without_colons(mac) +
                    (link.driver.empty() ? "" : "-" + label_part(link.driver)));
  }
  return name_by_link(link.link.name);
}

std::string name_with_mac(const sys::InventoryLink& link) {
  const std::string mac = address_text(link);
  return pci_address(link).empty() || mac.empty()
             ? permanent_name(link)
             : as_label(permanent_name(link) + "-" + without_colons(mac));
}

std::string node_wide_name(const sys::InventoryLink& link) {
  return pci_address(link).empty() && address_text(link).empty()
             ? "ifindex-" + std::to_string(link.link.index.value())
             : permanent_name(link);
}

std::vector<std::string> device_names(const std::vector<const sys::InventoryLink*>& links) {
  std::vector<std::string> names;
  for (const sys::InventoryLink* link : links) {
    names.push_back(permanent_name(*link));
  }
  const auto tell_apart = [&](const auto& better_name) {
    std::map<std::string, int> count;
    for (const std::string& name : names) {
      ++count[name];
    }
    for (std::size_t i = 0; i < links.size(); ++i) {
      if (count[names[i]] > 1) {
        names[i] = better_name(*links[i]);
      }
    }
  };
  tell_apart(name_with_mac);
  tell_apart([](const sys::InventoryLink& link) {
    return as_label(name_with_mac(link) + "-" + label_part(link.link.name));
  });
  return names;
}

std::string name_by_link(std::string_view link_name) {
  if (is_dns_label(link_name) && link_name != kVirtualDevice) {
    return std::string(link_name);
  }
  return "net-" + label_part(link_name) + "-" + hex(fnv1a_32(link_name));
}

std::string to_json(const NicIdentity& identity) {
  json facts = json::object();
  const auto put = [&](const char* key, const std::string& value) {
    if (!value.empty()) {
      facts[key] = value;
    }
  };
  put("name", identity.name);
  put("pciBusID", identity.pci_bus_id);
  put("port", identity.port);
  put("permanentMAC", identity.permanent_mac);
  put("driver", identity.driver);
  put("pfPermanentMAC", identity.pf_permanent_mac);
  return json{{"identity", std::move(facts)}}.dump(-1, ' ', false, json::error_handler_t::replace);
}

NicIdentity parse_identity(std::string_view data) {
  const json document = json::parse(data, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) {
    return {};
  }
  const auto found = document.find("identity");
  if (found == document.end() || !found->is_object()) {
    return {};
  }
  return {.name = fact(*found, "name"),
          .pci_bus_id = fact(*found, "pciBusID"),
          .port = fact(*found, "port"),
          .permanent_mac = fact(*found, "permanentMAC"),
          .driver = fact(*found, "driver"),
          .pf_permanent_mac = fact(*found, "pfPermanentMAC")};
}

Result<> check_is_same(std::string_view reported, const NicIdentity& now, const std::string& who) {
  const NicIdentity was = parse_identity(reported);
  if (was.name.empty() || !is_another(was, now)) {
    return {};
  }
  return Error(Code::kInvalid,
               who + " is another NIC than when the claim was prepared before: it was " + describe(was) +
                   ", and now it is " + describe(now) +
                   "; delete the claim, so that a NIC is allocated anew, or bring the old one "
                   "back to its place");
}

}  // namespace fairlead::devices
