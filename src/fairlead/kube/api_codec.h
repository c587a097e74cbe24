// SPDX-License-Identifier: Apache-2.0
// Kubernetes objects as JSON text and back (resource.k8s.io/v1, core/v1). Pure functions, any thread.
//
// Decoding is lenient as Kubernetes asks of clients: unknown fields are ignored, absent ones are empty, so a
// newer API server never breaks us. What is there must have the right type: otherwise kCorrupt with the field
// path. Integers are exact over the whole int64 range.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/kube/api.h"

namespace fairlead::kube {

/// One page of a list: pass `continue_token` to read the next one, empty on the last page.
template <class T>
struct ListOf {
  std::string resource_version;
  std::string continue_token;
  std::vector<T> items;
};

Result<ResourceClaim> parse_claim(std::string_view json);
/// Attributes and capacities come back under the keys that the server wrote; attribute types we do not know
/// (lists) are left out.
Result<ResourceSlice> parse_slice(std::string_view json);
Result<ListOf<ResourceClaim>> parse_claim_list(std::string_view json);
Result<ListOf<ResourceSlice>> parse_slice_list(std::string_view json);
/// The metadata of an object of any kind: a Node's uid, a Pod's annotations.
Result<ObjectMeta> parse_meta(std::string_view json);
/// A Node's status.addresses of type InternalIP.
Result<std::vector<std::string>> parse_internal_addresses(std::string_view json);

/// With apiVersion and kind, as POST and PUT want it. Empty optional fields are left out; `devices` is always
/// there.
std::string slice_to_json(const ResourceSlice& slice);

/// With apiVersion and kind, for POST.
std::string event_to_json(const Event& event);
/// A merge patch of what changes when it is seen again: count and lastTimestamp.
std::string event_patch(const Event& event);

/// One metav1.Condition.
struct Condition {
  std::string type;    // "Ready"
  std::string status;  // "True", "False", "Unknown"
  std::string reason;  // CamelCase word, required
  std::string message;
  std::string last_transition_time;  // RFC 3339, seconds, UTC: "2026-01-31T12:00:00Z"; required
  bool operator==(const Condition&) const = default;
};

/// status.devices[] of a claim (KEP-4817). The server accepts only canonical addresses with a prefix length,
/// and only entries whose driver, pool, device and share id are allocated to the claim.
struct DeviceStatus {
  std::string driver, pool, device, share_id;
  std::vector<Condition> conditions;
  std::string data;  // JSON object text of at most 10 KiB; empty: none
  std::string interface_name;
  std::vector<std::string> ips;  // "10.0.0.5/24"
  std::string hardware_address;
  bool operator==(const DeviceStatus&) const = default;
};

/// A claim's uid and its status.devices[], those of all drivers.
struct ClaimStatus {
  std::string uid;
  std::vector<DeviceStatus> devices;
};
/// `data` comes back as JSON text of any layout.
Result<ClaimStatus> parse_claim_status(std::string_view json);

/// The body of a server-side apply to a claim's status. It holds all entries of the driver: those left out
/// are removed by the server. The uid makes the write fail with kConflict when the claim was replaced.
/// kInvalid when some `data` is no JSON object.
Result<std::string> claim_status_to_json(std::string_view namespace_, std::string_view name,
                                         std::string_view uid, const std::vector<DeviceStatus>& devices);

}  // namespace fairlead::kube
