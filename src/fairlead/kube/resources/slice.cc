// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resources/slice.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "fairlead/kube/json_write.h"

namespace fairlead::kube {
namespace {

using json_write::dump;
using json_write::Json;
using json_write::of_meta;
using json_write::put;

std::optional<AttributeValue> read_attribute(const JsonReader& in) {
  if (in.has("int")) {
    return in.integer("int");
  }
  if (in.has("bool")) {
    return in.boolean("bool");
  }
  if (in.has("string")) {
    return in.string("string");
  }
  if (in.has("version")) {
    return Version{in.string("version")};
  }
  return std::nullopt;  // a list type (KEP-5491) or one still to come
}

RequestPolicy read_policy(const JsonReader& in) {
  RequestPolicy policy{.default_value = in.quantity("default"),
                       .valid_values = in.strings("validValues"),
                       .range_min = {},
                       .range_max = {},
                       .range_step = {}};
  if (const JsonReader range = in.object("validRange"); range.present()) {
    policy.range_min = range.optional_quantity("min");
    policy.range_max = range.optional_quantity("max");
    policy.range_step = range.optional_quantity("step");
  }
  return policy;
}

Device read_device(const JsonReader& in) {
  Device device;
  device.name = in.string("name");
  device.allow_multiple_allocations = in.boolean("allowMultipleAllocations");
  for (const auto& [name, value] : in.members("attributes")) {
    if (auto attribute = read_attribute(value)) {
      device.attributes.emplace(name, *std::move(attribute));
    }
  }
  for (const auto& [name, value] : in.members("capacity")) {
    Capacity capacity{.value = value.quantity("value"), .request_policy = {}};
    if (const JsonReader policy = value.object("requestPolicy"); policy.present()) {
      capacity.request_policy = read_policy(policy);
    }
    device.capacity.emplace(name, std::move(capacity));
  }
  for (const JsonReader& taint : in.objects("taints")) {
    device.taints.push_back({.key = taint.string("key"),
                             .value = taint.string("value"),
                             .effect = taint.string("effect"),
                             .time_added = taint.string("timeAdded")});
  }
  return device;
}

Json attribute_to_json(const AttributeValue& value) {
  struct Writer {
    Json operator()(std::int64_t number) const { return {{"int", number}}; }
    Json operator()(bool truth) const { return {{"bool", truth}}; }
    Json operator()(const std::string& text) const { return {{"string", text}}; }
    Json operator()(const Version& version) const { return {{"version", version.text}}; }
  };
  return std::visit(Writer{}, value);
}

Json policy_to_json(const RequestPolicy& policy) {
  Json out = Json::object();
  put(out, "default", policy.default_value);
  if (!policy.valid_values.empty()) {
    out["validValues"] = policy.valid_values;
  }
  const std::pair<const char*, const std::optional<std::string>&> ends[] = {
      {"min", policy.range_min}, {"max", policy.range_max}, {"step", policy.range_step}};
  for (const auto& [key, value] : ends) {
    if (value) {
      out["validRange"][key] = *value;
    }
  }
  return out;
}

Json device_to_json(const Device& device) {
  Json out = {{"name", device.name}};
  for (const auto& [name, value] : device.attributes) {
    out["attributes"][name] = attribute_to_json(value);
  }
  for (const auto& [name, capacity] : device.capacity) {
    Json entry = {{"value", capacity.value}};
    if (capacity.request_policy) {
      entry["requestPolicy"] = policy_to_json(*capacity.request_policy);
    }
    out["capacity"][name] = std::move(entry);
  }
  if (device.allow_multiple_allocations) {
    out["allowMultipleAllocations"] = true;
  }
  for (const Taint& taint : device.taints) {
    Json entry = {{"key", taint.key}, {"effect", taint.effect}};
    put(entry, "value", taint.value);
    put(entry, "timeAdded", taint.time_added);
    out["taints"].push_back(std::move(entry));
  }
  return out;
}

/// Of the entry with the latest time: who wrote the object last. Times are RFC 3339 in UTC, in whole seconds, so that
/// they compare as text.
std::string read_last_manager(const JsonReader& metadata) {
  std::string manager;
  std::string latest;
  for (const JsonReader& entry : metadata.objects("managedFields")) {
    std::string time = entry.string("time");
    if (time >= latest) {
      latest = std::move(time);
      manager = entry.string("manager");
    }
  }
  return manager;
}

}  // namespace

ResourceSlice ResourceTraits<ResourceSlice>::read(const JsonReader& in) {
  const JsonReader spec = in.object("spec");
  const JsonReader pool = spec.object("pool");
  ResourceSlice slice;
  const JsonReader metadata = in.object("metadata");
  slice.meta = read_meta(metadata);
  slice.last_manager = read_last_manager(metadata);
  slice.driver = spec.string("driver");
  slice.pool_name = pool.string("name");
  slice.pool_generation = pool.integer("generation");
  slice.pool_slice_count = pool.integer("resourceSliceCount");
  slice.node_name = spec.string("nodeName");
  for (const JsonReader& device : spec.objects("devices")) {
    slice.devices.push_back(read_device(device));
  }
  return slice;
}

std::string ResourceTraits<ResourceSlice>::write(const ResourceSlice& slice) {
  Json devices = Json::array();
  for (const Device& device : slice.devices) {
    devices.push_back(device_to_json(device));
  }
  Json spec = {{"driver", slice.driver},
               {"pool",
                {{"name", slice.pool_name},
                 {"generation", slice.pool_generation},
                 {"resourceSliceCount", slice.pool_slice_count}}},
               {"devices", std::move(devices)}};
  put(spec, "nodeName", slice.node_name);
  return dump({{"apiVersion", "resource.k8s.io/v1"},
               {"kind", "ResourceSlice"},
               {"metadata", of_meta(slice.meta)},
               {"spec", std::move(spec)}});
}

Result<Selection> selection_of(const SliceSelector& selector) {
  if (selector.driver.empty() || selector.node_name.empty()) {
    return Error(Code::kInvalid, std::string("select resourceslices: the ") +
                                     (selector.driver.empty() ? "driver" : "node") + " is empty");
  }
  return Selection{
      .namespace_ = {},
      .field_selector = "spec.driver=" + selector.driver + ",spec.nodeName=" + selector.node_name,
      .label_selector = {}};
}

}  // namespace fairlead::kube
