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
