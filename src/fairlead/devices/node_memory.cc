// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/node_memory.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "fairlead/core/log.h"
#include "fairlead/devices/node.h"
#include "fairlead/sys/files.h"

namespace fairlead::devices {
namespace {

using netlink::IpAddress;
using netlink::MacAddress;
using nlohmann::json;

/// Enough to know the link again (is_same_link).
json json_of(const netlink::Link& link) {
  return {{"ifindex", link.index.value()},
          {"name", link.name},
          {"kind", link.kind},
          {"arphrd", link.arphrd},
          {"mac", link.mac.to_string()},
          {"permanentMac", link.permanent_mac.to_string()},
          {"parentBus", link.parent_bus},
          {"parentDev", link.parent_dev}};
}

MacAddress mac_from(const std::string& text) { return MacAddress::parse(text).value_or(MacAddress()); }

netlink::Link link_from(const json& in) {
  netlink::Link link{.index = netlink::IfIndex(in.at("ifindex").get<std::int32_t>())};
  link.name = in.at("name");
  link.kind = in.at("kind");
  link.arphrd = in.at("arphrd");
  link.mac = mac_from(in.at("mac"));
  link.permanent_mac = mac_from(in.at("permanentMac"));
  link.parent_bus = in.at("parentBus");
  link.parent_dev = in.at("parentDev");
  return link;
}

std::string boot_id() {
  auto text = sys::read_file("/proc/sys/kernel/random/boot_id").value_or("");
  std::erase(text, '\n');
  return text;
}

/// Exceptions of the JSON library stay in this file.
Result<NodeMemory::Known> parse(const std::string& text) {
  try {
    NodeMemory::Known known;
    const json in = json::parse(text);
    if (in.at("bootId") != boot_id()) {
      return known;
    }
    if (const auto addresses = in.find("addresses"); addresses != in.end()) {
      known.addresses.emplace();
      for (const json& one : *addresses) {
        FL_ASSIGN(const IpAddress address, IpAddress::parse(one.get<std::string>()));
        known.addresses->push_back(address);
      }
      if (known.addresses->empty()) {
        known.addresses.reset();  // older versions took a Node without addresses for one that has none
      }
    }
    for (const json& one : in.at("uplinks")) {
      known.uplinks.push_back({.link = link_from(one)});
    }
    return known;
  } catch (const std::exception& e) {
    return Error(Code::kCorrupt, e.what());
  }
}

}  // namespace

NodeMemory::NodeMemory(std::string dir) : dir_(std::move(dir)) { load(); }

void NodeMemory::load() {
  const auto known = [&]() -> Result<Known> {
    FL_ASSIGN(const auto text, sys::read_file_if_exists(dir_ + "/" + kFile));
    return text ? parse(*text) : Result<Known>(Known());
  }();
  const Lock lock(mutex_);
  if (known) {
    known_ = *known;
  } else {
    log::warn("cannot read the remembered facts of this node; ignoring them",
              {{"file", dir_ + "/" + kFile}, {"error", known.error().what()}});
  }
}

void NodeMemory::save() const {
  json out = {{"version", 1}, {"bootId", boot_id()}, {"uplinks", json::array()}};
  if (known_.addresses) {
    out["addresses"] = json::array();
    for (const IpAddress& address : *known_.addresses) {
      out["addresses"].push_back(address.to_string());
    }
  }
  for (const sys::InventoryLink& link : known_.uplinks) {
    out["uplinks"].push_back(json_of(link.link));
  }
  const auto made = sys::make_dirs(dir_, 0750);
  const auto saved =
      made ? sys::replace_file(dir_, kFile, out.dump(2, ' ', false, json::error_handler_t::replace) + "\n")
           : made;
  if (!saved) {
    log::warn("cannot store the facts of this node for the agent's next start; ignoring that",
              {{"error", saved.error().what()}});
  }
}

NodeMemory::Known NodeMemory::known() const {
  const Lock lock(mutex_);
  return known_;
}

std::uint64_t NodeMemory::version() const {
  const Lock lock(mutex_);
  return version_;
}

bool NodeMemory::set_addresses(std::vector<IpAddress> addresses) {
  const Lock lock(mutex_);
  if (known_.addresses == addresses) {
    return false;
  }
  known_.addresses = std::move(addresses);
  ++version_;
  save();
  return true;
}

bool NodeMemory::set_problem(std::string problem) {
  const Lock lock(mutex_);
  const bool is_news = !known_.addresses && known_.problem != problem;
  known_.problem = std::move(problem);
  ++version_;
  return is_news;
}

void NodeMemory::remember_uplinks(const sys::Inventory& inventory) {
  using Where = sys::Inventory::Where;
  const Lock lock(mutex_);
  bool is_news = false;
  for (const sys::InventoryLink& link : inventory.links()) {
    const bool is_best = std::ranges::any_of(
        link.uses, [](const auto& use) { return use.kind == sys::NodeUse::Kind::kBestRoute; });
    if (!is_best) {
      continue;
    }
    for (const auto& [one, where] : inventory.stack_of(link.link.index)) {
      const netlink::Link& now = one->link;
      const bool known =
          std::ranges::any_of(known_.uplinks, [&](const auto& was) { return is_same_link(was, now); });
      if (where != Where::kAbove && !known) {
        known_.uplinks.push_back({.link = now});
        is_news = true;
      }
    }
  }
  if (is_news) {
    ++version_;
    save();
  }
}

}  // namespace fairlead::devices
