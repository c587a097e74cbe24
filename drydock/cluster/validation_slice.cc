// SPDX-License-Identifier: Apache-2.0
// The rules of a ResourceSlice: pkg/apis/resource/validation, ValidateResourceSlice.
#include <algorithm>
#include <set>

#include "drydock/cluster/field_check.h"
#include "drydock/cluster/quantity.h"
#include "fairlead/core/text.h"

namespace drydock {
using fairlead::is_dns_subdomain;
namespace {

constexpr std::size_t kMaxDevices = 128;
constexpr std::size_t kMaxDevicesWithExtras = 64;  // when a device has taints or consumes counters
constexpr std::size_t kMaxAttributes = 32;
constexpr std::size_t kMaxTextBytes = 64;
constexpr std::size_t kMaxTaints = 16;

Quantity quantity(const Json& value) {
  return Quantity::parse(value.is_string() ? value.get<std::string>() : "").value_or(Quantity());
}

void check_pool_name(FieldCheck& check, const std::string& name) {
  if (name.empty()) {
    check.required("spec.pool.name");
    return;
  }
  if (name.size() > 253) {
    check.too_long("spec.pool.name", 253);
    return;
  }
  std::string_view rest = name;
  while (true) {
    const auto slash = rest.find('/');
    if (!is_dns_subdomain(rest.substr(0, slash))) {
      check.invalid("spec.pool.name", name,
                    R"(must be one or more DNS subdomains joined by '/', such as "node-1" or "node-1/nics")");
      return;
    }
    if (slash == std::string_view::npos) {
      return;
    }
    rest.remove_prefix(slash + 1);
  }
}

void check_pool(FieldCheck& check, const Json& pool) {
  check_pool_name(check, text_at(pool, "name"));
  const std::int64_t generation = pool.is_object() ? pool.value("generation", std::int64_t{0}) : 0;
  const std::int64_t count = pool.is_object() ? pool.value("resourceSliceCount", std::int64_t{0}) : 0;
  if (generation < 0) {
    check.invalid("spec.pool.generation", generation, "must be greater than or equal to zero");
  }
  if (count <= 0) {
    check.invalid("spec.pool.resourceSliceCount", count, "must be greater than zero");
  }
}

/// Of nodeName, nodeSelector, allNodes (and perDeviceNodeSelection) exactly one.
void check_placement(FieldCheck& check, const Json& object, const std::string& path, bool device) {
  std::size_t set = 0;
  const std::string node = text_at(object, "nodeName");
  if (!node.empty()) {
    ++set;
    check.dns_subdomain(path + ".nodeName", node);
  }
  if (object.contains("nodeSelector")) {
    ++set;
    check_node_selector(check, object["nodeSelector"], path + ".nodeSelector");
  }
  for (const char* key : {"allNodes", "perDeviceNodeSelection"}) {
    if (!object.contains(key)) {
      continue;
    }
    ++set;
    if (object[key] == false && std::string_view(key) == "perDeviceNodeSelection") {
      check.invalid(path + "." + key, false, "must be either unset or set to true");
    } else if (object[key] == false) {
      --set;
    }
  }
  const std::string names = device ? "`nodeName`, `nodeSelector`, or `allNodes`"
                                   : "`nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection`";
  if (set == 0) {
    check.required(path, "exactly one of " + names + " is required");
  } else if (set > 1) {
    check.invalid(path, object.value("nodeName", ""), "exactly one of " + names + " is required");
  }
}

void check_attribute(FieldCheck& check, const std::string& key, const Json& attribute,
                     const std::string& path) {
  check.qualified_name(path, key);
  if (attribute.size() != 1) {
    if (attribute.empty()) {
      check.required(path, "exactly one value must be specified");
    } else {
      check.invalid(path, attribute, "exactly one value must be specified");
    }
  }
  const std::string text = text_at(attribute, "string");
  if (text.size() > kMaxTextBytes) {
    check.too_long(path + ".string", kMaxTextBytes);
  }
  if (attribute.contains("version")) {
    const std::string version = text_at(attribute, "version");
    if (version.size() > kMaxTextBytes) {
      check.too_long(path + ".version", kMaxTextBytes);
    } else if (!is_semver(version)) {
      check.invalid(path + ".version", version, "must be a string compatible with semver.org spec 2.0.0");
    }
  }
}

void check_valid_values(FieldCheck& check, const Json& policy, const Quantity& value,
                        const std::string& path) {
  const Json& values = policy["validValues"];
  const std::string at = path + ".validValues";
  if (values.size() > 10) {
    check.too_many(at, values.size(), 10);
  }
  bool has_default = false;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Quantity current = quantity(values[i]);
    has_default = has_default || current == quantity(value_at(policy, "default"));
    if (i > 0 && current == quantity(values[i - 1])) {
      check.duplicate(item(at, i), values[i]);
    } else if (i > 0 && current < quantity(values[i - 1])) {
      check.invalid(item(at, i), values[i], "values must be sorted in ascending order");
    }
    if (current > value) {
      check.invalid(item(at, i), values[i], "option is larger than capacity value: " + value.to_string());
    }
  }
  if (!has_default) {
    check.invalid(path + ".default", value_at(policy, "default"), "default value must be one of validValues");
  }
}

void check_step(FieldCheck& check, const Json& policy, const std::string& path) {
  const Json& range = policy["validRange"];
  const Quantity step = quantity(range["step"]);
  const Quantity min = quantity(value_at(range, "min"));
  if (step.nano() <= 0) {
    check.invalid(path + ".validRange.step", range["step"], "must be greater than zero");
    return;
  }
  const auto fits = [&](const Json& bound) { return (quantity(bound) - min).nano() % step.nano() == 0; };
  if (range.contains("max") && !fits(range["max"])) {
    check.invalid(path + ".validRange.step", range["step"], "max minus min is not a multiple of step");
  }
  if (policy.contains("default") && !fits(policy["default"])) {
    check.invalid(path + ".default", policy["default"], "value is not a multiple of the step from min");
  }
}

void check_range(FieldCheck& check, const Json& policy, const Quantity& value, const std::string& path) {
  const Json& range = policy["validRange"];
  const std::string at = path + ".validRange";
  if (!range.contains("min")) {
    check.required(at + ".min");
    return;
  }
  const Quantity min = quantity(range["min"]);
  const Quantity max = range.contains("max") ? quantity(range["max"]) : value;
  const Quantity chosen = quantity(value_at(policy, "default"));
  if (max < min) {
    check.invalid(at + ".min", range["min"], "min is larger than max: " + max.to_string());
  }
  if (max > value) {
    check.invalid(at + ".max", value_at(range, "max"),
                  "max is larger than capacity value: " + value.to_string());
  }
  if (policy.contains("default") && (chosen < min || chosen > max)) {
    check.invalid(path + ".default", policy["default"], "default must be within validRange");
  }
  if (range.contains("step")) {
    check_step(check, policy, path);
  }
}

void check_policy(FieldCheck& check, const Json& policy, const Quantity& value, const std::string& path) {
  const bool values = policy.contains("validValues");
  const bool range = policy.contains("validRange");
  if (values && range) {
    check.forbidden(
        path,
        "exactly one policy can be specified, cannot specify `validValues` and `validRange` at the "
        "same time");
    return;
  }
  if ((values || range) && !policy.contains("default")) {
    check.required(path + ".default", "must be set when `validValues` or `validRange` is");
    return;
  }
  if (values) {
    check_valid_values(check, policy, value, path);
  } else if (range) {
    check_range(check, policy, value, path);
  } else if (policy.contains("default") && quantity(policy["default"]) > value) {
    check.invalid(path + ".default", policy["default"],
                  "default is larger than capacity value: " + value.to_string());
  }
}

void check_capacity(FieldCheck& check, const Json& device, const std::string& path) {
  for (const auto& [key, capacity] : value_at(device, "capacity").items()) {
    const std::string at = path + ".capacity[" + key + "]";
    check.qualified_name(at, key);
    if (!capacity.contains("value")) {
      check.required(at + ".value");
    }
    if (!capacity.contains("requestPolicy")) {
      continue;
    }
    if (!device.value("allowMultipleAllocations", false)) {
      check.forbidden(at + ".requestPolicy", "only allowed when `allowMultipleAllocations` is true");
    } else {
      check_policy(check, capacity["requestPolicy"], quantity(value_at(capacity, "value")),
                   at + ".requestPolicy");
    }
  }
}

void check_taints(FieldCheck& check, const Json& device, const std::string& path) {
  const Json& taints = value_at(device, "taints");
  const std::string at = path + ".taints";
  if (taints.size() > kMaxTaints) {
    check.too_many(at, taints.size(), kMaxTaints);
  }
  for (std::size_t i = 0; i < taints.size(); ++i) {
    check.label_name(item(at, i) + ".key", text_at(taints[i], "key"));
    check.label_value(item(at, i) + ".value", text_at(taints[i], "value"));
    if (text_at(taints[i], "effect").empty()) {
      check.required(item(at, i) + ".effect");
    } else {
      check.one_of(item(at, i) + ".effect", text_at(taints[i], "effect"),
                   {"NoExecute", "NoSchedule", "None"});
    }
  }
}

void check_conditions(FieldCheck& check, const Json& device, const std::string& path) {
  const Json& binding = value_at(device, "bindingConditions");
  const Json& failure = value_at(device, "bindingFailureConditions");
  if (binding.empty() != failure.empty()) {
    check.invalid(path + ".bindingConditions", binding,
                  "bindingConditions and bindingFailureConditions go together");
  }
  for (const auto& [name, list] :
       {std::pair{"bindingConditions", &binding}, {"bindingFailureConditions", &failure}}) {
    const std::string at = path + "." + name;
    if (list->size() > 4) {
      check.too_many(at, list->size(), 4);
    }
    std::set<std::string> seen;
    for (std::size_t i = 0; i < list->size(); ++i) {
      check.label_name(item(at, i), (*list)[i].get<std::string>());
      if (!seen.insert((*list)[i].get<std::string>()).second) {
        check.duplicate(item(at, i), (*list)[i]);
      }
    }
  }
}

void check_counters(FieldCheck& check, const Json& device, const std::string& path) {
  const Json& sets = value_at(device, "consumesCounters");
  const std::string at = path + ".consumesCounters";
  if (sets.size() > 2) {
    check.too_many(at, sets.size(), 2);
  }
  for (std::size_t i = 0; i < sets.size(); ++i) {
    check.dns_label(item(at, i) + ".counterSet", text_at(sets[i], "counterSet"));
    if (value_at(sets[i], "counters").empty()) {
      check.required(item(at, i) + ".counters");
    }
  }
}

void check_device(FieldCheck& check, const Json& device, const std::string& path, bool per_device) {
  check.dns_label(path + ".name", text_at(device, "name"));
  const std::size_t count = value_at(device, "attributes").size() + value_at(device, "capacity").size();
  if (count > kMaxAttributes) {
    check.invalid(path, count, "the total number of attributes and capacities must not exceed 32");
  }
  for (const auto& [key, attribute] : value_at(device, "attributes").items()) {
    check_attribute(check, key, attribute, path + ".attributes[" + key + "]");
  }
  check_capacity(check, device, path);
  check_taints(check, device, path);
  check_conditions(check, device, path);
  check_counters(check, device, path);
  if (per_device) {
    check_placement(check, device, path, true);
    return;
  }
  for (const char* key : {"nodeName", "nodeSelector", "allNodes"}) {
    if (device.contains(key)) {
      check.invalid(path + "." + key, device[key],
                    "can only be specified if `perDeviceNodeSelection` is true");
    }
  }
}

void check_shared_counters(FieldCheck& check, const Json& spec) {
  const Json& sets = value_at(spec, "sharedCounters");
  if (spec.contains("sharedCounters") && spec.contains("devices")) {
    check.invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed");
  }
  if (sets.size() > 8) {
    check.too_many("spec.sharedCounters", sets.size(), 8);
  }
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const std::string at = item("spec.sharedCounters", i);
    check.dns_label(at + ".name", text_at(sets[i], "name"));
    const Json& counters = value_at(sets[i], "counters");
    if (counters.size() > 32) {
      check.too_many(at + ".counters", counters.size(), 32);
    }
  }
}

void check_devices(FieldCheck& check, const Json& spec) {
  const Json& devices = value_at(spec, "devices");
  const bool extras = std::ranges::any_of(devices, [](const Json& device) {
    return !value_at(device, "taints").empty() || !value_at(device, "consumesCounters").empty();
  });
  const std::size_t max = extras ? kMaxDevicesWithExtras : kMaxDevices;
  if (devices.size() > max) {
    check.too_many("spec.devices", devices.size(), max);
  }
  std::set<std::string> names;
  const bool per_device = spec.value("perDeviceNodeSelection", false);
  for (std::size_t i = 0; i < devices.size(); ++i) {
    const std::string path = item("spec.devices", i);
    check_device(check, devices[i], path, per_device);
    if (!names.insert(text_at(devices[i], "name")).second) {
      check.duplicate(path + ".name", text_at(devices[i], "name"));
    }
  }
}

}  // namespace

void check_node_selector(FieldCheck& check, const Json& selector, const std::string& path) {
  const Json& terms = value_at(selector, "nodeSelectorTerms");
  if (terms.size() != 1) {
    check.invalid(path + ".nodeSelectorTerms", terms, "must have exactly one node selector term");
  }
  for (std::size_t i = 0; i < terms.size(); ++i) {
    for (const char* list : {"matchExpressions", "matchFields"}) {
      const Json& rules = value_at(terms[i], list);
      for (std::size_t j = 0; j < rules.size(); ++j) {
        const std::string at = item(item(path + ".nodeSelectorTerms", i) + "." + list, j);
        check.label_name(at + ".key", text_at(rules[j], "key"));
        check.one_of(at + ".operator", text_at(rules[j], "operator"),
                     {"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"});
      }
    }
  }
}

void check_slice(FieldCheck& check, const Json& slice) {
  const Json& spec = value_at(slice, "spec");
  if (!spec.is_object()) {
    check.required("spec");
    return;
  }
  check.driver_name("spec.driver", text_at(spec, "driver"));
  check_pool(check, value_at(spec, "pool"));
  check_placement(check, spec, "spec", false);
  check_shared_counters(check, spec);
  check_devices(check, spec);
}

void check_slice_update(FieldCheck& check, const Json& before, const Json& after) {
  const Json& old_spec = value_at(before, "spec");
  const Json& new_spec = value_at(after, "spec");
  for (const char* key : {"driver", "nodeName"}) {
    if (text_at(old_spec, key) != text_at(new_spec, key)) {
      check.invalid(std::string("spec.") + key, text_at(new_spec, key), "field is immutable");
    }
  }
  if (text_at(value_at(old_spec, "pool"), "name") != text_at(value_at(new_spec, "pool"), "name")) {
    check.invalid("spec.pool.name", text_at(value_at(new_spec, "pool"), "name"), "field is immutable");
  }
}

}  // namespace drydock
