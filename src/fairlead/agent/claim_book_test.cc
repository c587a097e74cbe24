// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/claim_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/agent/testing/fake_host.h"
#include "fairlead/devices/netdev/link_use.h"
#include "fairlead/devices/testing/plan_test.h"

namespace fairlead::agent {
namespace {

using devices::LinkShare;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class RecordsHost final : public FakeHost {
 public:
  [[nodiscard]] Result<std::vector<RecordPtr>> shared_records() const override {
    std::vector<RecordPtr> list;
    for (const auto& [uid, record] : records) {
      list.push_back(record);
    }
    return list;
  }
  /// With `history` only what changed since the last call.
  [[nodiscard]] Result<dra::RecordChanges> changes_since(std::uint64_t generation) const override {
    if (!history || generation == 0 || generation != generation_) {
      FL_ASSIGN(auto changes, FakeHost::changes_since(generation));
      changes.generation = history ? ++generation_ : 0;
      told_ = records;
      return changes;
    }
    dra::RecordChanges changes{.generation = ++generation_};
    for (const auto& [uid, record] : records) {
      if (const auto known = told_.find(uid); known == told_.end() || known->second != record) {
        changes.changed.push_back(record);
      }
    }
    for (const auto& [uid, record] : told_) {
      if (!records.contains(uid)) {
        changes.removed.push_back(uid);
      }
    }
    told_ = records;
    return changes;
  }
  std::map<std::string, RecordPtr> records;
  bool history = false;

 private:
  mutable std::uint64_t generation_ = 0;
  mutable std::map<std::string, RecordPtr> told_;
};

class ClaimBookTest : public devices::testing::PlanTest {
 protected:
  /// A claim of one device, for the pod "pod-<name>" or `pod`.
  std::shared_ptr<dra::ClaimRecord> record(const std::string& name, const std::string& fields,
                                           const std::string& device = "netdev-virtual",
                                           const std::string& pod = "") {
    auto planned = plan(R"({"type":"netdev","netdev":{"kind":)" + fields + "}}", device);
    EXPECT_TRUE(planned) << planned.error().what();
    ClaimPlan all;
    all.devices.push_back(*std::move(planned));
    auto made = std::make_shared<dra::ClaimRecord>();
    made->claim = {.namespace_ = "tenant", .name = name, .uid = "uid-" + name};
    made->claim.reserved_for = {{.name = "p", .uid = pod.empty() ? "pod-" + name : pod}};
    made->claim.devices = {{.request = "nic", .pool = "node-a", .device = device}};
    made->plan = to_json(all);
    made->state = dra::ClaimState::kPrepared;
    return made;
  }
  std::shared_ptr<dra::ClaimRecord> on_eth0(const std::string& name, const std::string& address,
                                            const std::string& pod = "") {
    return record(name, R"("macvlan","master":"eth0","addresses":[")" + address + R"(/24"])",
                  "netdev-virtual", pod);
  }
  void have(std::shared_ptr<dra::ClaimRecord> one) {
    const std::string uid = one->claim.uid;
    host_.records[uid] = std::move(one);
    refresh();
  }
  void refresh() { ASSERT_TRUE(book_.refresh(host_)); }
  ClaimBook::ClaimPtr only_of(const std::string& pod) {
    const auto claims = book_.in_pods({{.name = "p", .uid = pod}}, "");
    return claims.size() == 1 ? claims.front() : nullptr;
  }
  ClaimBook::IsLink is(const std::string& link) {
    return [this, link](const sys::InventoryLink& was) {
      return devices::is_same_link(was, inventory_.find(link)->link);
    };
  }
  /// The name of the claim that has the address on eth0.
  std::string owner_of(const std::string& address, const std::string& except = "") {
    const auto found = book_.find_want(is("eth0"), "address " + address, except);
    return found ? found->claim->name : "";
  }
  devices::PlannedClaim planned(const dra::ClaimRecord& one) {
    return planned_claim(one.claim, *plans_.read(one.plan).value());
  }

  PlanReader plans_{registry_};
  ClaimBook book_{plans_};
  RecordsHost host_;
};

TEST_F(ClaimBookTest, RecordIsReadOnce_AlsoWhenItsStateChanges) {
  const auto first = on_eth0("a", "192.0.2.7");
  have(first);
  const auto claim = only_of("pod-a");
  ASSERT_NE(claim, nullptr);
  refresh();
  EXPECT_EQ(only_of("pod-a"), claim);
  auto later = std::make_shared<dra::ClaimRecord>(*first);
  later->state = dra::ClaimState::kUnpreparing;
  have(later);
  EXPECT_EQ(only_of("pod-a"), claim);
  auto other_plan = on_eth0("a", "192.0.2.8");
  have(other_plan);
  EXPECT_NE(only_of("pod-a"), claim);
  EXPECT_EQ(owner_of("192.0.2.7"), "");
  EXPECT_EQ(owner_of("192.0.2.8"), "a");
}

TEST_F(ClaimBookTest, RecordThatGetsAnotherPod_IsFoundByIt) {
  const auto first = on_eth0("a", "192.0.2.7");
  have(first);
  auto later = std::make_shared<dra::ClaimRecord>(*first);
  later->claim.reserved_for.push_back({.name = "q", .uid = "pod-q"});
  have(later);
  EXPECT_NE(only_of("pod-q"), nullptr);
  EXPECT_EQ(only_of("pod-q"), only_of("pod-a"));
}

TEST_F(ClaimBookTest, WhatAClaimHas_IsFoundByLink_AndNotByItself) {
  have(on_eth0("a", "192.0.2.7"));
  EXPECT_EQ(owner_of("192.0.2.7"), "a");
  EXPECT_EQ(owner_of("192.0.2.7", "uid-a"), "");
  EXPECT_EQ(owner_of("192.0.2.8"), "");
  EXPECT_FALSE(book_.find_want(is("eth0.7"), "address 192.0.2.7", ""));
  EXPECT_TRUE(book_.find_on(is("eth0"), LinkShare::kAny, ""));
  EXPECT_FALSE(book_.find_on(is("eth0"), LinkShare::kWhole, "")) << "others may sit there, too";
  const auto other = book_.find_other_value(is("eth0"), "receiver", "ipvlan l2 bridge", "");
  ASSERT_TRUE(other);
  EXPECT_EQ(other->value, "macvlan");
  EXPECT_FALSE(book_.find_other_value(is("eth0"), "receiver", "macvlan", ""));
}

TEST_F(ClaimBookTest, ClaimThatIsGone_HasNothing) {
  have(on_eth0("a", "192.0.2.7"));
  have(on_eth0("b", "192.0.2.8"));
  host_.records.erase("uid-a");
  refresh();
  EXPECT_FALSE(book_.has("uid-a"));
  EXPECT_EQ(owner_of("192.0.2.7"), "");
  EXPECT_EQ(owner_of("192.0.2.8"), "b");
  EXPECT_EQ(only_of("pod-a"), nullptr);
  host_.records.clear();
  refresh();
  EXPECT_FALSE(book_.find_on(is("eth0"), LinkShare::kAny, ""));
  EXPECT_THAT(book_.shared_links({}), IsEmpty());
}

TEST_F(ClaimBookTest, PlanThatCannotBeRead_HasNothing) {
  auto damaged = on_eth0("a", "192.0.2.7");
  damaged->plan = "{";
  have(damaged);
  EXPECT_TRUE(book_.has("uid-a"));
  EXPECT_EQ(owner_of("192.0.2.7"), "");
  EXPECT_THAT(book_.nic_claims([] { return sys::Inventory(); }).value().front().uses, IsEmpty());
}

TEST_F(ClaimBookTest, ConflictOfTwoClaims_IsOnALink_OrInAPod) {
  const auto conflict_with = [&](const dra::ClaimRecord& own, const std::shared_ptr<dra::ClaimRecord>& one) {
    host_.records = {{one->claim.uid, one}};
    refresh();
    return book_.find_conflict(planned(own));
  };
  const auto own = on_eth0("own", "192.0.2.7", "shared-pod");
  const auto same_address = on_eth0("a", "192.0.2.7");
  auto conflict = conflict_with(*own, same_address);
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->what, "the address 192.0.2.7 on eth0");
  EXPECT_EQ(conflict->with->name, "a");
  EXPECT_FALSE(conflict->of_same_pod);

  auto named =
      record("b", R"("macvlan","master":"eth0","interfaceName":"data0")", "netdev-virtual", "shared-pod");
  auto own_named =
      record("own", R"("macvlan","master":"eth0","interfaceName":"data0")", "netdev-virtual", "shared-pod");
  conflict = conflict_with(*own_named, named);
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->what, "the interface name \"data0\"");
  EXPECT_TRUE(conflict->of_same_pod);

  host_.records.clear();
  refresh();
  EXPECT_FALSE(book_.find_conflict(planned(*own)));
  EXPECT_FALSE(conflict_with(*own, on_eth0("c", "192.0.2.8")));
}

TEST_F(ClaimBookTest, WholeNic_ExcludesEverythingOnIt) {
  const auto whole = record("a", R"("host-device")", devices::testing::kNic1);
  have(whole);
  EXPECT_TRUE(book_.find_on(is("nic1"), LinkShare::kWhole, ""));
  EXPECT_TRUE(book_.find_on(is("nic1"), LinkShare::kLent, ""));
  ASSERT_EQ(book_.held().size(), 1U);
  EXPECT_EQ(book_.held().front().name, devices::testing::kNic1);
  EXPECT_EQ(devices::netdev::taken_nic(book_.held().front().plan)->link.name, "nic1");
  auto twin = std::make_shared<dra::ClaimRecord>(*whole);
  twin->claim.uid = "uid-twin";
  const auto conflict = book_.find_conflict(planned(*twin));
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->what, "the link nic1");
}

TEST_F(ClaimBookTest, ParentOfManyInterfaces_IsListedOnce) {
  have(on_eth0("a", "192.0.2.7"));
  have(on_eth0("b", "192.0.2.8"));
  ASSERT_EQ(book_.shared_links({}).size(), 1U);
  EXPECT_EQ(book_.shared_links({}).front().link.name, "eth0");
  EXPECT_EQ(book_.shared_links({"uid-a"}).size(), 1U);
  EXPECT_THAT(book_.shared_links({"uid-a", "uid-b"}), IsEmpty());
  EXPECT_THAT(book_.held(), IsEmpty());
}

TEST_F(ClaimBookTest, NicClaims_HaveTheRecordsPresentState) {
  const auto first = on_eth0("a", "192.0.2.7");
  have(first);
  const auto no_read = []() -> Result<sys::Inventory> {
    ADD_FAILURE() << "the links are in the record";
    return sys::Inventory();
  };
  auto claims = book_.nic_claims(no_read).value();
  ASSERT_EQ(claims.size(), 1U);
  EXPECT_TRUE(claims.front().is_prepared);
  ASSERT_EQ(claims.front().uses.size(), 1U);
  EXPECT_EQ(claims.front().uses.front().link, "eth0");
  auto later = std::make_shared<dra::ClaimRecord>(*first);
  later->state = dra::ClaimState::kUnpreparing;
  have(later);
  claims = book_.nic_claims(no_read).value();
  EXPECT_FALSE(claims.front().is_prepared);
  EXPECT_EQ(claims.front().uses.size(), 1U);
}

/// Whatever changes at once, wherever it is in the list.
TEST_F(ClaimBookTest, AnyChangeOfTheRecords_GivesWhatANewBookWouldHave) {
  std::mt19937 random(20261130);
  std::vector<std::shared_ptr<dra::ClaimRecord>> made;
  for (int i = 0; i < 12; ++i) {
    made.push_back(on_eth0("c" + std::to_string(i), "192.0.2." + std::to_string(10 + i)));
  }
  for (int round = 0; round < 400; ++round) {
    host_.history = round % 40 != 0;  // now and then all records again
    for (int changes = static_cast<int>(random() % 4); changes >= 0; --changes) {
      const auto& one = made.at(random() % made.size());
      const std::string& uid = one->claim.uid;
      if (random() % 2 == 0) {
        host_.records.erase(uid);
      } else {
        auto copy = std::make_shared<dra::ClaimRecord>(*one);
        copy->plan = made.at(random() % made.size())->plan;
        host_.records[uid] = std::move(copy);
      }
    }
    refresh();
    RecordsHost all;
    all.records = host_.records;
    ClaimBook fresh(plans_);
    ASSERT_TRUE(fresh.refresh(all));
    for (const auto& one : made) {
      const std::string& uid = one->claim.uid;
      ASSERT_EQ(book_.has(uid), host_.records.contains(uid)) << round;
      const std::string want = "address 192.0.2." + std::to_string(10 + (&one - made.data()));
      const auto now = book_.find_want(is("eth0"), want, "");
      const auto wanted = fresh.find_want(is("eth0"), want, "");
      ASSERT_EQ(now ? now->claim->uid : "", wanted ? wanted->claim->uid : "") << round;
      ASSERT_EQ(book_.in_pods(one->claim.reserved_for, "").size(),
                fresh.in_pods(one->claim.reserved_for, "").size())
          << round;
    }
    ASSERT_EQ(book_.shared_links({}).size(), fresh.shared_links({}).size()) << round;
  }
}

}  // namespace
}  // namespace fairlead::agent
