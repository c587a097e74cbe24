// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/reports/claim_reporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <utility>

#include "fairlead/core/mutex.h"

namespace fairlead::dra {
namespace {

using kube::DeviceStatus;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kDriver = "dra.example.com";
constexpr std::chrono::seconds kPatience{60};

/// Claims' status in memory. What it is asked is kept in order; answers may be errors, first come first.
class FakeStatusApi final : public ClaimStatusApi {
 public:
  Result<kube::ClaimStatus> read(const Claim& claim, const std::stop_token& /*stop*/) override {
    const Lock lock(mutex_);
    note("read " + claim.name);
    FL_TRY(take_error());
    return kube::ClaimStatus{.uid = uids_.contains(claim.name) ? uids_[claim.name] : claim.uid,
                             .devices = standing_[claim.name]};
  }
  Result<> apply(const Claim& claim, const std::vector<DeviceStatus>& devices,
                 const std::stop_token& /*stop*/) override {
    const std::function<void()> during = [&] {
      const Lock lock(mutex_);
      note("apply " + claim.name);
      return std::exchange(during_apply_, nullptr);
    }();
    if (during) {
      during();
    }
    const Lock lock(mutex_);
    const bool lost_answer = std::exchange(lose_answer_, false);
    auto error = take_error();
    if (error) {
      standing_[claim.name] = devices;
    }
    answered_ += 1;
    changed_.notify_all();
    return lost_answer ? Result<>(Error(Code::kTimeout, "no answer")) : error;
  }

  void put(const std::string& claim, std::vector<DeviceStatus> devices) {
    const Lock lock(mutex_);
    standing_[claim] = std::move(devices);
  }
  void put_uid(const std::string& claim, std::string uid) {
    const Lock lock(mutex_);
    uids_[claim] = std::move(uid);
  }
  void fail(int times, Error error) {
    const Lock lock(mutex_);
    errors_.insert(errors_.end(), static_cast<std::size_t>(times), std::move(error));
  }
  void lose_one_answer() {
    const Lock lock(mutex_);
    lose_answer_ = true;
  }
  void in_next_apply(std::function<void()> what) {
    const Lock lock(mutex_);
    during_apply_ = std::move(what);
  }
  std::vector<DeviceStatus> standing(const std::string& claim) {
    const Lock lock(mutex_);
    return standing_[claim];
  }
  std::vector<std::string> calls() {
    const Lock lock(mutex_);
    return calls_;
  }
  void await(const std::string& call, int times = 1) {
    const Lock lock(mutex_);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::count(calls_.begin(), calls_.end(), call) < times) {
      ASSERT_EQ(changed_.wait_until(mutex_, deadline), std::cv_status::no_timeout) << "no call " << call;
    }
  }
  void await_standing(const std::string& claim) {
    const Lock lock(mutex_);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (standing_[claim].empty()) {
      ASSERT_EQ(changed_.wait_until(mutex_, deadline), std::cv_status::no_timeout)
          << "no status of " << claim;
    }
  }
  void await_applied(int times) {
    const Lock lock(mutex_);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (answered_ < times) {
      ASSERT_EQ(changed_.wait_until(mutex_, deadline), std::cv_status::no_timeout);
    }
  }

 private:
  void note(std::string call) FL_REQUIRES(mutex_) {
    calls_.push_back(std::move(call));
    changed_.notify_all();
  }
  Result<> take_error() FL_REQUIRES(mutex_) {
    if (errors_.empty()) {
      return {};
    }
    Error error = errors_.front();
    errors_.erase(errors_.begin());
    return error;
  }

  Mutex mutex_;
  ConditionVariable changed_;
  std::vector<std::string> calls_ FL_GUARDED_BY(mutex_);
  std::vector<Error> errors_ FL_GUARDED_BY(mutex_);
  std::map<std::string, std::vector<DeviceStatus>> standing_ FL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> uids_ FL_GUARDED_BY(mutex_);
  std::function<void()> during_apply_ FL_GUARDED_BY(mutex_);
  bool lose_answer_ FL_GUARDED_BY(mutex_) = false;
  int answered_ FL_GUARDED_BY(mutex_) = 0;
};

Claim claim_with(const std::string& name, const std::vector<std::string>& devices) {
  Claim claim{.namespace_ = "default", .name = name, .uid = name + "-uid", .reserved_for = {}, .devices = {}};
  for (const std::string& device : devices) {
    AllocatedDevice each;
    each.pool = "node-1";
    each.device = device;
    claim.devices.push_back(std::move(each));
  }
  return claim;
}

DeviceReport ready(const std::string& interface) {
  return {.ready = true,
          .unknown = false,
          .reason = "Attached",
          .message = interface + " is in the pod",
          .interface_name = interface,
          .ips = {"10.0.0.5/24", "2001:db8::1/64"},
          .hardware_address = "02:00:00:00:00:01"};
}

DeviceReport broken(const std::string& interface) {
  DeviceReport report = ready(interface);
  report.ready = false;
  report.reason = "LinkDown";
  return report;
}

/// A reporter with its API server and its records, both of which survive restart().
struct ReporterTest : ::testing::Test {
  FakeStatusApi api;
  Metrics metrics{kDriver, "1.0.0"};
  Mutex mutex;
  std::map<std::string, ClaimRecord> records FL_GUARDED_BY(mutex);
  int second FL_GUARDED_BY(mutex) = 10;
  std::string identity;  // of every device; not to be changed while a reporter runs
  std::unique_ptr<ClaimReporter> reporter;

  ReporterTest() { restart(); }

  void restart(std::chrono::milliseconds retry = std::chrono::milliseconds(1)) {
    ClaimReporter::Options options;
    options.driver_name = kDriver;
    options.identities = [this](const ClaimRecord& record) {
      return identity.empty()
                 ? std::vector<DeviceIdentity>()
                 : std::vector<DeviceIdentity>(record.claim.devices.size(), {.key = "k", .data = identity});
    };
    options.retry_min = options.retry_max = retry;
    options.now = [this] {  // never the same twice
      const Lock lock(mutex);
      return "2026-01-01T00:00:" + std::to_string(second++) + "Z";
    };
    const auto find = [this](const std::string& uid) {
      const Lock lock(mutex);
      const auto found = records.find(uid);
      return found == records.end() ? std::nullopt : std::optional<ClaimRecord>(found->second);
    };
    reporter = std::make_unique<ClaimReporter>(std::move(options), api, find, metrics);
    reporter->start();
  }
  void put(const std::string& name, const std::vector<std::string>& devices,
           ClaimState state = ClaimState::kPrepared) {
    const Lock lock(mutex);
    ClaimRecord record;
    record.claim = claim_with(name, devices);
    record.state = state;
    records[name + "-uid"] = record;
  }
  void remove(const std::string& name) {
    const Lock lock(mutex);
    records.erase(name + "-uid");
  }
  /// All reports made before have been looked at: claims are served one after another, so a later one that is
  /// done says it of those that were due.
  void settle() {
    const std::string name = "settle-" + std::to_string(++settled_);
    put(name, {"x"});
    reporter->report(name + "-uid", {ready("x")});
    api.await_standing(name);  // not only asked: an error that the test adds next is not for this one
  }
  /// Without those of settle().
  std::vector<std::string> calls() {
    auto all = api.calls();
    std::erase_if(all, [](const std::string& call) { return call.find(" settle-") != std::string::npos; });
    return all;
  }
  std::string condition(const std::string& claim, std::size_t device = 0) {
    const auto entries = api.standing(claim);
    if (entries.size() <= device || entries[device].conditions.size() != 1) {
      return "none";
    }
    const auto& it = entries[device].conditions[0];
    return it.type + "=" + it.status + " " + it.reason + " " + it.last_transition_time;
  }

 private:
  int settled_ = 0;
};

TEST_F(ReporterTest, Report_WritesAllDevicesOfTheClaimAtOnce) {
  put("a", {"eth1", "eth2"});
  {
    const Lock lock(mutex);
    records["a-uid"].claim.devices[1].share_id = "share-7";
  }
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1"), broken("net2")});
  api.await_applied(1);
  const auto entries = api.standing("a");
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].driver, kDriver);
  EXPECT_EQ(entries[0].pool, "node-1");
  EXPECT_EQ(entries[0].device, "eth1");
  EXPECT_EQ(entries[0].interface_name, "net1");
  EXPECT_THAT(entries[0].ips, ElementsAre("10.0.0.5/24", "2001:db8::1/64"));
  EXPECT_EQ(entries[0].hardware_address, "02:00:00:00:00:01");
  EXPECT_EQ(entries[1].share_id, "share-7");
  EXPECT_EQ(condition("a"), "Ready=True Attached 2026-01-01T00:00:10Z");
  EXPECT_EQ(condition("a", 1), "Ready=False LinkDown 2026-01-01T00:00:10Z");
  EXPECT_THAT(calls(), ElementsAre("apply a"));  // a fresh claim is not read first
}

TEST_F(ReporterTest, IdentityOfTheDevices_StandsInEveryReport) {
  identity = R"({"identity":{"name":"x"}})";
  restart();
  put("a", {"eth1", "eth2"});
  reporter->preparing("a-uid");
  reporter->report("a-uid", {broken("net1"), broken("net2")});
  api.await_applied(1);
  reporter->report("a-uid", {ready("net1"), ready("net2")});
  api.await_applied(2);
  for (const DeviceStatus& entry : api.standing("a")) {
    EXPECT_EQ(entry.data, identity);
  }
}

TEST_F(ReporterTest, IdentityThatAnOlderVersionDidNotWrite_IsWrittenOnce) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(1);
  reporter.reset();
  identity = R"({"identity":{"name":"x"}})";
  restart();
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(2);
  EXPECT_EQ(api.standing("a").at(0).data, identity);
  restart();
  reporter->report("a-uid", {ready("net1")});
  settle();
  EXPECT_THAT(calls(), ElementsAre("apply a", "read a", "apply a", "read a"));
}

TEST_F(ReporterTest, TheSameAgain_IsNotWritten) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(1);
  reporter->report("a-uid", {ready("net1")});
  settle();
  reporter->report("a-uid", {ready("net1")});
  settle();
  EXPECT_THAT(calls(), ElementsAre("apply a"));
}

TEST_F(ReporterTest, ChangeOfTheMessageOnly_KeepsTheTransitionTime) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(1);
  auto other = ready("net1");
  other.reason = "StillAttached";
  reporter->report("a-uid", {other});
  api.await_applied(2);
  EXPECT_EQ(condition("a"), "Ready=True StillAttached 2026-01-01T00:00:10Z");
  reporter->report("a-uid", {broken("net1")});
  api.await_applied(3);
  EXPECT_EQ(condition("a"), "Ready=False LinkDown 2026-01-01T00:00:12Z");
}

TEST_F(ReporterTest, UnchangedAfterARestart_IsReadOnceAndNotWritten) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(1);
  restart();
  reporter->report("a-uid", {ready("net1")});
  settle();
  reporter->report("a-uid", {ready("net1")});
  settle();
  EXPECT_THAT(calls(), ElementsAre("apply a", "read a"));
}

TEST_F(ReporterTest, ChangedAfterARestart_IsWrittenWithTheTimesThatStand) {
  put("a", {"eth1", "eth2"});
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1"), ready("net2")});
  api.await_applied(1);
  auto entries = api.standing("a");
  entries[0].conditions.push_back({.type = "Others", .status = "True"});  // somebody's own condition
  entries.push_back(
      {.driver = "other.example.com", .pool = "p", .device = "d", .share_id = {}, .conditions = {}});
  std::swap(entries[0], entries[1]);
  api.put("a", entries);
  restart();
  reporter->report("a-uid", {ready("net1"), broken("net2")});
  api.await_applied(2);
  EXPECT_EQ(condition("a", 0), "Ready=True Attached 2026-01-01T00:00:10Z");
  EXPECT_EQ(condition("a", 1), "Ready=False LinkDown 2026-01-01T00:00:11Z");
}

TEST_F(ReporterTest, NothingReported_ClearsOurEntries) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(1);
  reporter->report("a-uid", {});
  api.await_applied(2);
  EXPECT_THAT(api.standing("a"), IsEmpty());
}

TEST_F(ReporterTest, ServerAway_IsTriedUntilItIsThere_AndTheNewestReportWins) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  api.fail(5, Error(Code::kUnavailable, "connection refused"));
  api.in_next_apply([&] { reporter->report("a-uid", {broken("net9")}); });
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(1);
  settle();
  reporter->report("a-uid", {broken("net9")});
  settle();
  ASSERT_EQ(api.standing("a").size(), 1U);
  EXPECT_EQ(api.standing("a")[0].interface_name, "net9");
  EXPECT_THAT(metrics.text(), HasSubstr("fairlead_dra_status_writes_total{driver=\"dra.example.com\","
                                        "result=\"unavailable\"}"));
}

TEST_F(ReporterTest, WriteWhoseAnswerWasLost_IsNotTakenAsNotWritten) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(1);
  api.lose_one_answer();
  api.in_next_apply([&] { reporter->report("a-uid", {ready("net1")}); });  // back to what stood before
  reporter->report("a-uid", {broken("net1")});
  api.await_applied(3);
  EXPECT_THAT(condition("a"), HasSubstr("Ready=True"));
  EXPECT_THAT(calls(), ElementsAre("apply a", "apply a", "read a", "apply a"));
}

TEST_F(ReporterTest, Refused_IsTriedAgainAndHoldsUpNobodyElse) {
  put("a", {"eth1"});
  put("b", {"eth2"});
  reporter->preparing("a-uid");
  reporter->preparing("b-uid");
  api.in_next_apply([&] { reporter->report("b-uid", {ready("net2")}); });
  api.fail(3, Error(Code::kDenied, "forbidden"));
  reporter->report("a-uid", {ready("net1")});
  api.await_standing("a");
  api.await_standing("b");
}

TEST_F(ReporterTest, NewReportOfAnyClaimThatWaits_IsWrittenAtOnce) {
  restart(std::chrono::hours(1));
  const std::vector<std::string> names = {"a", "b", "c", "d"};
  api.fail(static_cast<int>(names.size()), Error(Code::kDenied, "forbidden"));
  for (const std::string& name : names) {
    put(name, {"eth1"});
    reporter->preparing(name + "-uid");
    reporter->report(name + "-uid", {ready("net1")});
    api.await("apply " + name);
  }
  for (const std::string& name : names) {  // which of them is due first is up to the jitter
    reporter->report(name + "-uid", {broken("net1")});
    api.await("apply " + name, 2);
  }
}

TEST_F(ReporterTest, Delayed_IsNotWrittenWhenTheClaimIsUnpreparedBefore) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(1);
  auto detached = broken("net1");
  detached.delay = std::chrono::hours(1);
  reporter->report("a-uid", {detached});
  settle();
  reporter->unprepared("a-uid");
  settle();
  EXPECT_THAT(calls(), ElementsAre("apply a"));
}

TEST_F(ReporterTest, Delayed_IsWrittenWhenItsTimeComes_AndGivesWayToSomethingNewer) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  auto detached = broken("net1");
  detached.delay = std::chrono::milliseconds(20);
  reporter->report("a-uid", {detached});
  api.await_applied(1);
  EXPECT_THAT(condition("a"), HasSubstr("Ready=False"));
  detached.reason = "Detached";
  detached.delay = std::chrono::hours(1);
  reporter->report("a-uid", {detached});
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(2);
  EXPECT_THAT(condition("a"), HasSubstr("Ready=True"));
}

TEST_F(ReporterTest, RejectedContent_IsGivenUpUntilItChanges) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  api.fail(1, Error(Code::kInvalid, "status.devices[0].networkData.ips[0]: must be in canonical form"));
  reporter->report("a-uid", {ready("net1")});
  settle();
  settle();
  EXPECT_THAT(calls(), ElementsAre("apply a"));
  reporter->report("a-uid", {broken("net1")});
  settle();
  EXPECT_THAT(condition("a"), HasSubstr("Ready=False"));
}

TEST_F(ReporterTest, ClaimGoneOrReplaced_IsDropped) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  api.fail(1, Error(Code::kNotFound, "no"));
  reporter->report("a-uid", {ready("net1")});
  settle();
  EXPECT_THAT(calls(), ElementsAre("apply a"));
  reporter->preparing("a-uid");
  api.fail(1, Error(Code::kConflict, "no"));
  api.put_uid("a", "another-uid");
  reporter->report("a-uid", {ready("net1")});
  settle();
  EXPECT_THAT(calls(), ElementsAre("apply a", "apply a", "read a"));
  put("b", {"eth1"});
  api.put_uid("b", "another-uid");
  reporter->report("b-uid", {ready("net1")});
  settle();
  EXPECT_THAT(calls(), ElementsAre("apply a", "apply a", "read a", "read b"));
}

TEST_F(ReporterTest, ConflictWithOtherWriters_IsNoOtherClaim_AndTriedAgain) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  api.fail(1, Error(Code::kConflict, "Apply failed: the object has been modified"));
  reporter->report("a-uid", {ready("net1")});
  api.await_standing("a");
  EXPECT_EQ(api.standing("a").at(0).interface_name, "net1");
  settle();
  EXPECT_THAT(calls(), ElementsAre("apply a", "read a", "apply a"));
}

TEST_F(ReporterTest, ConflictWithTheServerAwayAfterwards_IsTriedAgain) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  api.fail(1, Error(Code::kConflict, "Apply failed: the object has been modified"));
  api.fail(1, Error(Code::kUnavailable, "connect: Connection refused"));
  reporter->report("a-uid", {ready("net1")});
  api.await_standing("a");
  settle();
  EXPECT_THAT(calls(), ElementsAre("apply a", "read a", "read a", "apply a"));
}

TEST_F(ReporterTest, UnpreparedMeanwhile_IsNotWritten) {
  put("leaving", {"eth1"}, ClaimState::kUnpreparing);
  reporter->report("leaving-uid", {ready("net1")});
  reporter->report("unknown-uid", {ready("net1")});
  settle();
  EXPECT_THAT(calls(), IsEmpty());

  // While the server is away: the second try finds the claim gone.
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  api.fail(1, Error(Code::kUnavailable, "connection refused"));
  api.in_next_apply([&] {
    remove("a");
    reporter->unprepared("a-uid");
  });
  reporter->report("a-uid", {ready("net1")});
  api.await("apply a");
  settle();
  EXPECT_THAT(calls(), ElementsAre("apply a"));
}

TEST_F(ReporterTest, PreparedAgainUnderTheSameUid_StartsFromNothing) {
  put("a", {"eth1"});
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(1);
  reporter->unprepared("a-uid");
  api.put("a", {});  // the server drops entries at deallocation
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1")});
  api.await_applied(2);
  EXPECT_EQ(api.standing("a").size(), 1U);
}

TEST_F(ReporterTest, WrongNumberOfDevices_IsNotWritten) {
  put("a", {"eth1", "eth2"});
  reporter->preparing("a-uid");
  reporter->report("a-uid", {ready("net1")});
  settle();
  EXPECT_THAT(calls(), IsEmpty());
}

TEST(StatusEntries, StayWithinTheLimitsOfTheApi) {
  DeviceReport report = ready(std::string(300, 'i'));
  report.reason = "not a word";
  report.message = std::string(32767, 'm') + "é";  // the limit is inside the last character
  report.hardware_address = std::string(200, 'h');
  report.ips = {"10.0.0.1/8", "10.0.0.1/8"};
  for (int i = 0; i < 20; ++i) {
    report.ips.push_back("10.0.1." + std::to_string(i) + "/24");
  }
  const auto entries = status_entries(kDriver, claim_with("a", {"eth1"}), {report}, {}, "now");
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].interface_name.size(), 256U);
  EXPECT_EQ(entries[0].hardware_address.size(), 128U);
  EXPECT_EQ(entries[0].ips.size(), 16U);
  EXPECT_EQ(entries[0].ips[1], "10.0.1.0/24");
  EXPECT_EQ(entries[0].conditions[0].reason, "Ready");
  EXPECT_EQ(entries[0].conditions[0].message, std::string(32767, 'm'));
}

TEST(StatusEntries, UnknownIsNeitherTrueNorFalse_AndADeviceStandsOnce) {
  DeviceReport report;
  report.unknown = true;
  const auto entries =
      status_entries(kDriver, claim_with("a", {"eth1", "eth1"}), {report, report}, {}, "now");
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].conditions[0].status, "Unknown");
  EXPECT_EQ(entries[0].conditions[0].reason, "Unknown");
}

}  // namespace
}  // namespace fairlead::dra
