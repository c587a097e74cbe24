// SPDX-License-Identifier: Apache-2.0
// Interfaces that are made by the kernel for a pod.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/agent/testing/kernel_fixture.h"

namespace fairlead::agent {
namespace {

using ::testing::HasSubstr;

class MadeLinks : public KernelTest {
 protected:
  /// Skips the test where the kernel has no such links.
  bool has(const std::string& kind) const { return kinds_.contains(kind); }

  /// Attached, attached once more, and gone.
  void expect_life(dra::ClaimRecord& record, const std::function<void(const netlink::Link&)>& expect) {
    ASSERT_OK(attach(record, pod_));
    const netlink::Link made = link(*pod_.socket, "data0");
    expect(made);
    EXPECT_TRUE(made.is_up());
    ASSERT_OK(attach(record, pod_));
    EXPECT_EQ(link(*pod_.socket, "data0").index, made.index) << "what is there stays";
    ASSERT_OK(driver_->unprepare(record, {}));
    EXPECT_EQ(names(*pod_.socket), std::vector<std::string>{"lo"});
  }
};

TEST_F(MadeLinks, Ipvlan) {
  if (!has("ipvlan")) {
    GTEST_SKIP() << "this kernel has no ipvlan links";
  }
  auto record = prepare(claim("u1", {{R"("ipvlan","interfaceName":"data0","master":"eth0","mode":"l3s",)"
                                      R"("flag":"private","mtu":1400,"addresses":["192.0.2.5/24"])"}}));
  ASSERT_OK(record);
  expect_life(*record, [&](const netlink::Link& made) {
    EXPECT_EQ(made.kind, "ipvlan");
    ASSERT_NE(made.as<netlink::Ipvlan>(), nullptr);
    EXPECT_EQ(made.as<netlink::Ipvlan>()->mode, netlink::IpvlanMode::kL3s);
    EXPECT_EQ(made.as<netlink::Ipvlan>()->flag, netlink::IpvlanFlag::kPrivate);
    EXPECT_EQ(made.mac, link(*node_, "eth0").mac);
    EXPECT_EQ(made.mtu, 1400U);
  });
}

/// In another network namespace, where the node cannot see it: the kernel's refusal, in the claim's words.
TEST_F(MadeLinks, Ipvlan_BesideAMacvlanThatTheNodeCannotSee) {
  if (!has("ipvlan")) {
    GTEST_SKIP() << "this kernel has no ipvlan links";
  }
  auto record = prepare(claim("u1", {{R"("ipvlan","master":"eth0")"}}));
  ASSERT_OK(record);
  const Pod other = make_pod();
  ASSERT_OK(node_->create_link({.name = "hidden",
                                .kind = netlink::Macvlan{.parent = link(*node_, "eth0").index},
                                .netns = other.netns.get()}));
  const auto refused = attach(*record, pod_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("has no room for an ipvlan"));
  EXPECT_EQ(names(*pod_.socket), std::vector<std::string>{"lo"});
}

TEST_F(MadeLinks, Vlan) {
  if (!has("vlan")) {
    GTEST_SKIP() << "this kernel has no vlan links";
  }
  auto record = prepare(claim(
      "u1", {{R"("vlan","interfaceName":"data0","master":"eth0","vlanId":7,"vlanProto":"802.1ad",)"
              R"("ingressQosMap":["5:1"],"egressQosMap":["1:5"],"mac":"02:00:00:00:77:01","mtu":1400)"}}));
  ASSERT_OK(record);
  expect_life(*record, [&](const netlink::Link& made) {
    EXPECT_EQ(made.kind, "vlan");
    const auto* vlan = made.as<netlink::Vlan>();
    ASSERT_NE(vlan, nullptr);
    EXPECT_EQ(vlan->id, 7);
    EXPECT_EQ(vlan->protocol, netlink::VlanProtocol::k8021ad);
    EXPECT_EQ(vlan->ingress_qos, (std::map<std::uint32_t, std::uint32_t>{{5, 1}}));
    EXPECT_EQ(vlan->egress_qos, (std::map<std::uint32_t, std::uint32_t>{{1, 5}}));
    EXPECT_EQ(made.mac.to_string(), "02:00:00:00:77:01");
    EXPECT_EQ(made.mtu, 1400U);
  });
}

TEST_F(MadeLinks, Vlan_ThatAnotherPodHas_WhereTheNodeCannotSeeIt) {
  if (!has("vlan")) {
    GTEST_SKIP() << "this kernel has no vlan links";
  }
  auto record = prepare(claim("u1", {{R"("vlan","master":"eth0","vlanId":7)"}}));
  ASSERT_OK(record);
  const Pod other = make_pod();
  ASSERT_OK(node_->create_link({.name = "hidden",
                                .kind = netlink::Vlan{.parent = link(*node_, "eth0").index, .id = 7},
                                .netns = other.netns.get()}));
  const auto refused = attach(*record, pod_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("the VLAN 7 (802.1q) is taken on the master \"eth0\""));
  EXPECT_EQ(names(*pod_.socket), std::vector<std::string>{"lo"});
}

}  // namespace
}  // namespace fairlead::agent
