// SPDX-License-Identifier: Apache-2.0
// Clock: the source of time for code that waits, so that a test can control it.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <stop_token>

#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"

namespace fairlead {

/// Monotonic time and a wait that can be stopped. Any thread.
class Clock : private Pinned {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  Clock() = default;
  virtual ~Clock() = default;

  [[nodiscard]] virtual TimePoint now() const = 0;
  /// Returns true at `when`, false as soon as `stop` is requested.
  [[nodiscard]] virtual bool wait_until(TimePoint when, const std::stop_token& stop) = 0;
  [[nodiscard]] bool wait_for(Duration duration, const std::stop_token& stop) {
    return wait_until(now() + duration, stop);
  }
};

/// The system's monotonic clock.
class RealClock final : public Clock {
 public:
  [[nodiscard]] TimePoint now() const override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] bool wait_until(TimePoint when, const std::stop_token& stop) override {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::unique_lock lock(mutex);
    (void)wake.wait_until(lock, stop, when, [] { return false; });
    return !stop.stop_requested();
  }
};

/// The process's one RealClock: the default of every options struct that has a clock.
inline Clock& real_clock() {
  static RealClock clock;
  return clock;
}

/// For tests: time does not advance until advance(), or, if made with kJump, jumps to the end of each wait.
class VirtualClock final : public Clock {
 public:
  enum class Mode { kManual, kJump };
  explicit VirtualClock(Mode mode = Mode::kManual) : mode_(mode) {}

  [[nodiscard]] TimePoint now() const override {
    const Lock lock(mutex_);
    return now_;
  }
  [[nodiscard]] bool wait_until(TimePoint when, const std::stop_token& stop) override {
    std::unique_lock lock(mutex_);
    if (mode_ == Mode::kJump) {
      now_ = std::max(now_, when);
      return !stop.stop_requested();
    }
    ++waiters_;
    wake_.notify_all();
    (void)wake_.wait(lock, stop, [&] { return now_ >= when; });
    --waiters_;
    return !stop.stop_requested();
  }
  void advance(Duration duration) {
    const Lock lock(mutex_);
    now_ += duration;
    wake_.notify_all();
  }
  /// Blocks until `count` threads wait on this clock (kManual).
  void await_waiters(int count) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return waiters_ >= count; });
  }

 private:
  const Mode mode_;
  mutable Mutex mutex_;
  std::condition_variable_any wake_;  // waits with a stop token
  TimePoint now_ FL_GUARDED_BY(mutex_);
  int waiters_ FL_GUARDED_BY(mutex_) = 0;
};

}  // namespace fairlead
