// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/plan.h"

#include <charconv>

#include <nlohmann/json.hpp>

#include "fairlead/formats/json_writer.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::IpAddress;
using netlink::IpPrefix;
using netlink::MacAddress;
using nlohmann::json;

/// Record texts are ours, so a wrong one is damage; exceptions stay in this file.
template <class T>
T value_of(Result<T> result) {
  if (!result) {
    throw std::runtime_error(result.error().what());
  }
  return *std::move(result);
}

MacAddress mac_from(const std::string& text) {
  return text.empty() ? MacAddress() : value_of(MacAddress::parse(text));
}

// The writers give the keys of an object in order (json_writer.h).

void write(JsonWriter& out, const std::vector<IpPrefix>& prefixes) {
  out.begin_array();
  for (const IpPrefix& prefix : prefixes) {
    out.value(prefix.to_string());
  }
  out.end_array();
}

std::vector<IpPrefix> prefixes_from(const json& list) {
  std::vector<IpPrefix> prefixes;
  for (const json& item : list) {
    prefixes.push_back(value_of(IpPrefix::parse(item.get<std::string>())));
  }
  return prefixes;
}

void write(JsonWriter& out, const sys::PciDevice& pci) {
  out.begin_object();
  out.member("bdf", pci.bdf).member("device", pci.device).member("driver", pci.driver);
  out.member("numaNode", pci.numa_node).member("pcieRoot", pci.pcie_root).member("vendor", pci.vendor);
  out.end_object();
}

sys::PciDevice pci_from(const json& in) {
  sys::PciDevice pci;
  pci.bdf = in.at("bdf");
  pci.vendor = in.at("vendor");
  pci.device = in.at("device");
  pci.driver = in.at("driver");
  pci.numa_node = in.at("numaNode");
  pci.pcie_root = in.at("pcieRoot");
  return pci;
}

void write(JsonWriter& out, const std::vector<netlink::NewRoute>& routes) {
  out.begin_array();
  for (const netlink::NewRoute& route : routes) {
    out.begin_object();
    out.member("dst", route.destination.to_string());
    if (route.gateway) {
      out.member("gw", route.gateway->to_string());
    }
    out.member("metric", route.metric);
    if (route.scope) {
      out.member("scope", *route.scope);
    }
    if (route.source) {
      out.member("src", route.source->to_string());
    }
    out.member("table", route.table);
    out.end_object();
  }
  out.end_array();
}

std::vector<netlink::NewRoute> static_routes_from(const json& list) {
  std::vector<netlink::NewRoute> routes;
  for (const json& item : list) {
    netlink::NewRoute route{.destination = value_of(IpPrefix::parse(item.at("dst").get<std::string>())),
                            .metric = item.at("metric"),
                            .table = item.at("table")};
    if (const auto gw = item.find("gw"); gw != item.end()) {
      route.gateway = value_of(IpAddress::parse(gw->get<std::string>()));
    }
    if (const auto scope = item.find("scope"); scope != item.end()) {
      route.scope = scope->get<std::uint8_t>();
    }
    if (const auto source = item.find("src"); source != item.end()) {
      route.source = value_of(IpAddress::parse(source->get<std::string>()));
    }
    routes.push_back(route);
  }
  return routes;
}

void write(JsonWriter& out, const std::vector<netlink::Told>& all) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out.begin_array();
  for (const netlink::Told& told : all) {
    std::string text;
    for (const std::uint8_t byte : told) {
      text += kDigits[byte >> 4U];
      text += kDigits[byte & 0xfU];
    }
    out.value(text);
  }
  out.end_array();
}

void write(JsonWriter& out, const Details& details) {
  out.begin_object();
  write(out.key("addresses"), details.addresses);
  write(out.key("routes"), details.routes);
  out.member("settings", details.settings);
  out.end_object();
}

/// A link; of a NIC that leaves the node, with the rest of how it was. Version 0.1 reads only what is beside "details".
void write(JsonWriter& out, const sys::InventoryLink& of, const Original* original = nullptr) {
  const netlink::Link& link = of.link;
  out.begin_object();
  if (original != nullptr) {
    write(out.key("addresses"), original->addresses);
  }
  out.member("alias", link.alias).member("altnames", link.altnames).member("arphrd", link.arphrd);
  if (original != nullptr && original->details) {
    write(out.key("details"), *original->details);
  }
  out.member("devPort", of.dev_port).member("flags", link.flags).member("group", link.group);
  out.member("ifindex", link.index.value()).member("kind", link.kind);
  out.key("limits").begin_array();
  for (const auto& [attribute, limit] : link.limits) {
    out.begin_array().value(attribute).value(limit).end_array();
  }
  out.end_array();
  out.member("mac", link.mac.to_string()).member("mode", link.mode).member("mtu", link.mtu);
  out.member("name", link.name).member("operstate", static_cast<int>(link.operstate));
  out.member("parent", link.parent.value()).member("parentBus", link.parent_bus);
  out.member("parentDev", link.parent_dev).member("parentDriver", of.driver);
  if (link.parent_netnsid) {
    out.member("parentNetnsid", *link.parent_netnsid);
  }
  if (of.pci) {
    write(out.key("pci"), *of.pci);
  }
  out.member("permanentMac", link.permanent_mac.to_string()).member("physPortId", link.phys_port_id);
  out.member("physPortName", link.phys_port_name).member("physSwitchId", link.phys_switch_id);
  if (original != nullptr) {
    write(out.key("routes"), original->routes);
  }
  out.member("txQueueLen", link.tx_queue_len);
  out.end_object();
}

std::vector<netlink::Told> told_from(const json& list) {
  std::vector<netlink::Told> all;
  for (const json& item : list) {
    const auto& text = item.get_ref<const std::string&>();
    netlink::Told& told = all.emplace_back(text.size() / 2);
    for (std::size_t at = 0; at < told.size(); ++at) {
      const char* digits = text.data() + (2 * at);
      if (std::from_chars(digits, digits + 2, told[at], 16).ptr != digits + 2) {
        throw std::runtime_error("\"" + text + "\" is not in hexadecimal");
      }
    }
  }
  return all;
}

Details details_from(const json& in) {
  return {.addresses = told_from(in.at("addresses")),
          .routes = told_from(in.at("routes")),
          .settings = in.at("settings").get<sys::LinkSettings>()};
}

sys::InventoryLink link_from(const json& in) {
  sys::InventoryLink out;
  netlink::Link& link = out.link;
  link.index = netlink::IfIndex(in.at("ifindex").get<std::int32_t>());
  link.name = in.at("name");
  link.altnames = in.at("altnames").get<std::vector<std::string>>();
  link.kind = in.at("kind");
  link.mac = mac_from(in.at("mac"));
  link.permanent_mac = mac_from(in.at("permanentMac"));
  link.mtu = in.at("mtu");
  link.flags = in.at("flags");
  link.operstate = static_cast<netlink::OperState>(in.at("operstate").get<int>());
  link.alias = in.at("alias");
  link.parent_dev = in.at("parentDev");
  link.parent_bus = in.at("parentBus");
  // Records of 0.1 have none of these.
  link.parent = netlink::IfIndex(in.value("parent", 0));
  if (const auto netnsid = in.find("parentNetnsid"); netnsid != in.end()) {
    link.parent_netnsid = netnsid->get<std::int32_t>();
  }
  link.phys_port_id = in.value("physPortId", "");
  link.phys_switch_id = in.value("physSwitchId", "");
  link.arphrd = in.at("arphrd");
  link.phys_port_name = in.value("physPortName", "");  // version 0.1 did not write these
  link.group = in.value("group", 0U);
  link.tx_queue_len = in.value("txQueueLen", 0U);
  link.mode = in.value("mode", std::uint8_t{0});
  link.limits = in.value("limits", decltype(link.limits)());
  out.dev_port = in.value("devPort", 0);
  out.driver = in.value("parentDriver", "");
  if (const auto pci = in.find("pci"); pci != in.end()) {
    out.pci = pci_from(*pci);
  }
  return out;
}

Original original_from(const json& in) {
  Original original{.link = link_from(in),
                    .addresses = prefixes_from(in.at("addresses")),
                    .routes = static_routes_from(in.value("routes", json::array()))};
  if (const auto details = in.find("details"); details != in.end()) {
    original.details = details_from(*details);
  }
  return original;
}

void write(JsonWriter& out, const std::vector<RouteConfig>& routes) {
  out.begin_array();
  for (const RouteConfig& route : routes) {
    out.begin_object();
    out.member("dst", route.destination.to_string());
    if (route.gateway) {
      out.member("gw", route.gateway->to_string());
    }
    if (route.metric) {
      out.member("metric", *route.metric);
    }
    if (route.onlink) {
      out.member("onlink", true);
    }
    if (route.scope) {
      out.member("scope", *route.scope);
    }
    if (route.source) {
      out.member("src", route.source->to_string());
    }
    if (route.table != netlink::kMainTable) {
      out.member("table", route.table);
    }
    out.end_object();
  }
  out.end_array();
}

NetdevPlan plan_from(const json& in) {
  NetdevPlan plan;
  if (const auto mtu = in.find("mtu"); mtu != in.end()) {
    plan.mtu = mtu->get<std::uint32_t>();
  }
  if (const auto mac = in.find("mac"); mac != in.end()) {
    plan.mac = mac_from(*mac);
  }
  plan.addresses = prefixes_from(in.value("addresses", json::array()));
  for (const json& item : in.value("routes", json::array())) {
    RouteConfig route{.destination = value_of(IpPrefix::parse(item.at("dst").get<std::string>()))};
    if (const auto gw = item.find("gw"); gw != item.end()) {
      route.gateway = value_of(IpAddress::parse(gw->get<std::string>()));
    }
    if (const auto metric = item.find("metric"); metric != item.end()) {
      route.metric = metric->get<std::uint32_t>();
    }
    route.table = item.value("table", netlink::kMainTable);
    route.onlink = item.value("onlink", false);
    if (const auto scope = item.find("scope"); scope != item.end()) {
      route.scope = scope->get<std::uint8_t>();
    }
    if (const auto src = item.find("src"); src != item.end()) {
      route.source = value_of(IpAddress::parse(src->get<std::string>()));
    }
    plan.routes.push_back(route);
  }
  plan.master = in.value("master", "");
  plan.own = in.value("own", decltype(plan.own)());
  plan.must_agree = in.value("mustAgree", decltype(plan.must_agree)());
  plan.wants = in.value("wants", decltype(plan.wants)());
  if (const auto mode = in.find("mode"); mode != in.end()) {
    plan.own.emplace("mode", mode->get<std::string>());  // a macvlan's in records of version 0.1
  }
  plan.bridge = in.value("bridge", "");
  if (const auto original = in.find("original"); original != in.end()) {
    plan.original = original_from(*original);
  }
  if (const auto parent = in.find("parent"); parent != in.end()) {
    plan.parent = link_from(*parent);
  }
  plan.exclusive = in.value("exclusive", false);
  return plan;
}

}  // namespace

std::string to_json(const NetdevPlan& plan) {
  JsonWriter out;
  out.begin_object();
  if (!plan.addresses.empty()) {
    write(out.key("addresses"), plan.addresses);
  }
  if (!plan.bridge.empty()) {
    out.member("bridge", plan.bridge);
  }
  if (plan.exclusive) {
    out.member("exclusive", true);
  }
  if (plan.mac) {
    out.member("mac", plan.mac->to_string());
  }
  if (!plan.master.empty()) {
    out.member("master", plan.master);
  }
  if (const auto mode = plan.own.find("mode"); mode != plan.own.end()) {
    out.member("mode", mode->second);  // version 0.1 reads a macvlan's here
  }
  if (plan.mtu) {
    out.member("mtu", *plan.mtu);
  }
  if (!plan.must_agree.empty()) {
    out.member("mustAgree", plan.must_agree);
  }
  if (plan.original) {
    write(out.key("original"), plan.original->link, &*plan.original);
  }
  if (!plan.own.empty()) {
    out.member("own", plan.own);
  }
  if (plan.parent) {
    write(out.key("parent"), *plan.parent);
  }
  if (!plan.routes.empty()) {
    write(out.key("routes"), plan.routes);
  }
  if (!plan.wants.empty()) {
    out.member("wants", plan.wants);
  }
  out.end_object();
  return std::move(out).take();
}

std::string NetdevBody::to_json() const { return netdev::to_json(plan); }

Result<NetdevPlan> parse_plan(std::string_view text) {
  try {
    return plan_from(json::parse(text));
  } catch (const std::exception& e) {
    return Error(Code::kCorrupt, std::string("the plan in the claim's record cannot be read: ") + e.what());
  }
}

const sys::InventoryLink* find_parent_of(const NetdevPlan& plan, std::optional<sys::InventoryLink>& made) {
  if (plan.parent) {
    return &*plan.parent;
  }
  made = parent_of(plan);
  return made ? &*made : nullptr;
}

std::optional<sys::InventoryLink> parent_of(const NetdevPlan& plan) {
  const std::string& name = plan.master.empty() ? plan.bridge : plan.master;
  if (plan.parent || name.empty()) {
    return plan.parent;
  }
  return sys::InventoryLink{.link = {.name = name}};
}

}  // namespace fairlead::devices::netdev
