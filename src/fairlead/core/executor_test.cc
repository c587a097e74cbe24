// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/executor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <latch>
#include <thread>

#include "fairlead/core/timer.h"

namespace fairlead {
namespace {

using std::chrono::steady_clock;

bool go_is_set(const std::shared_future<void>& go) {
  return go.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

steady_clock::time_point generous() { return steady_clock::now() + std::chrono::seconds(60); }

TEST(Executor, TasksWithOneKey_RunInOrder) {
  Executor executor(Executor::Options{.lanes = {4}});
  std::vector<int> order;
  for (int i = 0; i < 500; ++i) {
    ASSERT_TRUE(executor.submit({"k"}, [&order, i](Executor::Turn&) { order.push_back(i); }));
  }
  executor.stop();
  ASSERT_EQ(order.size(), 500U);
  EXPECT_TRUE(std::ranges::is_sorted(order));
}

TEST(Executor, TasksWithoutSharedKeys_RunAtTheSameTime) {
  Executor executor(Executor::Options{.lanes = {3}});
  std::latch all_here(3);
  for (const char* key : {"a", "b", "c"}) {
    ASSERT_TRUE(executor.submit({key}, [&all_here](Executor::Turn&) { all_here.arrive_and_wait(); }));
  }
  executor.stop();  // would never return if they ran one by one
}

TEST(Executor, TaskWithSeveralKeys_WaitsForAllAndBlocksAll) {
  Executor executor(Executor::Options{.lanes = {4}});
  std::promise<void> go;
  const std::shared_future<void> gone = go.get_future().share();
  std::vector<std::string> order;
  Mutex mutex;
  const auto note = [&](const char* what) {
    const Lock lock(mutex);
    order.emplace_back(what);
  };
  ASSERT_TRUE(executor.submit({"a"}, [&, gone](Executor::Turn&) {
    gone.wait();
    note("a");
  }));
  ASSERT_TRUE(executor.submit({"a", "b", "a"}, [&](Executor::Turn&) { note("ab"); }));
  ASSERT_TRUE(executor.submit({"b"}, [&](Executor::Turn&) { note("b"); }));
  go.set_value();
  executor.stop();
  EXPECT_EQ(order, (std::vector<std::string>{"a", "ab", "b"}));
}

TEST(Executor, SecondPart_KeepsTheFirstKeysAndTakesMore) {
  Executor executor(Executor::Options{.lanes = {4, 2}});
  std::vector<std::string> order;
  std::promise<void> go;
  const std::shared_future<void> gone = go.get_future().share();
  ASSERT_TRUE(executor.submit({"device"}, [&, gone](Executor::Turn&) {
    gone.wait();
    order.emplace_back("holder");
  }));
  ASSERT_TRUE(executor.submit(
      {"claim"},
      [&](Executor::Turn& turn) {
        turn.then({"device"}, [&](Executor::Turn&) { order.emplace_back("second part"); });
        go.set_value();
      },
      1));
  ASSERT_TRUE(executor.submit({"claim"}, [&](Executor::Turn&) { order.emplace_back("after"); }));
  executor.stop();
  EXPECT_EQ(order, (std::vector<std::string>{"holder", "second part", "after"}));
}

/// Handing a task over to another thread costs more than many a task.
TEST(Executor, SecondPartWithNothingInItsWay_RunsOnTheSameThread) {
  Executor executor(Executor::Options{.lanes = {2, 2}});
  std::thread::id first;
  std::thread::id second;
  ASSERT_TRUE(executor.submit(
      {"claim/a"},
      [&](Executor::Turn& turn) {
        first = std::this_thread::get_id();
        turn.then({"device/x"}, [&](Executor::Turn&) { second = std::this_thread::get_id(); }, 0);
      },
      1));
  executor.stop();
  EXPECT_NE(first, std::thread::id());
  EXPECT_EQ(first, second);
}

/// Threads are shared by the lanes, but tasks of one lane never take what another needs.
TEST(Executor, LaneThatIsFull_HoldsUpNoOtherAndNeverRunsMore) {
  constexpr int kTasks = 20;
  Executor executor(Executor::Options{.lanes = {1, 2}});
  std::promise<void> go;
  const std::shared_future<void> gone = go.get_future().share();
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::latch both_run(2);
  for (int i = 0; i < kTasks; ++i) {
    ASSERT_TRUE(executor.submit(
        {"slow/" + std::to_string(i)},
        [&, gone](Executor::Turn& turn) {
          const int now = ++running;
          for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
          }
          if (!go_is_set(gone)) {
            both_run.count_down();
            gone.wait();
          }
          --running;
          turn.then({}, [](Executor::Turn&) {}, 0);
        },
        1));
  }
  std::promise<void> quick;
  ASSERT_TRUE(executor.submit({"quick"}, [&](Executor::Turn&) { quick.set_value(); }, 0));
  EXPECT_EQ(quick.get_future().wait_until(generous()), std::future_status::ready);
  both_run.wait();
  go.set_value();
  executor.stop();
  EXPECT_EQ(most, 2);
}

TEST(Executor, FullQueue_RefusesAndSaysSo) {
  Executor executor(Executor::Options{.lanes = {1}, .queue_limit = 2});
  std::promise<void> go;
  std::promise<void> running;
  ASSERT_TRUE(executor.submit({}, [&](Executor::Turn&) {
    running.set_value();
    go.get_future().wait();
  }));
  running.get_future().wait();
  std::atomic<int> ran{0};
  ASSERT_TRUE(executor.submit({}, [&](Executor::Turn&) { ++ran; }));
  ASSERT_TRUE(executor.submit({}, [&](Executor::Turn&) { ++ran; }));
  const auto refused = executor.submit({}, [&](Executor::Turn&) { ++ran; });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kBusy);
  go.set_value();
  executor.stop();
  EXPECT_EQ(ran, 2);
}

TEST(Executor, Stop_RunsWhatWasTakenAndRefusesTheRest) {
  Executor executor;
  std::atomic<int> ran{0};
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(executor.submit({i % 2 == 0 ? "even" : "odd"}, [&ran](Executor::Turn& turn) {
      turn.then({"more"}, [&ran](Executor::Turn&) { ++ran; });
    }));
  }
  executor.stop();
  EXPECT_EQ(ran, 100);
  EXPECT_EQ(executor.submit({}, [](Executor::Turn&) {}).error().code(), Code::kCancelled);
  EXPECT_EQ(executor.acquire({"x"}, generous()).error().code(), Code::kCancelled);
}

TEST(Executor, Acquire_HoldsTasksOffUntilReleased) {
  Executor executor;
  std::atomic<bool> ran{false};
  std::promise<void> done;
  {
    auto hold = executor.acquire({"k"}, generous());
    ASSERT_TRUE(hold);
    ASSERT_TRUE(executor.submit({"k"}, [&](Executor::Turn&) {
      ran = true;
      done.set_value();
    }));
    auto other = executor.submit({"other"}, [](Executor::Turn&) {});
    ASSERT_TRUE(other);
    EXPECT_FALSE(ran);
  }
  done.get_future().wait();
  EXPECT_TRUE(ran);
}

TEST(Executor, AcquirePastItsDeadline_GivesUpAndLeavesNoTrace) {
  Executor executor;
  auto hold = executor.acquire({"k"}, generous());
  ASSERT_TRUE(hold);
  const auto late = executor.acquire({"a", "k", "z"}, steady_clock::now() + std::chrono::milliseconds(1));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), Code::kTimeout);
  EXPECT_TRUE(executor.acquire({"a", "z"}, generous()));
}

TEST(Executor, ManyThreadsAndKeys_NeverTwoAtOnceForAKey) {
  constexpr int kKeys = 5;
  Executor executor(Executor::Options{.lanes = {4, 2}, .queue_limit = 100'000});
  std::array<std::atomic<int>, kKeys> inside{};
  std::atomic<int> clashes{0};
  std::atomic<int> ran{0};
  const auto visit = [&](int key) {
    clashes += inside.at(static_cast<std::size_t>(key)).fetch_add(1) != 0 ? 1 : 0;
    inside.at(static_cast<std::size_t>(key)).fetch_sub(1);
  };
  std::vector<std::jthread> submitters;
  submitters.reserve(4);
  for (int t = 0; t < 4; ++t) {
    submitters.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        const int a = (i + t) % kKeys;
        const int b = (i * 3 + 1) % kKeys;
        const std::string claim = "claim/" + std::to_string(t);
        const auto taken = executor.submit(
            {claim},
            [&, a, b](Executor::Turn& turn) {
              turn.then({"d" + std::to_string(a), "d" + std::to_string(b)}, [&, a, b](Executor::Turn&) {
                visit(a);
                if (a != b) {
                  visit(b);
                }
                ++ran;
              });
            },
            1);
        clashes += taken ? 0 : 1;
      }
    });
  }
  submitters.clear();
  executor.stop();
  EXPECT_EQ(clashes, 0);
  EXPECT_EQ(ran, 1200);
}

TEST(Timer, FunctionsRunInTheOrderOfTheirTimes) {
  Timer timer;
  std::vector<int> order;
  std::promise<void> done;
  const auto now = steady_clock::now();
  timer.at(now + std::chrono::milliseconds(2), [&] {
    order.push_back(2);
    done.set_value();
  });
  timer.at(now + std::chrono::milliseconds(1), [&] { order.push_back(1); });
  done.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

/// A cancelled entry is still what the thread sleeps until: neither an earlier nor a later one is missed.
TEST(Timer, AfterACancelledFunction_EarlierAndLaterOnesRun) {
  Timer timer;
  const auto now = steady_clock::now();
  timer.cancel(timer.at(now + std::chrono::milliseconds(30), [] {}));
  std::promise<void> later;
  timer.at(now + std::chrono::milliseconds(60), [&] { later.set_value(); });
  std::promise<void> earlier;
  timer.at(now + std::chrono::milliseconds(1), [&] { earlier.set_value(); });
  EXPECT_EQ(earlier.get_future().wait_until(generous()), std::future_status::ready);
  EXPECT_EQ(later.get_future().wait_until(generous()), std::future_status::ready);
}

TEST(Timer, CancelledAndStopped_NothingRuns) {
  std::atomic<bool> ran{false};
  Timer timer;
  const auto id = timer.at(steady_clock::now() + std::chrono::hours(1), [&] { ran = true; });
  timer.at(steady_clock::now() + std::chrono::hours(2), [&] { ran = true; });
  timer.cancel(id);
  timer.cancel(id);
  timer.stop();
  timer.stop();
  EXPECT_EQ(timer.at(steady_clock::now(), [&] { ran = true; }), 0U);
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace fairlead
