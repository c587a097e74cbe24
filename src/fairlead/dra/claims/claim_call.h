// SPDX-License-Identifier: Apache-2.0
// One call of the kubelet: a batch of claims, each of them a job of its own, and one response.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/core/timer.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/claims/claim_service.h"
#include "fairlead/dra/claims/claim_store.h"

namespace fairlead::dra {

/// Collects the results of one call and returns them once.
template <class Answer>
class Batch {
 public:
  using Answers = std::map<std::string, Answer>;
  using Done = std::move_only_function<void(Answers)>;

  Batch(std::vector<std::string> uids, Timer& timer, Done done)
      : timer_(timer), waiting_(std::move(uids)), done_(std::move(done)) {}

  void set_timer(Timer::Id id) {
    const Lock lock(mutex_);
    timer_id_ = id;
  }

  void answer(const std::string& uid, Answer answer) {
    const Lock lock(mutex_);
    const auto found = std::ranges::find(waiting_, uid);
    if (found == waiting_.end()) {
      return;  // too late: expired
    }
    waiting_.erase(found);
    answers_.emplace(uid, std::move(answer));
    if (waiting_.empty()) {
      timer_.cancel(timer_id_);
      send();
    }
  }

  void expire(const Error& error) {
    const Lock lock(mutex_);
    if (waiting_.empty()) {
      return;
    }
    for (const std::string& uid : std::exchange(waiting_, {})) {
      answers_.emplace(uid, error);
    }
    send();
  }

 private:
  void send() FL_REQUIRES(mutex_) { std::exchange(done_, nullptr)(std::move(answers_)); }

  Timer& timer_;
  Mutex mutex_;
  std::vector<std::string> waiting_ FL_GUARDED_BY(mutex_);
  Answers answers_ FL_GUARDED_BY(mutex_);
  Done done_ FL_GUARDED_BY(mutex_);
  Timer::Id timer_id_ FL_GUARDED_BY(mutex_) = 0;
};

/// An error: the call was cancelled, or its deadline has passed.
inline Result<> is_in_time(const CallContext& context) {
  if (context.cancelled.stop_requested()) {
    return Error(Code::kCancelled, "the kubelet's call ended before the claim's turn came");
  }
  if (std::chrono::steady_clock::now() >= context.deadline) {
    return Error(Code::kTimeout, "the claim's turn did not come in time; the kubelet will try again");
  }
  return {};
}

/// A claim's part of a call.
template <class Answer>
struct Job {
  Job(ClaimRef which, std::chrono::steady_clock::time_point until, const std::stop_token& caller,
      const std::stop_token& service, std::shared_ptr<Batch<Answer>> whole)
      : ref(std::move(which)),
        batch(std::move(whole)),
        by_caller(caller, [this] { source.request_stop(); }),
        by_service(service, [this] { source.request_stop(); }) {
    context.deadline = until;
    context.cancelled = source.get_token();
  }

  [[nodiscard]] Result<> check_alive() const { return is_in_time(context); }

  ClaimRef ref;
  CallContext context;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  std::shared_ptr<Batch<Answer>> batch;
  std::stop_source source;
  std::stop_callback<std::function<void()>> by_caller, by_service;

  std::optional<ClaimStore::Keys> keys;
  RecordPtr existing;  // what the record says, read under the claim's key
  // Prepare: what the API server says. `seen`, without devices, is there also when the rest is not in order.
  std::optional<Claim> claim, seen;
  bool reported = false;  // and whether its status has entries of ours
};

using PrepareAnswer = Result<std::vector<ServedDevice>>;
using PrepareJob = Job<PrepareAnswer>;
using UnprepareJob = Job<Result<>>;

}  // namespace fairlead::dra
