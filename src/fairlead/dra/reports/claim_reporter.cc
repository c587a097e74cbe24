// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/reports/claim_reporter.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <map>
#include <utility>

#include "fairlead/core/fault.h"
#include "fairlead/core/log.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/retry_delay.h"
#include "fairlead/core/utf8.h"
#include "fairlead/core/worker.h"
#include "fairlead/dra/base/api_time.h"

namespace fairlead::dra {
namespace {

using kube::DeviceStatus;
using SteadyClock = std::chrono::steady_clock;

// Limits of resource.k8s.io/v1 (types.go, NetworkDeviceData) and metav1.Condition.
constexpr std::size_t kMaxInterfaceName = 256;
constexpr std::size_t kMaxHardwareAddress = 128;
constexpr std::size_t kMaxIps = 16;
constexpr std::size_t kMaxMessage = 32768;
constexpr std::size_t kMaxReason = 1024;

constexpr const char* kReady = "Ready";

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

/// metav1.Condition: ^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$
bool is_reason(const std::string& text) {
  return !text.empty() && text.size() <= kMaxReason &&
         std::isalpha(static_cast<unsigned char>(text.front())) != 0 && is_word(text.back()) &&
         std::ranges::all_of(text, [](char c) { return is_word(c) || c == ',' || c == ':'; });
}

std::string truth(const DeviceReport& report) {
  if (report.unknown) {
    return "Unknown";
  }
  return report.ready ? "True" : "False";
}

std::string reason_of(const DeviceReport& report) {
  if (is_reason(report.reason)) {
    return report.reason;
  }
  if (report.unknown) {
    return "Unknown";
  }
  return report.ready ? "Ready" : "NotReady";
}

bool same_device(const DeviceStatus& a, const DeviceStatus& b) {
  return a.driver == b.driver && a.pool == b.pool && a.device == b.device && a.share_id == b.share_id;
}

const DeviceStatus* find_device(const std::vector<DeviceStatus>& entries, const DeviceStatus& like) {
  const auto found =
      std::ranges::find_if(entries, [&](const DeviceStatus& each) { return same_device(each, like); });
  return found == entries.end() ? nullptr : &*found;
}

/// Of equal content, in any order. `data` that is none of ours may stand.
bool same_entries(const std::vector<DeviceStatus>& wanted, const std::vector<DeviceStatus>& standing) {
  return wanted.size() == standing.size() && std::ranges::all_of(wanted, [&](const DeviceStatus& entry) {
           const DeviceStatus* found = find_device(standing, entry);
           if (found == nullptr) {
             return false;
           }
           DeviceStatus other = *found;
           if (entry.data.empty()) {
             other.data.clear();
           }
           return other == entry;
         });
}

/// Our entries, with what we write in them: others may have added conditions of their own.
std::vector<DeviceStatus> own_part(const kube::ClaimStatus& status, const std::string& driver_name) {
  std::vector<DeviceStatus> own;
  for (const DeviceStatus& entry : status.devices) {
    if (entry.driver == driver_name) {
      own.push_back(entry);
      std::erase_if(own.back().conditions,
                    [](const kube::Condition& condition) { return condition.type != kReady; });
    }
  }
  return own;
}

std::chrono::milliseconds delay_of(const std::vector<DeviceReport>& reports) {
  std::chrono::milliseconds longest{0};
  for (const DeviceReport& report : reports) {
    longest = std::max(longest, report.delay);
  }
  return longest;
}

/// What a claim of this name being gone or another one looks like.
bool claim_is_gone(Code code) {
  return code == Code::kNotFound || code == Code::kConflict || code == Code::kGone;
}

}  // namespace

std::vector<DeviceStatus> status_entries(const std::string& driver_name, const Claim& claim,
                                         const std::vector<DeviceReport>& reports,
                                         const std::vector<DeviceStatus>& standing, const std::string& now) {
  std::vector<DeviceStatus> entries;
  for (std::size_t i = 0; i < std::min(reports.size(), claim.devices.size()); ++i) {
    const AllocatedDevice& device = claim.devices[i];
    const DeviceReport& report = reports[i];
    DeviceStatus entry{.driver = driver_name,
                       .pool = device.pool,
                       .device = device.device,
                       .share_id = device.share_id,
                       .conditions = {},
                       .data = report.data,
                       .interface_name = cut_utf8(report.interface_name, kMaxInterfaceName),
                       .ips = {},
                       .hardware_address = cut_utf8(report.hardware_address, kMaxHardwareAddress)};
    if (find_device(entries, entry) != nullptr) {
      continue;  // monitored by two requests: the list knows a device once
    }
    for (const std::string& ip : report.ips) {
      if (entry.ips.size() < kMaxIps && std::ranges::find(entry.ips, ip) == entry.ips.end()) {
        entry.ips.push_back(ip);
      }
    }
    kube::Condition condition{.type = kReady,
                              .status = truth(report),
                              .reason = reason_of(report),
                              .message = cut_utf8(report.message, kMaxMessage),
                              .last_transition_time = now};
    const DeviceStatus* before = find_device(standing, entry);
    if (before != nullptr && !before->conditions.empty() &&
        before->conditions.front().status == condition.status) {
      condition.last_transition_time = before->conditions.front().last_transition_time;
    }
    entry.conditions.push_back(std::move(condition));
    entries.push_back(std::move(entry));
  }
  return entries;
}

class ClaimReporter::Impl {
 public:
  Impl(Options options, ClaimStatusApi& api, Find find, Metrics& metrics)
      : options_(std::move(options)),
        api_(api),
        find_(std::move(find)),
        metrics_(metrics),
        outage_({.initial = options_.retry_min, .max = options_.retry_max}),
        worker_([this](const std::stop_token& stop) { return write_due(stop); }) {
    if (!options_.now) {
      options_.now = api_time_now;
    }
  }

  void start() { worker_.start(); }
  void stop() { worker_.stop(); }

  void report(const std::string& uid, std::vector<DeviceReport> reports) {
    {
      const Lock lock(mutex_);
      auto [at, made] = waiting_.try_emplace(
          uid, RetryDelay({.initial = options_.retry_min, .max = options_.retry_max}), ++last_id_);
      Waiting& entry = at->second;
      if (!made && entry.reports == reports) {
        return;
      }
      entry.reports = std::move(reports);
      ++entry.changes;
      entry.due = SteadyClock::now() + delay_of(entry.reports);  // other content may be what the server takes
    }
    worker_.wake();
  }
  void preparing(const std::string& uid) {
    const Lock lock(mutex_);
    standing_.try_emplace(uid);
  }
  void unprepared(const std::string& uid) {
    const Lock lock(mutex_);
    waiting_.erase(uid);
    standing_.erase(uid);
  }

 private:
  struct Waiting {
    Waiting(RetryDelay with, std::uint64_t the_id) : id(the_id), delay(with) {}
    std::uint64_t id;  // of this claim's stay in the queue
    unsigned changes = 0;
    std::vector<DeviceReport> reports;
    SteadyClock::time_point due;
    RetryDelay delay;
  };
  /// A copy of what is to be written, taken out for the time of the requests.
  struct Job {
    std::string uid;
    std::uint64_t id = 0;
    unsigned changes = 0;
    std::vector<DeviceReport> reports;
    std::optional<std::vector<DeviceStatus>> standing;
  };

  /// Writes one claim's status, if one is due. Returns when the next is due.
  std::optional<SteadyClock::time_point> write_due(const std::stop_token& stop) {
    if (auto job = next()) {
      settle(*job, write(*job, stop), stop);
    }
    const Lock lock(mutex_);
    const auto first = first_due();
    return first == waiting_.end() ? std::nullopt : std::optional(std::max(first->second.due, not_before_));
  }

  [[nodiscard]] std::map<std::string, Waiting>::const_iterator first_due() const FL_REQUIRES(mutex_) {
    return std::ranges::min_element(
        waiting_, {}, [](const auto& each) -> const SteadyClock::time_point& { return each.second.due; });
  }

  /// nullopt: none is due.
  [[nodiscard]] std::optional<Job> next() {
    const Lock lock(mutex_);
    const auto first = first_due();
    if (first == waiting_.end() || std::max(first->second.due, not_before_) > SteadyClock::now()) {
      return std::nullopt;
    }
    const auto known = standing_.find(first->first);
    return Job{
        .uid = first->first,
        .id = first->second.id,
        .changes = first->second.changes,
        .reports = first->second.reports,
        .standing = known == standing_.end() ? std::optional<std::vector<DeviceStatus>>() : known->second};
  }

  /// Writes the claim's status as in the job. Afterwards job.standing has the written entries. An Error of
  /// kCancelled: the claim's status is not ours to write any more.
  Result<> write(Job& job, const std::stop_token& stop) {
    const auto record = find_(job.uid);
    if (!record || record->state == ClaimState::kUnpreparing) {
      return Error(Code::kCancelled, "the claim is not prepared any more");
    }
    if (!job.reports.empty() && job.reports.size() != record->claim.devices.size()) {
      return Error(Code::kInvalid, "the driver reported " + std::to_string(job.reports.size()) +
                                       " devices of a claim that has " +
                                       std::to_string(record->claim.devices.size()));
    }
    if (!job.standing) {
      FL_ASSIGN(const auto status, api_.read(record->claim, stop));
      if (status.uid != job.uid) {
        return Error(Code::kConflict, "the claim was deleted and made again");
      }
      job.standing = own_part(status, options_.driver_name);
    }
    if (options_.identities) {
      const auto identities = options_.identities(*record);
      for (std::size_t i = 0; i < std::min(identities.size(), job.reports.size()); ++i) {
        if (job.reports[i].data.empty()) {
          job.reports[i].data = identities[i].data;
        }
      }
    }
    auto entries =
        status_entries(options_.driver_name, record->claim, job.reports, *job.standing, options_.now());
    if (same_entries(entries, *job.standing)) {
      return {};
    }
    fault_point("before-status-write");
    auto applied = api_.apply(record->claim, entries, stop);
    fault_point("after-status-write");
    metrics_.status_written(applied ? "ok" : to_string(applied.error().code()));
    if (applied) {
      log::debug("claim status written", {{"claim", record->claim.namespace_ + "/" + record->claim.name}});
      job.standing = std::move(entries);
    } else if (RetryDelay::is_outage(applied.error().code())) {
      job.standing.reset();  // it may have been written for all we know: look again
    } else if (applied.error().code() == Code::kConflict) {
      return explain_conflict(job, record->claim, applied.error(), stop);
    }
    return applied;
  }

  /// 409 says that the claim has another uid, or only that other writers were quicker, five times in a row
  /// (the API server's own tries to apply). Only the first is the end of it.
  Result<> explain_conflict(Job& job, const Claim& claim, const Error& conflict,
                            const std::stop_token& stop) {
    job.standing.reset();
    FL_ASSIGN(const auto status, api_.read(claim, stop));
    if (status.uid != job.uid) {
      return conflict;
    }
    job.standing = own_part(status, options_.driver_name);
    return Error(Code::kBusy, conflict.what());
  }

  void settle(Job& job, const Result<>& written, const std::stop_token& stop) {
    const Lock lock(mutex_);
    if (written || !RetryDelay::is_outage(written.error().code())) {
      outage_.reset();
      not_before_ = {};
    }
    const auto found = waiting_.find(job.uid);
    if (found == waiting_.end() || found->second.id != job.id) {
      return;  // unprepared meanwhile
    }
    if (job.standing) {
      standing_[job.uid] = *std::move(job.standing);
    } else {
      standing_.erase(job.uid);
    }
    if (written) {
      problem_.clear();
    }
    const bool newest = found->second.changes == job.changes;
    if (!written && !stop.stop_requested()) {
      settle_failure(found, newest, written.error());
    } else if (newest) {
      waiting_.erase(found);
    }
  }

  void settle_failure(std::map<std::string, Waiting>::iterator found, bool newest, const Error& error)
      FL_REQUIRES(mutex_) {
    const Code code = error.code();
    const auto now = SteadyClock::now();
    if (code == Code::kCancelled || claim_is_gone(code)) {
      log::debug("claim status not written", {{"uid", found->first}, {"why", error.what()}});
      standing_.erase(found->first);
      waiting_.erase(found);
      return;
    }
    if (RetryDelay::is_outage(code)) {
      not_before_ = now + outage_.next(code);  // for every claim: the server is away
    } else if (newest && code != Code::kInvalid) {
      found->second.due = now + found->second.delay.next(code);
    } else if (newest) {
      waiting_.erase(found);  // the same would be refused again
    }
    if (problem_ != error.what()) {
      problem_ = error.what();
      log::warn("cannot write a claim's status",
                {{"error", problem_}, {"next", code == Code::kInvalid ? "given up" : "trying again"}});
    }
  }

  Options options_;
  ClaimStatusApi& api_;
  const Find find_;
  Metrics& metrics_;

  Mutex mutex_;
  std::map<std::string, Waiting> waiting_ FL_GUARDED_BY(mutex_);
  /// Our entries as they stand in the API server, of the claims of which we know.
  std::map<std::string, std::vector<DeviceStatus>> standing_ FL_GUARDED_BY(mutex_);
  std::uint64_t last_id_ FL_GUARDED_BY(mutex_) = 0;
  SteadyClock::time_point not_before_ FL_GUARDED_BY(mutex_);
  RetryDelay outage_ FL_GUARDED_BY(mutex_);
  std::string problem_ FL_GUARDED_BY(mutex_);  // logged last

  Worker worker_;  // last: it uses all of the above
};

ClaimReporter::ClaimReporter(Options options, ClaimStatusApi& api, Find find, Metrics& metrics)
    : impl_(std::make_unique<Impl>(std::move(options), api, std::move(find), metrics)) {}
ClaimReporter::~ClaimReporter() { stop(); }
void ClaimReporter::start() { impl_->start(); }
void ClaimReporter::stop() { impl_->stop(); }
void ClaimReporter::report(const std::string& claim_uid, std::vector<DeviceReport> reports) {
  impl_->report(claim_uid, std::move(reports));
}
void ClaimReporter::preparing(const std::string& claim_uid) { impl_->preparing(claim_uid); }
void ClaimReporter::unprepared(const std::string& claim_uid) { impl_->unprepared(claim_uid); }

}  // namespace fairlead::dra
