// SPDX-License-Identifier: Apache-2.0
// Both ways against the running kernel: the runtime's events as calls, and as a real NRI connection.
#include "fairlead/agent/ways/nri_events.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "fairlead/agent/testing/fake_host.h"
#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/devices/netdev/host_device/host_device.h"

namespace fairlead::agent {
namespace {

using rpc::NriCall;
using rpc::NriContainer;
using rpc::NriContainerState;
using rpc::NriPod;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kMacvlan =
    R"("macvlan","master":"eth0","interfaceName":"data0","addresses":["192.0.2.10/24","fd00::5/64"])";

class NriWay : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    start();
  }
  void TearDown() override {
    nri_.reset();
    service_.reset();
  }

  /// The agent, as it starts.
  void start() {
    nri_.reset();
    service_.reset();
    service_ = std::make_unique<AttachService>(driver_->attacher(), framework_, "net.example.com",
                                               AttachReportsOptions{.waiting_after = milliseconds(1)});
    nri_ = std::make_unique<NriEvents>(*service_);
  }

  /// Prepared for the pods of these uids.
  void prepared(const std::string& uid, const std::vector<Wanted>& devices,
                const std::vector<std::string>& pods = {"pod-1"}) {
    dra::Claim wanted = claim(uid, devices);
    for (const std::string& pod : pods) {
      wanted.reserved_for.push_back({.name = pod, .uid = pod});
    }
    auto record = prepare(wanted);
    ASSERT_OK(record);
    framework_.add(*std::move(record));
  }

  /// A pod's sandbox whose network namespace is at a path that we see.
  static NriPod sandbox(const std::string& id, const Pod& pod, const std::string& uid = "pod-1") {
    return {.id = id,
            .name = uid,
            .uid = uid,
            .namespace_ = "default",
            .netns = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(pod.netns.get())};
  }
  static NriCall in(milliseconds time) { return {.deadline = steady_clock::now() + time}; }
  static NriCall soon() { return in(std::chrono::seconds(20)); }

  /// What containers that use the claim's only device list.
  static std::string cdi_id(const std::string& uid) { return "net.example.com/claim=claim-" + uid + "-0"; }

  /// The record as the kernel's reuse of inodes leaves it: the namespace it means is gone, and `next` has its
  /// number.
  void number_of_the_old_one(const std::string& uid, const Pod& next) {
    auto record = *framework_.find(uid);
    AttachState state = framework_.state(uid);
    state.netns = sys::netns_id(next.netns.get()).value();
    record.prepared.state = to_json(state);
    framework_.add(record);
  }

  Result<> through_guard(const std::string& claim_uid, const Pod& pod) {
    return service_->attach({.via = AttachVia::kGuard,
                             .claim_uid = claim_uid,
                             .netns = pod.netns.get(),
                             .sandbox = "",
                             .container = "container-1",
                             .deadline = soon().deadline});
  }

  FakeHost framework_;
  std::unique_ptr<AttachService> service_;
  std::unique_ptr<NriEvents> nri_;
};

// ---- a sandbox begins

TEST_F(NriWay, Sandbox_HasItsInterfaceAndTheStatusSaysSo) {
  prepared("u1", {{kMacvlan}});
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  const netlink::Link data0 = link(*pod_.socket, "data0");
  EXPECT_TRUE(data0.is_up());
  EXPECT_EQ(framework_.state("u1").phase, AttachPhase::kAttached);
  EXPECT_EQ(framework_.state("u1").sandbox, "s1");
  const auto reports = framework_.wait_for_report("u1", "Attached");
  ASSERT_EQ(reports.size(), 1);
  EXPECT_TRUE(reports[0].ready);
  EXPECT_EQ(reports[0].interface_name, "data0");
  EXPECT_EQ(reports[0].hardware_address, data0.mac.to_string());
  EXPECT_THAT(reports[0].ips, ElementsAre("192.0.2.10/24", "fd00::5/64"));
  EXPECT_TRUE(framework_.wait_for_operation("attach nri ok"));
}

TEST_F(NriWay, StatusSaysWhatThePodWasGiven_NotWhatItMadeOfIt) {
  prepared("u1", {{kMacvlan}});
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  const auto given = framework_.wait_for_report("u1", "Attached");
  ASSERT_EQ(given.size(), 1);
  const netlink::IfIndex data0 = link(*pod_.socket, "data0").index;
  ASSERT_OK(pod_.socket->set_down(data0));
  ASSERT_OK(pod_.socket->change_link(
      data0, {.name = "eth9", .mac = *netlink::MacAddress::parse("02:00:00:00:66:66")}));
  ASSERT_OK(
      pod_.socket->add_address({.link = data0, .prefix = *netlink::IpPrefix::parse("203.0.113.66/24")}));
  ASSERT_OK(pod_.socket->delete_address(data0, *netlink::IpPrefix::parse("192.0.2.10/24")));

  ASSERT_OK(through_guard("u1", pod_));  // its container was started again
  service_->reports().check(*framework_.find("u1"), pod_.netns.get(), Namespace::kTheClaims);
  EXPECT_EQ(framework_.report("u1"), given);
}

TEST_F(NriWay, RecordsThatCannotBeRead_FailNoSandbox_AndTheGuardAttaches) {
  prepared("u1", {{kMacvlan}});
  framework_.lose_records();
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s2", pod_, "a-pod-without-claims"), soon()));
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
  ASSERT_OK(through_guard("u1", pod_));
  EXPECT_TRUE(link(*pod_.socket, "data0").is_up());
  ASSERT_OK(nri_->stop_pod_sandbox(sandbox("s1", pod_), soon()));
}

TEST_F(NriWay, DamagedRecordOfThePod_FailsItsSandbox) {
  prepared("u1", {{kMacvlan}});
  framework_.lose_records(Error(Code::kCorrupt, "the record of claim u1, which this pod uses, is damaged"));
  const auto done = nri_->run_pod_sandbox(sandbox("s1", pod_), soon());
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().what(), HasSubstr("cannot determine which claims pod default/pod-1 has"));
  EXPECT_THAT(done.error().what(), HasSubstr("is damaged"));
}

TEST_F(NriWay, GuardAfterNri_ChangesNothing) {
  prepared("u1", {{kMacvlan}, {.netdev = R"("veth")", .request = "other"}});
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  // A carrier comes when it comes.
  const auto links = [&] {
    auto all = pod_.socket->links().value();
    for (netlink::Link& one : all) {
      one.operstate = netlink::OperState::kUnknown;
      one.flags = one.is_up() ? 1 : 0;
    }
    return all;
  };
  const auto before = links();
  const auto node_before = node_names();
  ASSERT_OK(through_guard("u1", pod_));
  ASSERT_OK(through_guard("u1", pod_));  // a second container, or the first again
  EXPECT_EQ(links(), before);
  EXPECT_EQ(node_names(), node_before);
  EXPECT_EQ(framework_.state("u1").sandbox, "s1");
}

TEST_F(NriWay, GuardAlone_Attaches) {
  prepared("u1", {{kMacvlan}});
  ASSERT_OK(through_guard("u1", pod_));
  EXPECT_TRUE(link(*pod_.socket, "data0").is_up());
  EXPECT_EQ(framework_.state("u1").container, "container-1");
  EXPECT_EQ(framework_.wait_for_report("u1", "Attached").size(), 1);
}

TEST_F(NriWay, PodWithoutClaims_IsNoneOfOurBusiness) {
  prepared("u1", {{kMacvlan}});
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_, "another-pod"), soon()));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
}

TEST_F(NriWay, WhatCannotBeAttached_FailsTheSandboxWithTheSentence) {
  prepared("u1", {{kMacvlan}});
  ASSERT_OK(node_->delete_link(link(*node_, "eth0").index));
  const auto refused = nri_->run_pod_sandbox(sandbox("s1", pod_), soon());
  ASSERT_FALSE(refused);
  EXPECT_EQ(
      refused.error().what(),
      "claim default/claim-u1: interface data0 (request nic): the master \"eth0\" is gone from this node");
  const auto reports = framework_.wait_for_report("u1", "AttachFailed");
  ASSERT_EQ(reports.size(), 1);
  EXPECT_FALSE(reports[0].ready);
  EXPECT_EQ(reports[0].message, "interface data0 (request nic): the master \"eth0\" is gone from this node");
  EXPECT_THAT(framework_.events(), Contains(HasSubstr("u1 at pod-1 AttachFailed: interface data0")));
}

TEST_F(NriWay, HostNetwork_IsRefusedWithTheReason) {
  prepared("u1", {{kMacvlan}});
  NriPod pod = sandbox("s1", pod_);
  pod.netns.clear();
  const auto refused = nri_->run_pod_sandbox(pod, soon());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("hostNetwork: true"));
  EXPECT_EQ(framework_.report("u1").at(0).reason, "AttachFailed");
  EXPECT_THAT(framework_.events(), ElementsAre(HasSubstr("u1 at pod-1 AttachFailed: the pod uses")));
}

TEST_F(NriWay, NamespaceThatIsNotVisible_IsLeftToTheGuard) {
  prepared("u1", {{kMacvlan}});
  NriPod pod = sandbox("s1", pod_);
  pod.netns = "/nowhere/netns/cni-1";
  pod.pid = 1;  // of the runtime's world: somebody else in ours
  ASSERT_OK(nri_->run_pod_sandbox(pod, soon()));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
  ASSERT_EQ(framework_.report("u1").size(), 1) << "no container may list the claim: then nobody else tells";
  EXPECT_EQ(framework_.report("u1")[0].reason, "NotAttached");
  EXPECT_THAT(framework_.report("u1")[0].message, HasSubstr("mountPropagation"));
  ASSERT_OK(through_guard("u1", pod_));
  EXPECT_THAT(names(*pod_.socket), Contains("data0"));
  EXPECT_EQ(framework_.wait_for_report("u1", "Attached").size(), 1);
}

TEST_F(NriWay, SecondPodOfAClaim_IsRefused_TheFirstKeepsItsStatus) {
  prepared("u1", {{kMacvlan}}, {"pod-1", "pod-2"});
  const Inhabitant pause(pod_.netns.get());
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  framework_.wait_for_report("u1", "Attached");
  const Pod second = make_pod();
  const auto refused = nri_->run_pod_sandbox(sandbox("s2", second, "pod-2"), soon());
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(),
              HasSubstr("the claim's interfaces are in the pod pod-1, which still runs; a claim with network "
                        "interfaces cannot be shared by two pods"));
  EXPECT_THAT(through_guard("u1", second).error().what(), HasSubstr("cannot be shared by two pods"));
  EXPECT_EQ(framework_.report("u1").at(0).reason, "Attached");
  EXPECT_THAT(framework_.events(), Each(HasSubstr("u1 at pod-2 AttachFailed: the claim's interfaces")));
  EXPECT_EQ(framework_.events().size(), 2);
  EXPECT_THAT(names(*pod_.socket), Contains("data0"));
}

TEST_F(NriWay, SecondPodThatTheKubeletDidNotPrepareFor_IsTheOneThatIsTold) {
  prepared("u1", {{kMacvlan}});  // the record knows pod-1 only
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  const Pod second = make_pod();
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s2", second, "pod-2"), soon()));
  EXPECT_THAT(through_guard("u1", second).error().what(), HasSubstr("cannot be shared by two pods"));
  EXPECT_THAT(framework_.events(), ElementsAre(HasSubstr("u1 at pod-2 AttachFailed")));
  const Pod third = make_pod();  // NRI did not tell whose it is
  EXPECT_FALSE(through_guard("u1", third));
  EXPECT_EQ(framework_.events().size(), 1);
}

TEST_F(NriWay, FirstPodThatIsNotVisible_CountsAsRunningUntilItsSandboxEnds) {
  prepared("u1", {{kMacvlan}});
  pod_.pause.reset();  // nothing by which the namespace could be found
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  EXPECT_FALSE(framework_.state("u1").visible);
  const Pod second = make_pod();
  EXPECT_THAT(through_guard("u1", second).error().what(), HasSubstr("not visible to the agent"));
  EXPECT_THAT(names(*pod_.socket), Contains("data0"));
  NriPod bare = sandbox("s1", pod_);
  bare.netns = "/nowhere/netns/cni-1";
  ASSERT_OK(nri_->stop_pod_sandbox(bare, soon()));
  ASSERT_OK(through_guard("u1", second));
}

TEST_F(NriWay, NewSandboxOfTheSamePod_ProvesThatTheInvisibleOneEnded) {
  prepared("u1", {{kMacvlan}});
  pod_.pause.reset();
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  const Pod next = make_pod();
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s2", next), soon()));
  EXPECT_THAT(names(*next.socket), Contains("data0"));
}

TEST_F(NriWay, ClaimThatNobodyAttaches_SaysThatItWaits) {
  prepared("u1", {{kMacvlan}});
  prepared("u2", {{R"("veth","interfaceName":"data1")"}});
  ASSERT_OK(through_guard("u2", pod_));
  service_->reports().waiting("u1");
  service_->reports().waiting("u2");
  const auto reports = framework_.wait_for_report("u1", "WaitingForContainer");
  ASSERT_EQ(reports.size(), 1);
  EXPECT_FALSE(reports[0].ready);
  EXPECT_EQ(framework_.wait_for_report("u2", "Attached").size(), 1);
}

TEST_F(NriWay, Stopping_WhoWaitsForAClaimGivesUpAndNobodyIsWarned) {
  prepared("u1", {{kMacvlan}});
  const auto busy = framework_.hold("u1");
  Result<> answer;
  std::thread guard([&] { answer = through_guard("u1", pod_); });
  ASSERT_TRUE(framework_.wait_for_updates(1));
  service_->wind_up(steady_clock::now());
  guard.join();
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kCancelled);
  EXPECT_THAT(framework_.events(), IsEmpty());
  EXPECT_THAT(framework_.report("u1"), IsEmpty());
}

TEST_F(NriWay, StagedReport_WaitsForNobody) {
  mode_ = devices::AttachMode::kNetdevices;
  make_driver();
  start();
  prepared("u1", {{kMacvlan}});
  const auto busy = framework_.hold("u1");
  service_->reports().staged("u1");
  EXPECT_EQ(framework_.wait_for_report("u1", "Staged").size(), 1);
}

TEST_F(NriWay, SlowerThanTheDeadline_IsAnsweredInTimeAndEndsWell) {
  prepared("u1", {{kMacvlan}});
  {
    const auto busy = framework_.hold("u1");  // somebody else is at work on the claim
    const auto answer = nri_->run_pod_sandbox(sandbox("s1", pod_), in(milliseconds(300)));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code(), Code::kTimeout);
    EXPECT_THAT(framework_.events(), IsEmpty()) << "nothing that an author could mend";
    EXPECT_THAT(framework_.report("u1"), IsEmpty());
  }
  ASSERT_OK(nri_->stop_pod_sandbox(sandbox("s1", pod_), soon()));
  const Pod next = make_pod();
  pod_ = Pod();
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s2", next), soon()));
  EXPECT_THAT(names(*next.socket), Contains("data0"));
  EXPECT_EQ(framework_.state("u1").sandbox, "s2");
}

// ---- a sandbox ends, and another begins

/// The look at what a pod has comes a moment after its attach: here its sandbox is stopped in the middle of
/// it.
TEST_F(NriWay, SandboxThatIsStoppedWhileItsLinksAreRead_StaysDetached) {
  prepared("u1", {{R"("veth","interfaceName":"data0")"}});
  std::promise<Result<>> stopped;
  framework_.after_next_read_elsewhere(
      [&] { stopped.set_value(nri_->stop_pod_sandbox(sandbox("s1", pod_), soon())); });
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  ASSERT_OK(stopped.get_future().get());
  EXPECT_EQ(framework_.wait_for_report("u1", "Detached").size(), 1);
  service_->reports().stop();  // whoever reads links has ended
  EXPECT_EQ(framework_.report("u1").front().reason, "Detached");
}

TEST_F(NriWay, SandboxMadeAnew_IsAttachedAgain_WithOrWithoutStop) {
  for (const bool stopped : {true, false}) {
    prepared("u1", {{R"("veth","interfaceName":"data0")"}});
    ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
    if (stopped) {
      ASSERT_OK(nri_->stop_pod_sandbox(sandbox("s1", pod_), soon()));
      EXPECT_EQ(framework_.state("u1").phase, AttachPhase::kReleased);
      EXPECT_EQ(framework_.wait_for_report("u1", "Detached").size(), 1);
      ASSERT_OK(nri_->remove_pod_sandbox(sandbox("s1", pod_), soon()));
    }
    pod_ = make_pod();
    ASSERT_OK(nri_->run_pod_sandbox(sandbox("s2", pod_), soon()));
    EXPECT_THAT(names(*pod_.socket), Contains("data0"));
    EXPECT_EQ(framework_.state("u1").sandbox, "s2");
    ASSERT_OK(driver_->unprepare(*framework_.find("u1"), {}));
    EXPECT_THAT(node_names(), ElementsAre("eth0", "eth0-peer", "lo"));
  }
}

TEST_F(NriWay, SandboxStoppedButItsNamespaceLingers_TheNextOneAttachesAllTheSame) {
  prepared("u1", {{kMacvlan}});
  const Inhabitant lingering(pod_.netns.get());
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  ASSERT_OK(nri_->stop_pod_sandbox(sandbox("s1", pod_), soon()));
  const Pod next = make_pod();
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s2", next), soon()));
  EXPECT_THAT(names(*next.socket), Contains("data0"));
  EXPECT_THAT(names(*pod_.socket), Not(Contains("data0")));
}

TEST_F(NriWay, LateStopOfTheOldSandbox_TouchesNothing) {
  prepared("u1", {{kMacvlan}});
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  const NriPod old = sandbox("s1", pod_);
  const Pod next = make_pod();
  pod_ = Pod();
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s2", next), soon()));
  NriPod old_without_path = old;
  old_without_path.netns.clear();
  NriPod old_with_the_new_inode = sandbox("s1", next);
  for (const NriPod& late : {old, old_without_path, old_with_the_new_inode}) {
    ASSERT_OK(nri_->stop_pod_sandbox(late, soon()));
    ASSERT_OK(nri_->remove_pod_sandbox(late, soon()));
  }
  EXPECT_THAT(names(*next.socket), Contains("data0"));
  EXPECT_EQ(framework_.state("u1").phase, AttachPhase::kAttached);
}

TEST_F(NriWay, NewNamespaceWithTheOldOnesNumber_IsAttachedAnew) {
  for (const bool by_event : {true, false}) {
    prepared("u1", {{kMacvlan}});
    ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
    const Pod next = make_pod();
    number_of_the_old_one("u1", next);
    pod_ = make_pod();
    if (by_event) {
      ASSERT_OK(nri_->run_pod_sandbox(sandbox("s2", next), soon()));
    } else {
      ASSERT_OK(nri_->synchronize({sandbox("s2", next)}, {}, soon()));
      EXPECT_TRUE(framework_.wait_for_operation("reconcile nri ok"));
    }
    EXPECT_THAT(names(*next.socket), Contains("data0"));
    EXPECT_EQ(framework_.state("u1").sandbox, "s2");
    EXPECT_THAT(framework_.events(), IsEmpty());
  }
}

TEST_F(NriWay, ReleasedSandboxsNumber_IsUsedAgainByTheNext) {
  prepared("u1", {{kMacvlan}});
  ASSERT_OK(through_guard("u1", pod_));  // knows no sandbox
  ASSERT_OK(nri_->stop_pod_sandbox(sandbox("s1", pod_), soon()));
  const Pod next = make_pod();
  number_of_the_old_one("u1", next);
  ASSERT_OK(nri_->synchronize({sandbox("s2", next)}, {}, soon()));
  EXPECT_TRUE(framework_.wait_for_operation("reconcile nri ok"));
  EXPECT_THAT(names(*next.socket), Contains("data0"));
}

TEST_F(NriWay, StrangersNamespaceWithThePodsNumber_SaysNothingAboutTheClaim) {
  prepared("u1", {{kMacvlan}});
  auto before = *framework_.find("u1");
  ASSERT_OK(driver_->attacher().attach(before, {.netns = pod_.netns.get()}));
  AttachState state{.phase = AttachPhase::kAttached, .indexes = {1}};
  const Pod stranger = make_pod();
  state.netns = sys::netns_id(stranger.netns.get()).value();
  before.prepared.state = to_json(state);
  framework_.add(before);
  service_->reports().check_all({before});
  service_->reports().stop();
  EXPECT_THAT(framework_.report("u1"), IsEmpty());
  EXPECT_THAT(framework_.events(), IsEmpty());
}

/// A pod with the capability NET_ADMIN can write what it likes into an alias.
TEST_F(NriWay, MarkerThatThePodRemovedOrMoved_TheInterfaceIsThereAllTheSame) {
  prepared("u1", {{kMacvlan}});
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  ASSERT_EQ(framework_.wait_for_report("u1", "Attached").size(), 1);
  const netlink::Link data0 = link(*pod_.socket, "data0");
  const NriContainer running{.id = "c1", .pod_id = "s1", .state = NriContainerState::kRunning};
  const auto look = [&](std::size_t times) {
    ASSERT_OK(nri_->synchronize({sandbox("s1", pod_)}, {running}, soon()));
    ASSERT_TRUE(framework_.wait_for_count("reconcile nri ok", times));
  };
  ASSERT_OK(pod_.socket->change_link(data0.index, {.alias = ""}));
  look(1);
  EXPECT_THAT(framework_.events(), IsEmpty());
  EXPECT_EQ(framework_.report("u1").at(0).reason, "Attached");

  ASSERT_OK(pod_.socket->create_link({.name = "decoy", .kind = netlink::Veth{.peer = {.name = "decoy1"}}}));
  ASSERT_OK(pod_.socket->change_link(link(*pod_.socket, "decoy").index, {.alias = data0.alias}));
  look(2);
  EXPECT_THAT(framework_.events(), IsEmpty());
  EXPECT_EQ(framework_.report("u1").at(0).reason, "Attached");
  EXPECT_EQ(framework_.report("u1").at(0).hardware_address, data0.mac.to_string());

  // The decoy is not the interface.
  ASSERT_OK(pod_.socket->delete_link(data0.index));
  look(3);
  EXPECT_EQ(framework_.report("u1").at(0).reason, "InterfaceGone");
}

/// After the start of an agent without NRI only the namespace's number says whose it is, and that may be
/// another's by now.
TEST_F(NriWay, LinkWithTheIndexInANamespaceThatMayBeAnothers_IsNotTheClaims) {
  prepared("u1", {{kMacvlan}});
  auto record = *framework_.find("u1");
  const Pod stranger = make_pod();
  ASSERT_OK(stranger.socket->create_link({.name = "v0", .kind = netlink::Veth{.peer = {.name = "v1"}}}));
  AttachState state{.phase = AttachPhase::kAttached, .indexes = {link(*stranger.socket, "v0").index.value()}};
  state.netns = sys::netns_id(stranger.netns.get()).value();
  record.prepared.state = to_json(state);
  framework_.add(record);
  service_->reports().check_all({record});
  service_->reports().stop();
  EXPECT_THAT(framework_.report("u1"), IsEmpty());
}

/// A NIC whose way into the pod takes as long as `after_attach` does, and its way back as `before_detach`.
class SlowNic final : public devices::netdev::HostDeviceKind {
 public:
  SlowNic(const std::function<void()>& after_attach, const std::function<void()>& before_detach)
      : after_attach_(&after_attach), before_detach_(&before_detach) {}
  Result<devices::Attached> attach(const devices::AttachInput& input) const override {
    auto attached = HostDeviceKind::attach(input);
    if (*after_attach_) {
      (*after_attach_)();
    }
    return attached;
  }
  Result<> detach(const devices::DetachInput& input) const override {
    if (*before_detach_) {
      (*before_detach_)();
    }
    return HostDeviceKind::detach(input);
  }

 private:
  const std::function<void()>* after_attach_;
  const std::function<void()>* before_detach_;
};

class NriNic : public NriWay {
 protected:
  void SetUp() override {
    registry_ = {};
    registry_.add(std::make_unique<SlowNic>(after_attach_, before_detach_));
    NriWay::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    ASSERT_OK(node_->create_link({.name = "nic1",
                                  .kind = netlink::Veth{.peer = {.name = "cable", .up = true}},
                                  .mac = *netlink::MacAddress::parse("02:00:00:00:00:77"),
                                  .mtu = 1450,
                                  .alias = "rack 4",
                                  .up = true}));
    ASSERT_OK(node_->add_address({.link = link(*node_, "nic1").index, .prefix = address()}));
    before_ = link(*node_, "nic1");
    prepared("u1",
             {{.netdev = R"("host-device","interfaceName":"fast0","mtu":1200,"mac":"02:00:00:00:bb:01")",
               .device = "nic1"}});
  }
  static netlink::IpPrefix address() { return *netlink::IpPrefix::parse("198.51.100.7/24"); }

  void expect_home() {
    const netlink::Link now = link(*node_, "nic1");
    EXPECT_EQ(now.mac, before_.mac);
    EXPECT_EQ(now.mtu, before_.mtu);
    EXPECT_EQ(now.alias, before_.alias);
    EXPECT_TRUE(now.is_up());
    const auto addresses = node_->addresses(now.index).value();
    EXPECT_TRUE(std::ranges::any_of(addresses, [](const auto& one) { return one.prefix == address(); }));
  }

  netlink::Link before_;
  std::function<void()> after_attach_;
  std::function<void()> before_detach_;
};

TEST_F(NriNic, ComesHomeAtStop_AndGoesIntoTheNextSandbox) {
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  EXPECT_EQ(link(*pod_.socket, "fast0").mtu, 1200);
  EXPECT_THAT(node_names(), Not(Contains("nic1")));
  ASSERT_OK(nri_->stop_pod_sandbox(sandbox("s1", pod_), soon()));
  expect_home();
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
  ASSERT_OK(nri_->stop_pod_sandbox(sandbox("s1", pod_), soon()));
  ASSERT_OK(nri_->remove_pod_sandbox(sandbox("s1", pod_), soon()));
  expect_home();
  const Pod next = make_pod();
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s2", next), soon()));
  EXPECT_THAT(names(*next.socket), Contains("fast0"));
  ASSERT_OK(driver_->unprepare(*framework_.find("u1"), {}));
  expect_home();
}

TEST_F(NriNic, SlowWayHome_StopIsAnsweredInTimeAndTheWorkGoesOn) {
  for (const bool remove : {false, true}) {
    std::promise<void> begun;
    std::promise<void> gate;
    std::atomic<bool> went_on{false};
    std::atomic<bool> is_first{true};
    ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
    before_detach_ = [&] {
      if (!is_first.exchange(false)) {
        return;
      }
      begun.set_value();
      (void)gate.get_future().wait_for(std::chrono::seconds(20));
      went_on = true;
    };
    const auto call = in(milliseconds(200));
    ASSERT_OK(remove ? nri_->remove_pod_sandbox(sandbox("s1", pod_), call)
                     : nri_->stop_pod_sandbox(sandbox("s1", pod_), call));
    EXPECT_FALSE(went_on) << "the answer waited for the work";
    begun.get_future().wait();
    // The pod's next sandbox begins meanwhile: it waits for the claim, and gets the NIC.
    const Pod next = make_pod();
    auto attached =
        std::async(std::launch::async, [&] { return nri_->run_pod_sandbox(sandbox("s2", next), soon()); });
    gate.set_value();
    ASSERT_OK(attached.get());
    before_detach_ = {};
    EXPECT_TRUE(went_on);
    EXPECT_THAT(names(*next.socket), Contains("fast0"));
    ASSERT_OK(nri_->stop_pod_sandbox(sandbox("s2", next), soon()));
    expect_home();
  }
}

TEST_F(NriNic, StopWithoutTheNamespacesPath_IsKnownByTheSandbox) {
  const Inhabitant pause(pod_.netns.get());
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  NriPod bare = sandbox("s1", pod_);
  bare.netns.clear();  // containerd < 2.1
  ASSERT_OK(nri_->stop_pod_sandbox(bare, soon()));
  expect_home();
}

TEST_F(NriNic, AttachedByTheGuard_ComesHomeAtStop) {
  ASSERT_OK(through_guard("u1", pod_));
  ASSERT_OK(nri_->stop_pod_sandbox(sandbox("s1", pod_), soon()));
  expect_home();
}

TEST_F(NriNic, AgentKilledBetweenMoveAndRecord_FindsTheNicAndTakesItHome) {
  const Inhabitant pause(pod_.netns.get());
  // What carry_out() does, up to the moment of the kill: the intent is on disk, the result is not.
  auto record = *framework_.find("u1");
  const auto must_begin =
      driver_->attacher().must_begin(record, {.netns = pod_.netns.get(), .sandbox = "s1"});
  ASSERT_OK(must_begin);
  EXPECT_TRUE(*must_begin);
  const auto intent = driver_->attacher().begin(record, {.netns = pod_.netns.get(), .sandbox = "s1"});
  ASSERT_OK(intent);
  record.prepared.state = *intent;
  ASSERT_OK(driver_->attacher().attach(record, {.netns = pod_.netns.get(), .sandbox = "s1"}));

  make_driver();
  driver_->restored({record});
  record.state = dra::ClaimState::kUnpreparing;
  ASSERT_OK(driver_->unprepare(record, {}));
  expect_home();
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
}

TEST_F(NriNic, AgentKilledBetweenMoveAndRecord_TheNextAttachCompletesIt) {
  const Inhabitant pause(pod_.netns.get());
  auto record = *framework_.find("u1");
  const auto intent = driver_->attacher().begin(record, {.netns = pod_.netns.get(), .sandbox = "s1"});
  ASSERT_OK(intent);
  record.prepared.state = *intent;
  ASSERT_OK(driver_->attacher().attach(record, {.netns = pod_.netns.get(), .sandbox = "s1"}));
  framework_.add(record);
  make_driver();
  start();
  driver_->restored({record});
  ASSERT_OK(nri_->synchronize({sandbox("s1", pod_)}, {}, soon()));
  EXPECT_EQ(framework_.wait_for_report("u1", "Attached").size(), 1);
  EXPECT_EQ(framework_.state("u1").phase, AttachPhase::kAttached);
  EXPECT_THAT(names(*pod_.socket), Contains("fast0"));
  ASSERT_OK(driver_->unprepare(*framework_.find("u1"), {}));
  expect_home();
}

TEST_F(NriNic, AttachThatOutlastsTheDeadline_IsAnErrorAndTheNicIsHome) {
  const auto call = in(milliseconds(300));
  after_attach_ = [&] { std::this_thread::sleep_until(call.deadline); };
  const auto answer = nri_->run_pod_sandbox(sandbox("s1", pod_), call);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kTimeout);
  expect_home();
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
  EXPECT_EQ(framework_.state("u1").phase, AttachPhase::kNone);
  after_attach_ = {};
  EXPECT_THAT(framework_.events(), IsEmpty());
  ASSERT_OK(through_guard("u1", pod_));  // the runtime may have gone on without an answer
  EXPECT_THAT(names(*pod_.socket), Contains("fast0"));
}

TEST_F(NriNic, SandboxThatEndsDuringTheAttach_KeepsNothing) {
  framework_.after_change = [&](const AttachState& made) {
    if (made.phase == AttachPhase::kAttached) {
      service_->sandboxes().ended("s1");  // its release found nothing on record yet
    }
  };
  ASSERT_FALSE(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  expect_home();
  EXPECT_EQ(framework_.state("u1").phase, AttachPhase::kReleased);
}

TEST_F(NriNic, TwoPodsAtOnce_TheRecordSaysWhereTheNicGoesBeforeItMoves) {
  const Pod other = make_pod();
  int changes = 0;
  AttachState intent;
  framework_.before_change = [&] {
    if (++changes == 2) {  // between this pod's begin and attach
      auto record = *framework_.find("u1");
      record.prepared.state =
          driver_->attacher().begin(record, {.netns = other.netns.get(), .sandbox = "s2"}).value();
      framework_.add(record);
    }
    intent = framework_.state("u1");
  };
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  EXPECT_EQ(intent.phase, AttachPhase::kAttaching);
  EXPECT_EQ(intent.netns, sys::netns_id(pod_.netns.get()).value());
  EXPECT_THAT(names(*pod_.socket), Contains("fast0"));
  framework_.before_change = {};
  EXPECT_EQ(through_guard("u1", other).error().code(), Code::kBusy);
  ASSERT_OK(driver_->unprepare(*framework_.find("u1"), {}));
  expect_home();
}

// ---- a connection begins

TEST_F(NriWay, Reconcile_AttachesWhatNobodyAttached) {
  prepared("u1", {{kMacvlan}});
  const NriContainer created{.id = "c1", .pod_id = "s1", .state = NriContainerState::kCreated};
  ASSERT_OK(nri_->synchronize({sandbox("s1", pod_)}, {created}, soon()));
  EXPECT_EQ(framework_.wait_for_report("u1", "Attached").size(), 1);
  EXPECT_TRUE(framework_.wait_for_operation("reconcile nri ok"));
  EXPECT_THAT(names(*pod_.socket), Contains("data0"));
}

TEST_F(NriWay, Reconcile_TellsOfEachClaimThatIsNotAttached) {
  const Pod second = make_pod();
  prepared("u1", {{kMacvlan}});
  prepared("u2", {{R"("macvlan","master":"eth0","interfaceName":"data0")"}}, {"pod-2"});
  std::vector<NriContainer> running;
  for (const char* number : {"1", "2"}) {
    running.push_back({.id = std::string("c") + number,
                       .pod_id = std::string("s") + number,
                       .state = NriContainerState::kRunning,
                       .cdi_devices = {cdi_id(std::string("u") + number)}});
  }
  ::testing::internal::CaptureStderr();
  const auto begun =
      nri_->synchronize({sandbox("s1", pod_), sandbox("s2", second, "pod-2")}, running, soon());
  const bool done = framework_.wait_for_operation("reconcile nri conflict");
  const std::string log = ::testing::internal::GetCapturedStderr();
  ASSERT_OK(begun);
  ASSERT_TRUE(done);
  EXPECT_THAT(log, HasSubstr("found when the runtime connected pod=default/pod-1 claim=u1 error="));
  EXPECT_THAT(log, HasSubstr("found when the runtime connected pod=default/pod-2 claim=u2 error="));
}

TEST_F(NriWay, Reconcile_NeverBehindTheApplicationsBack) {
  prepared("u1", {{kMacvlan}});
  const NriContainer running{
      .id = "c1", .pod_id = "s1", .state = NriContainerState::kRunning, .cdi_devices = {cdi_id("u1")}};
  ASSERT_OK(nri_->synchronize({sandbox("s1", pod_)}, {running}, soon()));
  EXPECT_TRUE(framework_.wait_for_operation("reconcile nri conflict"));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
  EXPECT_EQ(framework_.report("u1").at(0).reason, "NotAttached");
  EXPECT_THAT(framework_.events(),
              Contains(HasSubstr("u1 at pod-1 NotAttached: containers of pod default/pod-1 run")));
}

TEST_F(NriWay, Reconcile_WhileASidecarRunsAndTheContainerWaitsInTheGuard_Attaches) {
  prepared("u1", {{kMacvlan}});
  const NriContainer sidecar{.id = "c1", .pod_id = "s1", .state = NriContainerState::kRunning};
  const NriContainer waits{
      .id = "c2", .pod_id = "s1", .state = NriContainerState::kCreated, .cdi_devices = {cdi_id("u1")}};
  ASSERT_OK(nri_->synchronize({sandbox("s1", pod_)}, {sidecar, waits}, soon()));
  EXPECT_EQ(framework_.wait_for_report("u1", "Attached").size(), 1);
}

TEST_F(NriWay, Reconcile_WhereItIsNotKnownWhatRuns_SendsNobodyToDeleteThePod) {
  prepared("u1", {{kMacvlan}});
  const NriContainer running{.id = "c1", .pod_id = "s1", .state = NriContainerState::kRunning};
  ASSERT_OK(nri_->synchronize({sandbox("s1", pod_)}, {running}, soon()));
  const auto reports = framework_.wait_for_report("u1", "NotAttached");
  ASSERT_EQ(reports.size(), 1);
  EXPECT_THAT(reports[0].message, Not(HasSubstr("delete")));
  EXPECT_THAT(framework_.events(), IsEmpty());
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
}

TEST_F(NriWay, Reconcile_OnlyTheNewestSnapshotCounts) {
  prepared("u1", {{kMacvlan}});
  {
    const auto busy = framework_.hold("u1");
    ASSERT_OK(nri_->synchronize({sandbox("s1", pod_)}, {}, soon()));
    ASSERT_TRUE(framework_.wait_for_updates(1));
    ASSERT_OK(nri_->synchronize({}, {}, soon()));
    ASSERT_OK(nri_->synchronize({sandbox("s1", pod_)}, {}, soon()));
  }
  nri_->stop();
  EXPECT_EQ(framework_.count_operations("reconcile nri ok"), 2);
}

TEST_F(NriWay, Reconcile_TellsWhatIsGone) {
  prepared("u1", {{kMacvlan}});
  ASSERT_OK(nri_->run_pod_sandbox(sandbox("s1", pod_), soon()));
  framework_.wait_for_report("u1", "Attached");
  ASSERT_OK(pod_.socket->delete_link(link(*pod_.socket, "data0").index));
  const NriContainer running{.id = "c1", .pod_id = "s1", .state = NriContainerState::kRunning};
  ASSERT_OK(nri_->synchronize({sandbox("s1", pod_)}, {running}, soon()));
  EXPECT_EQ(framework_.wait_for_report("u1", "InterfaceGone").size(), 1);
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
}

TEST_F(NriWay, Reconcile_DeadSandboxesAndUnknownPodsChangeNothing) {
  prepared("u1", {{kMacvlan}});
  NriPod dead = sandbox("s0", pod_);
  dead.netns = "/nowhere/netns/cni-0";
  NriPod host = sandbox("s2", pod_);
  host.netns.clear();
  ASSERT_OK(nri_->synchronize({dead, host}, {}, soon()));
  EXPECT_TRUE(framework_.wait_for_operation("reconcile nri ok"));
  EXPECT_EQ(framework_.state("u1").phase, AttachPhase::kNone);
  EXPECT_THAT(framework_.events(), IsEmpty());
}

TEST_F(NriWay, Reconcile_OfADeadAndALiveSandbox_AttachesTheLiveOne) {
  prepared("u1", {{kMacvlan}});
  NriPod dead = sandbox("s0", pod_);
  dead.netns = "/nowhere/netns/cni-0";
  ASSERT_OK(nri_->synchronize({dead, sandbox("s1", pod_)}, {}, soon()));
  EXPECT_EQ(framework_.wait_for_report("u1", "Attached").size(), 1);
  EXPECT_EQ(framework_.state("u1").sandbox, "s1");
}

}  // namespace
}  // namespace fairlead::agent
