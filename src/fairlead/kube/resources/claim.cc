// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resources/claim.h"

#include <utility>

#include "fairlead/formats/json_text.h"

namespace fairlead::kube {
namespace {

/// The node that the allocator writes for node-local devices: one term, one field requirement, one value.
std::string node_of(const JsonReader& selector) {
  const auto terms = selector.objects("nodeSelectorTerms");
  if (terms.size() != 1 || !terms[0].objects("matchExpressions").empty()) {
    return {};
  }
  const auto fields = terms[0].objects("matchFields");
  if (fields.size() != 1 || fields[0].string("key") != "metadata.name" ||
      fields[0].string("operator") != "In") {
    return {};
  }
  auto values = fields[0].strings("values");
  return values.size() == 1 ? std::move(values[0]) : std::string{};
}

/// `raw_list` is the list's JSON text, from which the parameters are cut out unchanged.
std::vector<AllocationConfig> read_config(const JsonReader& devices, std::string_view raw_list) {
  const auto raw = json_text::elements(raw_list);
  std::vector<AllocationConfig> config;
  const auto entries = devices.objects("config");
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const JsonReader opaque = entries[i].object("opaque");
    AllocationConfig entry{.from_class = entries[i].string("source") == "FromClass",
                           .requests = entries[i].strings("requests"),
                           .driver = opaque.string("driver"),
                           .parameters = {}};
    if (i < raw.size()) {
      entry.parameters = json_text::member_path(raw[i], {"opaque", "parameters"}).value_or("");
    }
    config.push_back(std::move(entry));
  }
  return config;
}

Allocation read_allocation(const JsonReader& in, std::string_view text) {
  const JsonReader devices = in.object("devices");
  Allocation allocation;
  for (const JsonReader& result : devices.objects("results")) {
    allocation.results.push_back({.request = result.string("request"),
                                  .driver = result.string("driver"),
                                  .pool = result.string("pool"),
                                  .device = result.string("device"),
                                  .share_id = result.string("shareID"),
                                  .admin_access = result.boolean("adminAccess"),
                                  .consumed_capacity = result.quantity_map("consumedCapacity")});
  }
  allocation.config = read_config(
      devices, json_text::member_path(text, {"status", "allocation", "devices", "config"}).value_or(""));
  allocation.node_name = node_of(in.object("nodeSelector"));
  return allocation;
}

std::vector<std::string> read_request_names(const JsonReader& spec) {
  std::vector<std::string> names;
  for (const JsonReader& request : spec.object("devices").objects("requests")) {
    const std::string name = request.string("name");
    names.push_back(name);
    for (const JsonReader& sub : request.objects("firstAvailable")) {
      names.push_back(name + "/" + sub.string("name"));
    }
  }
  return names;
}

std::map<std::string, std::string> read_request_classes(const JsonReader& spec) {
  std::map<std::string, std::string> classes;
  const auto add = [&](std::string name, std::string device_class) {
    if (!device_class.empty()) {
      classes.emplace(std::move(name), std::move(device_class));
    }
  };
  for (const JsonReader& request : spec.object("devices").objects("requests")) {
    const std::string name = request.string("name");
    add(name, request.object("exactly").string("deviceClassName"));
    for (const JsonReader& sub : request.objects("firstAvailable")) {
      add(name + "/" + sub.string("name"), sub.string("deviceClassName"));
    }
  }
  return classes;
}

}  // namespace

ResourceClaim ResourceTraits<ResourceClaim>::read(const JsonReader& in, std::string_view text) {
  ResourceClaim claim;
  claim.meta = read_meta(in.object("metadata"));
  const JsonReader spec = in.object("spec");
  claim.request_names = read_request_names(spec);
  claim.request_classes = read_request_classes(spec);
  claim.config = read_config(spec.object("devices"),
                             json_text::member_path(text, {"spec", "devices", "config"}).value_or(""));
  const JsonReader status = in.object("status");
  if (const JsonReader allocation = status.object("allocation"); allocation.present()) {
    claim.allocation = read_allocation(allocation, text);
  }
  for (const JsonReader& consumer : status.objects("reservedFor")) {
    claim.reserved_for.push_back({.api_group = consumer.string("apiGroup"),
                                  .resource = consumer.string("resource"),
                                  .name = consumer.string("name"),
                                  .uid = consumer.string("uid")});
  }
  for (const JsonReader& device : status.objects("devices")) {
    claim.reporting_drivers.push_back(device.string("driver"));
    if (std::string data = device.text("data"); !data.empty()) {
      claim.reported.push_back({.driver = device.string("driver"),
                                .pool = device.string("pool"),
                                .device = device.string("device"),
                                .share_id = device.string("shareID"),
                                .data = std::move(data)});
    }
  }
  return claim;
}

}  // namespace fairlead::kube
