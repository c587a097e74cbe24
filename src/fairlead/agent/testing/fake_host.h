// SPDX-License-Identifier: Apache-2.0
// The framework as values in memory, for tests of NRI and the guard: records, changes one at a time for each
// claim, and their reports.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fairlead/agent/attach/record.h"
#include "fairlead/dra/base/host.h"

namespace fairlead::agent {

class FakeHost : public dra::Host {
 public:
  void add(dra::ClaimRecord record) {
    const std::lock_guard lock(mutex_);
    const std::string uid = record.claim.uid;
    records_[uid] = std::move(record);
    locks_.try_emplace(uid, std::make_unique<std::timed_mutex>());
  }

  Result<std::vector<dra::ClaimRecord>> records() const override {
    const std::lock_guard lock(mutex_);
    std::vector<dra::ClaimRecord> out;
    for (const auto& [uid, record] : records_) {
      out.push_back(record);
    }
    return out;
  }
  Result<std::vector<dra::ClaimRecord>> records_of_pod(const std::string& pod_uid) const override {
    const std::lock_guard lock(mutex_);
    if (unreadable_) {
      return *unreadable_;
    }
    return of_pod(pod_uid);
  }
  Result<> update(const std::string& uid, TimePoint deadline, const Change& change) override {
    {
      const std::lock_guard lock(mutex_);
      ++updates_;
      changed_.notify_all();
    }
    const auto current = find(uid);
    if (!current) {
      return Error(Code::kNotFound, "no claim with uid " + uid + " is prepared here");
    }
    const std::unique_lock turn(*locks_.at(uid), deadline);
    if (!turn.owns_lock()) {
      return Error(Code::kTimeout, "wait for claim " + uid);
    }
    if (before_change) {
      before_change();
    }
    FL_ASSIGN(std::string state, change(*find(uid)));
    if (after_change) {
      after_change(parse_attach_state(state).value());
    }
    const std::lock_guard lock(mutex_);
    records_[uid].prepared.state = std::move(state);
    return {};
  }
  void report(const std::string& uid, std::vector<dra::DeviceReport> reports) override {
    const std::lock_guard lock(mutex_);
    reports_[uid] = std::move(reports);
    changed_.notify_all();
  }
  void pod_event(const std::string& uid, const std::string& reason, const std::string& message,
                 const std::optional<dra::Pod>& pod) override {
    const std::lock_guard lock(mutex_);
    events_.push_back(uid + (pod ? " at " + pod->name : "") + " " + reason + ": " + message);
    changed_.notify_all();
  }
  void operation_finished(std::string_view operation, std::string_view via, std::optional<Code> error,
                          std::chrono::duration<double> /*took*/) override {
    const std::lock_guard lock(mutex_);
    operations_.push_back(std::string(operation) + " " + std::string(via) + " " +
                          (error ? std::string(to_string(*error)) : "ok"));
    changed_.notify_all();
  }
  Result<bool> if_unknown(const std::string& uid, TimePoint /*deadline*/,
                          const std::function<void()>& action) override {
    if (find(uid)) {
      return false;
    }
    action();
    return true;
  }
  Result<std::vector<std::string>> node_addresses(std::stop_token /*stop*/) override {
    return std::vector<std::string>();
  }
  void republish() override {}

  /// From now on the records of pods cannot be read.
  void lose_records(const Error& why = Error(Code::kInternal,
                                             "open /run/net.fairlead.dev/claims: Too many open files")) {
    const std::lock_guard lock(mutex_);
    unreadable_ = why;
  }

  /// Like a running prepare: while the result is held, every change of the claim waits.
  std::unique_lock<std::timed_mutex> hold(const std::string& uid) {
    return std::unique_lock(*locks_.at(uid));
  }

  std::optional<dra::ClaimRecord> find(const std::string& uid) const override {
    std::unique_lock lock(mutex_);
    const auto found = records_.find(uid);
    auto record = found == records_.end() ? std::nullopt : std::optional(found->second);
    const auto state =
        record ? parse_attach_state(record->prepared.state) : Result<AttachState>(AttachState());
    if (state && state->phase == AttachPhase::kAttached && std::this_thread::get_id() != owner_) {
      const auto meanwhile = std::exchange(meanwhile_, {});
      lock.unlock();
      if (meanwhile) {
        meanwhile();
      }
    }
    return record;
  }
  /// Runs once, in another thread than this one, just after that thread has read the record of an attached
  /// claim: what it does with the record comes after what happens here.
  void after_next_read_elsewhere(std::function<void()> meanwhile) {
    const std::lock_guard lock(mutex_);
    owner_ = std::this_thread::get_id();
    meanwhile_ = std::move(meanwhile);
  }
  AttachState state(const std::string& uid) { return parse_attach_state(find(uid)->prepared.state).value(); }

  /// The claim's newest report, once it satisfies `wanted`; nullopt after a generous while.
  std::vector<dra::DeviceReport> wait_for_report(const std::string& uid, const std::string& reason) {
    std::unique_lock lock(mutex_);
    const auto there = [&] {
      const auto found = reports_.find(uid);
      return found != reports_.end() &&
             std::ranges::any_of(found->second, [&](const auto& report) { return report.reason == reason; });
    };
    return changed_.wait_for(lock, kLong, there) ? reports_[uid] : std::vector<dra::DeviceReport>();
  }
  bool wait_for_operation(const std::string& operation) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLong,
                             [&] { return std::ranges::find(operations_, operation) != operations_.end(); });
  }
  std::size_t count_operations(const std::string& operation) {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::ranges::count(operations_, operation));
  }
  bool wait_for_count(const std::string& operation, std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLong, [&] {
      return static_cast<std::size_t>(std::ranges::count(operations_, operation)) >= count;
    });
  }
  /// Waits until this many changes were requested, done or not.
  bool wait_for_updates(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kLong, [&] { return updates_ >= count; });
  }
  std::vector<std::string> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  std::vector<dra::DeviceReport> report(const std::string& uid) {
    const std::lock_guard lock(mutex_);
    return reports_[uid];
  }

  /// Called with the claim locked: before a change reads the record, and with the change's result before that
  /// is stored.
  std::function<void()> before_change;
  std::function<void(const AttachState& made)> after_change;

 private:
  static constexpr std::chrono::seconds kLong{30};

  std::vector<dra::ClaimRecord> of_pod(const std::string& pod_uid) const {
    std::vector<dra::ClaimRecord> out;
    for (const auto& [uid, record] : records_) {
      if (std::ranges::find(record.claim.reserved_for, pod_uid, &dra::Pod::uid) !=
          record.claim.reserved_for.end()) {
        out.push_back(record);
      }
    }
    return out;
  }

  mutable std::mutex mutex_;
  std::optional<Error> unreadable_;
  std::condition_variable changed_;
  std::map<std::string, dra::ClaimRecord> records_;
  std::map<std::string, std::unique_ptr<std::timed_mutex>> locks_;
  std::map<std::string, std::vector<dra::DeviceReport>> reports_;
  std::thread::id owner_;
  mutable std::function<void()> meanwhile_;
  std::vector<std::string> events_, operations_;
  std::size_t updates_ = 0;
};

}  // namespace fairlead::agent
