// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/device_holders.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>

#include "fairlead/dra/claims/pod_records.h"
#include "fairlead/dra/claims/record_history.h"

namespace fairlead::dra {
namespace {

class Records final : public RecordSource {
 public:
  [[nodiscard]] Result<RecordChanges> changes_since(std::uint64_t generation) const override {
    if (away) {
      return Error(Code::kUnavailable, "not now");
    }
    return history.since(generation);
  }
  void put(const ClaimRecord& record) { history.put(std::make_shared<const ClaimRecord>(record)); }

  RecordHistory history;
  bool away = false;
};

AllocatedDevice device(const std::string& name, const std::string& share = "") {
  return {.request = "req", .pool = "node", .device = name, .share_id = share};
}

ClaimRecord claim(const std::string& uid, std::vector<AllocatedDevice> devices) {
  ClaimRecord record;
  record.claim = {.namespace_ = "default",
                  .name = uid + "-name",
                  .uid = uid,
                  .reserved_for = {},
                  .devices = std::move(devices)};
  return record;
}

/// A driver that knows a device of two names by what comes before the "-" in each.
Result<DeviceHolders::Identities> identify(const ClaimRecord& record) {
  DeviceHolders::Identities identities;
  for (const AllocatedDevice& each : record.claim.devices) {
    const auto dash = each.device.find('-');
    identities.push_back(
        {.key = dash == std::string::npos ? std::string() : each.device.substr(0, dash), .data = {}});
  }
  return identities;
}

/// "ok", or the uid of the claim that has the device.
std::string outcome(DeviceHolders& holders, const Records& records, const ClaimRecord& record) {
  const auto updated = holders.update(records);
  EXPECT_TRUE(updated);
  const auto checked = holders.check(record);
  if (checked) {
    return "ok";
  }
  EXPECT_EQ(checked.error().code(), Code::kBusy);
  const std::string text = checked.error().what();
  const auto at = text.find("(uid ") + 5;
  return text.substr(at, text.find(')', at) - at);
}

TEST(DeviceHolders, OneClaimHasADeviceForItself) {
  Records records;
  DeviceHolders holders(identify);
  EXPECT_EQ(outcome(holders, records, claim("a", {device("nic")})), "ok");
  records.put(claim("a", {device("nic")}));
  EXPECT_EQ(outcome(holders, records, claim("a", {device("nic")})), "ok") << "its own record";
  EXPECT_EQ(outcome(holders, records, claim("b", {device("nic")})), "a");
  EXPECT_EQ(outcome(holders, records, claim("b", {device("nic", "share")})), "a");
  EXPECT_EQ(outcome(holders, records, claim("b", {device("other")})), "ok");
  records.history.remove("a");
  EXPECT_EQ(outcome(holders, records, claim("b", {device("nic")})), "ok");
}

TEST(DeviceHolders, SharesOfADeviceAreApart) {
  Records records;
  DeviceHolders holders(identify);
  records.put(claim("a", {device("nic", "1")}));
  EXPECT_EQ(outcome(holders, records, claim("b", {device("nic", "2")})), "ok");
  EXPECT_EQ(outcome(holders, records, claim("b", {device("nic", "1")})), "a");
  EXPECT_EQ(outcome(holders, records, claim("b", {device("nic")})), "a");
}

TEST(DeviceHolders, MonitorsAreNotInTheWay) {
  Records records;
  DeviceHolders holders(identify);
  AllocatedDevice monitored = device("nic");
  monitored.admin_access = true;
  records.put(claim("a", {monitored}));
  EXPECT_EQ(outcome(holders, records, claim("b", {device("nic")})), "ok");
  records.put(claim("b", {device("nic")}));
  EXPECT_EQ(outcome(holders, records, claim("c", {monitored})), "ok");
}

TEST(DeviceHolders, AnotherNameOfTheDeviceIsTheDevice) {
  Records records;
  DeviceHolders holders(identify);
  records.put(claim("a", {device("x-old")}));
  EXPECT_EQ(outcome(holders, records, claim("b", {device("x-new")})), "a");
  records.put(claim("a", {device("y-old")}));
  EXPECT_EQ(outcome(holders, records, claim("b", {device("x-new")})), "ok") << "its record says so now";
  EXPECT_EQ(outcome(holders, records, claim("b", {device("y-new")})), "a");
}

TEST(DeviceHolders, AnIdentityIsReadOnceAndAgainIfThereWasNone) {
  Records records;
  std::map<std::string, int> reads;
  bool known = false;
  DeviceHolders holders([&](const ClaimRecord& record) -> Result<DeviceHolders::Identities> {
    ++reads[record.claim.uid];
    const bool has_none = record.claim.uid == "a" && !known;
    return has_none ? DeviceHolders::Identities(record.claim.devices.size()) : identify(record);
  });
  records.put(claim("a", {device("x-old")}));
  records.put(claim("shared", {device("x-old", "share")}));
  EXPECT_EQ(outcome(holders, records, claim("b", {device("x-new")})), "ok");
  known = true;
  EXPECT_EQ(outcome(holders, records, claim("b", {device("x-new")})), "a");
  EXPECT_EQ(outcome(holders, records, claim("b", {device("x-new")})), "a");
  EXPECT_EQ(reads["a"], 2);
  EXPECT_EQ(reads["shared"], 0) << "it has no device of its own";
}

TEST(DeviceHolders, AnErrorOfTheDriverOrOfTheRecordsIsReturned) {
  Records records;
  records.away = true;
  DeviceHolders holders(
      [](const ClaimRecord&) { return Result<DeviceHolders::Identities>(Error(Code::kInternal, "no")); });
  EXPECT_EQ(holders.update(records).error().code(), Code::kUnavailable);
  EXPECT_EQ(holders.check(claim("a", {device("nic")})).error().what(), "no");
}

/// The first claim, by uid, that is in the way: found by looking at all of them.
std::optional<std::string> by_comparison(const RecordHistory& history, const ClaimRecord& wanted) {
  const auto keys = *identify(wanted);
  for (const RecordPtr& other : history.records()) {
    const auto& theirs = other->claim.devices;
    const bool matters = std::ranges::any_of(
        theirs, [](const AllocatedDevice& each) { return each.share_id.empty() && !each.admin_access; });
    const auto their_keys = *identify(*other);
    for (std::size_t i = 0; other->claim.uid != wanted.claim.uid && i < wanted.claim.devices.size(); ++i) {
      for (std::size_t j = 0; j < theirs.size(); ++j) {
        const AllocatedDevice& one = wanted.claim.devices[i];
        const bool same = one.device == theirs[j].device ||
                          (matters && !keys[i].key.empty() && keys[i].key == their_keys[j].key);
        if (same && !one.admin_access && !theirs[j].admin_access &&
            (one.share_id.empty() || theirs[j].share_id.empty() || one.share_id == theirs[j].share_id)) {
          return other->claim.uid;
        }
      }
    }
  }
  return std::nullopt;
}

TEST(DeviceHolders, FindsWhatAComparisonWithAllClaimsFinds) {
  std::minstd_rand random(3);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same test every time
  Records records;
  DeviceHolders holders(identify);
  const auto draw = [&](std::size_t below) { return static_cast<std::size_t>(random()) % below; };
  int conflicts = 0;
  for (int round = 0; round < 4000; ++round) {
    std::vector<AllocatedDevice> devices;
    for (std::size_t i = 0; i <= draw(3); ++i) {
      AllocatedDevice one =
          device(std::string(1, static_cast<char>('a' + draw(12))) + (draw(2) == 0 ? "" : "-x"),
                 draw(2) == 0 ? "" : std::to_string(draw(3)));
      one.admin_access = draw(5) == 0;
      devices.push_back(one);
    }
    const ClaimRecord record = claim("claim" + std::to_string(draw(8)), devices);
    const auto expected = by_comparison(records.history, record);
    ASSERT_EQ(outcome(holders, records, record), expected.value_or("ok")) << "round " << round;
    conflicts += expected ? 1 : 0;
    if (!expected) {
      records.put(record);
    }
    if (draw(3) == 0) {
      records.history.remove("claim" + std::to_string(draw(8)));
    }
  }
  EXPECT_GT(conflicts, 500);
  EXPECT_LT(conflicts, 3500);
}

ClaimRecord of_pods(const std::string& uid, const std::string& name, const std::vector<std::string>& pods) {
  ClaimRecord record = claim(uid, {device("nic")});
  record.claim.name = name;
  for (const std::string& pod : pods) {
    record.claim.reserved_for.push_back({.name = pod + "-name", .uid = pod});
  }
  return record;
}

std::string claims_of(PodRecords& index, const std::string& pod) {
  std::string names;
  const auto found = index.of(pod);
  EXPECT_TRUE(found);
  for (const RecordPtr& record : *found) {
    names += record->claim.name + " ";
  }
  return names;
}

TEST(PodRecords, HasTheClaimsOfAPodInTheOrderOfTheirNames) {
  Records records;
  PodRecords index(records);
  EXPECT_EQ(claims_of(index, "pod"), "");
  records.put(of_pods("1", "b", {"pod", "other"}));
  records.put(of_pods("2", "a", {"pod", "pod"}));
  records.put(of_pods("3", "c", {"other"}));
  EXPECT_EQ(claims_of(index, "pod"), "a b ");
  EXPECT_EQ(claims_of(index, "other"), "b c ");
  records.put(of_pods("1", "b", {"new"}));
  records.history.remove("3");
  EXPECT_EQ(claims_of(index, "pod"), "a ");
  EXPECT_EQ(claims_of(index, "other"), "");
  EXPECT_EQ(claims_of(index, "new"), "b ");
  records.history.remove("2");
  EXPECT_EQ(claims_of(index, "pod"), "");
  records.away = true;
  EXPECT_EQ(index.of("new").error().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace fairlead::dra
