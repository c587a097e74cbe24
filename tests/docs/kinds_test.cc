// SPDX-License-Identifier: Apache-2.0
// The examples of docs/kinds.md do what the page says: they are the code in the page; a claim of the one kind gets a
// bridge in its pod, one of the other a device that its kind offers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/devices/offers.h"
#include "fairlead/sys/facts/node_facts.h"
#include "fairlead/sys/files.h"
#include "tests/docs/pod_bridge.h"
#include "tests/docs/rdma_cm.h"

namespace fairlead::agent {
namespace {

using ::testing::HasSubstr;

std::string source(const std::string& path) {
  auto text = sys::read_file(std::string(FAIRLEAD_SOURCE) + "/" + path);
  EXPECT_TRUE(text) << text.error().what();
  return text ? *std::move(text) : "";
}

TEST(KindsPage, ShowsTheExamplesAsTheyAreBuilt) {
  for (const char* example : {"tests/docs/pod_bridge.h", "tests/docs/rdma_cm.h"}) {
    const std::string code = source(example);
    ASSERT_FALSE(code.empty()) << example;
    EXPECT_THAT(source("docs/kinds.md"), HasSubstr("```cpp\n" + code + "```\n")) << example;
  }
}

class KindsExample : public KernelTest {
 protected:
  KindsExample() { registry_.add(std::make_unique<devices::netdev::PodBridgeKind>()); }
};

TEST_F(KindsExample, ClaimGetsABridgeInItsPod_AndItGoes) {
  ASSERT_TRUE(kinds_.contains("bridge")) << "the kernel that runs the tests has bridges";
  auto record =
      prepare(claim("u1", {{R"("bridge","interfaceName":"lan0","addresses":["192.0.2.1/24"],"mtu":1400)"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link made = link(*pod_.socket, "lan0");
  EXPECT_EQ(made.kind, "bridge");
  EXPECT_EQ(made.mtu, 1400U);
  EXPECT_TRUE(made.is_up());
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(names(*pod_.socket), std::vector<std::string>{"lo"});
}

TEST_F(KindsExample, MistakeIsToldInTheClaimsWords) {
  const auto refused = driver_->plan(claim("u1", {{R"("bridge","master":"eth0")"}}));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("netdev.master: belongs to kind"));
}

/// Two functions with RDMA devices, one of them a PF that has VFs, and one without.
sys::NodeFacts facts() {
  return sys::NodeFacts(sys::Inventory(),
                        {{.pci = {.bdf = "0000:03:00.0"}, .rdma_devices = {"mlx5_0"}},
                         {.pci = {.bdf = "0000:03:00.1", .sriov_num_vfs = 4}, .rdma_devices = {"mlx5_1"}},
                         {.pci = {.bdf = "0000:04:00.0"}}});
}

TEST(RdmaExample, OffersFunctionsWithAnRdmaDevice) {
  devices::Registry kinds;
  kinds.add(std::make_unique<devices::RdmaCmKind>());
  const sys::NodeFacts node = facts();
  const devices::Offers offers = kinds.offers({.facts = &node});
  ASSERT_EQ(offers.devices.size(), 2U);
  EXPECT_EQ(offers.devices[1].withheld.value().reason, "vfs");
  const auto published = devices::published_devices(offers, {});
  ASSERT_EQ(published.size(), 1U);
  EXPECT_EQ(published[0].name, "rdma-0000-03-00-0");
}

TEST(RdmaExample, ClaimThatWasAllocatedOne_GetsItsDeviceNode) {
  devices::Registry kinds = devices::all_kinds();
  kinds.add(std::make_unique<devices::RdmaCmKind>());
  const sys::NodeFacts node = facts();
  const devices::NodeOptions options;
  const devices::NodeView links(node.inventory(), options);
  dra::AllocatedDevice allocated{.request = "hca", .pool = "node-a", .device = "rdma-0000-03-00-0"};
  const auto plan = kinds.plan({.device = &allocated, .node = &links, .facts = &node}, {});
  ASSERT_OK(plan);
  EXPECT_EQ(plan->key, "rdma-0000-03-00-0");
  ClaimPlan claim_plan{.devices = {*plan}};
  const auto again = parse_claim_plan(to_json(claim_plan), kinds);
  ASSERT_OK(again);
  FakeHost host;
  Attacher attacher(kinds, options, host);
  const auto edits = attacher.prepare(std::make_shared<const ClaimPlan>(*again), "u1", {"FAIRLEAD_FAST_HCA"});
  ASSERT_OK(edits);
  EXPECT_EQ(edits->at(0).env, std::vector<std::string>{"FAIRLEAD_FAST_HCA=mlx5_0"});
  EXPECT_EQ(edits->at(0).device_nodes.at(0).path, "/dev/infiniband/rdma_cm");
  allocated.device = "rdma-0000-09-00-0";
  const auto gone = kinds.plan({.device = &allocated, .node = &links, .facts = &node}, {});
  EXPECT_FALSE(gone) << "no such function";
  allocated.device = "rdma-0000-03-00-1";
  const auto denied = kinds.plan({.device = &allocated, .node = &links, .facts = &node}, {});
  ASSERT_FALSE(denied);
  EXPECT_THAT(denied.error().what(), HasSubstr("it is a physical function"));
}

}  // namespace
}  // namespace fairlead::agent
