// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/attach_service.h"

#include <fcntl.h>

#include <algorithm>

#include "fairlead/core/fault.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"
#include "fairlead/dra/claims/claim_cdi.h"
#include "fairlead/dra/reports/pod_events.h"

namespace fairlead::agent {

using std::chrono::steady_clock;

namespace {

/// How often a wait for a claim checks whether the program is stopping.
constexpr std::chrono::seconds kSlice{1};
/// The time to return a NIC that was attached too late.
constexpr std::chrono::seconds kGiveBackTime{2};
constexpr int kAttachTries = 4;

struct FaultNames {
  std::string_view before, after_begin, after_attach, after_record;
};
constexpr FaultNames kGuardFaults = {"guard-before-attach", "guard-after-begin", "guard-after-attach",
                                     "guard-after-record"};
constexpr FaultNames kNriFaults = {"nri-before-attach", "nri-after-begin", "nri-after-attach",
                                   "nri-after-record"};

/// Only if it is certain: a late event of an old sandbox must not affect the new one's interfaces, and the
/// kernel may have reused the old namespace's inode number for the new one.
bool belongs_to(const AttachState& state, const Sandbox& sandbox) {
  if (!state.is_in_a_pod()) {
    return false;
  }
  if (sandbox.netns >= 0) {
    const auto id = sys::netns_id(sandbox.netns);
    if (!id || *id != *state.netns) {
      return false;
    }
    return state.sandbox.empty() || state.sandbox == sandbox.id;
  }
  return !state.sandbox.empty() && state.sandbox == sandbox.id;
}

}  // namespace

std::string_view to_string(AttachVia via) { return via == AttachVia::kNri ? "nri" : "guard"; }

AttachService::AttachService(Attacher& attacher, dra::Host& host, std::string driver_name,
                             AttachReportsOptions options)
    : attacher_(&attacher),
      host_(&host),
      driver_name_(driver_name),
      reports_(host, attacher.plans(), std::move(driver_name), options) {}

std::vector<std::string> AttachService::cdi_ids(const dra::ClaimRecord& record) const {
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < record.claim.devices.size(); ++i) {
    if (dra::has_cdi_device(record, i)) {
      ids.push_back(dra::cdi_id(driver_name_, record, i));
    }
  }
  return ids;
}

/// Adds what NRI reported about the namespace, if the caller does not know it.
AttachCall AttachService::identified(AttachCall call) const {
  const auto id = sys::netns_id(call.netns);
  if (auto known = id && call.sandbox.empty() ? sandboxes_.find(*id) : std::nullopt) {
    call.sandbox = std::move(known->sandbox);
    call.pod = std::move(known->pod);
  }
  return call;
}

/// Host::update that gives up when the program is stopping.
Result<> AttachService::update(const std::string& claim_uid, TimePoint deadline,
                               const dra::Host::Change& change) {
  bool begun = false;
  while (true) {
    const auto now = steady_clock::now();
    if (now >= wound_up_.load()) {
      return Error(Code::kCancelled, "the program is stopping");
    }
    auto done = host_->update(claim_uid, std::min({deadline, wound_up_.load(), now + kSlice}),
                              [&](const dra::ClaimRecord& record) {
                                begun = true;
                                return change(record);
                              });
    const bool again = !done && !begun && done.error().code() == Code::kTimeout;
    if (!again || steady_clock::now() >= deadline) {
      return done;
    }
  }
}

void AttachService::finished(std::string_view operation, std::string_view via, const Result<>& result,
                             steady_clock::time_point start) const {
  host_->operation_finished(operation, via,
                            result ? std::nullopt : std::optional<Code>(result.error().code()),
                            steady_clock::now() - start);
}

// ---- attach

Result<> AttachService::begin_and_attach(const AttachCall& call) {
  const FaultNames& faults = call.via == AttachVia::kNri ? kNriFaults : kGuardFaults;
  AttachTarget target{.netns = call.netns,
                      .sandbox = call.sandbox,
                      .container = call.container,
                      .pod_uid = call.pod ? call.pod->uid : "",
                      .deadline = std::min(call.deadline, wound_up_.load())};
  const auto in_time = [&]() -> Result<> {
    if (sandboxes_.has_ended(call.sandbox)) {
      return Error(Code::kGone, "the pod's sandbox has ended meanwhile");
    }
    if (steady_clock::now() >= call.deadline) {
      return Error(Code::kTimeout, "the claim's turn did not come in time");
    }
    return {};
  };
  const auto record = host_->find(call.claim_uid);
  if (!record) {
    return Error(Code::kNotFound, "the claim " + call.claim_uid + " is not prepared on this node");
  }
  FL_ASSIGN(const bool must_begin, attacher_->must_begin(*record, target));
  if (must_begin) {
    auto begun =
        update(call.claim_uid, call.deadline, [&](const dra::ClaimRecord& current) -> Result<std::string> {
          FL_TRY(in_time());
          return attacher_->begin(current, target);
        });
    FL_TRY(std::move(begun));
    fault_point(faults.after_begin);
  }
  target.is_begun = true;
  bool too_late = false;
  auto attached =
      update(call.claim_uid, call.deadline, [&](const dra::ClaimRecord& current) -> Result<std::string> {
        FL_TRY(in_time());
        auto state = attacher_->attach(current, target);
        fault_point(faults.after_attach);
        if (state && call.via == AttachVia::kNri && steady_clock::now() >= call.deadline) {
          return unless_too_late(current, call, *std::move(state), too_late);
        }
        return state;
      });
  FL_TRY(std::move(attached));
  return too_late ? Error(Code::kTimeout, "it took longer than the runtime waits; the kubelet tries again")
                  : Result<>();
}

/// The runtime was told that the sandbox failed (and will not report its end), or got no response and
/// continues. A NIC is returned to the node, in the same update: a guard that waits for the claim takes it
/// again. Links that we make may stay, since they are removed with the namespace; so may devices that another
/// call had attached before.
Result<std::string> AttachService::unless_too_late(const dra::ClaimRecord& before, const AttachCall& call,
                                                   std::string made, bool& too_late) {
  FL_ASSIGN(const AttachState old, parse_attach_state(before.prepared.state));
  FL_ASSIGN(const AttachState now, parse_attach_state(made));
  if (old.phase == AttachPhase::kAttached && old.netns == now.netns) {
    return made;
  }
  too_late = true;
  if (!attacher_->leaves_node(before)) {
    return made;
  }
  dra::ClaimRecord record = before;
  record.prepared.state = made;
  const auto home = attacher_->release(record, call.sandbox, steady_clock::now() + kGiveBackTime);
  if (!home) {
    log::warn("cannot return a NIC that was attached too late for a sandbox; Unprepare tries again",
              {{"claim", call.claim_uid}, {"sandbox", call.sandbox}, {"error", home.error().what()}});
    return made;
  }
  AttachState back = now;
  FL_TRY(back.advance(AttachEvent::kGiveBack));
  return to_json(AttachState{.phase = back.phase});  // as before: it may be running, and attached later
}

Result<> AttachService::carry_out(const AttachCall& call) {
  const FaultNames& faults = call.via == AttachVia::kNri ? kNriFaults : kGuardFaults;
  fault_point(faults.before);
  auto done = begin_and_attach(call);
  for (int i = 1; i < kAttachTries && !done && done.error().code() == Code::kConflict; ++i) {
    done = begin_and_attach(call);
  }
  FL_TRY(std::move(done));
  fault_point(faults.after_record);
  if (sandboxes_.has_ended(call.sandbox)) {
    // Its release may have come before the record; the end is not reported again.
    FL_TRY(release(call.claim_uid, {.id = call.sandbox, .netns = call.netns},
                   steady_clock::now() + kGiveBackTime),
           "the pod's sandbox has ended meanwhile");
    return Error(Code::kGone, "the pod's sandbox has ended meanwhile");
  }
  return {};
}

Result<> AttachService::attach(const AttachCall& asked) {
  const auto start = steady_clock::now();
  const AttachCall call = identified(asked);
  auto result = carry_out(call);
  finished("attach", to_string(call.via), result, start);
  if (!result) {
    const auto record = host_->find(call.claim_uid);
    if (record && dra::is_for_the_author(result.error().code())) {
      reports_.failed(*record, call.netns, call.pod, "AttachFailed", result.error().what());
    }
    return result;
  }
  // The pod's interfaces are read a moment later.
  reports_.check_soon(call.claim_uid, UniqueFd(::fcntl(call.netns, F_DUPFD_CLOEXEC, 0)));
  return result;
}

// ---- detach

Result<> AttachService::release(const std::string& claim_uid, const Sandbox& sandbox,
                                steady_clock::time_point deadline) {
  const auto is_here = [&](const dra::ClaimRecord& record) {
    const auto state = parse_attach_state(record.prepared.state);
    return record.state == dra::ClaimState::kPrepared && state && belongs_to(*state, sandbox);
  };
  const auto record = host_->find(claim_uid);
  if (!record || !is_here(*record)) {
    return {};
  }
  const auto start = steady_clock::now();
  const auto nothing_reported = reports_.hold_back(
      claim_uid, parse_attach_state(record->prepared.state)->netns.value_or(sys::NetnsId{}));
  bool released = false;
  auto result = update(claim_uid, deadline, [&](const dra::ClaimRecord& current) {
    if (!is_here(current)) {
      return Result<std::string>(current.prepared.state);
    }
    auto state = attacher_->release(current, sandbox.id, deadline);
    released = state.has_value();
    fault_point("release-after-effect");
    return state;
  });
  finished("detach", to_string(AttachVia::kNri), result, start);
  if (result && released) {
    reports_.detached(*record);
  }
  return result;
}

}  // namespace fairlead::agent
