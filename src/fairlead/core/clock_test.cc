// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/clock.h"

#include <gtest/gtest.h>

#include <future>

namespace fairlead {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(RealClock, WaitEndsAtItsTimeOrAtAStop) {
  const auto start = real_clock().now();
  EXPECT_TRUE(real_clock().wait_for(milliseconds(1), {}));
  EXPECT_GE(real_clock().now() - start, milliseconds(1));

  std::stop_source stop;
  auto waiting =
      std::async(std::launch::async, [&] { return real_clock().wait_for(hours(1), stop.get_token()); });
  stop.request_stop();
  EXPECT_FALSE(waiting.get());
  EXPECT_FALSE(real_clock().wait_for(hours(1), stop.get_token())) << "a stop of before counts too";
}

TEST(VirtualClock, ManualWaitsUntilItIsAdvanced) {
  VirtualClock clock;
  auto waiting = std::async(std::launch::async, [&] { return clock.wait_for(hours(2), {}); });
  clock.await_waiters(1);
  clock.advance(hours(1));
  clock.await_waiters(1);
  clock.advance(hours(1));
  EXPECT_TRUE(waiting.get());
}

TEST(VirtualClock, ManualWaitCanBeStopped) {
  VirtualClock clock;
  std::stop_source stop;
  auto waiting = std::async(std::launch::async, [&] { return clock.wait_for(hours(2), stop.get_token()); });
  clock.await_waiters(1);
  stop.request_stop();
  EXPECT_FALSE(waiting.get());
}

TEST(VirtualClock, JumpGoesToTheEndOfEachWait) {
  VirtualClock clock(VirtualClock::Mode::kJump);
  const auto start = clock.now();
  EXPECT_TRUE(clock.wait_for(hours(3), {}));
  EXPECT_EQ(clock.now() - start, hours(3));
}

}  // namespace
}  // namespace fairlead
