// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/retry_delay.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

TEST(RetryDelay, Outage_NeverWaitsLong) {
  RetryDelay delay({.initial = std::chrono::milliseconds(50), .max = std::chrono::seconds(30)});
  Backoff::Duration longest{};
  for (int i = 0; i < 1000; ++i) {
    const auto next = delay.next(i % 2 == 0 ? Code::kUnavailable : Code::kTimeout);
    EXPECT_LE(next, RetryDelay::kMaxOutage);
    longest = std::max(longest, next);
  }
  EXPECT_GT(longest, RetryDelay::kMaxOutage / 2) << "spread over the whole range";
}

TEST(RetryDelay, Refusal_WaitsLongerAndLonger_AlsoAfterAnOutage) {
  RetryDelay delay({.initial = std::chrono::milliseconds(50), .max = std::chrono::seconds(30)});
  Backoff::Duration sum{};
  for (int i = 0; i < 40; ++i) {
    sum += delay.next(Code::kDenied);
    (void)delay.next(Code::kUnavailable);
  }
  EXPECT_GT(sum, std::chrono::seconds(60));
  delay.reset();
  EXPECT_LE(delay.next(Code::kDenied), std::chrono::milliseconds(50));
}

}  // namespace
}  // namespace fairlead
