// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/backoff.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Backoff, CeilingDoublesUpToTheMaximum) {
  Backoff::Duration largest_first{0};
  Backoff::Duration largest_late{0};
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    Backoff backoff({.initial = milliseconds(50), .max = seconds(2)}, seed);
    Backoff::Duration ceiling = milliseconds(50);
    for (int i = 0; i < 20; ++i) {
      const auto delay = backoff.next();
      ASSERT_GT(delay.count(), 0);
      ASSERT_LE(delay, ceiling);
      ceiling = std::min<Backoff::Duration>(ceiling * 2, seconds(2));
      (i == 0 ? largest_first : largest_late) = std::max(i == 0 ? largest_first : largest_late, delay);
    }
  }
  EXPECT_GT(largest_first, milliseconds(40)) << "the whole range is used";
  EXPECT_GT(largest_late, milliseconds(1900));
}

TEST(Backoff, ResetStartsAgainWithShortDelays) {
  Backoff backoff({.initial = milliseconds(10), .max = seconds(60)}, 3);
  for (int i = 0; i < 30; ++i) {
    (void)backoff.next();
  }
  backoff.reset();
  EXPECT_LE(backoff.next(), milliseconds(10));
}

TEST(Backoff, SameSeedSameDelays) {
  Backoff a({}, 42);
  Backoff b({}, 42);
  Backoff c({}, 43);
  const auto first = a.next();
  EXPECT_EQ(first, b.next());
  EXPECT_NE(first, c.next());
}

TEST(Backoff, HugeMaximumDoesNotOverflow) {
  Backoff backoff({.initial = std::chrono::hours(1), .max = Backoff::Duration::max()}, 1);
  for (int i = 0; i < 200; ++i) {
    ASSERT_GT(backoff.next().count(), 0);
  }
}

}  // namespace
}  // namespace fairlead
