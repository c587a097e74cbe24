// SPDX-License-Identifier: Apache-2.0
// The policy file of a node, as `--policy-file` names it:
//
//   apiVersion: fairlead.dev/v1alpha1
//   kind: PolicyConfiguration
//   level: baseline                  # of namespaces that are not listed
//   namespaces:
//     network-team: {level: privileged}
//   bounds:
//     parents: ["ens2f*", br-data]
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/policy/bounds.h"
#include "fairlead/policy/level.h"

namespace fairlead::policy {

inline constexpr std::string_view kApiVersion = "fairlead.dev/v1alpha1";

struct PolicyFile {
  std::optional<Level> level;  // of namespaces that are not listed; nullopt: --policy
  std::map<std::string, Level, std::less<>> namespaces;
  Bounds bounds;
};

/// YAML or JSON. Strict: unknown and repeated keys, wrong types, anchors, aliases, tags, several documents, an empty
/// text and more than kMaxPolicyFile bytes are kInvalid with "FILE:LINE: path: sentence". Pure; any thread.
inline constexpr std::size_t kMaxPolicyFile = std::size_t{1} << 20;
Result<PolicyFile> parse_policy_file(std::string_view text, std::string_view file_name);

/// --policy and the file in force. Immutable; shared by threads.
struct Policy {
  Level flag = Level::kPrivileged;  // --policy
  PolicyFile file = {};             // empty: there is no --policy-file

  /// The namespace's, else the file's, else the flag.
  [[nodiscard]] Level level_of(std::string_view claim_namespace) const;
};

}  // namespace fairlead::policy
