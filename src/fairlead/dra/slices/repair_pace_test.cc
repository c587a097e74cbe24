// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/slices/repair_pace.h"

#include <gtest/gtest.h>

namespace fairlead::dra {
namespace {

using namespace std::chrono_literals;

class RepairPaceTest : public ::testing::Test {
 protected:
  static RepairPace::TimePoint at(RepairPace::Duration time) { return RepairPace::TimePoint(1000h + time); }
  /// Others change the slices; they are put back if that is allowed now.
  bool repair(RepairPace::Duration time) {
    if (pace_.ask(at(time))) {
      return false;
    }
    pace_.settled(at(time));
    return true;
  }

  RepairPace pace_{{.min = 1s, .max = 60s, .quiet = 60s}};
};

TEST_F(RepairPaceTest, FirstIsAtOnce_TheOthersLaterEachTime) {
  EXPECT_TRUE(repair(0s));
  EXPECT_EQ(pace_.ask(at(1ms)), at(1s));
  EXPECT_FALSE(repair(999ms));
  EXPECT_TRUE(repair(1s));
  EXPECT_FALSE(repair(2999ms));
  EXPECT_TRUE(repair(3s));
  EXPECT_EQ(pace_.ask(at(3s)), at(7s));
  EXPECT_EQ(pace_.repairs(), 3);
}

TEST_F(RepairPaceTest, NotRarerThanTheLongestDelay) {
  auto time = 0s;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(repair(time)) << i;
    time += 60s - 1s;
    (void)pace_.ask(at(time));  // within the quiet time
    time += 1s;
  }
  EXPECT_EQ(pace_.ask(at(time - 1s)), at(time));
}

TEST_F(RepairPaceTest, WaitingIsNoQuietTime) {
  EXPECT_TRUE(repair(0s));
  EXPECT_TRUE(repair(1s));
  EXPECT_FALSE(repair(2s));
  EXPECT_TRUE(repair(10min)) << "of the change 2 s after the first";
  EXPECT_EQ(pace_.repairs(), 3);
}

TEST_F(RepairPaceTest, AfterAQuietTime_BeginsAnew) {
  EXPECT_TRUE(repair(0s));
  EXPECT_TRUE(repair(1s));
  EXPECT_TRUE(repair(61s));
  EXPECT_EQ(pace_.repairs(), 1);
  EXPECT_EQ(pace_.ask(at(61s)), at(62s));
}

TEST_F(RepairPaceTest, ChangeThatOthersTookBack_IsForgotten) {
  EXPECT_TRUE(repair(0s));
  EXPECT_FALSE(repair(500ms));
  pace_.settled(at(600ms));
  EXPECT_EQ(pace_.repairs(), 1) << "none was made";
  EXPECT_TRUE(repair(2min));
  EXPECT_EQ(pace_.repairs(), 1);
}

TEST_F(RepairPaceTest, SeveralAttempts_AreOneRepair) {
  EXPECT_FALSE(pace_.ask(at(0s)));
  EXPECT_FALSE(pace_.ask(at(1s)));
  EXPECT_TRUE(pace_.is_allowed());
  pace_.settled(at(2s));
  EXPECT_FALSE(pace_.is_allowed());
  EXPECT_EQ(pace_.repairs(), 1);
  EXPECT_EQ(pace_.ask(at(2s)), at(3s));
}

}  // namespace
}  // namespace fairlead::dra
