// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/held_netns.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace fairlead::agent {
namespace {

using Certainty = HeldNamespaces::Certainty;

class HeldNetns : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "needs root: makes network namespaces";
    }
    first_ = sys::create_netns().value();
    second_ = sys::create_netns().value();
  }

  UniqueFd first_, second_;
  HeldNamespaces held_;
};

TEST_F(HeldNetns, OfNoClaim_IsNotCertain) {
  EXPECT_EQ(held_.certainty_of("u1", sys::netns_id(first_.get()).value()), std::nullopt);
  EXPECT_FALSE(held_.find("u1").valid());
}

TEST_F(HeldNetns, WithTheIdOfTheRecord_IsAsCertainAsWhenItWasHeld) {
  const auto id = sys::netns_id(first_.get()).value();
  held_.hold("u1", first_.get(), Certainty::kCertain);
  held_.hold("u2", first_.get(), Certainty::kByNumber);
  EXPECT_EQ(held_.certainty_of("u1", id), Certainty::kCertain);
  EXPECT_EQ(held_.certainty_of("u2", id), Certainty::kByNumber);
  held_.let_go("u1");
  EXPECT_EQ(held_.certainty_of("u1", id), std::nullopt);
}

TEST_F(HeldNetns, WithAnotherIdThanTheRecord_IsNot) {
  held_.hold("u1", second_.get(), Certainty::kCertain);
  EXPECT_EQ(held_.certainty_of("u1", sys::netns_id(first_.get()).value()), std::nullopt);
  EXPECT_EQ(sys::netns_id(held_.find("u1").get()).value(), sys::netns_id(second_.get()).value());
}

TEST_F(HeldNetns, IsTheClaimsOwnDescriptor) {
  const auto id = sys::netns_id(first_.get()).value();
  held_.hold("u1", first_.get(), Certainty::kCertain);
  first_.reset();
  EXPECT_EQ(held_.certainty_of("u1", id), Certainty::kCertain);
}

}  // namespace
}  // namespace fairlead::agent
