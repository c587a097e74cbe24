// SPDX-License-Identifier: Apache-2.0
// FieldPolicy: an entry of a DeviceClass for our driver that opens fields to the claims of some namespaces.
//
//   {"apiVersion": "fairlead.dev/v1alpha1", "kind": "FieldPolicy", "claimMay": ["netdev.vlanId"],
//    "namespaces": ["lab"], "bounds": {"vlans": ["100-199"]}}
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/registry.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/policy/bounds.h"

namespace fairlead::policy {

struct FieldPolicy {
  std::vector<std::string> claim_may;   // "netdev.vlanId", "netdev.kind"
  std::vector<std::string> namespaces;  // exact; {"*"}: every namespace
  Bounds bounds;                        // of what a claim writes by it
  std::string path;                     // "config[1] of DeviceClass lab-vlans: opaque.parameters"

  [[nodiscard]] bool opens(std::string_view field, std::string_view claim_namespace) const;
};

/// Whether the parameters say that they are one, of whatever version.
bool is_field_policy(std::string_view parameters);

/// Strict: kInvalid with the path of the first error. `claimMay` names fields of these kinds.
Result<FieldPolicy> read_field_policy(const dra::DeviceConfig& config, const devices::Registry& kinds);

}  // namespace fairlead::policy
