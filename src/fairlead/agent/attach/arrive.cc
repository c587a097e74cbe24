// SPDX-License-Identifier: Apache-2.0
// Whether a claim may go into a namespace, and where it was before.
#include <algorithm>
#include <chrono>

#include "fairlead/agent/attach/find_netns.h"
#include "fairlead/agent/attach/session.h"
#include "fairlead/core/log.h"
#include "fairlead/devices/netdev/place.h"

namespace fairlead::agent {

using devices::AttachMode;
using devices::Side;
using std::chrono::steady_clock;

namespace {

/// A NIC that the kernel returns to the node usually appears within milliseconds. A pod start waits at most
/// this long for it: it blocks other calls of the claim, and the kubelet tries again.
constexpr std::chrono::seconds kLeaveTime{8};

steady_clock::time_point leave_deadline(const AttachTarget& target) {
  return std::min(target.deadline, steady_clock::now() + kLeaveTime);
}

}  // namespace

Error Attacher::second_pod(const Session& session, const AttachState& state, const std::string& why) {
  const auto first = std::ranges::find(session.pods, state.pod_uid, &dra::Pod::uid);
  const bool known = !state.pod_uid.empty() && first != session.pods.end();
  log::info(
      "a second pod of a claim is refused",
      {{"claim", session.claim_uid}, {"first_pod", state.pod_uid}, {"netns", sys::to_string(*state.netns)}});
  return Error(Code::kBusy, "the claim's interfaces are in " +
                                (known ? "the pod " + first->name + ", which " : "another pod that ") + why +
                                "; a claim with network interfaces cannot be shared by two pods");
}

/// Why a namespace that is not found may still exist: if the agent that attached the claim had other mounts,
/// this process must be able to look in the same place to be sure that it is gone.
std::optional<std::string> Attacher::why_not_gone(const AttachState& state) {
  if (!state.visible) {
    return "is not visible to the agent";
  }
  if (state.seen_in.empty()) {
    return "an older version of the agent saw, which does not say where";
  }
  const auto looked = is_looked_through(state.seen_in);
  if (!looked) {
    return "cannot be looked for now (" + looked.error().what() + ")";
  }
  if (!*looked) {
    return "was seen where the agent does not look any more (its mount of /run/netns, or hostPID, has "
           "changed)";
  }
  return std::nullopt;
}

/// The claim was attached before, elsewhere. If that pod is running, it keeps its interfaces; otherwise its
/// leftovers are removed, so that they can be attached again.
Result<> Attacher::leave_old_namespace(Session& session, const AttachTarget& target,
                                       const AttachState& state) {
  // A pod gets a new sandbox only after its old one has ended.
  const bool same_pod = !target.pod_uid.empty() && target.pod_uid == state.pod_uid;
  const bool may_live = state.phase != AttachPhase::kReleased && !same_pod;
  const auto alive = find_netns(*state.netns, {}, state.seen_in);
  if (alive && *alive) {
    FL_ASSIGN(const bool in_use, has_links_of(session, (*alive)->fd.get()));
    if (in_use && may_live) {
      return second_pod(session, state, "still runs");
    }
  } else if (may_live) {
    const auto why = alive ? why_not_gone(state) : "cannot be looked for now (" + alive.error().what() + ")";
    if (why) {
      return second_pod(session, state,
                        "has a network namespace that " + *why +
                            ", so that it counts as running until the claim is unprepared");
    }
  }
  const bool was_attached = state.phase == AttachPhase::kAttached;
  session.was_begun = state.phase == AttachPhase::kAttaching;
  const UniqueFd old = pod_namespace(session, state);
  if (!old.valid()) {
    return detach_from(session, std::nullopt, was_attached, leave_deadline(target));
  }
  devices::CallScope scope;
  return detach_from(session, Side{.netns = old.get(), .scope = &scope}, was_attached,
                     leave_deadline(target));
}

/// Whether the target is exactly the namespace in the record: the kernel reuses the inode number of one that
/// ended. If our links are in it, it is.
Result<bool> Attacher::is_still_there(const Session& session, const AttachTarget& target,
                                      const AttachState& state) const {
  if (state.phase == AttachPhase::kAttaching && !is_other_sandbox(state, target)) {
    return true;  // just begun, or interrupted then: no link need be there yet
  }
  if (!state.sandbox.empty() && state.sandbox == target.sandbox) {
    return true;  // a sandbox keeps its namespace
  }
  if (held_.certainty_of(session.claim_uid, *state.netns) == HeldNamespaces::Certainty::kCertain) {
    return true;  // even if the pod changed the aliases
  }
  return has_links_of(session, target.netns);
}

/// `state` of a claim whose devices go to the namespace `id`.
Result<AttachState> Attacher::arrived(Session& session, const AttachTarget& target, const sys::NetnsId& id,
                                      AttachState state) {
  FL_TRY(state.advance(AttachEvent::kArrive));
  state.netns = id;
  state.sandbox = target.sandbox;
  state.container = target.container;
  state.pod_uid = target.pod_uid;
  state.indexes.clear();
  state.given.clear();
  const auto seen_in = where_seen(target.netns, id);
  state.visible = seen_in && *seen_in;
  state.seen_in = state.visible ? **seen_in : "";
  // Without it the namespace is searched for when the claim ends.
  const auto node = devices::netdev::place_of(session.node());
  const auto number = node ? node->socket->number_netns(target.netns) : node.error();
  const auto own = sys::netns_id(session.node_netns.get());
  state.number =
      number && own ? std::optional(AttachState::Number{.number = *number, .of = *own}) : std::nullopt;
  return state;
}

/// Checks that the claim may go into this namespace, and that none of its devices is elsewhere; returns the
/// state to record until all of them are there.
Result<AttachState> Attacher::arrive(Session& session, const AttachTarget& target, AttachState state) {
  FL_ASSIGN(const sys::NetnsId id, sys::netns_id(target.netns));
  FL_ASSIGN(const sys::NetnsId own, sys::netns_id(session.node_netns.get()));
  if (id == own) {
    if (session.plan.mode == AttachMode::kNetdevices) {
      wait_again(session, std::nullopt);  // the runtime "moved" the links within a namespace: renamed, and up
    }
    return Error(Code::kDenied, kHostNetworkRefusal);
  }
  if (session.plan.mode == AttachMode::kNetdevices) {
    // The runtime moved the links: there are none to remove elsewhere.
    return arrived(session, target, id, std::move(state));
  }
  if (state.netns == id && state.is_in_a_pod()) {
    FL_ASSIGN(const bool still_there, is_still_there(session, target, state));
    if (still_there) {
      state.sandbox = target.sandbox.empty() ? state.sandbox : target.sandbox;
      state.pod_uid = target.pod_uid.empty() ? state.pod_uid : target.pod_uid;
      return state;
    }
    session.was_begun = state.phase == AttachPhase::kAttaching;
    FL_TRY(detach_from(session, std::nullopt, state.phase == AttachPhase::kAttached, leave_deadline(target)));
  } else if (state.netns && *state.netns != id) {
    FL_TRY(leave_old_namespace(session, target, state));
  }
  FL_ASSIGN(state, arrived(session, target, id, std::move(state)));
  if (!state.visible) {
    log::warn(
        "a pod's network namespace cannot be found again from here, so whether the pod still runs will "
        "not be known; mount its folder with mountPropagation: HostToContainer",
        {{"claim", session.claim_uid}, {"netns", sys::to_string(id)}});
  }
  return state;
}

}  // namespace fairlead::agent
