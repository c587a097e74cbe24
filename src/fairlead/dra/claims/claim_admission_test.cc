// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_admission.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <memory>
#include <string>
#include <vector>

#include "fairlead/sys/files.h"

namespace fairlead::dra {
namespace {

/// Notes what changed before each admission.
class IndexingDriver final : public Driver {
 public:
  Result<std::vector<Pool>> discover() override { return std::vector<Pool>{}; }
  Result<std::string> plan(const Claim& claim) override { return "plan of " + claim.uid; }
  Result<std::unique_ptr<Admission>> begin_admission(const ClaimRecord& record, const RecordSource& records,
                                                     const CallContext& /*context*/) override {
    FL_ASSIGN(const auto changes, records.changes_since(generation_));
    generation_ = changes.generation;
    seen = record.claim.uid + ":" + (changes.all ? " all" : "");
    for (const RecordPtr& changed : changes.changed) {
      seen += " " + changed->claim.uid;
    }
    for (const std::string& uid : changes.removed) {
      seen += " -" + uid;
    }
    return nullptr;
  }
  Result<Prepared> prepare(const Claim&, const std::string&, const CallContext&) override {
    return Prepared{};
  }
  Result<> unprepare(const ClaimRecord&, const CallContext&) override { return {}; }

  std::string seen;

 private:
  std::uint64_t generation_ = 0;
};

/// One of the instances that share a node's records.
struct Instance {
  explicit Instance(const std::string& dir)
      : store(*ClaimStore::open({.state_dir = dir, .boot_id = "boot"})), admission(driver, *store) {}

  std::string admit(const std::string& uid, const std::string& device) {
    ClaimRecord record;
    record.claim = {.namespace_ = "default",
                    .name = uid,
                    .uid = uid,
                    .reserved_for = {},
                    .devices = {{.request = "req", .pool = "node", .device = device}}};
    const auto admitted = admission.plan_and_admit(record, {});
    return admitted ? "ok" : admitted.error().what();
  }

  IndexingDriver driver;
  std::unique_ptr<ClaimStore> store;
  ClaimAdmission admission;
};

class ClaimAdmissionTest : public ::testing::Test {
 protected:
  ClaimAdmissionTest() { EXPECT_NE(::mkdtemp(dir_.data()), nullptr); }
  ~ClaimAdmissionTest() override { (void)sys::remove_tree(dir_); }

  std::string dir_ = "/tmp/fl-admission-XXXXXX";
};

TEST_F(ClaimAdmissionTest, TheDriverGetsWhatAnyInstanceHasChanged) {
  Instance one(dir_);
  Instance two(dir_);
  EXPECT_EQ(one.admit("a", "nic1"), "ok");
  EXPECT_EQ(one.driver.seen, "a: all");
  EXPECT_EQ(two.admit("b", "nic2"), "ok");
  EXPECT_EQ(two.driver.seen, "b: all a");
  EXPECT_EQ(one.admit("c", "nic3"), "ok");
  EXPECT_EQ(one.driver.seen, "c: a b");
  ASSERT_TRUE(two.store->remove("a"));
  EXPECT_EQ(one.admit("d", "nic4"), "ok");
  EXPECT_EQ(one.driver.seen, "d: c -a");
}

TEST_F(ClaimAdmissionTest, ADeviceIsTakenByAClaimOfAnyInstance) {
  Instance one(dir_);
  Instance two(dir_);
  EXPECT_EQ(one.admit("a", "nic"), "ok");
  EXPECT_NE(two.admit("b", "nic").find("is in use by claim default/a"), std::string::npos);
  EXPECT_EQ(two.driver.seen, "") << "the driver is not called for it";
  EXPECT_EQ(two.store->read("b").value(), nullptr);
  ASSERT_TRUE(one.store->remove("a"));
  EXPECT_EQ(two.admit("b", "nic"), "ok");
  EXPECT_EQ((*two.store->read("b"))->plan, "plan of b");
}

}  // namespace
}  // namespace fairlead::dra
