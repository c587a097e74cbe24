// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/device_pool.h"

#include <algorithm>

#include "drydock/cluster/field_check.h"

namespace drydock {
namespace {

std::string node_name(const Json& node) { return text_at(value_at(node, "metadata"), "name"); }

bool rule_matches(const Json& rule, bool present, const std::string& value) {
  const std::string op = text_at(rule, "operator");
  const Json& values = value_at(rule, "values");
  const bool listed = present && std::ranges::find(values, Json(value)) != values.end();
  if (op == "In") {
    return listed;
  }
  if (op == "NotIn") {
    return !listed;
  }
  if (op == "Exists") {
    return present;
  }
  return op == "DoesNotExist" && !present;
}

bool term_matches(const Json& term, const Json& node) {
  const Json& labels = value_at(value_at(node, "metadata"), "labels");
  const bool by_label = std::ranges::all_of(value_at(term, "matchExpressions"), [&](const Json& rule) {
    const std::string key = text_at(rule, "key");
    return rule_matches(rule, labels.contains(key), text_at(labels, key));
  });
  return by_label && std::ranges::all_of(value_at(term, "matchFields"), [&](const Json& rule) {
           return text_at(rule, "key") == "metadata.name" && rule_matches(rule, true, node_name(node));
         });
}

/// A slice's or a device's nodeName, nodeSelector or allNodes.
bool placed_on(const Json& owner, const Json& node) {
  if (value_at(owner, "allNodes") == Json(true)) {
    return true;
  }
  const std::string name = text_at(owner, "nodeName");
  if (!name.empty()) {
    return name == node_name(node);
  }
  const Json& terms = value_at(value_at(owner, "nodeSelector"), "nodeSelectorTerms");
  return std::ranges::any_of(terms, [&](const Json& term) { return term_matches(term, node); });
}

struct Pool {
  std::int64_t generation = -1;
  std::vector<const Json*> slices;  // of that generation
};

std::map<std::pair<std::string, std::string>, Pool> group_by_pool(const std::vector<Json>& slices) {
  std::map<std::pair<std::string, std::string>, Pool> pools;
  for (const Json& slice : slices) {
    const Json& spec = slice["spec"];
    Pool& pool = pools[{text_at(spec, "driver"), text_at(spec["pool"], "name")}];
    const std::int64_t generation = spec["pool"].value("generation", std::int64_t{0});
    if (generation > pool.generation) {
      pool = {.generation = generation, .slices = {}};
    }
    if (generation == pool.generation) {
      pool.slices.push_back(&slice);
    }
  }
  for (auto& [key, pool] : pools) {
    std::ranges::sort(pool.slices, {},
                      [](const Json* slice) { return text_at((*slice)["metadata"], "name"); });
  }
  return pools;
}

void add_devices(std::vector<PoolDevice>& out, const Json& spec, const Json& node) {
  const bool per_device = value_at(spec, "perDeviceNodeSelection") == Json(true);
  if (!per_device && !placed_on(spec, node)) {
    return;
  }
  for (const Json& device : value_at(spec, "devices")) {
    if (per_device && !placed_on(device, node)) {
      continue;
    }
    const Json& owner = per_device ? device : spec;
    out.push_back({.id = {.driver = text_at(spec, "driver"),
                          .pool = text_at(spec["pool"], "name"),
                          .device = text_at(device, "name")},
                   .device = &device,
                   .shared = value_at(device, "allowMultipleAllocations") == Json(true),
                   .on_every_node = value_at(owner, "allNodes") == Json(true) &&
                                    value_at(device, "bindsToNode") != Json(true)});
  }
}

Quantity quantity_of(const Json& value) {
  return Quantity::parse(value.is_string() ? value.get<std::string>() : "").value_or(Quantity());
}

std::string full_name(std::string_view driver, std::string_view key) {
  return key.find('/') == std::string_view::npos ? std::string(driver) + "/" + std::string(key)
                                                 : std::string(key);
}

/// Rounds up to the next allowed amount; nullopt if it is more than the policy has.
std::optional<Quantity> round_up(const Json& policy, const Quantity& wanted) {
  if (policy.contains("validValues")) {
    for (const Json& value : policy["validValues"]) {
      if (quantity_of(value) >= wanted) {
        return quantity_of(value);
      }
    }
    return std::nullopt;
  }
  if (!policy.contains("validRange")) {
    return wanted;
  }
  const Json& range = policy["validRange"];
  const Quantity min = quantity_of(value_at(range, "min"));
  Quantity amount = std::max(wanted, min);
  if (range.contains("step") && quantity_of(range["step"]).nano() > 0) {
    const Quantity::Int step = quantity_of(range["step"]).nano();
    const Quantity::Int steps = ((amount - min).nano() + step - 1) / step;
    amount = min.with_nano(min.nano() + steps * step);
  }
  if (range.contains("max") && amount > quantity_of(range["max"])) {
    return std::nullopt;
  }
  return amount;
}

/// KEP-5075: the request's amount, else the policy's default, else all of it.
std::optional<Quantity> amount_of(const Json& capacity, const std::optional<Quantity>& asked) {
  const Quantity value = quantity_of(value_at(capacity, "value"));
  const Json& policy = value_at(capacity, "requestPolicy");
  std::optional<Quantity> amount = asked;
  if (!amount) {
    amount = value_at(policy, "default").is_null() ? value : quantity_of(policy["default"]);
  }
  amount = policy.is_null() ? amount : round_up(policy, *amount);
  return amount && *amount <= value ? amount : std::nullopt;
}

bool toleration_covers(const Json& toleration, const Json& taint) {
  const std::string effect = text_at(toleration, "effect");
  if (!effect.empty() && effect != text_at(taint, "effect")) {
    return false;
  }
  const std::string key = text_at(toleration, "key");
  if (!key.empty() && key != text_at(taint, "key")) {
    return false;
  }
  return text_at(toleration, "operator") == "Exists" ||
         (!key.empty() && text_at(toleration, "value") == text_at(taint, "value"));
}

}  // namespace

DevicePools gather_devices(const AllocationInput& input) {
  DevicePools found;
  for (const auto& [key, pool] : group_by_pool(input.slices)) {
    const Json& first = (*pool.slices.front())["spec"]["pool"];
    std::set<std::string> names;
    bool duplicate = false;
    for (const Json* slice : pool.slices) {
      for (const Json& device : value_at((*slice)["spec"], "devices")) {
        duplicate = !names.insert(text_at(device, "name")).second || duplicate;
      }
    }
    if (duplicate || pool.slices.size() != first.value("resourceSliceCount", std::size_t{1})) {
      found.incomplete_pools.push_back(key.first + "/" + key.second);
      continue;
    }
    for (const Json* slice : pool.slices) {
      add_devices(found.devices, (*slice)["spec"], input.node);
    }
  }
  return found;
}

DeviceUsage::DeviceUsage(const std::vector<Json>& claims) {
  for (const Json& claim : claims) {
    const Json& allocation = value_at(value_at(claim, "status"), "allocation");
    for (const Json& result : value_at(value_at(allocation, "devices"), "results")) {
      if (value_at(result, "adminAccess") == Json(true)) {
        continue;
      }
      Use& use = uses_[{text_at(result, "driver"), text_at(result, "pool"), text_at(result, "device")}];
      ++use.holders;
      for (const auto& [key, value] : value_at(result, "consumedCapacity").items()) {
        use.taken[key] = use.taken[key] + quantity_of(value);
      }
    }
  }
}

bool DeviceUsage::is_free(const PoolDevice& device, const Amounts& amounts) const {
  const auto use = uses_.find(device.id);
  if (use == uses_.end() || use->second.holders == 0) {
    return true;
  }
  if (!device.shared) {
    return false;
  }
  return std::ranges::all_of(amounts, [&](const auto& amount) {
    const auto taken = use->second.taken.find(amount.first);
    const Quantity before = taken == use->second.taken.end() ? Quantity() : taken->second;
    return before + amount.second <=
           quantity_of(value_at((*device.device)["capacity"][amount.first], "value"));
  });
}

void DeviceUsage::take(const PoolDevice& device, const Amounts& amounts) {
  Use& use = uses_[device.id];
  ++use.holders;
  for (const auto& [key, amount] : amounts) {
    use.taken[key] = use.taken[key] + amount;
  }
}

void DeviceUsage::give_back(const PoolDevice& device, const Amounts& amounts) {
  Use& use = uses_[device.id];
  --use.holders;
  for (const auto& [key, amount] : amounts) {
    use.taken[key] = use.taken[key] - amount;
  }
}

std::optional<Amounts> amounts_for(const PoolDevice& device, const Json& request) {
  std::map<std::string, Quantity> asked;
  for (const auto& [key, value] : value_at(value_at(request, "capacity"), "requests").items()) {
    asked[full_name(device.id.driver, key)] = quantity_of(value);
  }
  Amounts amounts;
  for (const auto& [key, capacity] : value_at(*device.device, "capacity").items()) {
    const auto entry = asked.find(full_name(device.id.driver, key));
    const std::optional<Quantity> wanted = entry == asked.end() ? std::nullopt : std::optional(entry->second);
    if (entry != asked.end()) {
      asked.erase(entry);
    }
    if (!device.shared) {
      if (wanted && *wanted > quantity_of(value_at(capacity, "value"))) {
        return std::nullopt;
      }
      continue;
    }
    const auto amount = amount_of(capacity, wanted);
    if (!amount) {
      return std::nullopt;
    }
    amounts[key] = *amount;
  }
  return asked.empty() ? std::optional(std::move(amounts)) : std::nullopt;
}

const Json& attribute_of(const PoolDevice& device, std::string_view full) {
  const Json& attributes = value_at(*device.device, "attributes");
  if (attributes.is_object() && attributes.contains(full)) {
    return value_at(attributes, full);
  }
  const auto slash = full.find('/');
  const bool own = slash != std::string_view::npos && full.substr(0, slash) == device.id.driver;
  return own ? value_at(attributes, full.substr(slash + 1)) : value_at(Json(), "");
}

bool tolerated(const PoolDevice& device, const Json& request) {
  const Json& tolerations = value_at(request, "tolerations");
  return std::ranges::all_of(value_at(*device.device, "taints"), [&](const Json& taint) {
    return text_at(taint, "effect") == "None" ||
           std::ranges::any_of(tolerations,
                               [&](const Json& toleration) { return toleration_covers(toleration, taint); });
  });
}

}  // namespace drydock
