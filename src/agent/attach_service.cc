// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach_service.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <memory>

#include "fairlead/agent/find_netns.h"
#include "fairlead/agent/interface_facts.h"
#include "fairlead/core/fault.h"
#include "fairlead/core/log.h"

namespace fairlead::agent {

using std::chrono::steady_clock;

namespace {

/// How long a report waits for a claim that is still being prepared.
constexpr std::chrono::seconds kReportTime{60};
constexpr std::chrono::milliseconds kBehindTheAnswer{25};

struct FaultNames {
  std::string_view before, after_attach, after_record;
};
constexpr FaultNames kGuardFaults = {"guard-before-attach", "guard-after-attach", "guard-after-record"};
constexpr FaultNames kNriFaults = {"nri-before-attach", "nri-after-attach", "nri-after-record"};

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

AttachService::AttachService(NetDriver& driver, Claims claims)
    : driver_(&driver), claims_(std::move(claims)), background_({.lanes = {1}}) {}

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

void AttachService::remember(const std::string& sandbox, sys::NetnsId netns) {
  const Lock lock(mutex_);
  // A namespace has one sandbox: an older entry is of one that ended unseen.
  std::erase_if(sandboxes_, [&](const auto& entry) { return entry.second == netns; });
  sandboxes_[sandbox] = netns;
}

void AttachService::forget(const std::string& sandbox) {
  const Lock lock(mutex_);
  sandboxes_.erase(sandbox);
}

std::string AttachService::sandbox_of(sys::NetnsId netns) const {
  const Lock lock(mutex_);
  const auto found =
      std::ranges::find(sandboxes_, netns, &std::pair<const std::string, sys::NetnsId>::second);
  return found == sandboxes_.end() ? std::string() : found->first;
}

void AttachService::finished(std::string_view operation, std::string_view via, const Result<>& result,
                             steady_clock::time_point start) const {
  if (claims_.operation_finished) {
    claims_.operation_finished(operation, via,
                               result ? std::nullopt : std::optional<Code>(result.error().code()),
                               steady_clock::now() - start);
  }
}

// ---- attach

Result<> AttachService::carry_out(const AttachCall& call) {
  const FaultNames& faults = call.door == Door::kNri ? kNriFaults : kGuardFaults;
  FL_ASSIGN(const sys::NetnsId id, sys::netns_id(call.netns), "");
  const AttachTarget target{.netns = call.netns,
                            .sandbox = call.sandbox.empty() ? sandbox_of(id) : call.sandbox,
                            .container = call.container};
  fault_point(faults.before);
  const auto record = claims_.find(call.claim_uid);
  if (!record) {
    return Error(Code::kNotFound, "the claim " + call.claim_uid + " is not prepared on this node");
  }
  FL_ASSIGN(const bool must_begin, driver_->must_begin(*record, call.netns), "");
  if (must_begin) {
    FL_TRY(claims_.update(call.claim_uid, call.deadline,
                          [&](const dra::ClaimRecord& current) { return driver_->begin(current, target); }),
           "");
  }
  FL_TRY(claims_.update(call.claim_uid, call.deadline,
                        [&](const dra::ClaimRecord& current) {
                          auto state = driver_->attach(current, target);
                          fault_point(faults.after_attach);
                          return state;
                        }),
         "");
  fault_point(faults.after_record);
  return {};
}

Result<> AttachService::attach(const AttachCall& call) {
  const auto start = steady_clock::now();
  auto result = carry_out(call);
  finished("attach", to_string(call.door), result, start);
  if (!result) {
    if (const auto record = claims_.find(call.claim_uid)) {
      tell(*record, call.netns, "AttachFailed", result.error().what());
    }
    return result;
  }
  // What the pod has now is read a moment later: the application waits for the interface, not for its
  // description, and reading takes the same kernel lock as attaching.
  auto netns = std::make_shared<UniqueFd>(::fcntl(call.netns, F_DUPFD_CLOEXEC, 0));
  timer_.at(steady_clock::now() + kBehindTheAnswer, [this, netns, uid = call.claim_uid] {
    (void)background_.submit({uid}, [this, netns, uid](Executor::Turn&) {
      if (const auto record = claims_.find(uid)) {
        check(*record, netns->get());
      }
    });
  });
  return result;
}

/// `netns` is where it is not; -1: a pod without a namespace of its own. The claim may be in another pod all
/// the same: then its status stays as it is.
void AttachService::tell(const dra::ClaimRecord& record, int netns, const std::string& reason,
                         const std::string& message) const {
  const auto state = parse_claim_state(record.prepared.state);
  const auto id = netns >= 0 ? sys::netns_id(netns) : Result<sys::NetnsId>(sys::NetnsId{});
  const bool elsewhere = state && state->phase == AttachPhase::kAttached && (!id || state->netns != *id);
  if (!elsewhere && claims_.report) {
    claims_.report(record.claim.uid, all_devices(record, reason, message));
  }
  if (claims_.pod_event) {
    claims_.pod_event(record.claim.uid, reason, message);
  }
}

void AttachService::refuse(const dra::ClaimRecord& record, const std::string& message,
                           const std::string& reason) {
  tell(record, -1, reason, message);
}

void AttachService::check(const dra::ClaimRecord& record, int netns) {
  const auto plan = parse_claim_plan(record.plan);
  const auto state = parse_claim_state(record.prepared.state);
  const auto id = sys::netns_id(netns);
  if (!plan || !state || !id || state->phase != AttachPhase::kAttached || state->netns != *id) {
    return;  // it went on in the meantime; whoever did that reports
  }
  auto facts = read_facts(*plan, *state, netns);
  if (!facts) {
    log::warn("what a claim has in its pod cannot be read",
              {{"claim", record.claim.uid}, {"error", facts.error().what()}});
    return;
  }
  const auto gone = std::ranges::find(*facts, "InterfaceGone", &dra::DeviceReport::reason);
  if (gone != facts->end() && claims_.pod_event) {
    claims_.pod_event(record.claim.uid, gone->reason, gone->message);
  }
  if (claims_.report) {
    claims_.report(record.claim.uid, *std::move(facts));
  }
}

void AttachService::check_all(const std::vector<dra::ClaimRecord>& records) {
  std::vector<std::string> uids;
  for (const dra::ClaimRecord& record : records) {
    uids.push_back(record.claim.uid);
  }
  (void)background_.submit({}, [this, uids = std::move(uids)](Executor::Turn&) {
    for (const std::string& uid : uids) {
      const auto record = claims_.find(uid);
      const auto state =
          record ? parse_claim_state(record->prepared.state) : Result<ClaimState>(ClaimState());
      const auto netns = state && state->is_in_a_pod() ? find_netns(*state->netns) : std::nullopt;
      if (netns) {
        check(*record, netns->get());
      }
    }
  });
}

void AttachService::report_staged(const std::string& claim_uid) {
  if (!claims_.report) {
    return;
  }
  (void)background_.submit({claim_uid}, [this, claim_uid](Executor::Turn&) {
    // The claim is being prepared: its turn comes when that is on disk.
    (void)claims_.update(claim_uid, steady_clock::now() + kReportTime,
                         [&](const dra::ClaimRecord& record) -> Result<std::string> {
                           FL_ASSIGN(const ClaimPlan plan, parse_claim_plan(record.plan), "");
                           FL_ASSIGN(auto facts, read_staged_facts(plan, record), "");
                           claims_.report(claim_uid, std::move(facts));
                           return record.prepared.state;
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
  const auto record = claims_.find(claim_uid);
  if (!record || !is_here(*record)) {
    return {};
  }
  const auto start = steady_clock::now();
  bool released = false;
  auto result = claims_.update(claim_uid, deadline, [&](const dra::ClaimRecord& current) {
    if (!is_here(current)) {
      return Result<std::string>(current.prepared.state);
    }
    released = true;
    return driver_->release(current, deadline);
  });
  finished("detach", to_string(Door::kNri), result, start);
  if (result && released && claims_.report) {
    claims_.report(claim_uid, all_devices(*record, "Detached", "the pod's sandbox has ended"));
  }
  return result;
}

}  // namespace fairlead::agent
