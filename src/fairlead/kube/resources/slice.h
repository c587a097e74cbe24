// SPDX-License-Identifier: Apache-2.0
// resource.k8s.io/v1 ResourceSlice: the fields that a DRA driver of one node reads and writes.
// Limits and rules: staging/src/k8s.io/api/resource/v1/types.go and the API server's validation.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fairlead/kube/resource_type.h"

namespace fairlead::kube {

/// A semantic version 2.0.0 without leading "v", as attribute value. At most 64 bytes.
struct Version {
  std::string text;
  bool operator==(const Version&) const = default;
};

/// One attribute: a number, a truth value, a string (at most 64 bytes) or a version.
using AttributeValue = std::variant<std::int64_t, bool, std::string, Version>;

/// How a capacity of a device that allows multiple allocations may be requested (KEP-5075). Quantities are
/// strings: "1", "1Gi".
struct RequestPolicy {
  std::string default_value;              // what a claim without a request for it consumes; empty: none
  std::vector<std::string> valid_values;  // ascending; exclusive with the range
  std::optional<std::string> range_min, range_max, range_step;
  bool operator==(const RequestPolicy&) const = default;
};

struct Capacity {
  std::string value;  // quantity
  std::optional<RequestPolicy> request_policy;
  bool operator==(const Capacity&) const = default;
};

struct Taint {
  std::string key, value, effect;  // effect: None, NoSchedule, NoExecute
  std::string time_added;          // RFC 3339; empty: the server sets it
  bool operator==(const Taint&) const = default;
};

/// One device of a slice. Attribute and capacity keys: "name" means "<driver>/name"; other domains are
/// written out.
struct Device {
  std::string name;  // DNS label
  std::map<std::string, AttributeValue> attributes;
  std::map<std::string, Capacity> capacity;
  bool allow_multiple_allocations = false;
  std::vector<Taint> taints;
  bool operator==(const Device&) const = default;
};

struct ResourceSlice {
  ObjectMeta meta;
  std::string driver;
  std::string pool_name;
  std::int64_t pool_generation = 0;
  std::int64_t pool_slice_count = 1;
  std::string node_name;
  std::vector<Device> devices;  // at most 128
  std::string last_manager;  // the newest field manager of its managedFields; empty: not known; never written
  bool operator==(const ResourceSlice&) const = default;
};

/// Attributes and capacities are read under the keys that the server wrote; attributes of types that we do not know
/// (lists) are left out. Empty optional fields are not written; `devices` always is.
template <>
struct ResourceTraits<ResourceSlice> {
  static constexpr ResourceType kType{.group = "resource.k8s.io",
                                      .version = "v1",
                                      .plural = "resourceslices",
                                      .kind = "ResourceSlice",
                                      .namespaced = false};
  static ResourceSlice read(const JsonReader& in);
  static std::string write(const ResourceSlice& slice);
};

/// One driver's slices of one node: both fields are required.
struct SliceSelector {
  std::string driver;
  std::string node_name;
};
/// kInvalid when a field is empty, which would select the slices of other nodes or drivers.
Result<Selection> selection_of(const SliceSelector& selector);

}  // namespace fairlead::kube
