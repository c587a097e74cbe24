// SPDX-License-Identifier: Apache-2.0
// Who may write which field of a claim's parameters: docs/adr/0015-who-may-write-which-field.md. A pure function of
// its arguments: no file, no node, no clock; any thread.
//
//   --policy, policy file ----> Policy -----------+
//   tables of the kinds ------> Registry ---------+--> decide() --> Resolved, for Registry::plan()
//   entries of class, claim --> AllocatedDevice --+             \-> Refusals, for the claim's author
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/registry.h"
#include "fairlead/devices/resolved.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/policy/field_policy.h"
#include "fairlead/policy/policy_file.h"
#include "fairlead/policy/refusal.h"

namespace fairlead::policy {

struct Decision {
  devices::Resolved resolved;      // to be used only without refusals
  std::vector<Refusal> refusals;   // in the order of the checks; the agent reports the first
  std::vector<std::string> notes;  // for a caller without the device: what depends on it; what has no effect
  [[nodiscard]] bool is_allowed() const { return refusals.empty(); }
  /// kDenied with the first refusal and, if there are more, their number.
  [[nodiscard]] Result<devices::Resolved> take() &&;
};

/// All is borrowed for the call.
struct Question {
  const devices::Registry* kinds = nullptr;
  const Policy* policy = nullptr;
  std::string_view claim_namespace;
  const dra::AllocatedDevice* device = nullptr;  // with its entries, class before claim
  /// The kind by which the device is given without parameters: it may always be chosen. nullptr: it needs parameters.
  const devices::Kind* kind_without_parameters = nullptr;
  /// False: the device is not allocated yet. What depends on it is accepted, with a note.
  bool is_device_known = true;
};

/// One device of a claim. kInvalid: an entry cannot be decoded, a FieldPolicy is wrong, or one is in a claim. A device
/// with adminAccess has no fields: do not ask about it. Order of the checks: the ADR.
Result<Decision> decide(const Question& question);

}  // namespace fairlead::policy
