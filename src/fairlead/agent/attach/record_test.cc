// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/devices/testing/node.h"

namespace fairlead::agent {
namespace {

using enum AttachPhase;
using ::testing::HasSubstr;

constexpr auto kPhases = {kNone, kAttaching, kAttached, kReleased};
constexpr std::optional<AttachPhase> kNever;

TEST(AttachTransitions, ArriveLeadsFromEverywhereOnItsWay) {
  for (const AttachPhase phase : kPhases) {
    EXPECT_EQ(next_phase(phase, AttachEvent::kArrive), kAttaching);
  }
}

TEST(AttachTransitions, OnlyWhatHasArrivedIsCompletedReleasedOrGivenBack) {
  for (const AttachPhase phase : {kAttaching, kAttached}) {
    EXPECT_EQ(next_phase(phase, AttachEvent::kComplete), kAttached);
    EXPECT_EQ(next_phase(phase, AttachEvent::kRelease), kReleased);
    EXPECT_EQ(next_phase(phase, AttachEvent::kGiveBack), kNone);
  }
  for (const AttachPhase phase : {kNone, kReleased}) {
    EXPECT_EQ(next_phase(phase, AttachEvent::kComplete), kNever);
    EXPECT_EQ(next_phase(phase, AttachEvent::kRelease), kNever);
    EXPECT_EQ(next_phase(phase, AttachEvent::kGiveBack), kNever);
  }
}

TEST(AttachTransitions, WhatCannotComeChangesNothing) {
  AttachState state{.phase = kReleased};
  const auto refused = state.advance(AttachEvent::kRelease);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kInternal);
  EXPECT_THAT(refused.error().what(),
              HasSubstr("\"release\" cannot come for a claim in the attach phase \"released\""));
  EXPECT_EQ(state.phase, kReleased);
}

TEST(AttachState, ReadsWhatItWrote) {
  AttachState state{.phase = kAttached,
                    .netns = sys::NetnsId{.device = 4, .inode = 4026532000},
                    .sandbox = "s1",
                    .container = "c1",
                    .pod_uid = "p1",
                    .indexes = {7, 0},
                    .given = {{.mac = "02:00:00:00:00:01", .addresses = {"192.0.2.5/24"}}, {}},
                    .seen_in = "/run/netns",
                    .number = AttachState::Number{.number = 3, .of = {.device = 4, .inode = 4026531840}}};
  const auto read = parse_attach_state(to_json(state));
  ASSERT_TRUE(read) << read.error().what();
  EXPECT_EQ(to_json(*read), to_json(state));
  EXPECT_EQ(read->indexes, state.indexes);
  EXPECT_EQ(read->given.at(0).addresses, state.given[0].addresses);
  EXPECT_EQ(read->number->number, 3);
  EXPECT_EQ(read->number->of, state.number->of);
}

TEST(ClaimPlan, BodyIsNested_AndATextForVersion01) {
  const devices::Registry kinds = devices::all_kinds();
  const std::string old =
      R"({"attach":"guard","devices":[{"body":"{\"mtu\":1400}","interfaceName":"net1","kind":"dummy",)"
      R"("request":"a","type":"netdev"}],"version":1})";
  const auto plan = parse_claim_plan(old, kinds);
  ASSERT_TRUE(plan) << plan.error().what();
  const std::string now = to_json(*plan);
  EXPECT_EQ(now, R"({"attach":"guard","devices":[{"body":{"mtu":1400},"interfaceName":"net1","kind":"dummy",)"
                 R"("request":"a","type":"netdev"}],"version":1})");
  EXPECT_EQ(plan_for_version_0_1(*plan), old);
  EXPECT_EQ(to_json(parse_claim_plan(now, kinds).value()), now);
}

TEST(ClaimPlan, PartsAreNestedInTheirDevice) {
  const devices::Registry kinds = devices::all_kinds();
  const std::string text =
      R"({"attach":"guard","devices":[{"kind":"pair","parts":[{"body":{"mtu":1400},"interfaceName":"net1",)"
      R"("kind":"dummy","type":"netdev"},{"body":{},"interfaceName":"","kind":"later","type":"rdma"}],)"
      R"("request":"a","type":"combo"},{"body":{},"interfaceName":"net2","kind":"veth","request":"b",)"
      R"("type":"netdev"}],"version":1})";
  const auto plan = parse_claim_plan(text, kinds);
  ASSERT_TRUE(plan) << plan.error().what();
  ASSERT_EQ(plan->devices.size(), 2U);
  const devices::DevicePlan& pair = plan->devices[0];
  EXPECT_EQ(to_string(pair.name), "combo pair");
  EXPECT_EQ(pair.body, nullptr);
  EXPECT_TRUE(pair.needs.pod_netns);
  ASSERT_EQ(pair.parts.size(), 2U);
  EXPECT_EQ(pair.parts[0].request, "a");
  EXPECT_EQ(pair.parts[0].body->name_in_pod(), "net1");
  ASSERT_TRUE(pair.problem) << "with one of its parts";
  EXPECT_THAT(pair.problem->what(), HasSubstr("does not know rdma later"));
  const auto parts = parts_of(*plan);
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts[1].marker_of({.driver = "d", .claim_uid = "u"}).alias(), "fairlead:d:u/0.1");
  EXPECT_EQ(parts[2].marker_of({.driver = "d", .claim_uid = "u"}).alias(), "fairlead:d:u/1");

  devices::DevicePlan written = pair;
  written.parts.pop_back();
  written.problem.reset();
  EXPECT_FALSE(kinds.kind_of(written)) << "nor is the kind of the whole known";
  EXPECT_TRUE(kinds.kind_of(written.parts[0]));
  EXPECT_EQ(
      to_json(ClaimPlan{.devices = {written}}),
      R"({"attach":"guard","devices":[{"kind":"pair","parts":[{"body":{"mtu":1400},"interfaceName":"net1",)"
      R"("kind":"dummy","type":"netdev"}],"request":"a","type":"combo"}],"version":1})");
}

TEST(ClaimPlan, DeviceOfAKindThatIsNotKnown_IsAProblemOfThatDeviceOnly) {
  const devices::Registry kinds = devices::all_kinds();
  const auto plan = parse_claim_plan(R"({"version":1,"attach":"guard","devices":[
      {"request":"a","type":"netdev","kind":"dummy","interfaceName":"net1","body":"{}"},
      {"request":"b","type":"rdma","kind":"later","interfaceName":"","body":"{}"},
      {"request":"c","type":"netdev","kind":"veth","interfaceName":"net2","body":"[]"},
      {"request":"d","adminAccess":true}]})",
                                     kinds);
  ASSERT_TRUE(plan) << plan.error().what();
  ASSERT_EQ(plan->devices.size(), 4U);
  EXPECT_FALSE(plan->devices[0].problem);
  EXPECT_EQ(plan->devices[0].body->name_in_pod(), "net1");
  EXPECT_TRUE(plan->devices[0].needs.pod_netns);
  ASSERT_TRUE(plan->devices[1].problem);
  EXPECT_EQ(plan->devices[1].problem->code(), Code::kUnsupported);
  EXPECT_THAT(plan->devices[1].problem->what(), HasSubstr("does not know rdma later"));
  ASSERT_TRUE(plan->devices[2].problem);
  EXPECT_EQ(plan->devices[2].problem->code(), Code::kCorrupt);
  EXPECT_TRUE(plan->devices[3].admin_access);
  EXPECT_FALSE(plan->devices[3].problem);
  EXPECT_TRUE(plan->needs_attach());
  EXPECT_FALSE(plan->leaves_node());
}

}  // namespace
}  // namespace fairlead::agent
