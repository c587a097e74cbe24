// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <latch>
#include <thread>

#include "fairlead/core/fault.h"
#include "fairlead/dra/claims/claim_store.h"
#include "fairlead/dra/testing/claim_node.h"
#include "fairlead/formats/cdi.h"
#include "fairlead/sys/testing/no_descriptors.h"

namespace fairlead::dra::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

// ---- the way of one claim ----

TEST(Prepare, Claim_IsPreparedRecordedAndDescribedToTheRuntime) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1"), result_of("eth2", "main/sub")}));
  const auto service = node.open();
  const auto answers = prepare(*service, {ref_of("a")});
  ASSERT_EQ(outcome(answers), "ok");
  const std::string kind = std::string(kDriver) + "/claim=claim-a-uid-";
  EXPECT_EQ(
      *answers.at("a-uid"),
      (std::vector<ServedDevice>{
          {.request = "req", .pool = kNode, .device = "eth1", .share_id = "", .cdi_ids = {kind + "0"}},
          {.request = "main", .pool = kNode, .device = "eth2", .share_id = "", .cdi_ids = {kind + "1"}}}));
  const auto spec = cdi::parse(*sys::read_file(node.cdi_path("a")));
  ASSERT_TRUE(spec) << spec.error().what();
  EXPECT_EQ(spec->kind, std::string(kDriver) + "/claim");
  ASSERT_EQ(spec->devices.size(), 2U);
  EXPECT_EQ(spec->devices[1].name, "claim-a-uid-1");
  EXPECT_THAT(spec->devices[1].edits.env, ElementsAre("DEVICE=eth2"));
  const auto record = service->find("a-uid");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->state, ClaimState::kPrepared);
  EXPECT_EQ(record->plan, "plan of a-uid");
  EXPECT_EQ(record->prepared.state, "state of a-uid");
  EXPECT_EQ(record->claim.reserved_for.at(0).uid, "pod-uid");
}

TEST(Prepare, EmptyBatch_GetsAnEmptyAnswer) {
  Node node;
  const auto service = node.open();
  EXPECT_TRUE(prepare(*service, {}).empty());
  EXPECT_TRUE(unprepare(*service, {}).empty());
}

TEST(Prepare, BadClaimInABatch_FailsAlone) {
  Node node;
  node.claims.put(claim_of("good", {result_of("eth1")}));
  const auto service = node.open();
  const auto answers = prepare(*service, {ref_of("missing"), ref_of("good"), {"default", "x", "../x"}});
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_TRUE(answers.at("good-uid"));
  EXPECT_EQ(answers.at("missing-uid").error().what(),
            "read claim default/missing: resourceclaims \"missing\" not found");
  EXPECT_FALSE(answers.at("../x"));
}

TEST(Prepare, UidTwiceInABatch_GetsOneAnswer) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a"), ref_of("a")})), "ok");
  EXPECT_EQ(node.driver.count("prepare a-uid"), 1);
}

TEST(Prepare, NamesThatWouldBecomePaths_AreRefused) {
  Node node;
  const auto service = node.open();
  using namespace std::string_literals;
  const std::vector<ClaimRef> bad = {{"default", "a", ""},
                                     {"default", "a", "../../etc/passwd"},
                                     {"default", "a", "a/b"},
                                     {"default", "a", "a\0b"s},
                                     {"default", "a", std::string(64, 'a')},
                                     {"default", "a", "-rf"},
                                     {"../x", "a", "u"},
                                     {"", "a", "u"},
                                     {"Default", "a", "u"},
                                     {"a.b", "a", "u"},
                                     {"default", "", "u"},
                                     {"default", "a/b", "u"},
                                     {"default", "..", "u"},
                                     {"default", "a..b", "u"},
                                     {"default", "a.-b", "u"},
                                     {"default", std::string(254, 'a'), "u"}};
  for (const ClaimRef& ref : bad) {
    EXPECT_THAT(outcome(prepare(*service, {ref})), HasSubstr("must be"));
    EXPECT_THAT(outcome(unprepare(*service, {ref})), HasSubstr("must be"));
  }
  EXPECT_EQ(node.claims.gets, 0);
  EXPECT_TRUE(validate(ClaimRef{"kube-system", "a.b-c.d", "0b5c0a7e-6A1b-4f0e-9d1c-1b2c3d4e5f60"}));
}

TEST(Prepare, ClaimThatIsNotTheOneAskedFor_IsRefused) {
  Node node;
  auto other_uid = claim_of("uid", {result_of("eth1")});
  other_uid.meta.uid = "new";
  node.claims.put(other_uid);
  auto unallocated = claim_of("unallocated", {});
  unallocated.allocation.reset();
  node.claims.put(unallocated);
  auto elsewhere = claim_of("elsewhere", {result_of("eth1")});
  elsewhere.allocation->node_name = "node-2";
  node.claims.put(elsewhere);
  auto foreign = claim_of("foreign", {result_of("gpu")});
  foreign.allocation->results[0].driver = "gpu.example.com";
  node.claims.put(foreign);
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("uid")})),
            "claim default/uid has uid new by now, not uid-uid: it was deleted and made again");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("unallocated")})),
            "claim default/unallocated is not allocated (status.allocation is missing)");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("elsewhere")})),
            "claim default/elsewhere is allocated for node node-2; this is node node-1");
  EXPECT_THAT(outcome(prepare(*service, {ref_of("foreign")})), HasSubstr("no device of the driver"));
  EXPECT_THAT(node.driver.calls(), ElementsAre("restored 0"));
}

TEST(Prepare, DevicesOfOtherDrivers_AreLeftOut) {
  Node node;
  auto mixed = claim_of("a", {result_of("gpu"), result_of("eth1")});
  mixed.allocation->results[0].driver = "gpu.example.com";
  node.claims.put(mixed);
  const auto service = node.open();
  const auto answers = prepare(*service, {ref_of("a")});
  ASSERT_EQ(outcome(answers), "ok");
  ASSERT_EQ(answers.at("a-uid")->size(), 1U);
  EXPECT_EQ(answers.at("a-uid")->at(0).device, "eth1");
}

// ---- what the runtime is told ----

TEST(Prepare, DeviceWithoutEdits_GetsNoCdiId) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1"), result_of("eth2")}));
  node.driver.on_prepared = [](Prepared prepared) {
    prepared.device_edits[0] = {};
    return prepared;
  };
  const auto service = node.open();
  const auto answers = prepare(*service, {ref_of("a")});
  ASSERT_EQ(outcome(answers), "ok");
  EXPECT_TRUE(answers.at("a-uid")->at(0).cdi_ids.empty());
  EXPECT_EQ(answers.at("a-uid")->at(1).cdi_ids.size(), 1U);
}

TEST(Prepare, NoEditsAtAll_LeaveNoCdiFile) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.driver.on_prepared = [](Prepared prepared) {
    prepared.device_edits[0] = {};
    return prepared;
  };
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(node.traces("a"), "record effect");
}

TEST(Prepare, EditsOfTheClaimAlone_ReachEveryDevice) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1", "my-net")}));
  node.driver.on_prepared = [](Prepared prepared) {
    prepared.device_edits[0] = {};
    prepared.claim_edits.env.push_back("CLAIM=1");
    return prepared;
  };
  const auto service = node.open();
  const auto answers = prepare(*service, {ref_of("a")});
  ASSERT_EQ(outcome(answers), "ok");
  EXPECT_EQ(answers.at("a-uid")->at(0).cdi_ids.size(), 1U);
  const auto spec = cdi::parse(*sys::read_file(node.cdi_path("a")));
  ASSERT_TRUE(spec) << spec.error().what();
  EXPECT_THAT(spec->edits.env, ElementsAre("CLAIM=1"));
  EXPECT_THAT(spec->devices.at(0).edits.env, ElementsAre("DRA_DEVICE_MY_NET_0=dra.example.com/node-1/eth1"));
}

TEST(Prepare, WrongNumberOfEdits_IsTheDriversErrorAndUndone) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.driver.on_prepared = [](Prepared prepared) {
    prepared.device_edits.clear();
    return prepared;
  };
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})),
            "the driver prepared 1 devices and gave container edits for 0");
  EXPECT_EQ(node.traces("a"), "");
}

TEST(Prepare, InvalidEdits_AreUndone) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.driver.on_prepared = [](Prepared prepared) {
    prepared.device_edits[0].env = {"no equals sign"};
    return prepared;
  };
  const auto service = node.open();
  EXPECT_THAT(outcome(prepare(*service, {ref_of("a")})), HasSubstr("container edits"));
  EXPECT_EQ(node.traces("a"), "");
}

// ---- again, at once, after a restart ----

TEST(Prepare, Twice_HasOneEffectAndOneAnswer) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  const auto service = node.open();
  const auto first = prepare(*service, {ref_of("a")});
  ASSERT_EQ(outcome(first), "ok");
  ASSERT_EQ(::unlink(node.cdi_path("a").c_str()), 0);
  const auto second = prepare(*service, {ref_of("a")});
  ASSERT_EQ(outcome(second), "ok");
  EXPECT_EQ(*first.at("a-uid"), *second.at("a-uid"));
  EXPECT_EQ(node.driver.count("prepare a-uid"), 1);
  EXPECT_EQ(node.traces("a"), "record cdi effect");
}

TEST(Prepare, TwoAtOnce_HaveOneEffectAndOneAnswer) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  std::promise<void> go;
  const auto gone = go.get_future().share();
  node.driver.on_prepare = [gone](const Claim&, const CallContext&) -> Result<> {
    gone.wait();
    return {};
  };
  const auto service = node.open();
  auto first = prepare_async(*service, {ref_of("a")});
  auto second = prepare_async(*service, {ref_of("a")});
  node.driver.await("prepare a-uid");
  go.set_value();
  const auto one = first.get();
  const auto two = second.get();
  ASSERT_EQ(outcome(one), "ok");
  ASSERT_EQ(outcome(two), "ok");
  EXPECT_EQ(*one.at("a-uid"), *two.at("a-uid"));
  EXPECT_EQ(node.driver.count("prepare a-uid"), 1);
}

TEST(Prepare, AfterRestartWithTheApiServerAway_AnswersFromTheRecord) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  const auto first = prepare(*node.open(), {ref_of("a")});
  ASSERT_EQ(outcome(first), "ok");
  ASSERT_EQ(::unlink(node.cdi_path("a").c_str()), 0);
  node.claims.away = true;
  const auto service = node.open();
  EXPECT_EQ(node.traces("a"), "record cdi effect") << "the CDI file is back before the first call";
  const auto again = prepare(*service, {ref_of("a")});
  ASSERT_EQ(outcome(again), "ok");
  EXPECT_EQ(*again.at("a-uid"), *first.at("a-uid"));
  EXPECT_EQ(node.driver.count("prepare a-uid"), 1);
  EXPECT_EQ(node.driver.count("restored 1"), 1);
}

/// What the CDI file gives a container that uses the claim's first device.
cdi::ContainerEdits edits_in_file(const Node& node, const std::string& claim) {
  const auto text = sys::read_file(node.cdi_path(claim));
  const auto spec = text ? cdi::parse(*text) : text.error();
  return spec ? spec->devices.at(0).edits : cdi::ContainerEdits();
}

TEST(Prepare, Again_WritesWhatHasChangedOnTheNode_ToTheRecordAndTheCdiFile) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  const auto service = node.open();
  ASSERT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  node.driver.on_prepare_again = [](const ClaimRecord& record) {
    EXPECT_EQ(record.prepared.device_edits.at(0).env, std::vector<std::string>{"DEVICE=eth1"});
    return std::vector<cdi::ContainerEdits>{{.env = {"DEVICE=changed"}}};
  };
  ASSERT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(edits_in_file(node, "a").env, std::vector<std::string>{"DEVICE=changed"});
  node.driver.on_prepare_again = nullptr;
  ASSERT_EQ(outcome(prepare(*node.open(), {ref_of("a")})), "ok");
  EXPECT_EQ(edits_in_file(node, "a").env, std::vector<std::string>{"DEVICE=changed"})
      << "it is in the record";
  EXPECT_EQ(node.driver.count("prepare a-uid"), 1);
}

TEST(Prepare, Again_OfADeviceThatIsGone_FailsAndStaysPrepared) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  const auto service = node.open();
  ASSERT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  node.driver.on_prepare_again =
      [](const ClaimRecord&) -> Result<std::optional<std::vector<cdi::ContainerEdits>>> {
    return Error(Code::kNotFound, "the device is not on this node now");
  };
  EXPECT_THAT(outcome(prepare(*service, {ref_of("a")})), HasSubstr("the device is not on this node now"));
  EXPECT_EQ(node.traces("a"), "record cdi effect");
  node.driver.on_prepare_again = nullptr;
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
}

TEST(Prepare, NewClaimWithTheApiServerAway_FailsWithItsReason) {
  Node node;
  node.claims.away = true;
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})),
            "read claim default/a: connect to 127.0.0.1: Connection refused");
}

TEST(Prepare, OtherAllocationThanRecorded_UndoesTheOldOneFirst) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  const auto service = node.open();
  ASSERT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  node.claims.put(claim_of("a", {result_of("eth2")}));
  const auto answers = prepare(*service, {ref_of("a")});
  ASSERT_EQ(outcome(answers), "ok");
  EXPECT_EQ(answers.at("a-uid")->at(0).device, "eth2");
  EXPECT_THAT(node.driver.calls(), ElementsAre("restored 0", "plan a-uid", "prepare a-uid", "unprepare a-uid",
                                               "plan a-uid", "prepare a-uid"));
}

TEST(Prepare, LateAfterUnprepare_ReadsTheClaimAgain) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  const auto service = node.open();
  ASSERT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  std::future<UnprepareAnswers> ended;
  std::future<PrepareAnswers> late;
  const auto held = service->update("a-uid", std::chrono::steady_clock::time_point::max(),
                                    [&](const ClaimRecord&) -> Result<std::string> {
                                      ended = unprepare_async(*service, {ref_of("a")});
                                      late = prepare_async(*service, {ref_of("a")});
                                      node.claims.remove("a");  // gone before the late call gets its turn
                                      return std::string("x");
                                    });
  ASSERT_TRUE(held);
  EXPECT_EQ(outcome(ended.get()), "ok");
  EXPECT_THAT(outcome(late.get()), HasSubstr("not found"));
  EXPECT_EQ(node.traces("a"), "");
}

// ---- one device, one claim ----

TEST(Exclusivity, DeviceOfAnotherClaim_IsRefusedWithTheHoldersName) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.claims.put(claim_of("b", {result_of("eth0"), result_of("eth1")}));
  const auto service = node.open();
  ASSERT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("b")})),
            "device eth1 of pool node-1 is in use by claim default/a (uid a-uid); it is free when that "
            "claim's last "
            "pod on this node is gone");
  EXPECT_EQ(node.traces("b"), "");
  EXPECT_EQ(node.driver.count("prepare b-uid"), 0);
  ASSERT_EQ(outcome(unprepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("b")})), "ok");
}

TEST(Exclusivity, HolderOfAnotherNamespace_IsNotNamed) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  auto other = claim_of("b", {result_of("eth1")});
  other.meta.namespace_ = "tenant";
  node.claims.put(other);
  const auto service = node.open();
  ASSERT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  const std::vector<ClaimRef> refs = {{.namespace_ = "tenant", .name = "b", .uid = "b-uid"}};
  EXPECT_EQ(outcome(prepare(*service, refs)),
            "device eth1 of pool node-1 is in use by another claim; it is free when that claim's last pod on "
            "this node is gone");
}

/// Devices whose names end alike are one.
std::vector<DeviceIdentity> identities_by_last_letter(const ClaimRecord& record) {
  std::vector<DeviceIdentity> identities;
  for (const AllocatedDevice& device : record.claim.devices) {
    identities.push_back({.key = device.device.substr(device.device.size() - 1), .data = {}});
  }
  return identities;
}

TEST(Exclusivity, OneDeviceUnderTwoNames_IsRefused) {
  Node node;
  node.driver.on_identities = identities_by_last_letter;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.claims.put(claim_of("b", {result_of("eth0"), result_of("pci-1")}));
  node.claims.put(claim_of("c", {result_of("eth2")}));
  const auto service = node.open();
  ASSERT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("b")})),
            "device pci-1 of pool node-1 is in use by claim default/a (uid a-uid), which was allocated it as "
            "eth1; it is free when that claim's last pod on this node is gone");
  EXPECT_EQ(node.traces("b"), "");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("c")})), "ok");
  ASSERT_EQ(outcome(unprepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("b")})), "ok");
}

TEST(Exclusivity, MonitorsAndShares_OfOneDeviceUnderTwoNames_AreFree) {
  Node node;
  node.driver.on_identities = identities_by_last_letter;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  auto monitor = claim_of("b", {result_of("pci-1")});
  monitor.allocation->results[0].admin_access = true;
  node.claims.put(monitor);
  const auto service = node.open();
  ASSERT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("b")})), "ok");
}

TEST(Exclusivity, DriverThatThrowsWhenAsked_IsAnErrorAndTouchesNothing) {
  Node node;
  node.driver.on_identities = [](const ClaimRecord&) -> std::vector<DeviceIdentity> {
    throw std::runtime_error("no idea");
  };
  node.claims.put(claim_of("a", {result_of("eth1")}));
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "the driver threw an exception: no idea");
  EXPECT_EQ(node.traces("a"), "");
}

TEST(Exclusivity, OneDeviceForTwoClaimsOfABatch_GoesToOneOfThem) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.claims.put(claim_of("b", {result_of("eth1")}));
  const auto service = node.open();
  const auto answers = prepare(*service, {ref_of("a"), ref_of("b")});
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_NE(answers.at("a-uid").has_value(), answers.at("b-uid").has_value());
}

TEST(Exclusivity, MonitorsAndShares_MayHaveTheSameDevice) {
  Node node;
  auto share_1 = claim_of("s1", {result_of("eth1")});
  share_1.allocation->results[0].share_id = "11111111-0000-4000-8000-000000000000";
  auto share_2 = share_1;
  share_2 = claim_of("s2", share_1.allocation->results);
  share_2.allocation->results[0].share_id = "22222222-0000-4000-8000-000000000000";
  auto same_share = claim_of("s3", share_1.allocation->results);
  auto monitor = claim_of("m", {result_of("eth1")});
  monitor.allocation->results[0].admin_access = true;
  auto whole = claim_of("w", {result_of("eth1")});
  for (const auto& claim : {share_1, share_2, same_share, monitor, whole}) {
    node.claims.put(claim);
  }
  const auto service = node.open();
  const auto first = prepare(*service, {ref_of("s1")});
  ASSERT_EQ(outcome(first), "ok");
  EXPECT_EQ(first.at("s1-uid")->at(0).share_id, "11111111-0000-4000-8000-000000000000");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("s2")})), "ok");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("m")})), "ok");
  EXPECT_THAT(outcome(prepare(*service, {ref_of("s3")})), HasSubstr("in use by claim default/s1"));
  EXPECT_THAT(outcome(prepare(*service, {ref_of("w")})), HasSubstr("in use by claim default/s1"));
}

TEST(Exclusivity, ClaimsThatShareNoDevice_ArePreparedAtTheSameTime) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.claims.put(claim_of("b", {result_of("eth2")}));
  std::latch both(2);
  node.driver.on_prepare = [&both](const Claim&, const CallContext&) -> Result<> {
    both.arrive_and_wait();
    return {};
  };
  const auto service = node.open();
  const auto answers = prepare(*service, {ref_of("a"), ref_of("b")});
  EXPECT_TRUE(answers.at("a-uid"));
  EXPECT_TRUE(answers.at("b-uid"));
}

TEST(Prepare, ClaimsOfABatch_AreReadAtTheSameTime) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.claims.put(claim_of("b", {result_of("eth2")}));
  std::latch both(2);
  node.claims.on_get = [&both] { both.arrive_and_wait(); };
  const auto service = node.open();
  EXPECT_EQ(prepare(*service, {ref_of("a"), ref_of("b")}).size(), 2U);
}

// ---- failures ----

TEST(Prepare, WhatTheClaimsStatusSaysOfADevice_ReachesThePlan) {
  Node node;
  auto claim = claim_of("a", {result_of("eth1"), result_of("eth2")});
  claim.reported = {
      {.driver = kDriver, .pool = kNode, .device = "eth2", .share_id = "", .data = R"({"x":1})"}};
  node.claims.put(claim);
  std::vector<std::string> seen;
  node.driver.on_plan = [&](const Claim& planned) -> Result<std::string> {
    for (const AllocatedDevice& device : planned.devices) {
      seen.push_back(device.reported);
    }
    return Error(Code::kInvalid, "it is another device");
  };
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "it is another device");
  EXPECT_THAT(seen, ElementsAre("", R"({"x":1})"));
  EXPECT_EQ(node.traces("a"), "");
}

TEST(Prepare, RefusedPlan_TouchesNothing) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.driver.on_plan = [](const Claim&) -> Result<std::string> {
    return Error(Code::kInvalid, "netdev.kind: must be one of macvlan, veth");
  };
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "netdev.kind: must be one of macvlan, veth");
  EXPECT_EQ(node.traces("a"), "");
  EXPECT_THAT(node.driver.calls(), ElementsAre("restored 0", "plan a-uid"));
}

TEST(Prepare, FailedDriver_IsUndoneAndTriedAnew) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.driver.on_prepare = [](const Claim&, const CallContext&) -> Result<> {
    return Error(Code::kExists, "create link data0: File exists");
  };
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "create link data0: File exists");
  EXPECT_EQ(node.traces("a"), "");
  node.driver.on_prepare = nullptr;
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
}

TEST(Prepare, FailedUndo_IsKeptAndRepeatedUntilItSucceeds) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.claims.put(claim_of("b", {result_of("eth1")}));
  node.driver.on_prepare = [](const Claim& claim, const CallContext&) -> Result<> {
    return claim.uid == "b-uid" ? Result<>() : Error(Code::kInternal, "no");
  };
  std::atomic<bool> stuck{true};
  node.driver.on_unprepare = [&stuck](const ClaimRecord& record, const CallContext&) -> Result<> {
    EXPECT_EQ(record.state, ClaimState::kUnpreparing);
    return stuck ? Error(Code::kBusy, "link is busy") : Result<>();
  };
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})),
            "no (undoing it failed too and will be tried again: link is busy)");
  EXPECT_THAT(outcome(prepare(*service, {ref_of("b")})),
              HasSubstr("is still being released by claim default/a"));
  node.driver.await("unprepare a-uid", 3);
  stuck = false;
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (Node::exists(node.record_path("a")) && std::chrono::steady_clock::now() < patience) {
    std::this_thread::yield();
  }
  EXPECT_EQ(node.traces("a"), "");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("b")})), "ok");
}

TEST(Prepare, ThrowingDriver_IsAnErrorLikeAnyOther) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.driver.on_prepare = [](const Claim&, const CallContext&) -> Result<> {
    throw std::runtime_error("out of luck");
  };
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "the driver threw an exception: out of luck");
  EXPECT_EQ(node.traces("a"), "");
}

TEST(Prepare, DriverPastTheDeadline_IsAnsweredForAndItsResultKept) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  std::promise<void> go;
  const auto gone = go.get_future().share();
  node.driver.on_prepare = [gone](const Claim&, const CallContext&) -> Result<> {
    gone.wait();
    return {};
  };
  auto options = node.options();
  options.call_budget = std::chrono::milliseconds(50);
  const auto service = node.open(options);
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})),
            "not done after 1 s; the work continues, and the next try gets its result");
  auto retry = prepare_async(
      *service, {ref_of("a")},
      {.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60), .cancelled = {}});
  go.set_value();
  (void)retry.get();  // in time or not, it did not start a second effect
  service->stop();
  EXPECT_EQ(node.driver.count("prepare a-uid"), 1);
  EXPECT_EQ(node.traces("a"), "record cdi effect");
}

TEST(Prepare, DeadlineAndCancellation_ReachTheDriver) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  std::stop_source caller;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  node.driver.on_prepare = [&](const Claim&, const CallContext& context) -> Result<> {
    EXPECT_LT(context.deadline, deadline);
    std::promise<void> cancelled;
    const std::stop_callback seen(context.cancelled, [&cancelled] { cancelled.set_value(); });
    caller.request_stop();
    cancelled.get_future().wait();
    return Error(Code::kCancelled, "cancelled");
  };
  const auto service = node.open();
  EXPECT_EQ(
      outcome(prepare(*service, {ref_of("a")}, {.deadline = deadline, .cancelled = caller.get_token()})),
      "cancelled");
  EXPECT_EQ(node.traces("a"), "");
}

TEST(Prepare, CallerGoneBeforeTheTurn_HasNoEffect) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  std::stop_source caller;
  caller.request_stop();
  const auto service = node.open();
  const auto answers = prepare(*service, {ref_of("a")}, {.cancelled = caller.get_token()});
  EXPECT_EQ(answers.at("a-uid").error().code(), Code::kCancelled);
  EXPECT_THAT(node.driver.calls(), ElementsAre("restored 0"));
}

TEST(Prepare, FullQueue_RefusesPerClaim) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  auto options = node.options();
  options.queue_limit = 0;
  const auto service = node.open(options);
  EXPECT_THAT(outcome(prepare(*service, {ref_of("a")})), HasSubstr("try again later"));
}

// ---- unprepare ----

TEST(Unprepare, UnknownClaim_SucceedsWithoutTheApiServer) {
  Node node;
  node.claims.away = true;
  const auto service = node.open();
  EXPECT_EQ(outcome(unprepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(node.claims.gets, 0);
}

TEST(Unprepare, Twice_LeavesNothingAndUnpreparesOnce) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  const auto service = node.open();
  ASSERT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  node.claims.away = true;
  EXPECT_EQ(outcome(unprepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(outcome(unprepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(node.traces("a"), "");
  EXPECT_EQ(node.driver.count("unprepare a-uid"), 1);
}

TEST(Unprepare, OneFailing_DoesNotStopTheOthers) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.claims.put(claim_of("b", {result_of("eth2")}));
  const auto service = node.open();
  ASSERT_EQ(prepare(*service, {ref_of("a"), ref_of("b")}).size(), 2U);
  node.driver.on_unprepare = [](const ClaimRecord& record, const CallContext&) -> Result<> {
    return record.claim.uid == "a-uid" ? Error(Code::kBusy, "link is busy") : Result<>();
  };
  const auto answers = unprepare(*service, {ref_of("a"), ref_of("b")});
  EXPECT_EQ(answers.at("a-uid").error().what(), "link is busy");
  EXPECT_TRUE(answers.at("b-uid"));
  EXPECT_EQ(service->find("a-uid")->state, ClaimState::kUnpreparing);
  node.driver.on_unprepare = nullptr;
  EXPECT_EQ(outcome(unprepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(node.traces("a"), "");
}

// ---- whose claims, and who is told ----

kube::ResourceClaim claim_of_pod(const std::string& name, const std::string& device, const std::string& pod) {
  auto claim = claim_of(name, {result_of(device)});
  claim.reserved_for = {{.api_group = "", .resource = "pods", .name = pod, .uid = pod + "-uid"}};
  return claim;
}

std::vector<std::string> names_of(const Result<std::vector<ClaimRecord>>& records) {
  EXPECT_TRUE(records) << records.error().what();
  std::vector<std::string> names;
  for (const ClaimRecord& record : records.value_or(std::vector<ClaimRecord>())) {
    names.push_back(record.claim.name);
  }
  return names;
}

TEST(RecordsOfPod, AreItsOwnInTheOrderOfTheirNames) {
  Node node;
  node.claims.put(claim_of_pod("z", "eth1", "web"));
  node.claims.put(claim_of_pod("b", "eth2", "web"));
  node.claims.put(claim_of_pod("a", "eth3", "db"));
  const auto service = node.open();
  (void)prepare(*service, {ref_of("z"), ref_of("b"), ref_of("a")});
  EXPECT_THAT(names_of(service->records_of_pod("web-uid")), ElementsAre("b", "z"));
  EXPECT_THAT(names_of(service->records_of_pod("db-uid")), ElementsAre("a"));
  EXPECT_THAT(names_of(service->records_of_pod("web")), ElementsAre());
  (void)unprepare(*service, {ref_of("b")});
  EXPECT_THAT(names_of(service->records_of_pod("web-uid")), ElementsAre("z"));
}

TEST(RecordsOfPod, AfterAPrepareForAnotherPod_AreThatPods) {
  Node node;
  node.claims.put(claim_of_pod("a", "eth1", "old"));
  const auto service = node.open();
  (void)prepare(*service, {ref_of("a")});
  node.claims.put(claim_of_pod("a", "eth1", "new"));
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  EXPECT_THAT(names_of(service->records_of_pod("old-uid")), ElementsAre());
  EXPECT_THAT(names_of(service->records_of_pod("new-uid")), ElementsAre("a"));
  EXPECT_EQ(node.driver.count("prepare a-uid"), 1);
}

/// From now on reading the record's file is an error: it is a folder.
void make_unreadable(const Node& node, const std::string& name) {
  ASSERT_TRUE(sys::remove_file(node.record_path(name)));
  ASSERT_TRUE(sys::make_dirs(node.record_path(name)));
}

TEST(Records, ThatCannotBeListed_AreAnErrorAtStartAndTheLastOnesLater) {
  Node node;
  node.claims.put(claim_of_pod("a", "eth1", "web"));
  const auto service = node.open();
  (void)prepare(*service, {ref_of("a")});
  ASSERT_TRUE(service->records());
  ASSERT_TRUE(sys::remove_tree(node.dir / "state/claims"));
  ASSERT_TRUE(sys::replace_file(node.dir / "state", "claims", "a file"));
  EXPECT_THAT(names_of(service->records()), ElementsAre("a"));
  EXPECT_THAT(names_of(service->records_of_pod("web-uid")), ElementsAre("a"));
  EXPECT_THAT(names_of(service->records_of_pod("another")), ElementsAre()) << "a pod without claims starts";
  EXPECT_THAT(node.metrics.text(), HasSubstr("record_read_errors_total{driver=\"dra.example.com\"} 1"));
  ASSERT_FALSE(ClaimService::open(node.options(), node.driver, node.claims, node.metrics));
}

TEST(Records, AtTheLimitOfDescriptors_AreTheLastOnes_AndItPasses) {
  if (!sys::testing_support::kRunsWithoutDescriptors) {
    GTEST_SKIP() << "the undefined behaviour sanitizer needs descriptors for its own checks";
  }
  Node node;
  node.claims.put(claim_of_pod("a", "eth1", "web"));
  node.claims.put(claim_of_pod("b", "eth2", "db"));
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  ASSERT_TRUE(service->records());
  std::vector<std::string> of_web;
  std::vector<std::string> of_another;
  std::string refused;
  std::string traces;
  {
    const sys::testing_support::NoDescriptors none;
    of_web = names_of(service->records_of_pod("web-uid"));
    of_another = names_of(service->records_of_pod("another"));
    refused = outcome(prepare(*service, {ref_of("b")}));
    traces = node.traces("b");
  }
  EXPECT_THAT(of_web, ElementsAre("a"));
  EXPECT_THAT(of_another, ElementsAre()) << "a pod without claims starts";
  EXPECT_THAT(refused, HasSubstr("Too many open files"));
  EXPECT_EQ(traces, "");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("b")})), "ok");
  EXPECT_THAT(names_of(service->records()), UnorderedElementsAre("a", "b"));
}

TEST(Records, OneThatCannotBeRead_FailsOnlyItsOwnClaim) {
  Node node;
  node.claims.put(claim_of_pod("a", "eth1", "web"));
  node.claims.put(claim_of_pod("b", "eth2", "db"));
  node.claims.put(claim_of_pod("thief", "eth1", "other"));
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  make_unreadable(node, "a");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("b")})), "ok");
  EXPECT_THAT(names_of(service->records()), UnorderedElementsAre("a", "b"));
  EXPECT_THAT(names_of(service->records_of_pod("web-uid")), ElementsAre("a")) << "as it was read last";
  EXPECT_THAT(outcome(prepare(*service, {ref_of("thief")})), HasSubstr("is in use by claim default/a"));
  EXPECT_THAT(outcome(unprepare(*service, {ref_of("a")})), HasSubstr("Is a directory"));
  EXPECT_EQ(outcome(unprepare(*service, {ref_of("b")})), "ok");
}

TEST(Records, OneThatCannotBeReadAtStart_FailsOnlyItsOwnClaim) {
  Node node;
  node.claims.put(claim_of_pod("b", "eth2", "db"));
  ASSERT_TRUE(sys::make_dirs(node.record_path("a")));
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("b")})), "ok");
  EXPECT_THAT(names_of(service->records_of_pod("db-uid")), ElementsAre("b"));
  EXPECT_THAT(names_of(service->records_of_pod("web-uid")), ElementsAre());
}

TEST(Records, TooLarge_AreRefusedWhenTheyAreWrittenAndNothingStays) {
  Node node;
  node.claims.put(claim_of_pod("a", "eth1", "web"));
  node.claims.put(claim_of_pod("b", "eth2", "db"));
  const auto service = node.open();
  node.driver.on_plan = [](const Claim& claim) {
    return claim.name == "a" ? std::string(std::size_t{17} << 20, 'x') : std::string("plan");
  };
  const auto answers = prepare(*service, {ref_of("a"), ref_of("b")});
  EXPECT_THAT(
      answers.at("a-uid").error().what(),
      HasSubstr("claim default/a (uid a-uid) cannot be recorded: with its parameters, plan and state"));
  EXPECT_TRUE(answers.at("b-uid"));
  EXPECT_EQ(node.traces("a"), "");
  node.driver.on_plan = nullptr;
  node.driver.on_prepared = [](Prepared prepared) {
    prepared.state = std::string(std::size_t{17} << 20, 'x');
    return prepared;
  };
  EXPECT_THAT(outcome(prepare(*service, {ref_of("a")})), HasSubstr("cannot be recorded"));
  EXPECT_EQ(node.traces("a"), "") << "undone";
  EXPECT_EQ(outcome(unprepare(*service, {ref_of("b")})), "ok");
}

TEST(Records, TooLargeOnDisk_ArePutAsideAndTheRestGoesOn) {
  Node node;
  node.claims.put(claim_of_pod("b", "eth2", "db"));
  const auto service = node.open();
  ASSERT_TRUE(
      sys::replace_file(node.dir / "state/claims", "a-uid.json", std::string(std::size_t{17} << 20, ' ')));
  EXPECT_EQ(outcome(prepare(*service, {ref_of("b")})), "ok");
  EXPECT_EQ(node.traces("a"), "");
  EXPECT_THAT(*sys::list_dir(node.dir / "state/quarantine"), ElementsAre(HasSubstr("a-uid.json.")));
}

TEST(RecordsOfPod, WithADamagedRecord_FailUntilTheClaimIsPreparedAnewOrUnprepared) {
  Node node;
  node.claims.put(claim_of_pod("a", "eth1", "web"));
  node.claims.put(claim_of_pod("b", "eth2", "db"));
  const auto service = node.open();
  const auto damage = [&](const std::string& name) {
    std::string text = *sys::read_file(node.record_path(name));
    text.replace(text.find("\"plan\""), 6, "\"plot\"");
    ASSERT_TRUE(sys::replace_file(node.dir / "state/claims", name + "-uid.json", text));
  };
  (void)prepare(*service, {ref_of("a"), ref_of("b")});
  damage("a");
  EXPECT_THAT(names_of(service->records()), ElementsAre("b"));  // whoever reads first: it is put aside
  for (int round = 0; round < 2; ++round) {
    const auto records = service->records_of_pod("web-uid");
    ASSERT_FALSE(records);
    EXPECT_EQ(records.error().code(), Code::kCorrupt);
    EXPECT_THAT(records.error().what(),
                HasSubstr("the record of claim a-uid, which this pod uses, is damaged"));
  }
  EXPECT_THAT(names_of(service->records_of_pod("db-uid")), ElementsAre("b"));  // the others go on
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  EXPECT_THAT(names_of(service->records_of_pod("web-uid")), ElementsAre("a"));
  damage("a");
  ASSERT_FALSE(service->records_of_pod("web-uid"));
  EXPECT_EQ(outcome(unprepare(*service, {ref_of("a")})), "ok");
  EXPECT_THAT(names_of(service->records_of_pod("web-uid")), ElementsAre());
}

TEST(Hooks, TellOfBeginningFailureAndEnd) {
  Node node;
  Mutex mutex;
  std::vector<std::string> told;
  auto options = node.options();
  const auto note = [&](const std::string& what) {
    const Lock lock(mutex);
    told.push_back(what);
  };
  options.hooks = {
      .preparing = [&](const std::string& uid) { note("preparing " + uid); },
      .prepare_failed =
          [&](const Claim& claim, const Error& error) {
            note("failed " + claim.name + " of " + claim.reserved_for.at(0).name + ": " + error.what());
          },
      .unprepared = [&](const std::string& uid) { note("unprepared " + uid); }};
  node.claims.put(claim_of_pod("a", "eth1", "web"));
  const auto service = node.open(options);
  node.driver.on_plan = [](const Claim&) { return Error(Code::kInvalid, "no parent eth9"); };
  (void)prepare(*service, {ref_of("a")});
  node.driver.on_plan = nullptr;
  (void)prepare(*service, {ref_of("a")});
  (void)prepare(*service, {ref_of("a")});  // nothing new
  (void)unprepare(*service, {ref_of("a")});
  (void)prepare(*service, {ref_of("missing")});  // nobody to tell
  EXPECT_THAT(told, ElementsAre("failed a of web: no parent eth9", "preparing a-uid", "unprepared a-uid"));
}

TEST(Hooks, ClaimWithAStatusOfAnEarlierPrepare_IsNotToldAsFresh) {
  Node node;
  std::vector<std::string> told;
  auto options = node.options();
  options.hooks.preparing = [&](const std::string& uid) { told.push_back(uid); };
  auto ours = claim_of("ours", {result_of("eth1")});
  ours.reporting_drivers = {"gpu.example.com", kDriver};
  auto others = claim_of("others", {result_of("eth2")});
  others.reporting_drivers = {"gpu.example.com"};
  node.claims.put(ours);
  node.claims.put(others);
  const auto service = node.open(options);
  EXPECT_EQ(outcome(prepare(*service, {ref_of("ours")})), "ok");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("others")})), "ok");
  EXPECT_THAT(told, ElementsAre("others-uid"));
}

TEST(Hooks, ClaimThatCannotBeResolved_IsToldToItsPods) {
  Node node;
  std::string told;
  auto options = node.options();
  options.hooks.prepare_failed = [&](const Claim& claim, const Error& error) {
    told = claim.reserved_for.at(0).name + ": " + error.what();
  };
  auto claim = claim_of_pod("a", "eth1", "web");
  claim.allocation.reset();
  node.claims.put(claim);
  const auto service = node.open(options);
  (void)prepare(*service, {ref_of("a")});
  EXPECT_THAT(told, AllOf(HasSubstr("web: "), HasSubstr("is not allocated")));
  told.clear();
  claim.meta.uid = "another";  // not the claim that was asked for: its pods are others
  node.claims.put(claim);
  (void)prepare(*service, {ref_of("a")});
  EXPECT_EQ(told, "");
}

// ---- update, stop ----

TEST(Update, ChangesTheStateOnDisk) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  const auto service = node.open();
  ASSERT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  const auto soon = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  const auto changed = service->update("a-uid", soon, [](const ClaimRecord& record) -> Result<std::string> {
    return record.prepared.state + "!";
  });
  ASSERT_TRUE(changed) << changed.error().what();
  EXPECT_EQ(service->find("a-uid")->prepared.state, "state of a-uid!");
  const auto refused = service->update(
      "a-uid", soon, [](const ClaimRecord&) -> Result<std::string> { return Error(Code::kBusy, "not now"); });
  EXPECT_EQ(refused.error().what(), "not now");
  EXPECT_EQ(node.open()->find("a-uid")->prepared.state, "state of a-uid!");
}

TEST(IfUnknown, RunsOnlyWithoutARecord_AndWhileNobodyIsAtWorkOnTheClaim) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  const auto service = node.open();
  (void)prepare(*service, {ref_of("a")});
  const auto soon = [] { return std::chrono::steady_clock::now() + std::chrono::milliseconds(10); };
  int runs = 0;
  EXPECT_FALSE(*service->if_unknown("a-uid", soon(), [&] { ++runs; }));
  EXPECT_EQ(runs, 0);
  EXPECT_TRUE(*service->if_unknown("b-uid", soon(), [&] { ++runs; }));
  EXPECT_TRUE(*service->if_unknown("../b", soon(), [&] { ++runs; }));
  EXPECT_EQ(runs, 2);
  const auto other = ClaimStore::open({.state_dir = node.dir / "state", .boot_id = ""});
  ASSERT_TRUE(other);
  const auto at_work = (*other)->lock({"claim/c-uid"}, soon());
  ASSERT_TRUE(at_work);
  const auto waits = service->if_unknown("c-uid", soon(), [&] { ++runs; });
  ASSERT_FALSE(waits);
  EXPECT_EQ(waits.error().code(), Code::kTimeout);
  make_unreadable(node, "a");
  EXPECT_FALSE(service->if_unknown("a-uid", soon(), [&] { ++runs; })) << "not known is not none";
  EXPECT_EQ(runs, 2);
}

TEST(Update, UnknownClaim_IsNotFound) {
  Node node;
  const auto service = node.open();
  const auto never = [](const ClaimRecord&) -> Result<std::string> { return std::string(); };
  const auto soon = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  EXPECT_EQ(service->update("nobody", soon, never).error().code(), Code::kNotFound);
  EXPECT_EQ(service->update("../x", soon, never).error().code(), Code::kNotFound);
  EXPECT_FALSE(service->find("../x"));
}

TEST(Update, WaitsForAPrepareUntilItsDeadline) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  std::promise<void> go;
  const auto gone = go.get_future().share();
  node.driver.on_prepare = [gone](const Claim&, const CallContext&) -> Result<> {
    gone.wait();
    return {};
  };
  const auto service = node.open();
  auto call = prepare_async(*service, {ref_of("a")});
  node.driver.await("prepare a-uid");
  const auto change = [](const ClaimRecord&) -> Result<std::string> { return std::string("new"); };
  EXPECT_EQ(service->update("a-uid", std::chrono::steady_clock::now(), change).error().code(),
            Code::kTimeout);
  go.set_value();
  EXPECT_TRUE(service->update("a-uid", std::chrono::steady_clock::now() + std::chrono::seconds(60), change));
  EXPECT_EQ(service->find("a-uid")->prepared.state, "new");
  EXPECT_EQ(outcome(call.get()), "ok");
}

TEST(Stop, FinishesWhatRunsAndRefusesTheRest) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  std::promise<void> go;
  const auto gone = go.get_future().share();
  node.driver.on_prepare = [gone](const Claim&, const CallContext&) -> Result<> {
    gone.wait();
    return {};
  };
  const auto service = node.open();
  auto call = prepare_async(*service, {ref_of("a")});
  node.driver.await("prepare a-uid");
  auto stopped = std::async(std::launch::async, [&] { service->stop(); });
  go.set_value();
  stopped.get();
  EXPECT_EQ(outcome(call.get()), "ok");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "the program is stopping");
  EXPECT_EQ(outcome(unprepare(*service, {ref_of("a")})), "the program is stopping");
}

TEST(Stop, PastItsGrace_CancelsWhatRuns) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.driver.on_prepare = [](const Claim&, const CallContext& context) -> Result<> {
    std::promise<void> cancelled;
    const std::stop_callback seen(context.cancelled, [&cancelled] { cancelled.set_value(); });
    cancelled.get_future().wait();
    return Error(Code::kCancelled, "cancelled");
  };
  const auto service = node.open();
  auto call = prepare_async(*service, {ref_of("a")});
  node.driver.await("prepare a-uid");
  service->stop(std::chrono::milliseconds(1));
  EXPECT_EQ(outcome(call.get()), "cancelled");
}

// ---- restore ----

TEST(Restore, UnreadableRecord_IsPutAsideAndTheRestGoesOn) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  ASSERT_EQ(outcome(prepare(*node.open(), {ref_of("a")})), "ok");
  const std::string good = *sys::read_file(node.record_path("a"));
  const std::string dir = node.dir / "state/claims";
  std::string flipped = good;
  flipped[flipped.find("eth1")] = 'X';
  ASSERT_TRUE(sys::replace_file(dir, "flipped-uid.json", flipped));
  ASSERT_TRUE(sys::replace_file(dir, "torn-uid.json", good.substr(0, good.size() / 2)));
  ASSERT_TRUE(sys::replace_file(dir, "empty-uid.json", ""));
  ASSERT_TRUE(sys::replace_file(dir, "newer-uid.json", R"({"version": 2, "crc32": "0", "record": {}})"));
  ASSERT_TRUE(sys::replace_file(dir, "misplaced-uid.json", good));
  const auto service = node.open();
  EXPECT_THAT(names_of(service->records()), ElementsAre("a"));
  EXPECT_EQ(sys::list_dir(node.dir / "state/quarantine")->size(), 5U);
  EXPECT_THAT(node.metrics.text(), HasSubstr("quarantine"));
  EXPECT_EQ(outcome(unprepare(*service, {ref_of("torn")})), "ok");
}

TEST(Restore, RecordOfAnotherBoot_IsDroppedWithItsCdiFile) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  auto before = node.options();
  before.boot_id = "before";
  ASSERT_EQ(outcome(prepare(*node.open(before), {ref_of("a")})), "ok");
  const auto service = node.open();
  EXPECT_EQ(node.traces("a"), "effect") << "what the kernel lost is not undone";
  EXPECT_EQ(node.driver.count("unprepare a-uid"), 0);
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
}

TEST(Restore, CdiFileWithoutRecord_IsRemovedAndForeignOnesStay) {
  Node node;
  ASSERT_TRUE(sys::make_dirs(node.dir / "cdi"));
  const std::string mine = std::string(kDriver) + "-claim_lost-uid.json";
  const std::string odd = std::string(kDriver) + "-claim_.json";
  ASSERT_TRUE(sys::replace_file(node.dir / "cdi", mine, "{}"));
  ASSERT_TRUE(sys::replace_file(node.dir / "cdi", odd, "{}"));
  ASSERT_TRUE(sys::replace_file(node.dir / "cdi", "other-claim_x.json", "{}"));
  const auto service = node.open();
  EXPECT_THAT(*sys::list_dir(node.dir / "cdi"), ElementsAre(odd, "other-claim_x.json"));
}

TEST(Restore, UndoThatFails_IsRepeated) {
  Node node;
  ClaimRecord record;
  record.claim = {.namespace_ = "default", .name = "a", .uid = "a-uid", .reserved_for = {}, .devices = {}};
  record.claim.devices.push_back({.request = "req",
                                  .pool = kNode,
                                  .device = "eth1",
                                  .share_id = {},
                                  .admin_access = false,
                                  .consumed_capacity = {},
                                  .config = {}});
  auto store = ClaimStore::open({.state_dir = node.dir / "state", .boot_id = "", .on_quarantine = {}});
  ASSERT_TRUE((*store)->write(record));
  std::atomic<int> tries{0};
  node.driver.on_unprepare = [&tries](const ClaimRecord&, const CallContext&) -> Result<> {
    return ++tries < 3 ? Error(Code::kBusy, "link is busy") : Result<>();
  };
  const auto service = node.open();
  node.driver.await("unprepare a-uid", 3);
  service->stop();
  EXPECT_EQ(node.traces("a"), "");
}

// ---- two instances (a rolling update) ----

TEST(TwoInstances, SeeEachOthersRecords) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.claims.put(claim_of("b", {result_of("eth1")}));
  const auto older = node.open();
  const auto newer = node.open();
  const auto first = prepare(*older, {ref_of("a")});
  ASSERT_EQ(outcome(first), "ok");
  const auto again = prepare(*newer, {ref_of("a")});
  ASSERT_EQ(outcome(again), "ok");
  EXPECT_EQ(*again.at("a-uid"), *first.at("a-uid"));
  EXPECT_THAT(outcome(prepare(*newer, {ref_of("b")})), HasSubstr("in use by claim default/a"));
  EXPECT_EQ(outcome(unprepare(*newer, {ref_of("a")})), "ok");
  EXPECT_FALSE(older->find("a-uid"));
  EXPECT_EQ(outcome(prepare(*older, {ref_of("b")})), "ok");
  EXPECT_EQ(node.driver.count("prepare a-uid"), 1);
}

TEST(TwoInstances, StartOfTheNewer_LeavesTheOldersWorkAlone) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  std::promise<void> go;
  const auto gone = go.get_future().share();
  node.driver.on_prepare = [gone](const Claim&, const CallContext&) -> Result<> {
    gone.wait();
    return {};
  };
  const auto older = node.open();
  auto call = prepare_async(*older, {ref_of("a")});
  node.driver.await("prepare a-uid");
  const auto newer = node.open();
  EXPECT_EQ(node.driver.count("unprepare a-uid"), 0);
  auto at_the_same_time = prepare_async(*newer, {ref_of("a")});
  go.set_value();
  EXPECT_EQ(outcome(call.get()), "ok");
  EXPECT_EQ(outcome(at_the_same_time.get()), "ok");
  EXPECT_EQ(node.driver.count("prepare a-uid"), 1);
}

/// Each takes the one thing of this node that no device stands for.
TEST(TwoInstances, ClaimThatIsAdmittedWhileAnotherIsPlanned_IsSeenByIt) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.claims.put(claim_of("b", {result_of("eth2")}));
  const auto older = node.open();
  const auto newer = node.open();
  std::promise<void> go;
  const auto gone = go.get_future().share();
  std::atomic<bool> a_is_known = false;
  node.driver.on_plan = [&](const Claim& claim) -> Result<std::string> {
    if (claim.uid == "b-uid") {
      if (a_is_known) {
        return Error(Code::kBusy, "the claim a has the thing");
      }
      gone.wait();  // nobody has it yet
    }
    return std::string("takes the thing");
  };
  node.driver.on_admit = [](const ClaimRecord& record,
                            const auto& others) -> Result<std::unique_ptr<Admission>> {
    for (const auto& other : others) {
      if (other->plan == record.plan) {
        return Error(Code::kConflict, "the thing went to another claim meanwhile");
      }
    }
    return nullptr;
  };
  auto second = prepare_async(*newer, {ref_of("b")});
  node.driver.await("plan b-uid");
  EXPECT_EQ(outcome(prepare(*older, {ref_of("a")})), "ok");
  a_is_known = true;
  go.set_value();
  EXPECT_EQ(outcome(second.get()), "the claim a has the thing");
  EXPECT_EQ(node.driver.count("plan b-uid"), 2);
  EXPECT_EQ(node.driver.count("prepare b-uid"), 0);
  EXPECT_EQ(node.traces("b"), "");
}

TEST(Admission, OtherClaimsThatAlwaysComeBetween_AreAnErrorInTheEnd) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.driver.on_admit = [](const ClaimRecord&, const auto&) -> Result<std::unique_ptr<Admission>> {
    return Error(Code::kConflict, "the thing went to another claim meanwhile");
  };
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "the thing went to another claim meanwhile");
  EXPECT_EQ(node.driver.count("plan a-uid"), 10);
  EXPECT_EQ(node.traces("a"), "");
}

/// Notes whether the claim's record was on disk when it was told so, and when it ended.
class NotedAdmission final : public Admission {
 public:
  NotedAdmission(std::string record, std::vector<std::string>& notes, Result<> answer)
      : record_(std::move(record)), notes_(&notes), answer_(std::move(answer)) {}
  ~NotedAdmission() override { notes_->push_back("ended"); }
  Result<> recorded() override {
    notes_->push_back(Node::exists(record_) ? "recorded" : "told too early");
    return answer_;
  }

 private:
  std::string record_;
  std::vector<std::string>* notes_;
  Result<> answer_;
};

TEST(Admission, LastsUntilTheRecordIsWritten) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  node.claims.put(claim_of("b", {result_of("eth2")}));
  std::vector<std::string> notes;
  node.driver.on_admit = [&](const ClaimRecord& record,
                             const auto& others) -> Result<std::unique_ptr<Admission>> {
    for (const auto& other : others) {
      notes.push_back("other " + other->claim.uid);
    }
    return std::make_unique<NotedAdmission>(node.record_path(record.claim.name), notes, Result<>());
  };
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(outcome(prepare(*service, {ref_of("b")})), "ok");
  EXPECT_THAT(notes, ElementsAre("recorded", "ended", "other a-uid", "recorded", "ended"));
}

TEST(Admission, ThatCannotBeKept_TakesTheRecordBack) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  std::vector<std::string> notes;
  node.driver.on_admit = [&](const ClaimRecord& record, const auto&) -> Result<std::unique_ptr<Admission>> {
    return std::make_unique<NotedAdmission>(node.record_path(record.claim.name), notes,
                                            Error(Code::kInternal, "no space left"));
  };
  const auto service = node.open();
  EXPECT_EQ(outcome(prepare(*service, {ref_of("a")})), "no space left");
  EXPECT_THAT(notes, ElementsAre("recorded", "ended"));
  EXPECT_EQ(node.traces("a"), "");
  EXPECT_EQ(node.driver.count("prepare a-uid"), 0);
}

// ---- kill -9 at every step ----

constexpr const char* kCrashDir = "FAIRLEAD_TEST_CRASH_DIR";

/// What the child process does until it is killed; see Crash below.
int run_crash_child(const std::string& dir) {
  FakeDriver driver(dir + "/world");
  FakeClaims claims;
  claims.put(claim_of("a", {result_of("eth1")}));
  Metrics metrics(kDriver, "1.0.0");
  ClaimService::Options options;
  options.driver_name = kDriver;
  options.node_name = kNode;
  options.state_dir = dir + "/state";
  options.cdi_dir = dir + "/cdi";
  const auto service = ClaimService::open(options, driver, claims, metrics);
  if (!service || !(*service)->restore()) {
    return 1;
  }
  (void)prepare(**service, {ref_of("a")});
  (void)unprepare(**service, {ref_of("a")});
  return 0;
}

class Crash : public ::testing::TestWithParam<const char*> {};

/// Runs this program as the child with a fault; the signal that ended it.
int run_child_until(const std::string& fault, const std::string& dir) {
  const std::string set_dir = std::string(kCrashDir) + "=" + dir;
  const std::string set_fault = "FAIRLEAD_FAULT=" + fault + ":kill";
  std::string self = "/proc/self/exe";
  std::vector<char*> arguments = {self.data(), nullptr};
  std::string one = set_dir;
  std::string two = set_fault;
  std::vector<char*> environment = {one.data(), two.data(), nullptr};
  pid_t pid = 0;
  EXPECT_EQ(::posix_spawn(&pid, self.c_str(), nullptr, nullptr, arguments.data(), environment.data()), 0);
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST_P(Crash, Restart_FinishesOrUndoesAndThePodStartsAndEnds) {
  if (!fault_points_enabled()) {
    GTEST_SKIP() << "this build has no fault points (CMake option FAIRLEAD_FAULTS)";
  }
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  ASSERT_EQ(run_child_until(GetParam(), node.dir.path()), SIGKILL);
  {
    const auto service = node.open();
    const bool was_prepared = std::string(GetParam()) == "after-record";
    EXPECT_EQ(node.traces("a"), was_prepared ? "record cdi effect" : "");
    const auto answers = prepare(*service, {ref_of("a")});
    EXPECT_EQ(outcome(answers), "ok");
    EXPECT_EQ(node.driver.count("prepare a-uid"), was_prepared ? 0 : 1);
    EXPECT_EQ(node.driver.count("double a-uid"), 0);
    EXPECT_EQ(node.traces("a"), "record cdi effect");
  }
  const auto service = node.open();
  EXPECT_EQ(outcome(unprepare(*service, {ref_of("a")})), "ok");
  EXPECT_EQ(node.traces("a"), "");
  EXPECT_TRUE(sys::list_dir(node.dir / "state/quarantine")->empty());
}

INSTANTIATE_TEST_SUITE_P(AtEveryStep, Crash,
                         ::testing::Values("after-admission", "after-admission-record", "after-intent",
                                           "after-prepare", "after-cdi", "after-record",
                                           "before-unprepare-effect", "after-unprepare-effect",
                                           "after-cdi-removed", "after-record-removed"),
                         [](const auto& point) {
                           std::string name = point.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace fairlead::dra::testing

int main(int argc, char** argv) {
  if (const char* dir = std::getenv(fairlead::dra::testing::kCrashDir); dir != nullptr) {
    return fairlead::dra::testing::run_crash_child(dir);
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
