// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach_service.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <memory>

#include "fairlead/agent/find_netns.h"
#include "fairlead/core/fault.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"
#include "fairlead/dra/claim_cdi.h"
#include "fairlead/dra/pod_events.h"

namespace fairlead::agent {

using std::chrono::steady_clock;

namespace {

/// How long a report waits for a claim that is still being prepared, and how often it looks.
constexpr std::chrono::seconds kReportTime{60};
constexpr std::chrono::milliseconds kReportAgain{100};
/// Who waits for a claim looks so often whether the program stops.
constexpr std::chrono::seconds kSlice{1};
/// Taking home what came too late.
constexpr std::chrono::seconds kGiveBackTime{2};
constexpr std::size_t kEndedLimit = 1024;
constexpr int kAttachTries = 4;
/// Nearly every sandbox that ends is its pod's last: the kubelet unprepares the claim right after, and then
/// nobody reads its status any more.
constexpr std::chrono::milliseconds kDetachedDelay{1'500};
constexpr std::chrono::milliseconds kBehindTheAnswer{25};

struct FaultNames {
  std::string_view before, after_begin, after_attach, after_record;
};
constexpr FaultNames kGuardFaults = {"guard-before-attach", "guard-after-begin", "guard-after-attach",
                                     "guard-after-record"};
constexpr FaultNames kNriFaults = {"nri-before-attach", "nri-after-begin", "nri-after-attach",
                                   "nri-after-record"};

/// Never on a guess: a late word about an old sandbox must not touch the new one's interfaces, and the kernel
/// may have given the new namespace the old one's inode.
bool belongs_to(const ClaimState& state, const Sandbox& sandbox) {
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

std::vector<dra::DeviceReport> all_devices(const dra::ClaimRecord& record, const std::string& reason,
                                           const std::string& message) {
  return std::vector<dra::DeviceReport>(record.claim.devices.size(), {.reason = reason, .message = message});
}

}  // namespace

std::string_view to_string(Door door) { return door == Door::kNri ? "nri" : "guard"; }

AttachService::AttachService(Attacher& attacher, dra::Host& host, std::string driver_name,
                             AttachServiceOptions options)
    : attacher_(&attacher),
      host_(&host),
      driver_name_(std::move(driver_name)),
      options_(options),
      background_({.lanes = {1}}) {}

AttachService::~AttachService() { stop(); }

void AttachService::stop() {
  timer_.stop();
  background_.stop();
}

bool AttachService::is_attachable(const dra::ClaimRecord& record) {
  if (record.state != dra::ClaimState::kPrepared) {
    return false;
  }
  const auto plan = parse_claim_plan(record.plan);
  return plan && plan->mode == devices::AttachMode::kGuard &&
         std::ranges::any_of(plan->devices,
                             [](const devices::DevicePlan& device) { return !device.kind.empty(); });
}

std::vector<std::string> AttachService::cdi_ids(const dra::ClaimRecord& record) const {
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < record.claim.devices.size(); ++i) {
    if (dra::has_cdi_device(record, i)) {
      ids.push_back(dra::cdi_id(driver_name_, record, i));
    }
  }
  return ids;
}

void AttachService::remember(const std::string& sandbox, sys::NetnsId netns, const dra::Pod& pod) {
  const Lock lock(mutex_);
  // A namespace has one sandbox: an older entry is of one that ended unseen.
  std::erase_if(sandboxes_, [&](const auto& entry) { return entry.second.netns == netns; });
  sandboxes_[sandbox] = {.netns = netns, .pod = pod};
  std::erase(ended_, sandbox);
}

void AttachService::forget_all() {
  const Lock lock(mutex_);
  sandboxes_.clear();
}

void AttachService::ended(const std::string& sandbox) {
  const Lock lock(mutex_);
  sandboxes_.erase(sandbox);
  if (std::ranges::find(ended_, sandbox) != ended_.end()) {
    return;
  }
  ended_.push_back(sandbox);
  if (ended_.size() > kEndedLimit) {
    ended_.pop_front();
  }
}

bool AttachService::has_ended(const std::string& sandbox) const {
  const Lock lock(mutex_);
  return std::ranges::find(ended_, sandbox) != ended_.end();
}

/// With what NRI said of the namespace, where the door does not know it.
AttachCall AttachService::identified(AttachCall call) const {
  const auto id = sys::netns_id(call.netns);
  const Lock lock(mutex_);
  const auto found =
      std::ranges::find_if(sandboxes_, [&](const auto& entry) { return id && entry.second.netns == *id; });
  if (call.sandbox.empty() && found != sandboxes_.end()) {
    call.sandbox = found->first;
    call.pod = found->second.pod;
  }
  return call;
}

/// Host::update that gives up when the program stops.
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
  const FaultNames& faults = call.door == Door::kNri ? kNriFaults : kGuardFaults;
  const AttachTarget target{.netns = call.netns,
                            .sandbox = call.sandbox,
                            .container = call.container,
                            .pod_uid = call.pod ? call.pod->uid : "",
                            .deadline = std::min(call.deadline, wound_up_.load())};
  const auto in_time = [&]() -> Result<> {
    if (has_ended(call.sandbox)) {
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
  bool too_late = false;
  auto attached =
      update(call.claim_uid, call.deadline, [&](const dra::ClaimRecord& current) -> Result<std::string> {
        FL_TRY(in_time());
        // Between the two another pod may have begun: then the record does not say where this one goes.
        FL_ASSIGN(const bool overtaken, attacher_->must_begin(current, target));
        if (overtaken) {
          return Error(Code::kConflict, "another pod wants the claim at the same moment");
        }
        auto state = attacher_->attach(current, target);
        fault_point(faults.after_attach);
        if (state && call.door == Door::kNri && steady_clock::now() >= call.deadline) {
          return unless_too_late(current, call, *std::move(state), too_late);
        }
        return state;
      });
  FL_TRY(std::move(attached));
  return too_late ? Error(Code::kTimeout, "it took longer than the runtime waits; the kubelet tries again")
                  : Result<>();
}

/// The runtime was told that the sandbox failed (and tells nothing of its end), or got no answer and goes on.
/// A NIC goes home, in the same turn: a guard that waits for the claim takes it anew. Links that we make may
/// stay, they die with the namespace; and so does what another call had attached before.
Result<std::string> AttachService::unless_too_late(const dra::ClaimRecord& before, const AttachCall& call,
                                                   std::string made, bool& too_late) {
  FL_ASSIGN(const ClaimState old, parse_claim_state(before.prepared.state));
  FL_ASSIGN(const ClaimState now, parse_claim_state(made));
  if (old.phase == AttachPhase::kAttached && old.netns == now.netns) {
    return made;
  }
  too_late = true;
  if (!attacher_->takes_nic(before)) {
    return made;
  }
  dra::ClaimRecord record = before;
  record.prepared.state = made;
  const auto home = attacher_->release(record, call.sandbox, steady_clock::now() + kGiveBackTime);
  if (!home) {
    log::warn("a NIC that came too late for a sandbox stays in it; Unprepare takes it back",
              {{"claim", call.claim_uid}, {"sandbox", call.sandbox}, {"error", home.error().what()}});
    return made;
  }
  return to_json(ClaimState{});  // as before: the sandbox may live, and be attached yet
}

Result<> AttachService::carry_out(const AttachCall& call) {
  const FaultNames& faults = call.door == Door::kNri ? kNriFaults : kGuardFaults;
  fault_point(faults.before);
  auto done = begin_and_attach(call);
  for (int i = 1; i < kAttachTries && !done && done.error().code() == Code::kConflict; ++i) {
    done = begin_and_attach(call);
  }
  FL_TRY(std::move(done));
  fault_point(faults.after_record);
  if (has_ended(call.sandbox)) {
    // Its release may have come before the record; nobody tells of the end again.
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
  finished("attach", to_string(call.door), result, start);
  if (!result) {
    const auto record = host_->find(call.claim_uid);
    if (record && dra::is_for_the_author(result.error().code())) {
      tell(*record, call.netns, call.pod, "AttachFailed", result.error().what());
    }
    return result;
  }
  // What the pod has now is read a moment later: the application waits for the interface, not for its
  // description, and reading takes the same kernel lock as attaching.
  auto netns = std::make_shared<UniqueFd>(::fcntl(call.netns, F_DUPFD_CLOEXEC, 0));
  timer_.at(steady_clock::now() + kBehindTheAnswer, [this, netns, uid = call.claim_uid] {
    (void)background_.submit({uid}, [this, netns, uid](Executor::Turn&) {
      if (const auto record = host_->find(uid)) {
        check(*record, netns->get(), Namespace::kTheClaims);  // its number is no other's while it is open
      }
    });
  });
  return result;
}

/// `netns` is where it is not; -1: a pod without a namespace of its own. The claim may be in another pod all
/// the same: then its status stays as it is, and that pod's author has nothing to mend.
void AttachService::tell(const dra::ClaimRecord& record, int netns, const std::optional<dra::Pod>& pod,
                         const std::string& reason, const std::string& message) const {
  const auto state = parse_claim_state(record.prepared.state);
  const auto id = netns >= 0 ? sys::netns_id(netns) : Result<sys::NetnsId>(sys::NetnsId{});
  const bool elsewhere = state && state->is_in_a_pod() && (!id || state->netns != *id);
  if (!elsewhere) {
    host_->report(record.claim.uid, all_devices(record, reason, message));
  }
  // The kubelet prepares a claim once: the record knows its first pod only.
  if (pod || !elsewhere) {
    host_->pod_event(record.claim.uid, reason, message, pod);
  }
}

void AttachService::refuse(const dra::ClaimRecord& record, const dra::Pod& pod, const std::string& message,
                           const std::string& reason) {
  tell(record, -1, pod, reason, message);
}

void AttachService::report_not_attached(const dra::ClaimRecord& record, const std::string& message) {
  const auto state = parse_claim_state(record.prepared.state);
  if (state && !state->is_in_a_pod()) {
    host_->report(record.claim.uid, all_devices(record, "NotAttached", message));
  }
}

void AttachService::check(const dra::ClaimRecord& record, int netns, Namespace which) {
  check(record, netns, which, false);
}

void AttachService::check(const dra::ClaimRecord& record, int netns, Namespace which,
                          bool silent_without_links) {
  const auto plan = parse_claim_plan(record.plan);
  const auto state = parse_claim_state(record.prepared.state);
  const auto id = sys::netns_id(netns);
  if (!plan || !state || !id || state->phase != AttachPhase::kAttached || state->netns != *id) {
    return;  // it went on in the meantime; whoever did that reports
  }
  auto facts =
      read_facts(*plan, *state, {.driver = driver_name_, .claim_uid = record.claim.uid}, netns, which);
  if (!facts) {
    log::warn("what a claim has in its pod cannot be read",
              {{"claim", record.claim.uid}, {"error", facts.error().what()}});
    return;
  }
  const auto gone = std::ranges::find(*facts, "InterfaceGone", &dra::DeviceReport::reason);
  const auto there = std::ranges::find(*facts, "Attached", &dra::DeviceReport::reason);
  if (silent_without_links && there == facts->end()) {
    return;
  }
  // A sandbox may have been stopped, or the claim unprepared, while the links were being read: that they are
  // gone then is no news.
  const Lock lock(reports_mutex_);
  if (!still_in(record.claim.uid, *id)) {
    return;
  }
  if (gone != facts->end()) {
    host_->pod_event(record.claim.uid, gone->reason, gone->message, std::nullopt);
  }
  host_->report(record.claim.uid, *std::move(facts));
}

bool AttachService::still_in(const std::string& claim_uid, const sys::NetnsId& netns) const {
  const auto record = host_->find(claim_uid);
  const auto state = record ? parse_claim_state(record->prepared.state) : Result<ClaimState>(ClaimState());
  return record && record->state == dra::ClaimState::kPrepared && state &&
         state->phase == AttachPhase::kAttached && state->netns == netns &&
         !releasing_.contains({claim_uid, netns});
}

void AttachService::check_all(const std::vector<dra::ClaimRecord>& records) {
  std::vector<std::string> uids;
  for (const dra::ClaimRecord& record : records) {
    uids.push_back(record.claim.uid);
  }
  (void)background_.submit({}, [this, uids = std::move(uids)](Executor::Turn&) {
    for (const std::string& uid : uids) {
      const auto record = host_->find(uid);
      const auto state =
          record ? parse_claim_state(record->prepared.state) : Result<ClaimState>(ClaimState());
      if (!state || !state->is_in_a_pod()) {
        continue;
      }
      const auto netns = find_netns(*state->netns);
      if (!netns) {
        log::warn("a pod's network namespace cannot be looked for, so its interfaces are not looked at",
                  {{"claim", uid}, {"error", netns.error().what()}});
      } else if (*netns) {
        check(*record, (*netns)->fd.get(), Namespace::kByNumber, true);
      }
    }
  });
}

void AttachService::report_staged(const std::string& claim_uid) {
  report_staged_until(claim_uid, steady_clock::now() + kReportTime);
}

/// The claim is being prepared: looks again until that is on disk.
void AttachService::report_staged_until(const std::string& claim_uid, TimePoint give_up) {
  timer_.at(steady_clock::now() + kReportAgain, [this, claim_uid, give_up] {
    (void)background_.submit({claim_uid}, [this, claim_uid, give_up](Executor::Turn&) {
      const auto record = host_->find(claim_uid);
      if (!record || steady_clock::now() >= give_up) {
        return;
      }
      if (record->state != dra::ClaimState::kPrepared) {
        report_staged_until(claim_uid, give_up);
        return;
      }
      const auto state = parse_claim_state(record->prepared.state);
      if (!state || state->phase != AttachPhase::kNone) {
        return;  // the guard was faster
      }
      const auto plan = parse_claim_plan(record->plan);
      auto facts = plan ? read_staged_facts(*plan, *record) : plan.error();
      if (facts) {
        host_->report(claim_uid, *std::move(facts));
      } else {
        log::warn("what waits for the runtime cannot be read",
                  {{"claim", claim_uid}, {"error", facts.error().what()}});
      }
    });
  });
}

void AttachService::report_waiting(const std::string& claim_uid) {
  timer_.at(steady_clock::now() + options_.waiting_after, [this, claim_uid] {
    (void)background_.submit({claim_uid}, [this, claim_uid](Executor::Turn&) {
      const auto record = host_->find(claim_uid);
      const auto state =
          record ? parse_claim_state(record->prepared.state) : Result<ClaimState>(ClaimState());
      if (!record || !is_attachable(*record) || !state || state->phase != AttachPhase::kNone) {
        return;
      }
      host_->report(claim_uid, all_devices(*record, "WaitingForContainer",
                                           "prepared; attached when the first container that lists the "
                                           "claim in resources.claims is created"));
    });
  });
}

// ---- detach

Result<> AttachService::release(const std::string& claim_uid, const Sandbox& sandbox,
                                steady_clock::time_point deadline) {
  const auto is_here = [&](const dra::ClaimRecord& record) {
    const auto state = parse_claim_state(record.prepared.state);
    return record.state == dra::ClaimState::kPrepared && state && belongs_to(*state, sandbox);
  };
  const auto record = host_->find(claim_uid);
  if (!record || !is_here(*record)) {
    return {};
  }
  const auto start = steady_clock::now();
  const std::pair being_released(claim_uid,
                                 parse_claim_state(record->prepared.state)->netns.value_or(sys::NetnsId{}));
  {
    const Lock lock(reports_mutex_);
    releasing_.insert(being_released);
  }
  const ScopeExit over([&] {
    const Lock lock(reports_mutex_);
    releasing_.erase(releasing_.find(being_released));
  });
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
  finished("detach", to_string(Door::kNri), result, start);
  if (result && released) {
    auto reports = all_devices(*record, "Detached", "the pod's sandbox has ended");
    for (dra::DeviceReport& report : reports) {
      report.delay = kDetachedDelay;
    }
    host_->report(claim_uid, std::move(reports));
  }
  return result;
}

}  // namespace fairlead::agent
