// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/stale_claims.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/dra/testing/claim_node.h"

namespace fairlead::dra {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class StaleClaimsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    service_ = node_.open();
    node_.claims.put(testing::claim_of("c", {testing::result_of("gpu-0")}));
    ASSERT_EQ(testing::outcome(testing::prepare(*service_, {testing::ref_of("c")})), "ok");
    stale_ = std::make_unique<StaleClaims>(
        StaleClaims::Options{.period = minutes(5), .clock = &clock_}, node_.claims,
        StaleClaims::Calls{
            .records = [this] { return service_->records(); },
            .use_of = [this](const ClaimRecord&) { return use_; },
            .undo = [this](const ClaimRecord& record) -> Result<> {
              return testing::unprepare(*service_, {{.namespace_ = record.claim.namespace_,
                                                     .name = record.claim.name,
                                                     .uid = record.claim.uid}})
                  .begin()
                  ->second;
            },
            .tell = [this](const ClaimRecord&, const std::string& text) { told_.push_back(text); },
            .count = [this](std::size_t count) { count_ = count; }});
  }

  /// A round, and the time until the next.
  void round() {
    stale_->check();
    clock_.advance(minutes(5));
  }
  [[nodiscard]] bool is_kept() const { return node_.traces("c") == "record cdi effect"; }

  testing::Node node_;
  std::unique_ptr<ClaimService> service_;
  VirtualClock clock_;
  ClaimUse use_{.kind = ClaimUse::Kind::kUnused};
  std::vector<std::string> told_;
  std::size_t count_ = 99;
  std::unique_ptr<StaleClaims> stale_;
};

TEST_F(StaleClaimsTest, ClaimIsThere_StaysForEver) {
  for (int i = 0; i < 5; ++i) {
    round();
  }
  EXPECT_TRUE(is_kept());
  EXPECT_EQ(count_, 0);
}

TEST_F(StaleClaimsTest, ClaimIsGoneTwice_IsUndone) {
  node_.claims.remove("c");
  round();
  EXPECT_TRUE(is_kept()) << "once is not enough";
  round();
  EXPECT_EQ(node_.traces("c"), "");
  EXPECT_EQ(node_.driver.count("unprepare c-uid"), 1);
  round();
  EXPECT_EQ(node_.driver.count("unprepare c-uid"), 1);
}

TEST_F(StaleClaimsTest, TwiceInAMoment_IsOnce) {
  node_.claims.remove("c");
  stale_->check();
  clock_.advance(seconds(20));
  stale_->check();
  EXPECT_TRUE(is_kept());
}

TEST_F(StaleClaimsTest, AnotherClaimOfTheName_IsGoneToo) {
  auto other = testing::claim_of("c", {testing::result_of("gpu-0")});
  other.meta.uid = "made-anew";
  node_.claims.put(other);
  round();
  round();
  EXPECT_EQ(node_.traces("c"), "");
}

TEST_F(StaleClaimsTest, GoneOnceAndBack_CountsAnew) {
  node_.claims.remove("c");
  round();
  node_.claims.put(testing::claim_of("c", {testing::result_of("gpu-0")}));
  round();
  node_.claims.remove("c");
  round();
  EXPECT_TRUE(is_kept());
  round();
  EXPECT_EQ(node_.traces("c"), "");
}

TEST_F(StaleClaimsTest, WhileTheApiServerIsAway_NothingIsUndone) {
  node_.claims.remove("c");
  round();
  node_.claims.away = true;
  for (int i = 0; i < 5; ++i) {
    round();
  }
  EXPECT_TRUE(is_kept());
}

TEST_F(StaleClaimsTest, UnderAPodThatRuns_NothingIsUndoneAndNothingSaid) {
  use_ = {.kind = ClaimUse::Kind::kInUse, .why = "its interfaces are in a pod"};
  node_.claims.remove("c");
  for (int i = 0; i < 5; ++i) {
    round();
  }
  EXPECT_TRUE(is_kept());
  EXPECT_THAT(told_, IsEmpty());
  use_ = {.kind = ClaimUse::Kind::kUnused};
  round();
  EXPECT_EQ(node_.traces("c"), "");
}

TEST_F(StaleClaimsTest, WhatNobodyKnows_IsToldOnceAndCounted) {
  use_ = {.kind = ClaimUse::Kind::kUnknown, .why = "its network namespace is not visible"};
  node_.claims.remove("c");
  for (int i = 0; i < 5; ++i) {
    round();
  }
  EXPECT_TRUE(is_kept());
  EXPECT_THAT(told_, ElementsAre(HasSubstr("the claim default/c (c-uid) is gone from the API server")));
  EXPECT_THAT(told_.front(), HasSubstr("its network namespace is not visible"));
  EXPECT_EQ(count_, 1);
  ASSERT_EQ(testing::outcome(testing::unprepare(*service_, {testing::ref_of("c")})), "ok");
  round();
  EXPECT_EQ(count_, 0);
}

TEST_F(StaleClaimsTest, UndoThatFails_IsTriedAgainByTheNextRound) {
  node_.claims.remove("c");
  std::atomic<bool> fails{true};
  node_.driver.on_unprepare = [&](const ClaimRecord&, const CallContext&) -> Result<> {
    return fails ? Result<>(Error(Code::kUnavailable, "not home")) : Result<>();
  };
  round();
  round();
  EXPECT_NE(node_.traces("c"), "");
  EXPECT_EQ(service_->find("c-uid")->state, ClaimState::kUnpreparing);
  use_ = {.kind = ClaimUse::Kind::kUnknown, .why = "half of it is undone"};
  round();
  EXPECT_EQ(node_.driver.count("unprepare c-uid"), 2);
  EXPECT_THAT(told_, IsEmpty());
  fails = false;
  round();
  EXPECT_EQ(node_.traces("c"), "");
}

TEST_F(StaleClaimsTest, Thread_ChecksEveryPeriodAndEnds) {
  node_.claims.remove("c");
  stale_->start();
  for (int i = 0; i < 1000 && node_.driver.count("unprepare c-uid") == 0; ++i) {
    clock_.advance(minutes(5));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  stale_->stop();
  EXPECT_EQ(node_.driver.count("unprepare c-uid"), 1);
}

}  // namespace
}  // namespace fairlead::dra
