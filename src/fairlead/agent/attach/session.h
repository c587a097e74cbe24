// SPDX-License-Identifier: Apache-2.0
// For the files of Attacher only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/agent/attach/attach.h"
#include "fairlead/agent/attach/plan_reader.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

/// The context of one call: the claim's plan, and the node's network namespace.
struct Attacher::Session {
  std::string claim_uid;
  PlanPtr kept_plan;
  const ClaimPlan& plan;             // *kept_plan
  std::vector<PlanPart> parts = {};  // parts_of(plan); every call goes through them, in order or backwards
  std::vector<dra::Pod> pods = {};   // that the claim is reserved for
  bool borrowed_only = false;        // release(): only devices that left the node
  bool was_begun = false;            // kAttaching: the process may have been killed anywhere in attach()
  std::vector<std::string> lost_nics = {};  // that now belong to claims of other drivers
  /// AttachState::indexes; empty if it is not certain that the pod's namespace is still the one in the record.
  std::vector<std::int32_t> indexes = {};
  UniqueFd node_netns;
  devices::CallScope node_scope = {};

  [[nodiscard]] devices::Side node() {
    return {.netns = node_netns.get(), .is_callers = true, .scope = &node_scope};
  }

  static Result<std::unique_ptr<Session>> open(const std::string& claim_uid, const PlanPtr& plan) {
    FL_ASSIGN(UniqueFd netns, sys::open_own_netns());
    return std::make_unique<Session>(Session{.claim_uid = claim_uid,
                                             .kept_plan = plan,
                                             .plan = *plan,
                                             .parts = parts_of(*plan),
                                             .node_netns = std::move(netns)});
  }
};

/// "interface data0 (request data-nic)"
inline std::string describe(const devices::DevicePlan& device) {
  const std::string name = device.body == nullptr ? "" : device.body->name_in_pod();
  return name.empty() ? "request " + device.request
                      : "interface " + name + " (request " + device.request + ")";
}

inline std::int32_t index_of(const std::vector<std::int32_t>& indexes, std::size_t part) {
  return part < indexes.size() ? indexes[part] : 0;
}

inline bool is_other_sandbox(const AttachState& state, const AttachTarget& target) {
  return !state.sandbox.empty() && !target.sandbox.empty() && state.sandbox != target.sandbox;
}

/// How long the undo of a failed call waits: what it has just put into the pod is there.
inline constexpr std::chrono::seconds kUndoTime{1};

}  // namespace fairlead::agent
