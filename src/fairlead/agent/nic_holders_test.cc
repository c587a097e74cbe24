// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/nic_holders.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <future>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "fairlead/agent/holders_watch.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::agent {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Holders : public ::testing::Test {
 protected:
  Holders() {
    for (const char* driver : {"a.example.com", "b.example.com"}) {
      EXPECT_TRUE(sys::make_dirs(state_dir(driver) + "/claims"));
    }
  }

  [[nodiscard]] std::string state_dir(const std::string& driver) const {
    return folder_.path().string() + "/" + driver;
  }
  [[nodiscard]] NicHolders start(const std::string& driver, const std::string& boot = "boot-1") const {
    return NicHolders({.dir = dir_,
                       .driver = driver,
                       .state_dir = state_dir(driver),
                       .boot_id = boot,
                       .patience = std::chrono::milliseconds(50)});
  }
  /// The agent of this driver, which keeps running.
  [[nodiscard]] const NicHolders& of(const std::string& driver, const std::string& boot = "boot-1") const {
    auto& agent = agents_[{driver, boot}];
    if (!agent) {
      agent = std::make_unique<NicHolders>(start(driver, boot));
    }
    return *agent;
  }
  static NicClaim claim(const std::string& uid, bool whole, const std::string& nic = "pci-0000-03-00-1") {
    return {.uid = uid,
            .namespace_ = "tenant-a",
            .name = "claim-" + uid,
            .uses = {{.nic = nic, .link = "nic1", .whole = whole}}};
  }
  void write_record(const std::string& driver, const std::string& uid) const {
    EXPECT_TRUE(sys::replace_file(state_dir(driver) + "/claims", uid + ".json", "{}"));
  }
  void remove_record(const std::string& driver, const std::string& uid) const {
    EXPECT_TRUE(sys::remove_file(state_dir(driver) + "/claims/" + uid + ".json"));
  }
  /// As the framework does it; "admitted" or why not.
  [[nodiscard]] std::string admit(const std::string& driver, const NicClaim& claim) const {
    const auto admission = of(driver).admit(claim, {});
    if (!admission) {
      return admission.error().what();
    }
    write_record(driver, claim.uid);
    EXPECT_TRUE((*admission)->recorded());
    return "admitted";
  }
  [[nodiscard]] std::vector<std::string> files() const { return sys::list_dir(dir_ + "/holders").value(); }

  const sys::testing_support::TemporaryFolder folder_;
  const std::string dir_ = folder_.path().string() + "/shared";

 private:
  mutable std::map<std::pair<std::string, std::string>, std::unique_ptr<NicHolders>> agents_;
};

TEST_F(Holders, WholeNic_GoesToOneDriver_AndTheOtherIsToldOnlyWhich) {
  EXPECT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  EXPECT_THAT(files(), ElementsAre("pci-0000-03-00-1_a.example.com_u1.whole"));
  const std::string refused = admit("b.example.com", claim("u2", true));
  EXPECT_THAT(refused, AllOf(HasSubstr("the NIC nic1 (pci-0000-03-00-1) is in use by a claim of the driver "
                                       "a.example.com, which has it for itself"),
                             Not(HasSubstr("u1")), Not(HasSubstr("tenant-a"))));
  EXPECT_THAT(admit("b.example.com", claim("u3", false)), HasSubstr("which has it for itself"));
  EXPECT_EQ(admit("b.example.com", claim("u4", true, "pci-0000-03-00-2")), "admitted");
  ASSERT_TRUE(of("a.example.com").forget("u1"));
  EXPECT_EQ(admit("b.example.com", claim("u2", true)), "admitted");
}

TEST_F(Holders, SharedNic_IsSharedByAll_AndGoesToNobodyAsAWhole) {
  EXPECT_EQ(admit("a.example.com", claim("u1", false)), "admitted");
  EXPECT_EQ(admit("b.example.com", claim("u2", false)), "admitted");
  EXPECT_THAT(admit("b.example.com", claim("u3", true)),
              HasSubstr("the driver a.example.com, which has an interface on it"));
  ASSERT_TRUE(of("a.example.com").forget("u1"));
  EXPECT_EQ(admit("b.example.com", claim("u3", true)), "admitted") << "its own claims its records tell";
}

TEST_F(Holders, FileSaysWhoHasIt) {
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  const auto text = sys::read_file(dir_ + "/holders/" + files().front());
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, AllOf(HasSubstr(R"("driver": "a.example.com")"), HasSubstr(R"("uid": "u1")"),
                           HasSubstr(R"("namespace": "tenant-a")"), HasSubstr(R"("name": "claim-u1")"),
                           HasSubstr(R"("link": "nic1")"), HasSubstr(R"("use": "whole")"),
                           HasSubstr("\"stateDir\": \"" + state_dir("a.example.com"))));
}

TEST_F(Holders, ClaimWithoutNics_NeedsNoFolder) {
  ASSERT_TRUE(sys::replace_file(folder_.path().string(), "shared", "no folder"));
  const auto admission = of("a.example.com").admit({.uid = "u1", .uses = {}}, {});
  ASSERT_TRUE(admission);
  EXPECT_FALSE(*admission);
}

TEST_F(Holders, FolderThatCannotBeUsed_IsOneSentence_AndNoNicIsGiven) {
  ASSERT_TRUE(sys::replace_file(folder_.path().string(), "shared", "no folder"));
  const auto opened = of("a.example.com").open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), Code::kUnavailable);
  EXPECT_THAT(opened.error().what(), AllOf(HasSubstr("Not a directory"), HasSubstr("--shared-dir")));
  EXPECT_EQ(admit("a.example.com", claim("u1", false)), opened.error().what());
}

// ---- nobody is there any more

/// The agent is killed where `until` says: at its return there is a process that ends by SIGKILL.
template <class F>
void killed(F until) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    const auto kept = until();
    (void)::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST_F(Holders, AgentKilledBeforeTheRecord_HoldsNothing) {
  killed([&] { return start("a.example.com").admit(claim("u1", true), {}); });
  EXPECT_THAT(files(), ElementsAre("pci-0000-03-00-1_a.example.com_u1.whole.intent"));
  EXPECT_THAT(of("b.example.com").of_others().value(), IsEmpty());
  EXPECT_EQ(admit("b.example.com", claim("u2", true)), "admitted");
  EXPECT_THAT(files(), ElementsAre("pci-0000-03-00-1_b.example.com_u2.whole"));
}

/// Its record is undone at the next start: nothing had been done for the claim.
TEST_F(Holders, AgentKilledBetweenRecordAndEntry_HoldsNothing) {
  killed([&] {
    auto admission = start("a.example.com").admit(claim("u1", true), {});
    write_record("a.example.com", "u1");
    return admission;
  });
  EXPECT_EQ(admit("b.example.com", claim("u2", true)), "admitted");
  EXPECT_THAT(admit("a.example.com", claim("u1", true)), HasSubstr("the driver b.example.com"));
}

TEST_F(Holders, AdmissionThatFails_LeavesNothing) {
  {
    ASSERT_TRUE(of("a.example.com").admit(claim("u1", true), {}));
  }
  EXPECT_THAT(files(), IsEmpty());
  EXPECT_EQ(admit("b.example.com", claim("u2", true)), "admitted");
}

TEST_F(Holders, EntryWhoseRecordIsGone_IsRemoved) {
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  remove_record("a.example.com", "u1");
  EXPECT_THAT(of("b.example.com").of_others().value(), IsEmpty());
  EXPECT_EQ(admit("b.example.com", claim("u2", true)), "admitted");
  EXPECT_THAT(files(), ElementsAre("pci-0000-03-00-1_b.example.com_u2.whole"));
}

TEST_F(Holders, EntryWhoseRecordsAreNotInSight_Counts) {
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  // In the container of another driver the folder is not there, or is another one of that name.
  const std::string records = state_dir("a.example.com") + "/claims";
  ASSERT_EQ(::rename(records.c_str(), (records + ".elsewhere").c_str()), 0);
  EXPECT_THAT(admit("b.example.com", claim("u2", true)), HasSubstr("a.example.com"));
  ASSERT_TRUE(sys::make_dirs(records));
  EXPECT_THAT(admit("b.example.com", claim("u2", true)), HasSubstr("a.example.com"));
}

TEST_F(Holders, EntryOfAnotherBoot_DoesNotCount) {
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  EXPECT_TRUE(of("b.example.com", "boot-2").admit(claim("u2", true), {}));
}

TEST_F(Holders, EntryThatCannotBeRead_Counts) {
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  ASSERT_TRUE(sys::replace_file(dir_ + "/holders", files().front(), "{"));
  EXPECT_THAT(admit("b.example.com", claim("u2", true)), HasSubstr("a.example.com"));
}

TEST_F(Holders, EntryOfAnUnknownBoot_Counts) {
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  EXPECT_EQ(of("b.example.com", "").admit(claim("u2", true), {}).error().code(), Code::kBusy);
  const std::string file = files().front();
  std::string text = sys::read_file(dir_ + "/holders/" + file).value();
  text.replace(text.find("boot-1"), 6, "");
  ASSERT_TRUE(sys::replace_file(dir_ + "/holders", file, text));
  EXPECT_THAT(admit("b.example.com", claim("u2", true)), HasSubstr("a.example.com"));
}

TEST_F(Holders, EntryWhoseRecordIsInQuarantine_Counts_UntilThatIsGone) {
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  const std::string aside = state_dir("a.example.com") + "/quarantine";
  ASSERT_TRUE(sys::make_dirs(aside));
  const std::string record = state_dir("a.example.com") + "/claims/u1.json";
  ASSERT_EQ(::rename(record.c_str(), (aside + "/u1.json.1700000000").c_str()), 0);
  EXPECT_EQ(of("b.example.com").of_others().value().size(), 1);
  EXPECT_THAT(admit("b.example.com", claim("u2", true)), HasSubstr("a.example.com"));
  const NicHolders& a = of("a.example.com");
  const auto no_records = []() -> Result<std::vector<NicClaim>> { return std::vector<NicClaim>(); };
  EXPECT_FALSE(a.needs_repair({}).value());
  ASSERT_TRUE(a.repair(no_records));
  EXPECT_THAT(files(), ElementsAre("pci-0000-03-00-1_a.example.com_u1.whole"));

  ASSERT_TRUE(sys::remove_file(aside + "/u1.json.1700000000"));
  EXPECT_TRUE(a.needs_repair({}).value());
  ASSERT_TRUE(a.repair(no_records));
  EXPECT_THAT(files(), IsEmpty());
}

// ---- the lock

TEST_F(Holders, AgentThatStandsStillWithTheLock_HoldsUpTheOthersForAMomentOnly_AndIsNamed) {
  const auto first = of("a.example.com").admit(claim("u1", true), {});
  ASSERT_TRUE(first);
  const dra::CallContext context{.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5),
                                 .cancelled = {}};
  const auto second = of("b.example.com").admit(claim("u2", true, "pci-0000-03-00-2"), context);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kBusy);
  EXPECT_THAT(second.error().what(),
              AllOf(HasSubstr("the agent of the driver a.example.com may have stopped"),
                    HasSubstr("restart it"), HasSubstr(dir_ + "/lock")));
  EXPECT_LT(std::chrono::steady_clock::now(), context.deadline);
  EXPECT_TRUE(of("b.example.com").admit({.uid = "u3", .uses = {}}, {})) << "it uses no NIC";
}

TEST_F(Holders, WhoeverIsAtWork_IsWaitedFor_NotBeyondTheDeadline) {
  const auto first = of("a.example.com").admit(claim("u1", true), {});
  ASSERT_TRUE(first);
  const NicHolders patient(
      {.dir = dir_, .driver = "b.example.com", .state_dir = {}, .patience = std::chrono::hours(1)});
  const auto second = patient.admit(claim("u2", true, "pci-0000-03-00-2"),
                                    {.deadline = std::chrono::steady_clock::now(), .cancelled = {}});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kBusy);
}

/// A waiter has the file open that is removed; the next makes a new one.
TEST_F(Holders, LockThatWasRemoved_AdmitsOneOnly) {
  auto first = of("a.example.com").admit(claim("u1", true), {});
  ASSERT_TRUE(first);
  const NicHolders patient({.dir = dir_,
                            .driver = "b.example.com",
                            .state_dir = state_dir("b.example.com"),
                            .patience = std::chrono::seconds(60)});
  auto waiter = std::async(std::launch::async, [&] { return patient.admit(claim("u2", true), {}); });
  // Until it waits: it has the lock open then.
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ASSERT_TRUE(sys::remove_tree(dir_ + "/holders"));
  ASSERT_TRUE(sys::remove_file(dir_ + "/lock"));
  // The first has lost its intent and its lock.
  EXPECT_FALSE((*first)->recorded());
  first->reset();
  auto second = waiter.get();
  ASSERT_TRUE(second) << second.error().what();
  EXPECT_EQ(of("a.example.com").admit(claim("u3", true), {}).error().code(), Code::kBusy)
      << "the waiter holds the lock that is there";
  ASSERT_TRUE((*second)->recorded());
  EXPECT_THAT(files(), ElementsAre("pci-0000-03-00-1_b.example.com_u2.whole"));
}

TEST_F(Holders, LockThatWasRemovedDuringAnAdmission_TakesThatBack) {
  auto first = of("a.example.com").admit(claim("u1", true), {});
  ASSERT_TRUE(first);
  ASSERT_TRUE(sys::remove_file(dir_ + "/lock"));
  const auto recorded = (*first)->recorded();
  ASSERT_FALSE(recorded);
  EXPECT_THAT(recorded.error().what(), HasSubstr(dir_ + "/lock was removed"));
  EXPECT_THAT(files(), IsEmpty());
}

// ---- before a claim is undone

TEST_F(Holders, ClaimWithItsEntry_HasItsNic) {
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  const auto before = files();
  EXPECT_THAT(of("a.example.com").lost(claim("u1", true), {}).value(), IsEmpty());
  EXPECT_EQ(files(), before);
}

TEST_F(Holders, ClaimWithoutEntry_HasLostTheNicThatAnotherDriversClaimHas) {
  ASSERT_EQ(admit("b.example.com", claim("u2", true)), "admitted");
  const auto before = files();
  EXPECT_THAT(of("a.example.com").lost(claim("u1", true), {}).value(), ElementsAre("pci-0000-03-00-1"));
  EXPECT_THAT(of("a.example.com").lost(claim("u1", false), {}).value(), ElementsAre("pci-0000-03-00-1"));
  EXPECT_EQ(files(), before);
}

TEST_F(Holders, ClaimWithoutEntry_HasTheNicAgainThatNobodyHas) {
  ASSERT_EQ(admit("b.example.com", claim("u2", true)), "admitted");
  remove_record("b.example.com", "u2");  // left over
  write_record("a.example.com", "u1");
  EXPECT_THAT(of("a.example.com").lost(claim("u1", true), {}).value(), IsEmpty());
  EXPECT_THAT(admit("b.example.com", claim("u3", true)), HasSubstr("the driver a.example.com"));
  ASSERT_TRUE(of("a.example.com").forget("u1"));
  EXPECT_EQ(admit("b.example.com", claim("u3", true)), "admitted");
}

// ---- two agents that keep running

TEST_F(Holders, WhatOneAgentWrites_TheOtherSeesAtOnce) {
  const NicHolders& a = of("a.example.com");
  const NicHolders& b = of("b.example.com");
  for (int i = 0; i < 100; ++i) {
    const NicClaim first = claim("a" + std::to_string(i), true);
    const NicClaim second = claim("b" + std::to_string(i), true);
    ASSERT_EQ(admit("a.example.com", first), "admitted");
    ASSERT_EQ(b.of_others().value().size(), 1);
    ASSERT_THAT(admit("b.example.com", second), HasSubstr("the driver a.example.com"));
    ASSERT_TRUE(a.forget(first.uid));
    ASSERT_THAT(b.of_others().value(), IsEmpty());
    ASSERT_EQ(admit("b.example.com", second), "admitted");
    ASSERT_THAT(a.lost(first, {}).value(), ElementsAre(second.uses.front().nic));
    ASSERT_TRUE(b.forget(second.uid));
  }
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(Holders, FolderThatIsMadeAnew_HasTheEntriesThatAreWrittenThen) {
  const NicHolders& b = of("b.example.com");
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  ASSERT_EQ(b.of_others().value().size(), 1);
  ASSERT_TRUE(sys::remove_tree(dir_));
  EXPECT_THAT(b.of_others().value(), IsEmpty());
  ASSERT_EQ(admit("b.example.com", claim("u2", true)), "admitted");
  EXPECT_THAT(admit("a.example.com", claim("u1", true)), HasSubstr("the driver b.example.com"));
  EXPECT_TRUE(of("a.example.com").needs_repair({claim("u1", true)}).value());
}

// ---- repair

TEST_F(Holders, Repair_WritesWhatIsMissing_AndRemovesWhatHasNoRecord) {
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  ASSERT_EQ(admit("b.example.com", claim("u9", true, "pci-0000-03-00-9")), "admitted");
  const NicHolders& a = of("a.example.com");
  const std::vector<NicClaim> records = {claim("u2", false, "pci-0000-03-00-2")};
  EXPECT_TRUE(a.needs_repair(records).value());
  ASSERT_TRUE(a.repair([&]() -> Result<std::vector<NicClaim>> { return records; }));
  EXPECT_THAT(files(), ElementsAre("pci-0000-03-00-2_a.example.com_u2.shared",
                                   "pci-0000-03-00-9_b.example.com_u9.whole"));
  EXPECT_FALSE(a.needs_repair(records).value());
}

TEST_F(Holders, Repair_LeavesAClaimThatIsEndingAsItIs) {
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  std::vector<NicClaim> records = {claim("u1", true), claim("u2", true, "pci-0000-03-00-2")};
  records[0].is_prepared = records[1].is_prepared = false;
  const NicHolders& a = of("a.example.com");
  EXPECT_FALSE(a.needs_repair(records).value());
  ASSERT_TRUE(a.repair([&]() -> Result<std::vector<NicClaim>> { return records; }));
  EXPECT_THAT(files(), ElementsAre("pci-0000-03-00-1_a.example.com_u1.whole"));
}

// ---- what is offered

TEST_F(Holders, OthersNics_AreToldOnce) {
  ASSERT_EQ(admit("a.example.com", claim("u1", false)), "admitted");
  ASSERT_EQ(admit("a.example.com", claim("u2", false)), "admitted");
  ASSERT_EQ(admit("b.example.com", claim("u3", true, "ifindex-7")), "admitted");
  const auto others = of("b.example.com").of_others().value();
  ASSERT_EQ(others.size(), 1);
  EXPECT_EQ(others[0].nic, "pci-0000-03-00-1");
  EXPECT_EQ(others[0].driver, "a.example.com");
  EXPECT_FALSE(others[0].whole);
}

TEST_F(Holders, Watch_TellsOfOtherDriversOnly) {
  std::promise<void> told;
  bool once = false;  // the watch's
  auto watch = HoldersWatch::start(dir_, "b.example.com", [&] {
    if (!std::exchange(once, true)) {
      told.set_value();
    }
  });
  ASSERT_TRUE(watch) << watch.error().what();
  auto heard = told.get_future();
  ASSERT_EQ(admit("b.example.com", claim("u1", true)), "admitted");
  EXPECT_EQ(heard.wait_for(std::chrono::milliseconds(0)), std::future_status::timeout);
  ASSERT_EQ(admit("a.example.com", claim("u2", true, "pci-0000-03-00-2")), "admitted");
  EXPECT_EQ(heard.wait_for(std::chrono::seconds(60)), std::future_status::ready);
}

/// As "rm -rf /run/fairlead/*" leaves it.
TEST_F(Holders, Watch_GoesOnWhenTheFolderWasRemoved_AndTellsThatTheOwnEntriesAreGone) {
  std::atomic<int> told = 0;
  const auto in_time = [](const auto& condition) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    bool holds = condition();
    while (!holds && std::chrono::steady_clock::now() < give_up) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      holds = condition();
    }
    return holds;
  };
  const auto has_folder = [&] { return ::access((dir_ + "/holders").c_str(), F_OK) == 0; };
  auto watch = HoldersWatch::start(dir_, "b.example.com", [&] { ++told; });
  ASSERT_TRUE(watch) << watch.error().what();
  ASSERT_TRUE(sys::remove_tree(dir_ + "/holders"));
  ASSERT_TRUE(in_time([&] { return told > 0 && has_folder(); }));
  // Entries of others are told of as before.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  int before = told;
  ASSERT_EQ(admit("a.example.com", claim("u1", true)), "admitted");
  EXPECT_TRUE(in_time([&] { return told > before; }));

  // Where no folder can be made, it is tried again.
  ASSERT_TRUE(in_time([&] {
    return sys::remove_tree(dir_).has_value() &&
           sys::replace_file(folder_.path().string(), "shared", "no folder").has_value();
  }));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_TRUE(sys::remove_file(dir_));
  before = told;
  EXPECT_TRUE(in_time([&] { return told > before && has_folder(); }));
}

TEST(NicUses, AreTheNodeWideNamesOfNics_EachOnce) {
  devices::netdev::LinkUse shared;
  shared.link.link.index = netlink::IfIndex(7);
  shared.link.link.name = "nic1";
  devices::netdev::LinkUse whole = shared;
  whole.whole = true;
  devices::netdev::LinkUse bridge = shared;
  bridge.link.link.index = netlink::IfIndex(8);
  bridge.link.link.kind = "bridge";
  devices::netdev::LinkUse pci = shared;
  pci.link.link.index = netlink::IfIndex(9);
  pci.link.link.parent_bus = "pci";
  pci.link.link.parent_dev = "0000:03:00.1";
  const auto uses = nic_uses({shared, whole, bridge, pci});
  ASSERT_EQ(uses.size(), 2);
  EXPECT_EQ(uses[0].nic, "ifindex-7");
  EXPECT_TRUE(uses[0].whole);
  EXPECT_EQ(uses[1].nic, "pci-0000-03-00-1");
  EXPECT_FALSE(uses[1].whole);
}

}  // namespace
}  // namespace fairlead::agent
