// SPDX-License-Identifier: Apache-2.0
// Interfaces that are made by the kernel for a pod.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "fairlead/agent/testing/kernel_fixture.h"

namespace fairlead::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

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

// ---- several of one kind, which are made together

using MadeTogether = MadeLinks;

std::string macvlan(const std::string& name, const std::string& more = "") {
  return R"("macvlan","master":"eth0","interfaceName":")" + name + '"' + more;
}

TEST_F(MadeTogether, EachHasItsOwn) {
  auto record = prepare(
      claim("u1", {{.netdev = macvlan("a0", R"(,"mtu":1400,"addresses":["192.0.2.5/24"])"), .request = "a"},
                   {.netdev = macvlan("b0", R"(,"mac":"02:00:00:00:77:01","addresses":["192.0.2.6/24"])"),
                    .request = "b"},
                   {.netdev = macvlan("c0", R"(,"routes":[{"dst":"10.0.0.0/8"}])"), .request = "c"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link a = link(*pod_.socket, "a0");
  const netlink::Link b = link(*pod_.socket, "b0");
  const netlink::Link c = link(*pod_.socket, "c0");
  EXPECT_EQ(a.mtu, 1400U);
  EXPECT_EQ(b.mac.to_string(), "02:00:00:00:77:01");
  EXPECT_EQ(a.alias, "fairlead:net.example.com:u1/0/made");
  EXPECT_EQ(c.alias, "fairlead:net.example.com:u1/2/made");
  EXPECT_EQ(pod_.socket->addresses(b.index).value().front().prefix.to_string(), "192.0.2.6/24");
  const AttachState state = parse_attach_state(record->prepared.state).value();
  EXPECT_EQ(state.indexes, (std::vector{a.index.value(), b.index.value(), c.index.value()}));
  ASSERT_EQ(state.given.size(), 3U);
  EXPECT_EQ(state.given[0].mac, a.mac.to_string());
  EXPECT_EQ(state.given[0].addresses, std::vector<std::string>{"192.0.2.5/24"});
  EXPECT_EQ(state.given[1].mac, b.mac.to_string());
}

TEST_F(MadeTogether, OneIsMissing_OnlyThatIsMade) {
  auto record = prepare(claim("u1", {{.netdev = macvlan("a0"), .request = "a"},
                                     {.netdev = macvlan("b0"), .request = "b"},
                                     {.netdev = macvlan("c0"), .request = "c"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link a = link(*pod_.socket, "a0");
  const netlink::Link c = link(*pod_.socket, "c0");
  ASSERT_OK(pod_.socket->delete_link(link(*pod_.socket, "b0").index));
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(link(*pod_.socket, "a0"), a);
  EXPECT_EQ(link(*pod_.socket, "c0"), c);
  EXPECT_TRUE(link(*pod_.socket, "b0").is_up());
}

TEST_F(MadeTogether, OneThatTheKernelDoesNotMake_TakesTheOthersAway) {
  auto record = prepare(claim("u1", {{.netdev = macvlan("a0"), .request = "a"},
                                     {.netdev = macvlan("b0", R"(,"mtu":1450)"), .request = "b"},
                                     {.netdev = macvlan("c0"), .request = "c"}}));
  ASSERT_OK(record);
  ASSERT_OK(node_->change_link(link(*node_, "eth0").index, {.mtu = 1400}));
  const auto refused = attach(*record, pod_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(),
              StartsWith("interface b0 (request b): the kernel does not make the macvlan with the MTU 1450"));
  EXPECT_EQ(names(*pod_.socket), std::vector<std::string>{"lo"});
}

TEST_F(MadeTogether, OneThatCannotBeConfigured_TakesTheOthersAway) {
  ASSERT_OK(pod_.socket->set_up(link(*pod_.socket, "lo").index));
  ASSERT_OK(pod_.socket->add_route(
      {.destination = *netlink::IpPrefix::parse("10.0.0.0/8"), .link = link(*pod_.socket, "lo").index}));
  auto record =
      prepare(claim("u1", {{.netdev = macvlan("a0"), .request = "a"},
                           {.netdev = macvlan("b0", R"(,"routes":[{"dst":"10.0.0.0/8"}])"), .request = "b"},
                           {.netdev = macvlan("c0"), .request = "c"}}));
  ASSERT_OK(record);
  const auto refused = attach(*record, pod_);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), StartsWith("interface b0 (request b): the route to 10.0.0.0/8"));
  EXPECT_EQ(names(*pod_.socket), std::vector<std::string>{"lo"});
}

TEST_F(MadeTogether, AfterAProcessThatWasKilledAtTheirBirth_AreMadeAnew) {
  auto record = prepare(
      claim("u1", {{.netdev = macvlan("a0"), .request = "a"}, {.netdev = macvlan("b0"), .request = "b"}}));
  ASSERT_OK(record);
  for (std::size_t i = 0; i < 2; ++i) {
    const devices::Marker marker{.driver = "net.example.com", .claim_uid = "u1", .index = i};
    ASSERT_OK(node_->create_link({.name = i == 0 ? "a0" : "b0",
                                  .kind = netlink::Macvlan{.parent = link(*node_, "eth0").index},
                                  .netns = pod_.netns.get(),
                                  .group = marker.birth_group()}));
  }
  const netlink::Link half_born = link(*pod_.socket, "b0");
  ASSERT_OK(attach(*record, pod_));
  EXPECT_NE(link(*pod_.socket, "b0").index, half_born.index);
  EXPECT_EQ(link(*pod_.socket, "b0").alias, "fairlead:net.example.com:u1/1/made");
  EXPECT_EQ(link(*pod_.socket, "b0").group, 0U);
}

/// A default route goes behind those that are there, also of the claim's other interfaces.
TEST_F(MadeTogether, DefaultRoutes_GoOneBehindTheOther) {
  const auto with_default = [](const std::string& name, const std::string& network) {
    return macvlan(name, R"(,"addresses":[")" + network + R"(.5/24"],"routes":[{"dst":"0.0.0.0/0","gw":")" +
                             network + R"(.1"}])");
  };
  auto record = prepare(claim("u1", {{.netdev = with_default("a0", "192.0.2"), .request = "a"},
                                     {.netdev = macvlan("b0"), .request = "b"},
                                     {.netdev = with_default("c0", "198.51.100"), .request = "c"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  std::map<std::int32_t, std::uint32_t> metrics;
  const auto routes = pod_.socket->routes(netlink::kMainTable).value();
  for (const netlink::Route& route : routes) {
    if (route.destination.is_default() && !route.destination.is_v6()) {
      metrics[route.hops.front().link.value()] = route.metric;
    }
  }
  ASSERT_EQ(metrics.size(), 2U);
  EXPECT_EQ(metrics[link(*pod_.socket, "a0").index.value()] + 1,
            metrics[link(*pod_.socket, "c0").index.value()]);
}

}  // namespace
}  // namespace fairlead::agent
