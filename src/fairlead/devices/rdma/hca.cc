// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/rdma/hca.h"

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "fairlead/devices/identity.h"
#include "fairlead/formats/json_writer.h"

namespace fairlead::devices::rdma {
namespace {

using nlohmann::json;

std::string without_colons(std::string text) {
  std::erase(text, ':');
  return text;
}

std::string base_name(const sys::RdmaDevice& device) {
  if (!device.bdf.empty()) {
    std::string name = "rdma-" + device.bdf;
    std::ranges::replace_if(name, [](char c) { return c == ':' || c == '.'; }, '-');
    return name;
  }
  if (!device.node_guid.empty()) {
    return "rdma-guid-" + without_colons(device.node_guid);
  }
  return name_by_link("rdma-" + device.name);
}

/// One fact of a status. Its writer is not trusted: the text becomes part of an error sentence.
std::string fact(const json& object, const char* key) {
  constexpr std::size_t kFactMax = 64;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    return {};
  }
  std::string text = *found;
  const bool is_plain =
      text.size() <= kFactMax && std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == ':' || c == '.';
      });
  return is_plain ? text : std::string();
}

HcaIdentity parse_identity(std::string_view data) {
  const json document = json::parse(data, nullptr, /*allow_exceptions=*/false);
  const auto found = document.is_object() ? document.find("identity") : document.end();
  if (!document.is_object() || found == document.end() || !found->is_object()) {
    return {};
  }
  return {.name = fact(*found, "name"),
          .pci_bus_id = fact(*found, "pciBusID"),
          .node_guid = fact(*found, "nodeGUID"),
          .pf_node_guid = fact(*found, "pfNodeGUID")};
}

std::string describe(const HcaIdentity& hca) {
  std::string text;
  const auto add = [&](std::string_view what, const std::string& value) {
    if (!value.empty()) {
      text += (text.empty() ? "the one with " : ", ") + std::string(what) + " " + value;
    }
  };
  add("PCI address", hca.pci_bus_id);
  add("node GUID", hca.node_guid);
  add("node GUID of its PF", hca.pf_node_guid);
  return text.empty() ? "one without PCI address and node GUID" : text;
}

}  // namespace

std::vector<Hca> hcas(const sys::NodeFacts& facts) {
  std::vector<Hca> all;
  for (const sys::RdmaDevice& device : facts.rdma_devices()) {
    all.push_back({.device = &device,
                   .function = device.bdf.empty() ? nullptr : facts.function(device.bdf),
                   .links = facts.links_of(device),
                   .name = base_name(device)});
  }
  const auto tell_apart = [&](const auto& more_of) {
    std::map<std::string, int> count;
    for (const Hca& hca : all) {
      ++count[hca.name];
    }
    for (Hca& hca : all) {
      if (count[hca.name] > 1) {
        hca.name = name_by_link(hca.name + "-" + more_of(*hca.device));
      }
    }
  };
  tell_apart([](const sys::RdmaDevice& device) {
    return device.bdf.empty() || device.node_guid.empty() ? device.name : without_colons(device.node_guid);
  });
  tell_apart([](const sys::RdmaDevice& device) { return device.name; });
  return all;
}

HcaIdentity identity_of(const Hca& hca, const sys::NodeFacts& facts) {
  HcaIdentity identity{.name = hca.name, .pci_bus_id = hca.device->bdf};
  if (!hca.is_vf()) {
    identity.node_guid = hca.device->node_guid;
    return identity;
  }
  for (const sys::RdmaDevice& device : facts.rdma_devices()) {
    if (device.bdf == hca.function->pci.physical_function) {
      identity.pf_node_guid = device.node_guid;
    }
  }
  return identity;
}

std::string to_json(const HcaIdentity& identity) {
  JsonWriter out;
  out.begin_object();
  const auto put = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) {
      out.key(key).value(value);
    }
  };
  put("name", identity.name);
  put("nodeGUID", identity.node_guid);
  put("pciBusID", identity.pci_bus_id);
  put("pfNodeGUID", identity.pf_node_guid);
  out.end_object();
  return std::move(out).take();
}

Result<> check_is_same(std::string_view reported, std::string_view now_data, const std::string& who) {
  const HcaIdentity was = parse_identity(reported);
  const HcaIdentity now = parse_identity(now_data);
  const auto differs = [](const std::string& before, const std::string& after) {
    return !before.empty() && before != after;
  };
  const bool is_another = was.pci_bus_id != now.pci_bus_id || differs(was.node_guid, now.node_guid) ||
                          // The PF may be out of sight; then it says nothing.
                          (!now.pf_node_guid.empty() && differs(was.pf_node_guid, now.pf_node_guid));
  if (was.name.empty() || !is_another) {
    return {};
  }
  return Error(Code::kInvalid,
               who + " is another RDMA device than when the claim was prepared before: it was " +
                   describe(was) + ", and now it is " + describe(now) +
                   "; delete the claim, so that a device is allocated anew, or bring the old one "
                   "back to its place");
}

}  // namespace fairlead::devices::rdma
