// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/plan_reader.h"

#include <gtest/gtest.h>

#include <string>

#include "fairlead/devices/all_kinds.h"

namespace fairlead::agent {
namespace {

std::string plan_of(const std::string& request) {
  return R"({"version":1,"attach":"guard","devices":[{"request":")" + request + R"(","adminAccess":true}]})";
}

TEST(PlanReader, OneText_OneObject) {
  const devices::Registry kinds = devices::all_kinds();
  const PlanReader plans(kinds);
  const auto first = plans.read(plan_of("a"));
  ASSERT_TRUE(first) << first.error().what();
  EXPECT_EQ((*first)->devices.at(0).request, "a");
  EXPECT_EQ(*plans.read(plan_of("a")), *first);
  EXPECT_EQ((*plans.read(plan_of("b")))->devices.at(0).request, "b");
}

TEST(PlanReader, DamagedText_IsRefusedEachTime) {
  const devices::Registry kinds = devices::all_kinds();
  const PlanReader plans(kinds);
  EXPECT_EQ(plans.read("{").error().code(), Code::kCorrupt);
  EXPECT_EQ(plans.read("{").error().code(), Code::kCorrupt);
}

TEST(PlanReader, ThoseReadLast_AreKept) {
  const devices::Registry kinds = devices::all_kinds();
  const PlanReader plans(kinds);
  const auto old = plans.read(plan_of("old")).value();
  const auto used = plans.read(plan_of("used")).value();
  for (std::size_t i = 0; i < PlanReader::kKept - 1; ++i) {
    (void)plans.read(plan_of(std::to_string(i))).value();
    EXPECT_EQ(plans.read(plan_of("used")).value(), used);
  }
  EXPECT_NE(plans.read(plan_of("old")).value(), old);
}

}  // namespace
}  // namespace fairlead::agent
