// SPDX-License-Identifier: Apache-2.0
// RateLimiter: a token bucket that bounds how often we ask the API server. Internal to kube.
#pragma once

#include <chrono>
#include <stop_token>

#include "fairlead/core/clock.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"

namespace fairlead::kube {

/// Thread-safe; first come, first served.
class RateLimiter {
 public:
  /// `qps` tokens are added per second, at most `burst` are kept. qps <= 0: no limit.
  RateLimiter(double qps, int burst, Clock& clock);

  /// Takes a token, or waits for one. kTimeout, without waiting, if it would come after `deadline`;
  /// kCancelled on `stop`.
  Result<> acquire(Clock::TimePoint deadline, const std::stop_token& stop);

 private:
  const double qps_;
  const double burst_;
  Clock& clock_;
  Mutex mutex_;
  double tokens_ FL_GUARDED_BY(mutex_);  // below zero: tokens promised to waiting callers
  Clock::TimePoint updated_ FL_GUARDED_BY(mutex_);
};

}  // namespace fairlead::kube
