// SPDX-License-Identifier: Apache-2.0
// Rules: staging/src/k8s.io/api/resource/v1/types.go and pkg/apis/resource/validation/validation.go of
// Kubernetes 1.34 to 1.37; where they differ, the stricter one.
#include "fairlead/dra/slices/slice_validate.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <set>
#include <utility>

#include "fairlead/core/text.h"
#include "fairlead/core/utf8.h"
#include "fairlead/dra/slices/slice_diff.h"
#include "fairlead/formats/quantity.h"

namespace fairlead::dra {
namespace {

using formats::Quantity;

constexpr std::size_t kMaxAttributesAndCapacities = 32;
constexpr std::size_t kMaxAttributeText = 64;
constexpr std::size_t kMaxIdentifier = 32;
constexpr std::size_t kMaxDomain = 63;
constexpr std::size_t kMaxLabel = 63;  // a label value
constexpr std::size_t kMaxPoolName = 253;
constexpr std::size_t kMaxTaints = 16;
constexpr std::size_t kMaxValidValues = 10;

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_letter(char c) { return is_lower(c) || (c >= 'A' && c <= 'Z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alphanumeric(char c) { return is_letter(c) || is_digit(c); }

template <class Test>
bool all_parts(std::string_view text, char separator, Test test) {
  for (;;) {
    const auto end = text.find(separator);
    if (!test(text.substr(0, end))) {
      return false;
    }
    if (end == std::string_view::npos) {
      return true;
    }
    text.remove_prefix(end + 1);
  }
}

bool is_pool_name(std::string_view text) {
  return text.size() <= kMaxPoolName &&
         all_parts(text, '/', [](std::string_view part) { return is_dns_subdomain(part, kMaxPoolName); });
}

bool is_c_identifier(std::string_view text) {
  return !text.empty() && text.size() <= kMaxIdentifier && !is_digit(text.front()) &&
         std::ranges::all_of(text, [](char c) { return is_alphanumeric(c) || c == '_'; });
}

/// "name" or "domain/name".
bool is_qualified_name(std::string_view text) {
  const auto slash = text.find('/');
  return slash == std::string_view::npos
             ? is_c_identifier(text)
             : is_dns_subdomain(text.substr(0, slash), kMaxDomain) && is_c_identifier(text.substr(slash + 1));
}

bool is_label_word(std::string_view text) {
  return text.size() <= kMaxLabel && is_alphanumeric(text.front()) && is_alphanumeric(text.back()) &&
         std::ranges::all_of(text,
                             [](char c) { return is_alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}
bool is_label_name(std::string_view text) {
  const auto slash = text.find('/');
  if (slash != std::string_view::npos) {
    if (!is_dns_subdomain(text.substr(0, slash), kMaxPoolName)) {
      return false;
    }
    text.remove_prefix(slash + 1);
  }
  return !text.empty() && is_label_word(text);
}
bool is_label_value(std::string_view text) { return text.empty() || is_label_word(text); }

bool is_number(std::string_view text) {
  return !text.empty() && (text.size() == 1 || text.front() != '0') && std::ranges::all_of(text, is_digit);
}
bool is_version_word(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return is_alphanumeric(c) || c == '-'; });
}

/// semver.org 2.0.0: three numbers, then [-pre.release][+build.meta].
bool is_semantic_version(std::string_view text) {
  const auto plus = text.find('+');
  if (plus != std::string_view::npos && !all_parts(text.substr(plus + 1), '.', is_version_word)) {
    return false;
  }
  text = text.substr(0, plus);
  const auto dash = text.find('-');
  const auto is_pre_release = [](std::string_view part) {
    return is_version_word(part) && (!std::ranges::all_of(part, is_digit) || is_number(part));
  };
  if (dash != std::string_view::npos && !all_parts(text.substr(dash + 1), '.', is_pre_release)) {
    return false;
  }
  text = text.substr(0, dash);
  return std::ranges::count(text, '.') == 2 && all_parts(text, '.', is_number);
}

constexpr std::string_view kKeyRule =
    "is not a C identifier of at most 32 characters, alone or behind \"domain/\"";

/// Why it is invalid; nullopt if it is valid.
std::optional<std::string> attribute_fault(std::string_view key, const AttributeValue& value) {
  if (!is_qualified_name(key)) {
    return std::string(kKeyRule);
  }
  const auto* text = std::get_if<std::string>(&value);
  const auto* version = std::get_if<Version>(&value);
  const std::size_t size = text != nullptr ? text->size() : version != nullptr ? version->text.size() : 0;
  if (size > kMaxAttributeText) {
    return "the value has " + std::to_string(size) + " bytes, at most 64 are allowed";
  }
  if (text != nullptr && !is_utf8(*text)) {
    return "the value is not valid UTF-8";
  }
  if (version != nullptr && !is_semantic_version(version->text)) {
    return quoted(version->text) + " is not a semantic version like 1.2.3";
  }
  return std::nullopt;
}

/// A policy's quantities as numbers.
struct Policy {
  std::optional<Quantity> default_value, min, max, step;
  std::vector<Quantity> valid_values;
};

Result<std::optional<Quantity>> parse_optional(const std::optional<std::string>& text) {
  if (!text) {
    return std::optional<Quantity>();
  }
  FL_ASSIGN(const auto value, Quantity::parse(*text));
  return std::optional(value);
}

Result<Policy> parse_policy(const kube::RequestPolicy& in) {
  Policy out;
  if (!in.default_value.empty()) {
    FL_ASSIGN(out.default_value, parse_optional(in.default_value), "requestPolicy.default");
  }
  FL_ASSIGN(out.min, parse_optional(in.range_min), "requestPolicy.validRange.min");
  FL_ASSIGN(out.max, parse_optional(in.range_max), "requestPolicy.validRange.max");
  FL_ASSIGN(out.step, parse_optional(in.range_step), "requestPolicy.validRange.step");
  for (const std::string& text : in.valid_values) {
    FL_ASSIGN(const auto value, Quantity::parse(text), "requestPolicy.validValues");
    out.valid_values.push_back(value);
  }
  return out;
}

std::optional<std::string> valid_values_fault(const Policy& policy, const Quantity& value) {
  const auto& values = policy.valid_values;
  if (values.size() > kMaxValidValues) {
    return "requestPolicy.validValues: at most 10 are allowed";
  }
  if (std::ranges::adjacent_find(values, std::greater_equal<>{}) != values.end()) {
    return "requestPolicy.validValues: must ascend, each only once";
  }
  if (values.back() > value) {
    return "requestPolicy.validValues: must not be larger than the capacity's value";
  }
  if (std::ranges::find(values, *policy.default_value) == values.end()) {
    return "requestPolicy.default: must be one of validValues";
  }
  return std::nullopt;
}

std::optional<std::string> range_fault(const Policy& policy, const Quantity& value) {
  if (!policy.min) {
    return "requestPolicy.validRange.min: is required with a range";
  }
  const Quantity& top = policy.max ? *policy.max : value;
  if (*policy.min > top || top > value) {
    return "requestPolicy.validRange: must be min <= max <= the capacity's value";
  }
  if (*policy.default_value < *policy.min || *policy.default_value > top) {
    return "requestPolicy.default: must be within the range";
  }
  if (!policy.step) {
    return std::nullopt;
  }
  if (policy.step->zero() || policy.step->negative()) {
    return "requestPolicy.validRange.step: must be larger than 0";
  }
  if (!policy.default_value->minus(*policy.min).multiple_of(*policy.step) ||
      (policy.max && !policy.max->minus(*policy.min).multiple_of(*policy.step))) {
    return "requestPolicy.validRange.step: default and max must be whole steps above min";
  }
  return std::nullopt;
}

std::optional<std::string> policy_fault(const kube::RequestPolicy& in, const Quantity& value) {
  const auto policy = parse_policy(in);
  if (!policy) {
    return policy.error().what();
  }
  const bool range = policy->min || policy->max || policy->step;
  const bool values = !policy->valid_values.empty();
  if (range && values) {
    return "requestPolicy: validValues and validRange exclude each other";
  }
  if ((range || values) && !policy->default_value) {
    return "requestPolicy.default: is required with validValues and with validRange";
  }
  if (policy->default_value && *policy->default_value > value) {
    return "requestPolicy.default: must not be larger than the capacity's value";
  }
  return values ? valid_values_fault(*policy, value) : range ? range_fault(*policy, value) : std::nullopt;
}

std::optional<std::string> capacity_fault(std::string_view key, const Capacity& capacity) {
  if (!is_qualified_name(key)) {
    return std::string(kKeyRule);
  }
  const auto value = Quantity::parse(capacity.value);
  if (!value) {
    return value.error().what();
  }
  return capacity.request_policy ? policy_fault(*capacity.request_policy, *value) : std::nullopt;
}

std::optional<std::string> taint_fault(const kube::Taint& taint) {
  constexpr std::array<std::string_view, 3> kEffects = {"None", "NoSchedule", "NoExecute"};
  if (!is_label_name(taint.key)) {
    return "taint key " + quoted(taint.key) + " is not a label name";
  }
  if (!is_label_value(taint.value)) {
    return "taint " + quoted(taint.key) + ": " + quoted(taint.value) + " is not a label value";
  }
  if (std::ranges::find(kEffects, taint.effect) == kEffects.end()) {
    return "taint " + quoted(taint.key) + ": the effect must be None, NoSchedule or NoExecute, not " +
           quoted(taint.effect);
  }
  return std::nullopt;
}

class Validator {
 public:
  Validator(std::string_view driver_name, std::string_view node_name)
      : driver_name_(driver_name), node_name_(node_name) {}

  void add(const Pool& pool) {
    const std::string name = pool.name.empty() ? std::string(node_name_) : pool.name;
    if (!is_pool_name(name)) {
      leave_out("pool", "pool " + quoted(name) + ": the name is not made of DNS subdomains joined by \"/\"");
      return;
    }
    auto known = std::ranges::find(out_.pools, name, &Pool::name);
    if (known == out_.pools.end()) {
      known = out_.pools.insert(known, Pool{.name = name, .devices = {}});
    }
    std::set<std::string> names;
    for (const Device& device : known->devices) {
      names.insert(device.name);
    }
    for (const Device& device : pool.devices) {
      if (auto fault = device_fault(device, names)) {
        leave_out("device", "device " + quoted(device.name) + ": " + *fault);
      } else {
        names.insert(device.name);
        known->devices.push_back(clean(device));
      }
    }
  }

  ValidPools take() { return std::move(out_); }

 private:
  void leave_out(std::string_view what, std::string sentence) {
    out_.left_out.push_back({.what = what, .sentence = std::move(sentence)});
  }

  static std::optional<std::string> device_fault(const Device& device, const std::set<std::string>& names) {
    if (!is_dns_label(device.name)) {
      return "the name is not a DNS label (lower-case letters, digits and \"-\", at most 63)";
    }
    if (names.contains(device.name)) {
      return "the pool has a device of this name already";
    }
    if (device.taints.size() > kMaxTaints) {
      return "it has " + std::to_string(device.taints.size()) + " taints, at most 16 are allowed";
    }
    for (const kube::Taint& taint : device.taints) {
      if (auto fault = taint_fault(taint)) {
        return fault;
      }
    }
    return std::nullopt;
  }

  Device clean(const Device& device) {
    Device out{.name = device.name,
               .attributes = {},
               .capacity = {},
               .allow_multiple_allocations = device.allow_multiple_allocations,
               .taints = device.taints};
    const std::string prefix = "device " + quoted(device.name) + ": ";
    for (kube::Taint& taint : out.taints) {
      if (!taint.time_added.empty() && !rfc3339_seconds(taint.time_added)) {
        leave_out("taint", prefix + "taint " + quoted(taint.key) + ": the time " + quoted(taint.time_added) +
                               " is not in RFC 3339 form");
        taint.time_added.clear();
      }
    }
    // Capacity decides what the device can be used for, attributes describe it: capacity has the first seats.
    for (const auto& [key, capacity] : device.capacity) {
      take_capacity(prefix, key, capacity, out);
    }
    for (const auto& [key, value] : device.attributes) {
      take_attribute(prefix, key, value, out);
    }
    return out;
  }

  void take_capacity(const std::string& prefix, const std::string& key, const Capacity& capacity,
                     Device& out) {
    const std::string at = prefix + "capacity " + quoted(key) + ": ";
    auto fault = capacity_fault(key, capacity);
    if (!fault) {
      fault = seat_fault(key, out.capacity, out);
    }
    if (fault) {
      leave_out("capacity", at + *fault);
      return;
    }
    Capacity& taken = out.capacity[key] = capacity;
    if (taken.request_policy && !out.allow_multiple_allocations) {
      leave_out("capacity", at + "a requestPolicy is only for devices with allowMultipleAllocations");
      taken.request_policy.reset();
    }
  }

  void take_attribute(const std::string& prefix, const std::string& key, const AttributeValue& value,
                      Device& out) {
    auto fault = attribute_fault(key, value);
    if (!fault) {
      fault = seat_fault(key, out.attributes, out);
    }
    if (fault) {
      leave_out("attribute", prefix + "attribute " + quoted(key) + ": " + *fault);
    } else {
      out.attributes[key] = value;
    }
  }

  /// "x" and "<driver>/x" are one name; and there are 32 seats in all.
  template <class Map>
  std::optional<std::string> seat_fault(const std::string& key, const Map& taken,
                                        const Device& device) const {
    const std::string own = std::string(driver_name_) + "/";
    const std::string twin = key.starts_with(own) ? key.substr(own.size()) : own + key;
    if (taken.contains(twin)) {
      return "it is the same as " + quoted(twin) + ", which is there already";
    }
    if (device.attributes.size() + device.capacity.size() >= kMaxAttributesAndCapacities) {
      return "a device may have at most 32 attributes and capacities together";
    }
    return std::nullopt;
  }

  std::string_view driver_name_;
  std::string_view node_name_;
  ValidPools out_;
};

}  // namespace

ValidPools validate_pools(const std::vector<Pool>& pools, std::string_view driver_name,
                          std::string_view node_name) {
  Validator validator(driver_name, node_name);
  for (const Pool& pool : pools) {
    validator.add(pool);
  }
  return validator.take();
}

}  // namespace fairlead::dra
