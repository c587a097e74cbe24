// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/rate_limit.h"

#include <algorithm>

namespace fairlead::kube {

RateLimiter::RateLimiter(double qps, int burst, Clock& clock)
    : qps_(qps), burst_(std::max(burst, 1)), clock_(clock), tokens_(burst_), updated_(clock.now()) {}

Result<> RateLimiter::acquire(Clock::TimePoint deadline, const std::stop_token& stop) {
  if (qps_ <= 0) {
    return {};
  }
  Clock::TimePoint ready;
  {
    const Lock lock(mutex_);
    const auto now = clock_.now();
    const std::chrono::duration<double> passed = now - updated_;
    tokens_ = std::min(burst_, tokens_ + passed.count() * qps_);
    updated_ = now;
    if (tokens_ >= 1) {
      tokens_ -= 1;
      return {};
    }
    const std::chrono::duration<double> wait((1 - tokens_) / qps_);
    ready = now + std::chrono::ceil<Clock::Duration>(wait);
    if (ready > deadline) {
      return Error(Code::kTimeout,
                   "the client's own limit of requests per second leaves no time for this one");
    }
    tokens_ -= 1;
  }
  if (clock_.wait_until(ready, stop)) {
    return {};
  }
  const Lock lock(mutex_);
  tokens_ += 1;  // not used after all
  return Error(Code::kCancelled, "the request was cancelled");
}

}  // namespace fairlead::kube
