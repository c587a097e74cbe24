// SPDX-License-Identifier: Apache-2.0
// What is offered, and what may sit on what, on the running kernel: two claims never have one NIC, and what
// is the node's own is never given away.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/devices/netdev/plan.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netlink/sock_diag.h"
#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::agent {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class Offers : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    nic1_ = add_nic("nic1", "02:00:00:00:00:77");
  }

  netlink::IfIndex add_nic(const std::string& name, const std::string& mac,
                           const std::string& wire = "wire") {
    EXPECT_TRUE(node_->create_link({.name = name,
                                    .kind = netlink::Veth{.peer = {.name = wire, .up = true}},
                                    .mac = *netlink::MacAddress::parse(mac),
                                    .up = true}));
    return link(*node_, name).index;
  }

  std::vector<std::string> published() {
    std::vector<std::string> out;
    const auto pools = driver_->discover().value();
    for (const dra::Device& device : pools.front().devices) {
      out.push_back(device.name);
    }
    return out;
  }

  static dra::Claim macvlan_claim(const std::string& uid, const std::string& master) {
    return claim(uid, {{R"("macvlan","interfaceName":"data0","master":")" + master + "\""}});
  }
  static dra::Claim nic_claim(const std::string& uid, const std::string& nic = "nic1") {
    return claim(uid, {{.netdev = R"("host-device","interfaceName":"fast0")", .device = nic}});
  }
  static dra::Claim passthru_claim(const std::string& uid) {
    return claim(uid, {{.netdev = R"("macvlan","mode":"passthru")", .device = "nic1"}});
  }
  std::string refusal(const dra::Claim& claim) {
    const auto planned = driver_->plan(claim);
    return planned ? "accepted" : planned.error().what();
  }

  netlink::IfIndex nic1_;
};

// ---- a NIC and the links on it

TEST_F(Offers, NicOfAnotherClaim_CarriesNoMacvlan_EvenBeforeItMoves) {
  const auto whole = prepare(nic_claim("u1"));
  ASSERT_OK(whole);
  records_ = {*whole};
  EXPECT_THAT(refusal(macvlan_claim("u2", "nic1")),
              HasSubstr("netdev.master: \"nic1\" belongs to the claim claim-u1"));
}

TEST_F(Offers, ClaimsOfOtherNamespaces_AreNotNamed) {
  const auto whole = prepare(nic_claim("u1"));
  ASSERT_OK(whole);
  records_ = {*whole};
  auto other = macvlan_claim("u2", "nic1");
  other.namespace_ = "tenant-b";
  EXPECT_THAT(refusal(other), AllOf(HasSubstr("\"nic1\" belongs to another claim"), Not(HasSubstr("u1"))));
}

TEST_F(Offers, NicThatAnotherClaimWasAllocatedForAMacvlan_CarriesNoOther) {
  const auto whole = prepare(claim("u1", {{.netdev = R"("macvlan")", .device = "nic1"}}));
  ASSERT_OK(whole);
  records_ = {*whole};
  EXPECT_THAT(refusal(macvlan_claim("u2", "nic1")), HasSubstr("\"nic1\" belongs to the claim claim-u1"));
  EXPECT_THAT(published(), Contains("nic1")) << "it is still the allocated device";
  EXPECT_EQ(refusal(whole->claim), "accepted") << "again, as the kubelet does";
}

TEST_F(Offers, NicUnderAnotherClaimsMacvlan_IsNeitherPublishedNorLent_UntilThatEnds) {
  ASSERT_THAT(published(), Contains("nic1"));
  auto shared = prepare(macvlan_claim("u1", "nic1"));
  ASSERT_OK(shared);
  ASSERT_OK(attach(*shared, pod_));  // in the pod: not to be seen from the node
  records_ = {*shared};
  EXPECT_THAT(published(), Not(Contains("nic1")));
  EXPECT_THAT(refusal(nic_claim("u2")), HasSubstr("an interface of the claim claim-u1 sits on it"));
  EXPECT_THAT(refusal(claim("u3", {{.netdev = R"("macvlan")", .device = "nic1"}})),
              HasSubstr("an interface of the claim claim-u1 sits on it"));
  const auto sharing = prepare(macvlan_claim("u4", "nic1"));
  ASSERT_OK(sharing);
  ASSERT_OK(driver_->unprepare(*sharing, {}));

  ASSERT_OK(driver_->unprepare(*shared, {}));
  EXPECT_THAT(published(), Contains("nic1")) << "also while the record is just being removed";
  records_.clear();
  EXPECT_THAT(published(), Contains("nic1"));
  EXPECT_EQ(refusal(nic_claim("u2")), "accepted");
}

TEST_F(Offers, TwoDevicesOfOneClaim_DoNotHaveOneNicEither) {
  EXPECT_THAT(refusal(claim("u1", {{.netdev = R"("macvlan","master":"nic1")", .request = "a"},
                                   {.netdev = R"("host-device")", .device = "nic1", .request = "b"}})),
              HasSubstr("another device of this claim sits on it"));
  EXPECT_THAT(refusal(claim("u1", {{.netdev = R"("host-device")", .device = "nic1", .request = "a"},
                                   {.netdev = R"("macvlan","master":"nic1")", .request = "b"}})),
              HasSubstr("\"nic1\" belongs to another device of this claim"));
}

// ---- planned at the same moment, by threads or by two instances: admission decides

class Admitted : public Offers {
 protected:
  dra::ClaimRecord planned(const dra::Claim& claim) {
    dra::ClaimRecord record{.claim = claim};
    auto plan = driver_->plan(claim);
    EXPECT_TRUE(plan) << plan.error().what();
    record.plan = plan.value_or("");
    return record;
  }
  /// As another instance would: nothing is known of the others but their records.
  std::string admitted(const dra::ClaimRecord& record, const std::vector<dra::ClaimRecord>& others) {
    records_ = others;
    make_driver();
    const auto answer = driver_->begin_admission(record, host_, {});
    records_.clear();
    if (!answer) {
      EXPECT_EQ(answer.error().code(), Code::kConflict);
    }
    return answer ? "admitted" : answer.error().what();
  }
};

TEST_F(Admitted, NicAndAMacvlanOnIt_AreNotBothAdmitted) {
  const auto shared = planned(macvlan_claim("u1", "nic1"));
  const auto whole = planned(nic_claim("u2"));
  const auto alone = planned(claim("u3", {{.netdev = R"("macvlan")", .device = "nic1"}}));
  const auto sharing = planned(macvlan_claim("u4", "nic1"));
  EXPECT_EQ(admitted(shared, {}), "admitted");
  EXPECT_EQ(admitted(whole, {shared}),
            "the link nic1 went to the claim claim-u1 while this claim was planned");
  EXPECT_THAT(admitted(shared, {whole}), HasSubstr("went to the claim claim-u2"));
  EXPECT_THAT(admitted(alone, {shared}), HasSubstr("went to the claim claim-u1"));
  EXPECT_THAT(admitted(shared, {alone}), HasSubstr("went to the claim claim-u3"));
  EXPECT_EQ(admitted(sharing, {shared}), "admitted");
  add_nic("nic2", "02:00:00:00:00:79", "wire2");
  EXPECT_EQ(admitted(planned(nic_claim("u5", "nic2")), {shared, whole, alone}), "admitted");
}

TEST_F(Admitted, ClaimOfAnotherNamespace_IsNotNamed) {
  const auto shared = planned(macvlan_claim("u1", "nic1"));
  auto whole = planned(nic_claim("u2"));
  whole.claim.namespace_ = "tenant-b";
  EXPECT_EQ(admitted(whole, {shared}), "the link nic1 went to another claim while this claim was planned");
}

TEST_F(Admitted, OneInterfaceNameInOnePod_IsNotGivenTwice) {
  const std::string veth = R"("veth")";  // no name: both are to be net1
  auto first = claim("u1", {{.netdev = veth}});
  auto second = claim("u2", {{.netdev = veth}});
  first.reserved_for = second.reserved_for = {{.name = "pod-1", .uid = "p1"}};
  auto one = planned(first);
  auto two = planned(second);
  EXPECT_EQ(admitted(two, {one}),
            "the interface name \"net1\" went to the claim claim-u1 of the same pod while this claim was "
            "planned");
  records_ = {one};
  EXPECT_EQ(admitted(planned(second), {one}), "admitted") << "it is net2 now";
  two.claim.reserved_for = {{.name = "pod-2", .uid = "p2"}};
  EXPECT_EQ(admitted(two, {one}), "admitted");
}

TEST_F(Admitted, AddressAndMacOnOneParent_AreNotGivenTwice) {
  const auto wish = [](const std::string& uid, const std::string& more) {
    return claim(uid, {{.netdev = R"("macvlan","master":"nic1",)" + more}});
  };
  const auto one = planned(wish("u1", R"("addresses":["192.0.2.7/24"],"mac":"02:00:00:00:00:07")"));
  EXPECT_EQ(admitted(planned(wish("u2", R"("addresses":["192.0.2.8/24","192.0.2.7/25"])")), {one}),
            "the address 192.0.2.7 on nic1 went to the claim claim-u1 while this claim was planned");
  EXPECT_EQ(admitted(planned(wish("u3", R"("mac":"02:00:00:00:00:07")")), {one}),
            "the MAC address 02:00:00:00:00:07 on nic1 went to the claim claim-u1 while this claim was "
            "planned");
  EXPECT_EQ(admitted(planned(wish("u4", R"("addresses":["192.0.2.8/24"])")), {one}), "admitted");
}

TEST_F(Admitted, OneVariableInOnePod_IsNotGivenTwice) {
  auto first = claim("u1", {{.netdev = R"("veth","interfaceName":"one0")", .request = "b-c"}});
  auto second = claim("u2", {{.netdev = R"("veth","interfaceName":"two0")", .request = "c"}});
  first.pod_claim_name = "a";
  second.pod_claim_name = "a-b";
  first.reserved_for = second.reserved_for = {{.name = "pod-1", .uid = "p1"}};
  EXPECT_EQ(admitted(planned(second), {planned(first)}),
            "the variable FAIRLEAD_A_B_C went to the claim claim-u1 of the same pod while this claim was "
            "planned");
}

TEST_F(Admitted, RecordThatChanged_IsReadAnew) {
  const auto whole = planned(nic_claim("u1"));
  const auto shared = planned(macvlan_claim("u2", "nic1"));
  const auto beside = [&](const dra::ClaimRecord& one) {
    records_ = {one};
    return driver_->begin_admission(shared, host_, {}).has_value();
  };
  EXPECT_FALSE(beside(whole));
  auto other = whole;
  other.plan.clear();  // it was undone, and is not planned yet
  EXPECT_TRUE(beside(other));
  EXPECT_FALSE(beside(whole));
}

// ---- drivers of two names on one node

class TwoDrivers : public Offers {
 protected:
  struct One : FakeHost {
    explicit One(std::string its_name) : name(std::move(its_name)) {}
    [[nodiscard]] Result<std::vector<dra::ClaimRecord>> records() const override { return known; }

    std::string name;
    std::vector<dra::ClaimRecord> known;
    std::unique_ptr<NetDriver> driver;
  };
  void SetUp() override {
    Offers::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    start(a_);
    start(b_);
  }
  [[nodiscard]] std::string state_dir(const One& one) const {
    return folder_.path().string() + "/" + one.name;
  }
  void start(One& one) {
    NetDriverOptions options{.guard_path = "/opt/fairlead-guard", .guard_socket = "/run/x/guard.sock"};
    options.node = {.driver_name = one.name, .host_devices = {"nic*"}, .kinds_of_kernel = kinds_};
    options.holders = NicHolders::Options{
        .dir = folder_.path().string() + "/shared", .driver = one.name, .state_dir = state_dir(one)};
    options.watch_node = false;
    EXPECT_TRUE(sys::make_dirs(state_dir(one) + "/claims"));
    one.driver = NetDriver::create(one, std::move(options), registry_).value();
  }
  /// plan(), admission and record, as the framework does it.
  Result<> prepare(One& one, const dra::Claim& claim) {
    dra::ClaimRecord record{.claim = claim};
    FL_ASSIGN(record.plan, one.driver->plan(claim));
    return admit(one, record);
  }
  Result<> admit(One& one, const dra::ClaimRecord& record) {
    FL_ASSIGN(const auto admission, one.driver->begin_admission(record, one, {}));
    one.known.push_back(record);
    FL_TRY(sys::replace_file(state_dir(one) + "/claims", record.claim.uid + ".json", "{}"));
    FL_TRY(admission ? admission->recorded() : Result<>());
    one.known.back().state = dra::ClaimState::kPrepared;
    return {};
  }
  /// The process ends between the record of the claim and its entry.
  Result<> admit_and_die(One& one, const dra::Claim& claim) {
    dra::ClaimRecord record{.claim = claim};
    FL_ASSIGN(record.plan, one.driver->plan(claim));
    FL_ASSIGN(const auto admission, one.driver->begin_admission(record, one, {}));
    one.known.push_back(record);
    FL_TRY(sys::replace_file(state_dir(one) + "/claims", record.claim.uid + ".json", "{}"));
    start(one);
    return {};
  }
  static Result<> attach(One& one, const Pod& pod) {
    dra::ClaimRecord& record = one.known.back();
    FL_ASSIGN(record.prepared.state,
              one.driver->attacher().attach(record, {.netns = pod.netns.get(), .container = "c"}));
    return {};
  }
  /// All is given back, but the process ends before it has removed the record.
  Result<> unprepare_and_die(One& one) {
    one.known.back().state = dra::ClaimState::kUnpreparing;
    FL_TRY(one.driver->unprepare(one.known.back(), {}));
    start(one);
    return {};
  }
  [[nodiscard]] std::vector<std::string> entries() const {
    return sys::list_dir(folder_.path().string() + "/shared/holders").value();
  }
  Result<> unprepare(One& one) {
    FL_TRY(one.driver->unprepare(one.known.back(), {}));
    one.known.pop_back();
    return {};
  }
  static std::vector<std::string> offers(One& one) {
    std::vector<std::string> out;
    const auto pools = one.driver->discover().value();
    for (const dra::Device& device : pools.front().devices) {
      out.push_back(device.name);
    }
    return out;
  }

  const sys::testing_support::TemporaryFolder folder_;
  One a_{"a.example.com"}, b_{"b.example.com"};
};

TEST_F(TwoDrivers, NicOfOnesClaim_IsNeitherOfferedNorLentByTheOther_UntilThatEnds) {
  EXPECT_THAT(offers(b_), Contains("nic1"));
  ASSERT_OK(prepare(a_, claim("u1", {{.netdev = R"("macvlan")", .device = "nic1"}})));
  EXPECT_THAT(offers(a_), Contains("nic1")) << "its own allocation";
  EXPECT_THAT(offers(b_), Not(Contains("nic1")));
  EXPECT_THAT(b_.driver->metrics_text(), HasSubstr("reason=\"other-driver\"} 1"));
  const auto whole = prepare(b_, nic_claim("u2"));
  ASSERT_FALSE(whole);
  EXPECT_THAT(whole.error().what(), HasSubstr("a claim of the driver a.example.com has it"));
  const auto shared = prepare(b_, macvlan_claim("u3", "nic1"));
  ASSERT_FALSE(shared);
  EXPECT_THAT(shared.error().what(),
              AllOf(HasSubstr("in use by a claim of the driver a.example.com"), Not(HasSubstr("u1"))));
  ASSERT_OK(unprepare(a_));
  EXPECT_THAT(offers(b_), Contains("nic1"));
  ASSERT_OK(prepare(b_, nic_claim("u2")));
  EXPECT_THAT(offers(a_), Not(Contains("nic1")));
}

TEST_F(TwoDrivers, PlannedAtTheSameMoment_OneIsAdmitted) {
  dra::ClaimRecord shared{.claim = macvlan_claim("u1", "nic1")};
  dra::ClaimRecord whole{.claim = nic_claim("u2")};
  shared.plan = a_.driver->plan(shared.claim).value();
  whole.plan = b_.driver->plan(whole.claim).value();
  ASSERT_OK(admit(a_, shared));
  const auto refused = admit(b_, whole);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kBusy);
  EXPECT_THAT(refused.error().what(), HasSubstr("a.example.com, which has an interface on it"));
  ASSERT_OK(prepare(b_, macvlan_claim("u3", "nic1")));
}

TEST_F(TwoDrivers, RecordWithoutEntry_IsToldAtTheStart) {
  ASSERT_OK(prepare(a_, nic_claim("u1")));
  const std::string entries = folder_.path().string() + "/shared/holders";
  const auto before = sys::list_dir(entries).value();
  ASSERT_EQ(before.size(), 1);
  ASSERT_OK(sys::remove_file(entries + "/" + before.front()));  // as an older version left it
  EXPECT_THAT(offers(b_), Contains("nic1"));
  start(a_);
  a_.driver->restored(a_.known);
  EXPECT_EQ(sys::list_dir(entries).value(), before);
  EXPECT_THAT(offers(b_), Not(Contains("nic1")));
}

/// Version 0.1 kept the parent's name, and nothing else of it.
TEST_F(TwoDrivers, RecordThatHasTheParentsNameOnly_IsToldByWhatTheParentIs) {
  const auto record = [&](const std::string& uid, const std::string& master) {
    dra::ClaimRecord made{.claim = macvlan_claim(uid, "nic1"), .state = dra::ClaimState::kPrepared};
    const devices::Registry kinds = devices::all_kinds();
    auto plan = parse_claim_plan(a_.driver->plan(made.claim).value(), kinds).value();
    plan.devices[0].body = std::make_shared<const devices::netdev::NetdevBody>(
        devices::netdev::NetdevPlan{.master = master, .own = {{"mode", "bridge"}}});
    made.plan = to_json(plan);
    return made;
  };
  a_.known = {record("u1", "nic1"), record("u2", "gone7")};
  a_.driver->restored(a_.known);
  const std::string entries = folder_.path().string() + "/shared/holders";
  EXPECT_THAT(sys::list_dir(entries).value(),
              ElementsAre("ifindex-" + std::to_string(nic1_.value()) + "_a.example.com_u1.shared"));
  // It is looked for as long as the record is there.
  const auto late = add_nic("gone7", "02:00:00:00:00:78", "wire7");
  (void)a_.driver->discover();
  EXPECT_THAT(sys::list_dir(entries).value(),
              Contains("ifindex-" + std::to_string(late.value()) + "_a.example.com_u2.shared"));
}

TEST_F(TwoDrivers, FolderThatCannotBeUsed_NoNicIsOffered_AndReadinessSaysWhy) {
  ASSERT_OK(sys::remove_tree(folder_.path().string() + "/shared"));
  ASSERT_OK(sys::replace_file(folder_.path().string(), "shared", "no folder"));
  EXPECT_THAT(offers(a_), ::testing::ElementsAre("netdev-virtual"));
  ASSERT_FALSE(a_.driver->ready());
  EXPECT_THAT(a_.driver->ready().error().what(), HasSubstr("--shared-dir"));
  EXPECT_EQ(prepare(a_, nic_claim("u1")).error().code(), Code::kUnavailable);
  EXPECT_EQ(prepare(a_, macvlan_claim("u2", "nic1")).error().code(), Code::kUnavailable);
  ASSERT_OK(prepare(a_, claim("u3", {{.netdev = R"("veth")"}})));
  ASSERT_OK(sys::remove_file(folder_.path().string() + "/shared"));
  EXPECT_THAT(offers(a_), Contains("nic1"));
  EXPECT_TRUE(a_.driver->ready());
}

// ---- a driver that was killed, and the NIC that another one has by now

TEST_F(TwoDrivers, KilledBeforeItsEntry_DoesNotWaitForTheNicThatTheOtherMoved) {
  ASSERT_OK(admit_and_die(a_, nic_claim("u1")));
  ASSERT_OK(prepare(b_, nic_claim("u2")));
  ASSERT_OK(attach(b_, pod_));
  const netlink::Link there = link(*pod_.socket, "fast0");
  const auto held = entries();
  ASSERT_OK(unprepare(a_));
  EXPECT_EQ(link(*pod_.socket, "fast0"), there);
  EXPECT_EQ(entries(), held);
}

TEST_F(TwoDrivers, KilledBeforeItsEntry_DoesNotGetOneWhenTheOtherHasTheNic) {
  ASSERT_OK(admit_and_die(a_, nic_claim("u1")));
  ASSERT_OK(prepare(b_, nic_claim("u2")));
  const auto held = entries();
  ASSERT_EQ(held.size(), 1);
  EXPECT_THAT(offers(a_), Contains("netdev-virtual"));  // looks after its entries first
  EXPECT_EQ(entries(), held);
}

TEST_F(TwoDrivers, KilledBeforeItsRecordIsGone_DoesNotWaitForTheNicThatTheOtherMoved) {
  ASSERT_OK(prepare(a_, nic_claim("u1")));
  ASSERT_OK(attach(a_, pod_));
  ASSERT_OK(unprepare_and_die(a_));
  ASSERT_OK(prepare(b_, nic_claim("u2")));
  const Pod other = make_pod();
  ASSERT_OK(attach(b_, other));
  const netlink::Link there = link(*other.socket, "fast0");
  ASSERT_OK(unprepare(a_));
  EXPECT_EQ(link(*other.socket, "fast0"), there);
  ASSERT_OK(unprepare(b_));
  EXPECT_EQ(link(*node_, "nic1").index, nic1_);
}

/// Between the alias and the move, or in netdevices mode for as long as the runtime takes.
TEST_F(TwoDrivers, KilledBeforeItsRecordIsGone_LeavesTheNicThatTheOtherIsTaking) {
  ASSERT_OK(prepare(a_, nic_claim("u1")));
  ASSERT_OK(attach(a_, pod_));
  ASSERT_OK(unprepare_and_die(a_));
  ASSERT_OK(prepare(b_, nic_claim("u2")));
  const devices::Marker marker{.driver = b_.name, .claim_uid = "u2"};
  ASSERT_OK(node_->change_link(nic1_, {.up = false, .alias = marker.lent_alias("nic1", "")}));
  ASSERT_OK(node_->change_link(nic1_, {.mac = *netlink::MacAddress::parse("02:00:00:00:00:99")}));
  const netlink::Link taken = link(*node_, "nic1");
  ASSERT_OK(unprepare(a_));
  EXPECT_EQ(link(*node_, "nic1"), taken);
}

/// While it is undone once more nobody else gets the NIC.
TEST_F(TwoDrivers, KilledBeforeItsRecordIsGone_UndoesOnceMore_WhenNobodyHasTheNic) {
  ASSERT_OK(prepare(a_, nic_claim("u1")));
  ASSERT_OK(attach(a_, pod_));
  ASSERT_OK(unprepare_and_die(a_));
  ASSERT_OK(node_->change_link(nic1_, {.mtu = 1300}));
  ASSERT_OK(unprepare(a_));
  EXPECT_EQ(link(*node_, "nic1").mtu, 1500);
  EXPECT_THAT(entries(), ::testing::IsEmpty());
  ASSERT_OK(prepare(b_, nic_claim("u2")));
}

TEST_F(Offers, NicUnderALinkOfTheNode_IsNeitherPublishedNorLent) {
  ASSERT_OK(node_->create_link({.name = "shim0", .kind = netlink::Macvlan{.parent = nic1_}}));
  EXPECT_THAT(published(), Not(Contains("nic1")));
  EXPECT_THAT(refusal(nic_claim("u1")), HasSubstr("shim0 of this node sits on it"));
}

TEST_F(Offers, LinkThatCameOntoTheNicSincePlan_KeepsItHome) {
  auto whole = prepare(nic_claim("u1"));
  ASSERT_OK(whole);
  ASSERT_OK(node_->create_link({.name = "shim0", .kind = netlink::Macvlan{.parent = nic1_}}));
  const auto attached = attach(*whole, pod_);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(), HasSubstr("shim0 of this node sits on it"));
  EXPECT_EQ(link(*node_, "nic1").index, nic1_);
}

TEST_F(Offers, LinkThatCameOntoTheNicSincePlan_LetsNoMacvlanHaveItAsAWhole) {
  auto whole = prepare(claim("u1", {{.netdev = R"("macvlan")", .device = "nic1"}}));
  ASSERT_OK(whole);
  ASSERT_OK(node_->create_link({.name = "shim0", .kind = netlink::Macvlan{.parent = nic1_}}));
  const auto attached = attach(*whole, pod_);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(),
              HasSubstr("the NIC nic1 cannot be taken any more: shim0 of this node sits on it"));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
}

// ---- what no look at the node tells

TEST_F(Offers, MacvlanInAnotherNamespace_KeepsTheNicHome) {
  const Pod other = make_pod();
  auto whole = prepare(nic_claim("u1"));
  auto single = prepare(
      claim("u2", {{.netdev = R"("macvlan","interfaceName":"data0","mode":"passthru")", .device = "nic1"}}));
  ASSERT_OK(whole);
  ASSERT_OK(single);
  ASSERT_OK(node_->create_link(
      {.name = "spy0", .kind = netlink::Macvlan{.parent = nic1_}, .netns = other.netns.get()}));
  const auto before = node_names();
  for (auto* record : {&*whole, &*single}) {
    const auto attached = attach(*record, pod_);
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().code(), Code::kBusy);
    EXPECT_THAT(
        attached.error().what(),
        HasSubstr("the NIC nic1 cannot be taken any more: a macvlan in another network namespace sits "
                  "on it"));
    EXPECT_EQ(link(*node_, "nic1").alias, "");
    EXPECT_EQ(node_names(), before);
    EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
  }
  ASSERT_OK(other.socket->delete_link(link(*other.socket, "spy0").index));
  for (auto* record : {&*whole, &*single}) {
    ASSERT_OK(attach(*record, pod_));
    ASSERT_OK(driver_->unprepare(*record, {}));
  }
}

TEST_F(Offers, MacvlanThatAPodLeftOnItsNicElsewhere_KeepsTheNicFromTheNext) {
  auto first = prepare(nic_claim("u1"));
  ASSERT_OK(first);
  ASSERT_OK(attach(*first, pod_));
  const Pod third = make_pod();
  ASSERT_OK(pod_.socket->create_link({.name = "spy0",
                                      .kind = netlink::Macvlan{.parent = link(*pod_.socket, "fast0").index},
                                      .netns = third.netns.get()}));
  ASSERT_OK(driver_->unprepare(*first, {}));
  auto next = prepare(nic_claim("u2"));
  ASSERT_OK(next);
  const Pod pod = make_pod();
  const auto attached = attach(*next, pod);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(), HasSubstr("a macvlan in another network namespace sits on it"));
  EXPECT_EQ(link(*node_, "nic1").index, nic1_);
}

/// A VLAN of the node would be the usual one; this stands for it.
TEST_F(Offers, NicUnderALentLinkOfTheNode_IsNeitherPublishedNorLent) {
  ASSERT_OK(node_->create_link({.name = "nic1.5", .kind = netlink::Macvlan{.parent = nic1_}}));
  auto lent = prepare(nic_claim("u1", published().back()));
  ASSERT_OK(lent);
  EXPECT_THAT(refusal(nic_claim("u2")), HasSubstr("nic1.5 of this node sits on it"));
  ASSERT_OK(attach(*lent, pod_));
  records_ = {*lent};
  EXPECT_THAT(published(), Not(Contains("nic1")));
  EXPECT_THAT(refusal(nic_claim("u2")), HasSubstr("an interface of the claim claim-u1 sits on it"));
  ASSERT_OK(driver_->unprepare(*lent, {}));
  ASSERT_OK(node_->delete_link(link(*node_, "nic1.5").index));
  records_.clear();
  EXPECT_THAT(published(), Contains("nic1"));
}

TEST_F(Offers, MasterThatBecameAPortSincePlan_IsRefused) {
  auto shared = prepare(macvlan_claim("u1", "nic1"));
  ASSERT_OK(shared);
  ASSERT_OK(node_->create_link({.name = "br0", .kind = netlink::Bridge{}}));
  ASSERT_OK(node_->change_link(nic1_, {.master = link(*node_, "br0").index}));
  const auto attached = attach(*shared, pod_);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(), HasSubstr("\"nic1\" has become a port of another link"));
}

TEST_F(Offers, HostEndOfAPod_CarriesNoMacvlan) {
  ASSERT_OK(node_->create_link({.name = "cali0",
                                .kind = netlink::Veth{.peer = {.name = "eth0", .netns = pod_.netns.get()}},
                                .up = true}));
  EXPECT_THAT(refusal(macvlan_claim("u1", "cali0")),
              HasSubstr("netdev.master: \"cali0\" leads into another network namespace"));
}

TEST_F(Offers, NodesOwnNic_MayHaveItsPeerInAnotherNamespace) {
  // A nested node: its uplink, and what --host-devices says is a NIC.
  Pod outside = make_pod();
  for (const char* name : {"nic7", "up0"}) {
    ASSERT_OK(node_->create_link(
        {.name = name,
         .kind = netlink::Veth{.peer = {.name = std::string(name) + "w", .netns = outside.netns.get()}},
         .up = true}));
  }
  const netlink::IfIndex uplink = link(*node_, "up0").index;
  ASSERT_OK(node_->add_address({.link = uplink, .prefix = *netlink::IpPrefix::parse("192.0.2.2/24")}));
  ASSERT_OK(node_->add_route({.destination = netlink::IpPrefix(),
                              .gateway = *netlink::IpAddress::parse("192.0.2.1"),
                              .link = uplink}));
  EXPECT_EQ(refusal(macvlan_claim("u1", "nic7")), "accepted");
  EXPECT_EQ(refusal(macvlan_claim("u1", "up0")), "accepted");
}

// ---- what is the node's own

class NodesOwn : public Offers {
 protected:
  /// No link of these tests has it.
  const netlink::IpAddress kElsewhere = *netlink::IpAddress::parse("203.0.113.9");

  void add_default_route(netlink::IfIndex link, const std::string& subnet, std::uint32_t metric) {
    ASSERT_OK(node_->add_address({.link = link, .prefix = *netlink::IpPrefix::parse(subnet + "2/24")}));
    ASSERT_OK(node_->add_route({.destination = netlink::IpPrefix(),
                                .gateway = *netlink::IpAddress::parse(subnet + "1"),
                                .link = link,
                                .metric = metric}));
  }
  void remember_in(const std::string& folder) {
    memory_ = std::make_shared<devices::NodeMemory>(folder);
    make_driver();
  }

  const sys::testing_support::TemporaryFolder folder_;
};

TEST_F(NodesOwn, DataNicWithADefaultRouteOfItsOwn_IsReleasedByFlagAtOnce) {
  add_default_route(link(*node_, "eth0").index, "192.0.2.", 100);
  add_default_route(nic1_, "198.51.100.", 5000);
  EXPECT_THAT(published(), Not(Contains("nic1")));
  EXPECT_THAT(refusal(nic_claim("u1")),
              HasSubstr("it has a default route of its own (IPv4, metric 5000) (--not-uplink releases"));
  EXPECT_THAT(driver_->metrics_text(),
              HasSubstr("fairlead_nics_withheld{driver=\"net.example.com\",reason=\"other-route\"} 1"));
  not_uplinks_ = {"nic*"};
  make_driver();
  EXPECT_THAT(published(), Contains("nic1"));
  auto record = prepare(nic_claim("u1"));
  ASSERT_OK(record);
  EXPECT_TRUE(attach(*record, pod_));
}

TEST_F(NodesOwn, UplinkThatLostItsRoute_IsNeitherPublishedNorLent_AlsoAfterARestart) {
  const std::string state = folder_.path().string();
  remember_in(state);
  memory_->set_addresses({kElsewhere});
  add_default_route(nic1_, "198.51.100.", 0);
  EXPECT_THAT(published(), Not(Contains("nic1")));
  ASSERT_OK(
      node_->delete_address(nic1_, *netlink::IpPrefix::parse("198.51.100.2/24")));  // its route goes too
  EXPECT_THAT(published(), Not(Contains("nic1")));
  remember_in(state);
  EXPECT_THAT(published(), Not(Contains("nic1")));
  EXPECT_THAT(refusal(nic_claim("u1")), HasSubstr("it was the node's uplink since the node came up"));
}

TEST_F(NodesOwn, NicWithTheNodesAddress_IsNeverTaken) {
  remember_in(folder_.path().string());
  memory_->set_addresses({kElsewhere});
  auto record = prepare(nic_claim("u1"));
  ASSERT_OK(record);
  ASSERT_OK(node_->add_address({.link = nic1_, .prefix = *netlink::IpPrefix::parse("192.0.2.5/24")}));
  memory_->set_addresses({*netlink::IpAddress::parse("192.0.2.5")});
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(), HasSubstr("\"nic1\" has become the node's uplink"));
  EXPECT_THAT(published(), Not(Contains("nic1")));
  EXPECT_THAT(refusal(nic_claim("u2")), HasSubstr("it has the Node's address 192.0.2.5"));
}

/// Not by a route: passthru once asked only for that just before the effect.
TEST_F(NodesOwn, NicThatGotTheNodesAddressSincePlan_CarriesNoPassthru) {
  remember_in(folder_.path().string());
  memory_->set_addresses({});
  auto record = prepare(passthru_claim("u1"));
  ASSERT_OK(record);
  const auto before = node_names();
  ASSERT_OK(node_->add_address({.link = nic1_, .prefix = *netlink::IpPrefix::parse("192.0.2.5/24")}));
  memory_->set_addresses({*netlink::IpAddress::parse("192.0.2.5")});
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code(), Code::kDenied);
  EXPECT_THAT(attached.error().what(), HasSubstr("\"nic1\" has become the node's uplink"));
  EXPECT_EQ(node_names(), before);
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
}

TEST_F(NodesOwn, NothingIsKnownOfTheNode_NoNicIsOffered_AndReadinessSaysWhy) {
  remember_in(folder_.path().string());
  EXPECT_THAT(published(), ::testing::ElementsAre("netdev-virtual"));
  ASSERT_FALSE(driver_->ready());
  EXPECT_THAT(driver_->ready().error().what(), HasSubstr("the Node object has not been read yet"));
  EXPECT_THAT(refusal(nic_claim("u1")), HasSubstr("the Node object has not been read yet"));
  // It is the node's trouble, not the author's: no event at the pod.
  EXPECT_EQ(driver_->plan(nic_claim("u1")).error().code(), Code::kUnavailable);
  EXPECT_EQ(refusal(macvlan_claim("u2", "nic1")), "accepted");
  memory_->set_addresses({kElsewhere});
  EXPECT_THAT(published(), Contains("nic1"));
  EXPECT_TRUE(driver_->ready());
}

TEST_F(NodesOwn, UplinkFlagThatNamesNothing_NoNicIsOffered_AndReadinessSaysWhy) {
  uplinks_ = {"bond7"};
  make_driver();
  EXPECT_THAT(published(), ::testing::ElementsAre("netdev-virtual"));
  ASSERT_FALSE(driver_->ready());
  EXPECT_THAT(driver_->ready().error().what(), HasSubstr("--uplink names bond7"));
  EXPECT_EQ(driver_->plan(nic_claim("u1")).error().code(), Code::kUnavailable);
  ASSERT_OK(node_->create_link({.name = "bond7", .kind = netlink::Bridge{}}));
  EXPECT_THAT(published(), Contains("nic1"));
  EXPECT_TRUE(driver_->ready());
}

// ---- connections of the node

class Connected : public Offers {
 protected:
  void SetUp() override {
    Offers::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    ASSERT_OK(node_->add_address({.link = nic1_, .prefix = *netlink::IpPrefix::parse("198.51.100.7/24")}));
    const auto able = netlink::connected_sockets({.local = {}, .device = nic1_});
    if (!able && able.error().code() == Code::kUnsupported) {
      GTEST_SKIP() << able.error().what();
    }
    ASSERT_OK(able);
  }

  /// A UDP socket of the node that talks to somebody beyond nic1.
  static UniqueFd connect() {
    UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53), .sin_addr = {}, .sin_zero = {}};
    EXPECT_EQ(::inet_pton(AF_INET, "198.51.100.1", &to.sin_addr), 1);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    return fd;
  }
};

TEST_F(Connected, NicThatTheNodeTalksOver_IsRefusedAtPrepare) {
  {
    const UniqueFd talk = connect();
    EXPECT_THAT(refusal(nic_claim("u1")),
                AllOf(HasSubstr("the NIC nic1 cannot be taken now: the node itself has 1 connection over it, "
                                "such as UDP 198.51.100.7:"),
                      HasSubstr(" to 198.51.100.1:53; "), HasSubstr("--allow-connected")));
    EXPECT_EQ(refusal(macvlan_claim("u2", "nic1")), "accepted") << "that shares it";
    ASSERT_OK(driver_->unprepare({.claim = macvlan_claim("u2", "nic1")}, {}));
  }
  EXPECT_EQ(refusal(nic_claim("u1")), "accepted") << "it has ended";
}

/// It takes all that the NIC receives, as if the NIC were gone; the other modes share it.
TEST_F(Connected, PassthruOnANicThatTheNodeTalksOver_IsRefusedAtPrepare) {
  const auto passthru = passthru_claim("u1");
  const auto bridge = claim("u2", {{.netdev = R"("macvlan","mode":"bridge")", .device = "nic1"}});
  {
    const UniqueFd talk = connect();
    EXPECT_THAT(refusal(passthru), HasSubstr("the node itself has 1 connection over it"));
    EXPECT_EQ(refusal(bridge), "accepted");
    ASSERT_OK(driver_->unprepare({.claim = bridge}, {}));
  }
  EXPECT_EQ(refusal(passthru), "accepted") << "it has ended";
}

TEST_F(Connected, ConnectionThatCameSincePlan_KeepsTheNicHome) {
  auto record = prepare(nic_claim("u1"));
  ASSERT_OK(record);
  const UniqueFd talk = connect();
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(), HasSubstr("the node itself has 1 connection over it"));
  EXPECT_EQ(link(*node_, "nic1").index, nic1_);
}

TEST_F(Connected, ConnectionThatCameSincePlan_IsNotCutOffByPassthru) {
  auto record = prepare(passthru_claim("u1"));
  ASSERT_OK(record);
  const auto before = node_names();
  {
    const UniqueFd talk = connect();
    const auto attached = attach(*record, pod_);
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().code(), Code::kBusy);
    EXPECT_THAT(attached.error().what(),
                AllOf(HasSubstr("the NIC nic1 cannot be taken now: the node itself has 1 connection over it, "
                                "such as UDP 198.51.100.7:"),
                      HasSubstr("--allow-connected")));
    EXPECT_EQ(node_names(), before);
    EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
  }
  EXPECT_TRUE(attach(*record, pod_)) << "it has ended";
}

TEST_F(Connected, FlagAllowsIt) {
  allow_connected_ = true;
  make_driver();
  const UniqueFd talk = connect();
  for (const auto& wanted : {passthru_claim("u1"), nic_claim("u2")}) {
    auto record = prepare(wanted);
    ASSERT_OK(record);
    EXPECT_TRUE(attach(*record, pod_));
    ASSERT_OK(driver_->unprepare(*record, {}));
  }
}

// ---- what was planned is what is used

TEST_F(Offers, MasterRenamedSincePlan_IsFoundByWhatItIs) {
  auto shared = prepare(macvlan_claim("u1", "nic1"));
  ASSERT_OK(shared);
  ASSERT_OK(node_->set_down(nic1_));
  ASSERT_OK(node_->rename(nic1_, "old1"));
  add_nic("nic1", "02:00:00:00:00:78", "wire2");
  ASSERT_OK(attach(*shared, pod_));
  EXPECT_EQ(link(*pod_.socket, "data0").parent, nic1_);
}

TEST_F(Offers, NameOfTheMasterThatIsAnotherLinkNow_IsNotUsed) {
  auto shared = prepare(macvlan_claim("u1", "nic1"));
  ASSERT_OK(shared);
  ASSERT_OK(node_->delete_link(nic1_));
  ASSERT_OK(node_->create_link({.name = "nic1", .kind = netlink::Bridge{}, .up = true}));
  const auto attached = attach(*shared, pod_);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(), HasSubstr("the master \"nic1\" is gone from this node"));
}

TEST_F(Offers, BridgeRenamedSincePlan_IsFoundByWhatItIs) {
  ASSERT_OK(node_->create_link({.name = "br0", .kind = netlink::Bridge{}, .up = true}));
  const netlink::IfIndex bridge = link(*node_, "br0").index;
  auto record = prepare(claim("u1", {{R"("veth","interfaceName":"data0","bridge":"br0")"}}));
  ASSERT_OK(record);
  ASSERT_OK(node_->set_down(bridge));
  ASSERT_OK(node_->rename(bridge, "br1"));
  ASSERT_OK(node_->create_link({.name = "br0", .kind = netlink::Bridge{}, .up = true}));
  ASSERT_OK(attach(*record, pod_));
  const auto links = node_->links();
  ASSERT_OK(links);
  EXPECT_TRUE(std::ranges::any_of(
      *links, [&](const netlink::Link& one) { return one.name.starts_with("flh") && one.master == bridge; }));
}

TEST_F(Offers, BridgeMadeAnew_IsTheSameBridge) {
  ASSERT_OK(node_->create_link({.name = "br0", .kind = netlink::Bridge{}, .up = true}));
  auto record = prepare(claim("u1", {{R"("veth","interfaceName":"data0","bridge":"br0")"}}));
  ASSERT_OK(record);
  ASSERT_OK(node_->delete_link(link(*node_, "br0").index));
  ASSERT_OK(node_->create_link({.name = "br0", .kind = netlink::Bridge{}, .up = true}));
  EXPECT_TRUE(attach(*record, pod_));
}

class OffersNetdevices : public Offers {
 protected:
  OffersNetdevices() { mode_ = devices::AttachMode::kNetdevices; }
};

TEST_F(OffersNetdevices, NicIsCheckedOnceMoreBeforeItIsTaken) {
  const auto wanted = nic_claim("u1");
  const auto plan = driver_->plan(wanted);
  ASSERT_OK(plan);
  ASSERT_OK(node_->create_link({.name = "shim0", .kind = netlink::Macvlan{.parent = nic1_}}));
  const auto prepared = driver_->prepare(wanted, *plan, {});
  ASSERT_FALSE(prepared);
  EXPECT_THAT(prepared.error().what(), HasSubstr("shim0 of this node sits on it"));
  EXPECT_EQ(link(*node_, "nic1").alias, "");
}

TEST_F(OffersNetdevices, MacvlanThatWaitsOnItsClaimsNic_DoesNotHideIt) {
  const auto whole = prepare(claim("u1", {{.netdev = R"("macvlan")", .device = "nic1"}}));
  ASSERT_OK(whole);
  records_ = {*whole};
  EXPECT_THAT(published(), Contains("nic1"));
}

}  // namespace
}  // namespace fairlead::agent
