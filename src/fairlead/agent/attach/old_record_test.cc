// SPDX-License-Identifier: Apache-2.0
// A record that version 0.1 wrote (testdata/claim-0.1.json): a NIC "nic1" in a pod, and a macvlan on the NIC
// "nic2". Both were allocated by the names of their links.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/dra/claims/claim_store.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/testing/sysfs_tree.h"
#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::agent {
namespace {

using sys::testing_support::TemporaryFolder;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

constexpr const char* kUid = "0b1c2d3e-0000-4000-8000-000000000001";

class OldRecord : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    const auto text = sys::read_file(FAIRLEAD_TESTDATA "/claim-0.1.json");
    ASSERT_OK(text);
    ASSERT_OK(sys::make_dirs(state_.path().string() + "/claims"));
    ASSERT_OK(sys::replace_file(state_.path().string() + "/claims", std::string(kUid) + ".json", *text));
    auto store = dra::ClaimStore::open({.state_dir = state_.path().string(), .boot_id = "boot-1"});
    ASSERT_OK(store);
    const auto record = (*store)->read(kUid);
    ASSERT_OK(record);
    ASSERT_TRUE(*record);
    record_ = **record;
    records_ = {record_};
    add_nic("nic2");
  }

  void add_nic(const std::string& name) {
    ASSERT_OK(node_->create_link(
        {.name = name, .kind = netlink::Veth{.peer = {.name = "cable-of-" + name, .up = true}}, .up = true}));
  }

  std::map<std::string, dra::Device> published() {
    std::map<std::string, dra::Device> out;
    const auto pools = driver_->discover().value();
    for (const dra::Device& device : pools.front().devices) {
      EXPECT_TRUE(out.emplace(device.name, device).second) << device.name;
    }
    return out;
  }
  std::vector<std::string> published_names() {
    std::vector<std::string> out;
    for (const auto& [name, device] : published()) {
      out.push_back(name);
    }
    return out;
  }

  TemporaryFolder state_;
  dra::ClaimRecord record_;
};

TEST_F(OldRecord, IsReadAndPublishedByTheNamesOfItsAllocation) {
  EXPECT_EQ(record_.state, dra::ClaimState::kPrepared);
  EXPECT_EQ(record_.claim.name, "fast");
  EXPECT_THAT(published_names(), ElementsAre("netdev-virtual", "nic1", "nic2"));
  const dra::Device nic1 = published().at("nic1");
  EXPECT_EQ(nic1.attributes.at("resource.kubernetes.io/pciBusID"), dra::AttributeValue("0000:03:00.1"));
  records_.clear();
  EXPECT_THAT(published_names(), ElementsAre("netdev-virtual", "nic2"));
}

TEST_F(OldRecord, HoldsItsNic_WhateverANewerClaimCallsIt) {
  const auto identities = driver_->identities(record_);
  ASSERT_EQ(identities.size(), 2U);
  EXPECT_EQ(identities[0].key, "pci-0000-03-00-1");
  // Nothing but what is known to be permanent: whether it is a VF the record does not say.
  EXPECT_EQ(identities[0].data, R"({"identity":{"name":"pci-0000-03-00-1","pciBusID":"0000:03:00.1"}})");
  EXPECT_EQ(identities[1].key, "nic2");
}

TEST_F(OldRecord, OfANewerClaim_SaysTheSame) {
  add_nic("nic3");
  auto record = prepare(claim(
      "u1", {{.netdev = R"("host-device")", .device = "nic3"}, {.netdev = R"("veth")", .request = "other"}}));
  ASSERT_OK(record);
  const auto identities = driver_->identities(*record);
  ASSERT_EQ(identities.size(), 2U);
  EXPECT_EQ(identities[0].key, "nic3");
  EXPECT_EQ(identities[0].data, R"({"identity":{"name":"nic3"}})");
  EXPECT_EQ(identities[1].key, "");
  EXPECT_EQ(identities[1].data, "");
}

TEST_F(OldRecord, IsAttachedAndUnprepared) {
  // The NIC of the record is not on this machine; a veth with its index and MAC stands for it.
  ASSERT_OK(node_->create_link({.name = "nic1",
                                .kind = netlink::Veth{.peer = {.name = "cable", .up = true}},
                                .mac = *netlink::MacAddress::parse("02:00:00:00:00:03"),
                                .up = true}));
  const auto before = node_names();
  std::string index = std::to_string(link(*node_, "nic1").index.value());
  const auto rewrite = [&](const std::string& from, const std::string& to) {
    const auto at = record_.plan.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    record_.plan.replace(at, from.size(), to);
  };
  rewrite(R"(\"ifindex\":3,\"kind\":\"\")", R"(\"ifindex\":)" + index + R"(,\"kind\":\"veth\")");
  rewrite(
      R"(\"parentBus\":\"pci\",\"parentDev\":\"0000:03:00.1\",\"pci\":{\"bdf\":\"0000:03:00.1\",)"
      R"(\"device\":4297,\"driver\":\"igb\",\"numaNode\":1,\"pcieRoot\":\"pci0000:00\",\"vendor\":32902},)"
      R"(\"permanentMac\":\"02:00:00:00:00:03\")",
      R"(\"parentBus\":\"\",\"parentDev\":\"\",\"permanentMac\":\"\")");
  ASSERT_OK(attach(record_, pod_));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("data0", "lo", "net1"));
  EXPECT_THAT(node_names(), Not(Contains("nic1")));
  records_ = {record_};
  EXPECT_THAT(published_names(), ElementsAre("netdev-virtual", "nic1", "nic2"));
  ASSERT_OK(driver_->unprepare(record_, {}));
  EXPECT_EQ(node_names(), before);
  EXPECT_EQ(link(*node_, "nic1").mtu, 1500);
}

}  // namespace
}  // namespace fairlead::agent
