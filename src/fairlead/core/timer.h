// SPDX-License-Identifier: Apache-2.0
// Timer: one thread that calls functions later. For deadlines and retries; longer work belongs on an
// Executor.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <thread>
#include <utility>

#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"

namespace fairlead {

/// Any thread.
class Timer : private Pinned {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Id = std::uint64_t;
  using Function = std::move_only_function<void()>;

  Timer();
  /// stop().
  ~Timer();

  /// Calls `function` (which must not throw) at `when` or a little later, from the timer's own thread.
  Id at(TimePoint when, Function function);
  /// The function will not be called, unless it was or is right now.
  void cancel(Id id);
  /// Drops all functions that are not due, waits for a call in progress. Later at() calls do nothing.
  void stop();

 private:
  void run();

  Mutex mutex_;
  ConditionVariable wake_;
  std::map<std::pair<TimePoint, Id>, Function> entries_ FL_GUARDED_BY(mutex_);
  std::map<Id, TimePoint> when_ FL_GUARDED_BY(mutex_);
  Id next_ FL_GUARDED_BY(mutex_) = 1;
  /// The thread looks at the entries then, or when it is notified. A cancelled entry leaves it as it is: most are
  /// cancelled long before they are due, and the next one is later, so the thread is not woken for each.
  TimePoint wakes_at_ FL_GUARDED_BY(mutex_) = TimePoint::min();
  bool stopping_ FL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace fairlead
