// SPDX-License-Identifier: Apache-2.0
// The Kubernetes objects that a DRA driver uses, as plain values: resource.k8s.io/v1 and a little of core/v1.
// Only fields we read or write are here; api_codec.h turns them into JSON and back and keeps nothing else.
// Limits and rules: staging/src/k8s.io/api/resource/v1/types.go and the API server's validation.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

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
  std::string default_value;              // what a claim that asks nothing consumes; empty: none
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

struct OwnerReference {
  std::string api_version, kind, name, uid;
  bool controller = false;
  bool operator==(const OwnerReference&) const = default;
};

struct ObjectMeta {
  std::string name, generate_name, namespace_, uid, resource_version;
  std::map<std::string, std::string> annotations, labels;
  std::vector<OwnerReference> owner_references;
  bool operator==(const ObjectMeta&) const = default;
};

struct ResourceSlice {
  ObjectMeta meta;
  std::string driver;
  std::string pool_name;
  std::int64_t pool_generation = 0;
  std::int64_t pool_slice_count = 1;
  std::string node_name;
  std::vector<Device> devices;  // at most 128
  bool operator==(const ResourceSlice&) const = default;
};

/// status.allocation.devices.results[]
struct AllocationResult {
  std::string request;  // "main" or "main/sub"
  std::string driver, pool, device;
  std::string share_id;  // empty: exclusive
  bool admin_access = false;
  std::map<std::string, std::string> consumed_capacity;
};

/// status.allocation.devices.config[]; class entries stand before claim entries. Also spec.devices.config[].
struct AllocationConfig {
  bool from_class = false;
  std::vector<std::string> requests;  // empty: all; may name "main" or "main/sub"
  std::string driver;
  std::string parameters;  // the JSON text of opaque.parameters, exactly as the server sent it, duplicate
                           // keys included
};

struct Allocation {
  std::vector<AllocationResult> results;
  std::vector<AllocationConfig> config;
  /// The one node this is for, when nodeSelector is a single matchFields metadata.name In [x]; else empty.
  std::string node_name;
};

/// status.reservedFor[]
struct ClaimConsumer {
  std::string api_group, resource, name, uid;  // a pod: "", "pods"
};

/// A core/v1 Event: something that people should see at an object.
struct Event {
  ObjectMeta meta;  // name and the object's namespace
  struct {
    std::string api_version, kind, namespace_, name, uid;
  } about;
  std::string type;                   // "Normal", "Warning"
  std::string reason;                 // one CamelCase word, at most 128 bytes
  std::string message;                // at most 1024 bytes
  std::string component, host;        // who saw it
  std::string first_seen, last_seen;  // RFC 3339
  std::int64_t count = 1;
};

struct ResourceClaim {
  ObjectMeta meta;
  std::vector<std::string> request_names;  // spec.devices.requests[].name, sub-requests as "main/sub"
  std::map<std::string, std::string> request_classes;  // by these names, of those that name a DeviceClass
  std::vector<AllocationConfig> config;                // spec.devices.config[]
  std::optional<Allocation> allocation;
  std::vector<ClaimConsumer> reserved_for;
  std::vector<std::string> reporting_drivers;  // status.devices[].driver
  struct ReportedDevice {
    std::string driver, pool, device, share_id;
    std::string data;  // JSON text of any layout
  };
  std::vector<ReportedDevice> reported;  // status.devices[] that have data
};

}  // namespace fairlead::kube
