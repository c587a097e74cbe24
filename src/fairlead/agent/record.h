// SPDX-License-Identifier: Apache-2.0
// The two texts that the driver keeps in a claim's record (dra::ClaimRecord::plan and Prepared::state): JSON
// with a version.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

/// What plan() decided: one entry per device of the claim. A device that is only watched (adminAccess) has an
/// entry without a kind.
struct ClaimPlan {
  devices::AttachMode mode = devices::AttachMode::kGuard;  // as it was when the claim was planned
  std::vector<devices::DevicePlan> devices;
};
std::string to_json(const ClaimPlan& plan);
/// kCorrupt: not ours; kUnsupported: a newer version's.
Result<ClaimPlan> parse_claim_plan(std::string_view text);

/// How far the claim is on its way into a pod. kAttaching is on disk before a NIC leaves the node, so that
/// it is found wherever the process was killed. Claims of links that we make skip it: kAttached is written
/// when they are there, and a killed process's half is found by its marker in the pod, or dies with it.
enum class AttachPhase : std::uint8_t {
  kNone,       // nothing happened yet
  kAttaching,  // a NIC may be on its way into `netns`
  kAttached,   // all of it is in `netns`
  kReleased,   // the pod's sandbox stopped: NICs are home, what was made is dying with `netns`
};

/// What a device was given when it was attached: this is told in the claim's status, not what a pod with
/// NET_ADMIN made of it.
struct Given {
  std::string mac;
  std::vector<std::string> addresses;  // with their prefixes
};

/// What attach() did.
struct ClaimState {
  AttachPhase phase = AttachPhase::kNone;
  std::optional<sys::NetnsId> netns;  // of the pod; nothing before the first attach
  std::string sandbox;                // the runtime's id of the pod's sandbox; empty when nobody told it
  std::string container;              // the OCI id that asked first, for people
  std::string pod_uid;                // empty when nobody told it
  std::vector<std::int32_t> ifindexes;
  std::vector<Given> given;  // one per device; none in records of version 0.1
  /// Whether `netns` could be found by its id when it was attached. If not, that it cannot be found later
  /// says nothing about the pod.
  bool visible = true;
  /// Where it was (FoundNetns::seen_in); empty in records of older versions.
  std::string seen_in;
  bool staged = false;  // netdevices: in the node's namespace for the runtime to move

  /// `netns` is there, and it is the claim's.
  [[nodiscard]] bool is_in_a_pod() const {
    return netns && (phase == AttachPhase::kAttaching || phase == AttachPhase::kAttached);
  }
};
std::string to_json(const ClaimState& state);
/// An empty text is an empty state.
Result<ClaimState> parse_claim_state(std::string_view text);

}  // namespace fairlead::agent
