// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/attach_reports.h"

#include <algorithm>

#include "fairlead/agent/attach/find_netns.h"
#include "fairlead/core/log.h"

namespace fairlead::agent {

using std::chrono::steady_clock;

namespace {

/// How long a report waits for a claim that is still being prepared, and how often it checks.
constexpr std::chrono::seconds kReportTime{60};
constexpr std::chrono::milliseconds kReportAgain{100};
/// Nearly every sandbox that ends is its pod's last: the kubelet unprepares the claim right after, and then
/// its status is not read any more.
constexpr std::chrono::milliseconds kDetachedDelay{1'500};

}  // namespace

/// The same reason and message for all attached devices of a claim; the others keep their own.
std::vector<dra::DeviceReport> AttachReports::all_devices(const dra::ClaimRecord& record,
                                                          const std::string& reason,
                                                          const std::string& message) const {
  std::vector<dra::DeviceReport> reports(record.claim.devices.size(), {.reason = reason, .message = message});
  const auto plan = plans_->read(record.plan);
  for (std::size_t i = 0; plan && i < std::min(reports.size(), (*plan)->devices.size()); ++i) {
    if (auto report = report_without_pod((*plan)->devices[i], plans_->kinds())) {
      reports[i] = *std::move(report);
    }
  }
  return reports;
}

bool is_attachable(const dra::ClaimRecord& record, const PlanReader& plans) {
  if (record.state != dra::ClaimState::kPrepared) {
    return false;
  }
  const auto plan = plans.read(record.plan);
  return plan && (*plan)->mode == devices::AttachMode::kGuard && (*plan)->needs_attach();
}

AttachReports::AttachReports(dra::Host& host, const PlanReader& plans, std::string driver_name,
                             AttachReportsOptions options)
    : host_(&host),
      plans_(&plans),
      driver_name_(std::move(driver_name)),
      options_(options),
      background_({.lanes = {1}}) {}

AttachReports::~AttachReports() { stop(); }

void AttachReports::stop() {
  timer_.stop();
  background_.stop();
}

/// The claim may be attached in another pod: then its status is kept, because that pod's author has nothing
/// to fix.
void AttachReports::failed(const dra::ClaimRecord& record, int netns, const std::optional<dra::Pod>& pod,
                           const std::string& reason, const std::string& message) const {
  const auto state = parse_attach_state(record.prepared.state);
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

void AttachReports::not_attached(const dra::ClaimRecord& record, const std::string& message) {
  const auto state = parse_attach_state(record.prepared.state);
  if (state && !state->is_in_a_pod()) {
    host_->report(record.claim.uid, all_devices(record, "NotAttached", message));
  }
}

void AttachReports::detached(const dra::ClaimRecord& record) {
  auto reports = all_devices(record, "Detached", "the pod's sandbox has ended");
  for (dra::DeviceReport& report : reports) {
    report.delay = kDetachedDelay;
  }
  host_->report(record.claim.uid, std::move(reports));
}

std::shared_ptr<void> AttachReports::hold_back(const std::string& claim_uid, const sys::NetnsId& netns) {
  {
    const Lock lock(mutex_);
    releasing_.insert({claim_uid, netns});
    const auto due = to_check_.find(claim_uid);
    if (due != to_check_.end() && sys::netns_id(due->second.get()).value_or(sys::NetnsId()) == netns) {
      to_check_.erase(due);
    }
  }
  return {nullptr, [this, key = std::pair(claim_uid, netns)](void*) {
            const Lock lock(mutex_);
            releasing_.erase(releasing_.find(key));
          }};
}

void AttachReports::check(const dra::ClaimRecord& record, int netns, Namespace which) {
  check(record, netns, which, false);
}

void AttachReports::check(const dra::ClaimRecord& record, int netns, Namespace which,
                          bool silent_without_links) {
  const auto attachment = read_attachment(record, *plans_);
  const auto id = sys::netns_id(netns);
  if (!attachment || !id || attachment->state.phase != AttachPhase::kAttached ||
      attachment->state.netns != *id) {
    return;  // it changed in the meantime; the caller that changed it reports
  }
  auto facts = inspect_devices(*attachment, plans_->kinds(),
                               {.driver = driver_name_, .claim_uid = record.claim.uid}, netns, which);
  if (!facts) {
    log::warn("cannot read a claim's devices in its pod",
              {{"claim", record.claim.uid}, {"error", facts.error().what()}});
    return;
  }
  const auto gone = std::ranges::find(*facts, "InterfaceGone", &dra::DeviceReport::reason);
  const auto there = std::ranges::find(*facts, "Attached", &dra::DeviceReport::reason);
  if (silent_without_links && there == facts->end()) {
    return;
  }
  // A sandbox may have been stopped, or the claim unprepared, while the links were being read: then missing
  // links are expected.
  const Lock lock(mutex_);
  if (!still_in(record.claim.uid, *id)) {
    return;
  }
  if (gone != facts->end()) {
    host_->pod_event(record.claim.uid, gone->reason, gone->message, std::nullopt);
  }
  host_->report(record.claim.uid, *std::move(facts));
}

bool AttachReports::still_in(const std::string& claim_uid, const sys::NetnsId& netns) const {
  const auto record = host_->find(claim_uid);
  const auto state = record ? parse_attach_state(record->prepared.state) : Result<AttachState>(AttachState());
  return record && record->state == dra::ClaimState::kPrepared && state &&
         state->phase == AttachPhase::kAttached && state->netns == netns &&
         !releasing_.contains({claim_uid, netns});
}

void AttachReports::check_soon(const std::string& claim_uid, UniqueFd netns) {
  {
    const Lock lock(mutex_);
    to_check_.insert_or_assign(claim_uid, std::move(netns));
  }
  timer_.at(steady_clock::now() + options_.check_after, [this, claim_uid] {
    (void)background_.submit({claim_uid}, [this, claim_uid](Executor::Turn&) {
      const UniqueFd due = [&] {
        const Lock lock(mutex_);
        auto node = to_check_.extract(claim_uid);
        return node.empty() ? UniqueFd() : std::move(node.mapped());
      }();
      const auto record = due.valid() ? host_->find(claim_uid) : std::nullopt;
      if (record) {
        check(*record, due.get(), Namespace::kTheClaims);  // its inode is not reused while it is open
      }
    });
  });
}

void AttachReports::check_all(const std::vector<dra::ClaimRecord>& records) {
  std::vector<std::string> uids;
  for (const dra::ClaimRecord& record : records) {
    uids.push_back(record.claim.uid);
  }
  (void)background_.submit({}, [this, uids = std::move(uids)](Executor::Turn&) {
    for (const std::string& uid : uids) {
      const auto record = host_->find(uid);
      const auto state =
          record ? parse_attach_state(record->prepared.state) : Result<AttachState>(AttachState());
      if (!state || !state->is_in_a_pod()) {
        continue;
      }
      const auto netns = find_netns(*state->netns, {}, state->seen_in);
      if (!netns) {
        log::warn("cannot search for a pod's network namespace, so its interfaces are not checked",
                  {{"claim", uid}, {"error", netns.error().what()}});
      } else if (*netns) {
        check(*record, (*netns)->fd.get(), Namespace::kByNumber, true);
      }
    }
  });
}

void AttachReports::staged(const std::string& claim_uid) {
  staged_until(claim_uid, steady_clock::now() + kReportTime);
}

/// The claim is being prepared: checks repeatedly until that is on disk.
void AttachReports::staged_until(const std::string& claim_uid, TimePoint give_up) {
  timer_.at(steady_clock::now() + kReportAgain, [this, claim_uid, give_up] {
    (void)background_.submit({claim_uid}, [this, claim_uid, give_up](Executor::Turn&) {
      const auto record = host_->find(claim_uid);
      if (!record || steady_clock::now() >= give_up) {
        return;
      }
      if (record->state != dra::ClaimState::kPrepared) {
        staged_until(claim_uid, give_up);
        return;
      }
      const auto state = parse_attach_state(record->prepared.state);
      if (!state || state->phase != AttachPhase::kNone) {
        return;  // the guard was faster
      }
      const auto plan = plans_->read(record->plan);
      auto facts = plan ? inspect_staged_devices(**plan, plans_->kinds(), *record) : plan.error();
      if (facts) {
        host_->report(claim_uid, *std::move(facts));
      } else {
        log::warn("cannot read the links staged for the runtime",
                  {{"claim", claim_uid}, {"error", facts.error().what()}});
      }
    });
  });
}

void AttachReports::waiting(const std::string& claim_uid) {
  timer_.at(steady_clock::now() + options_.waiting_after, [this, claim_uid] {
    (void)background_.submit({claim_uid}, [this, claim_uid](Executor::Turn&) {
      const auto record = host_->find(claim_uid);
      const auto state =
          record ? parse_attach_state(record->prepared.state) : Result<AttachState>(AttachState());
      if (!record || !is_attachable(*record, *plans_) || !state || state->phase != AttachPhase::kNone) {
        return;
      }
      host_->report(claim_uid, all_devices(*record, "WaitingForContainer",
                                           "prepared; attached when the first container that lists the "
                                           "claim in resources.claims is created"));
    });
  });
}

}  // namespace fairlead::agent
