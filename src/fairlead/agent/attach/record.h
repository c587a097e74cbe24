// SPDX-License-Identifier: Apache-2.0
// The two texts that the driver keeps in a claim's record (dra::ClaimRecord::plan and Prepared::state), JSON with
// a version, and how far a claim is on its way into a pod.
//
//   none ---arrive---> attaching ---complete---> attached ---release---> released
//    ^                  |  ^  |                     |                       |
//    |                  |  |  +------release------- | ------------------->  |
//    +----give back-----+  +--------arrive----------+<-------arrive---------+
//    +----give back---------------------------------+
//
// arrive: a sandbox may have the claim, and nothing of it is anywhere else. complete: all of it is in the
// sandbox's namespace. release: the sandbox has stopped. give back: it came too late for a sandbox that may live.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/node.h"
#include "fairlead/devices/registry.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

/// What plan() decided: one entry per device of the claim.
struct ClaimPlan {
  devices::AttachMode mode = devices::AttachMode::kGuard;  // as it was when the claim was planned
  std::vector<devices::DevicePlan> devices;

  /// A device needs the pod's network namespace.
  [[nodiscard]] bool needs_pod_netns() const;
  /// attach() must be called: for that, or to refuse the pod with what is wrong with a device's plan.
  [[nodiscard]] bool needs_attach() const;
  /// Whether a device leaves the node for the pod's namespace.
  [[nodiscard]] bool leaves_node() const;
};
/// What the kinds are called for: a device of the claim, or a part of it.
struct PlanPart {
  const devices::DevicePlan* plan = nullptr;
  std::size_t device = 0;           // in ClaimPlan::devices
  std::optional<std::size_t> part;  // of a device with parts

  /// The device's own mark.
  [[nodiscard]] devices::Marker marker_of(const devices::Marker& claim) const {
    return {.driver = claim.driver, .claim_uid = claim.claim_uid, .index = device, .part = part};
  }
};
/// In the order in which they are prepared and attached. Points into the plan.
std::vector<PlanPart> parts_of(const ClaimPlan& plan);

std::string to_json(const ClaimPlan& plan);
/// The same text as version 0.1 reads it: there a device's body is a text in the text.
std::string plan_for_version_0_1(const ClaimPlan& plan);
/// kCorrupt: not ours; kUnsupported: a newer version's. What is wrong with one device only is in
/// DevicePlan::problem.
Result<ClaimPlan> parse_claim_plan(std::string_view text, const devices::Registry& kinds);

/// kAttaching is on disk before a device leaves the node, so that it is found wherever the process was killed.
/// Claims whose devices are all made on demand skip it: kAttached is written when they are there, and what a
/// killed process left is found by its marker in the pod, or ends with the namespace.
enum class AttachPhase : std::uint8_t {
  kNone,       // nothing happened yet
  kAttaching,  // a device may be on its way into `netns`
  kAttached,   // all of it is in `netns`
  kReleased,   // the pod's sandbox stopped: what left the node is back, what was made ends with `netns`
};
enum class AttachEvent : std::uint8_t { kArrive, kComplete, kRelease, kGiveBack };

/// The phase after `event`; nullopt: the event cannot come in this phase.
std::optional<AttachPhase> next_phase(AttachPhase phase, AttachEvent event);

/// What attach() did.
struct AttachState {
  AttachPhase phase = AttachPhase::kNone;
  std::optional<sys::NetnsId> netns;  // of the pod; nullopt before the first attach
  std::string sandbox;                // the runtime's id of the pod's sandbox; empty: not known
  std::string container;              // the OCI id that asked first, for people
  std::string pod_uid;                // empty: not known
  std::vector<std::int32_t> indexes;  // devices::Attached::index; one for each of parts_of()
  std::vector<devices::Given> given;  // the same; none in records of version 0.1
  /// Whether `netns` could be found by its id when it was attached. If not, failing to find it later says
  /// nothing about the pod.
  bool visible = true;
  /// Where it was (FoundNetns::seen_in); empty in records of older versions.
  std::string seen_in;
  /// By which the node's namespace `of` refers to `netns` (netlink::number_netns); nullopt: not known.
  struct Number {
    std::int32_t number = 0;
    sys::NetnsId of;
  };
  std::optional<Number> number;
  bool staged = false;  // netdevices: in the node's namespace for the runtime to move

  /// `netns` exists, and it is the claim's.
  [[nodiscard]] bool is_in_a_pod() const {
    return netns && (phase == AttachPhase::kAttaching || phase == AttachPhase::kAttached);
  }
  /// kInternal: next_phase() does not allow the event.
  Result<> advance(AttachEvent event);
};
std::string to_json(const AttachState& state);
/// An empty text is an empty state.
Result<AttachState> parse_attach_state(std::string_view text);

}  // namespace fairlead::agent
