// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>

#include "fairlead/core/clock.h"

namespace fairlead::dra {

/// Lets `burst` through at once and then one per interval. One thread.
class RateLimit {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// `clock` must outlive it.
  RateLimit(unsigned burst, std::chrono::milliseconds interval, const Clock& clock)
      : burst_(burst), interval_(interval), clock_(clock), tokens_(burst), counted_(clock.now()) {}

  /// Takes a token; or returns when there will be one.
  std::optional<TimePoint> take() {
    const auto later = wait_until();
    tokens_ -= later ? 0 : 1;
    return later;
  }
  /// When there will be a token, if there is none.
  std::optional<TimePoint> wait_until() {
    const auto now = clock_.now();
    while (tokens_ < burst_ && counted_ + interval_ <= now) {
      counted_ += interval_;
      ++tokens_;
    }
    if (tokens_ == burst_) {
      counted_ = now;
    }
    return tokens_ == 0 ? std::optional(counted_ + interval_) : std::nullopt;
  }

 private:
  unsigned burst_;
  std::chrono::milliseconds interval_;
  const Clock& clock_;
  unsigned tokens_;
  TimePoint counted_;
};

}  // namespace fairlead::dra
