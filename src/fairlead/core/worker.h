// SPDX-License-Identifier: Apache-2.0
// Worker: one thread that does a piece of work when it is woken or when its time has come.
//
//   wake(), a time that has come ──► settle ──► round() ──► the time of the next round, or none
//                                                  ▲                     │
//                                                  └── wake(), the time ◄┘
//
// For work beside the critical paths that retries, such as writes to the API server: round() does what is due (at most
// one request), and returns when the next is due; core/retry_delay.h says how long after a failure. What there is to do
// is the owner's, with a mutex of its own: it is changed first, then wake() is called.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include "fairlead/core/clock.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"

namespace fairlead {

/// Any thread may call any function; start() and stop() one at a time, and not from round().
class Worker : private Pinned {
 public:
  using TimePoint = Clock::TimePoint;
  /// Called from the worker's thread only. It returns soon after a stop is requested. nullopt: the next round is that
  /// after a wake().
  using Round = std::function<std::optional<TimePoint>(const std::stop_token& stop)>;

  struct Options {
    /// Wakes in quick succession become one round: so long after the first of them.
    Clock::Duration settle{0};
    Clock* clock = &real_clock();  // of the times that round() returns; must outlive the worker
  };

  explicit Worker(Round round) : Worker(std::move(round), Options{}) {}
  Worker(Round round, Options options);
  /// stop(). As the last member of its owner the worker ends before what round() uses.
  ~Worker();

  /// The first round is at `first`, or after a wake() before it. Once.
  void start(TimePoint first);
  void start() { start(options_.clock->now()); }
  /// A round soon. During a round: another one after it. Before start(): no effect beyond the first round.
  void wake();
  /// Ends the thread, and waits for the round in progress. No round begins after this. Idempotent.
  void stop();

 private:
  void run(const std::stop_token& stop, TimePoint first);
  /// Until the next round is due. False: stopped.
  bool wait(std::optional<TimePoint> next, const std::stop_token& stop);

  const Round round_;
  const Options options_;
  Mutex mutex_;
  bool is_woken_ FL_GUARDED_BY(mutex_) = false;
  std::stop_source waiting_ FL_GUARDED_BY(mutex_);  // ends the wait in progress
  std::jthread thread_;                             // last: it uses all of the above
};

}  // namespace fairlead
