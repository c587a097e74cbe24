// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/worker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <semaphore>

namespace fairlead {
namespace {

using std::chrono::seconds;

/// A worker on a clock that the test advances; each round returns `next` and is counted.
struct Rounds {
  explicit Rounds(Clock::Duration settle = {})
      : worker(
            [this](const std::stop_token&) {
              ++count;
              done.release();
              return next ? std::optional(clock.now() + *next) : std::nullopt;
            },
            {.settle = settle, .clock = &clock}) {}
  /// Until a round has been done, and the worker waits again.
  void await_round() {
    done.acquire();
    clock.await_waiters(1);
  }

  VirtualClock clock;
  std::optional<Clock::Duration> next = seconds(10);
  std::atomic<int> count{0};
  std::counting_semaphore<> done{0};
  Worker worker;
};

TEST(Worker, DoesARoundAtTheFirstTimeAndAtThoseReturned) {
  Rounds rounds;
  rounds.worker.start(rounds.clock.now() + seconds(3));
  rounds.clock.await_waiters(1);
  EXPECT_EQ(rounds.count, 0);
  rounds.clock.advance(seconds(3));
  rounds.await_round();
  EXPECT_EQ(rounds.count, 1);
  rounds.clock.advance(seconds(9));
  EXPECT_EQ(rounds.count, 1);
  rounds.clock.advance(seconds(1));
  rounds.await_round();
  EXPECT_EQ(rounds.count, 2);
}

TEST(Worker, BeginsAtOnceUnlessToldOtherwise) {
  Rounds rounds;
  rounds.worker.start();
  rounds.await_round();
  EXPECT_EQ(rounds.count, 1);
}

TEST(Worker, DoesARoundWhenWoken) {
  Rounds rounds;
  rounds.next = std::nullopt;  // only then
  rounds.worker.start();
  for (int i = 1; i <= 3; ++i) {
    rounds.await_round();
    EXPECT_EQ(rounds.count, i);
    rounds.clock.advance(std::chrono::hours(1000));
    rounds.worker.wake();
  }
  rounds.await_round();
}

TEST(Worker, WokenDuringARound_DoesAnother) {
  std::binary_semaphore begun{0};
  std::binary_semaphore go_on{0};
  std::atomic<int> count{0};
  Worker worker([&](const std::stop_token&) -> std::optional<Clock::TimePoint> {
    ++count;
    begun.release();
    go_on.acquire();
    return std::nullopt;
  });
  worker.start();
  begun.acquire();
  worker.wake();
  worker.wake();
  go_on.release();
  begun.acquire();
  go_on.release();
  worker.stop();
  EXPECT_EQ(count, 2);
}

TEST(Worker, MakesOneRoundOfWakesInQuickSuccession) {
  Rounds rounds(seconds(2));
  rounds.next = std::nullopt;  // only wakes cause a round
  rounds.worker.start();
  rounds.await_round();
  for (int i = 0; i < 5; ++i) {
    rounds.worker.wake();
  }
  EXPECT_EQ(rounds.count, 1) << "it settles first";
  while (!rounds.done.try_acquire()) {
    rounds.clock.advance(seconds(1));
  }
  rounds.clock.await_waiters(1);
  EXPECT_EQ(rounds.count, 2);
}

TEST(Worker, StopEndsTheWaitAndTheRoundInProgress) {
  Rounds waiting;
  waiting.worker.start();
  waiting.await_round();
  waiting.worker.stop();
  waiting.worker.stop();
  waiting.worker.wake();
  EXPECT_EQ(waiting.count, 1);

  std::binary_semaphore begun{0};
  Worker working([&](const std::stop_token& stop) {
    begun.release();
    RealClock clock;
    EXPECT_FALSE(clock.wait_for(std::chrono::hours(1), stop));
    return std::optional(Clock::TimePoint());
  });
  working.start();
  begun.acquire();
  working.stop();
}

TEST(Worker, NeverStarted_StopsAtOnce) {
  Rounds rounds;
  rounds.worker.wake();
  rounds.worker.stop();
  EXPECT_EQ(rounds.count, 0);
}

}  // namespace
}  // namespace fairlead
