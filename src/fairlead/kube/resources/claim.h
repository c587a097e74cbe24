// SPDX-License-Identifier: Apache-2.0
// resource.k8s.io/v1 ResourceClaim: the fields that a DRA driver reads. The fields that it writes:
// claim_status.h.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/kube/resource_type.h"

namespace fairlead::kube {

/// status.allocation.devices.results[]
struct AllocationResult {
  std::string request;  // "main" or "main/sub"
  std::string driver, pool, device;
  std::string share_id;  // empty: exclusive
  bool admin_access = false;
  std::map<std::string, std::string> consumed_capacity;
};

/// status.allocation.devices.config[]; class entries precede claim entries. Also spec.devices.config[].
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
  /// The single node that it is for, if nodeSelector is one matchFields metadata.name In [x]; else empty.
  std::string node_name;
};

/// status.reservedFor[]
struct ClaimConsumer {
  std::string api_group, resource, name, uid;  // a pod: "", "pods"
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

inline constexpr ResourceType kResourceClaims{
    .group = "resource.k8s.io", .version = "v1", .plural = "resourceclaims", .kind = "ResourceClaim"};

template <>
struct ResourceTraits<ResourceClaim> {
  static constexpr ResourceType kType = kResourceClaims;
  static ResourceClaim read(const JsonReader& in, std::string_view text);
};

}  // namespace fairlead::kube
