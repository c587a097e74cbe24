// SPDX-License-Identifier: Apache-2.0
// What an interface's network settings become in a pod that has a network already, against the running
// kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "fairlead/agent/attach/attach.h"
#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/devices/netdev/common.h"
#include "fairlead/dra/reports/pod_events.h"
#include "fairlead/sys/sysctl.h"

namespace fairlead::agent {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

netlink::IpAddress ip(const std::string& text) { return netlink::IpAddress::parse(text).value(); }
netlink::IpPrefix prefix(const std::string& text) { return netlink::IpPrefix::parse(text).value(); }

/// Routes of a pod, as "default via 192.0.2.1 dev data0 metric 1024", in the order in which the kernel tries
/// them.
std::vector<std::string> routes_to(netlink::Socket& socket, const std::string& destination,
                                   std::uint32_t table = netlink::kMainTable) {
  auto routes = socket.routes(table).value();
  std::ranges::stable_sort(routes, {}, &netlink::Route::metric);
  std::vector<std::string> out;
  for (const netlink::Route& route : routes) {
    if (route.destination == prefix(destination)) {
      const netlink::NextHop& hop = route.hops.at(0);
      out.push_back((hop.gateway ? "via " + hop.gateway->to_string() + " " : "") + "dev " +
                    socket.link(hop.link).value()->name + " metric " + std::to_string(route.metric));
    }
  }
  return out;
}

/// A pod with the network of a cluster: eth0 and default routes.
class AttachNetwork : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) {
      give_cluster_network(pod_);
    }
  }

  void give_cluster_network(const Pod& pod) {
    const int number = ++pods_;
    ASSERT_OK(pod.socket->create_link(
        {.name = "eth0",
         .kind = netlink::Veth{
             .peer = {.name = "pod" + std::to_string(number), .netns = node_netns_.get(), .up = true}}}));
    const netlink::IfIndex eth0 = link(*pod.socket, "eth0").index;
    ASSERT_OK(pod.socket->add_address({.link = eth0, .prefix = prefix("10.244.0.5/24")}));
    ASSERT_OK(pod.socket->add_address({.link = eth0, .prefix = prefix("fd00:244::5/64")}));
    ASSERT_OK(pod.socket->set_up(eth0));
    ASSERT_OK(pod.socket->add_route(
        {.destination = prefix("0.0.0.0/0"), .gateway = ip("10.244.0.1"), .link = eth0}));
    ASSERT_OK(
        pod.socket->add_route({.destination = prefix("::/0"), .gateway = ip("fd00:244::1"), .link = eth0}));
  }

  Result<dra::ClaimRecord> macvlan(const std::string& uid, const std::string& name,
                                   const std::string& fields) {
    return prepare(claim(uid, {{R"("macvlan","master":"eth0","interfaceName":")" + name + "\"," + fields}}));
  }

 private:
  int pods_ = 0;
};

constexpr auto kDefaults = R"("addresses":["192.0.2.10/24","2001:db8::10/64"],
    "routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1"},{"dst":"::/0","gw":"2001:db8::1"}])";

TEST_F(AttachNetwork, DefaultRouteWithoutMetric_GoesBehindTheClusters) {
  auto record = macvlan("u1", "data0", kDefaults);
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const auto v4 = ElementsAre("via 10.244.0.1 dev eth0 metric 0", "via 192.0.2.1 dev data0 metric 1024");
  const auto v6 =
      ElementsAre("via fd00:244::1 dev eth0 metric 1024", "via 2001:db8::1 dev data0 metric 2048");
  EXPECT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"), v4);
  EXPECT_THAT(routes_to(*pod_.socket, "::/0"), v6);
  ASSERT_OK(attach(*record, pod_));
  EXPECT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"), v4);
  EXPECT_THAT(routes_to(*pod_.socket, "::/0"), v6);
}

TEST_F(AttachNetwork, DefaultRoutesOfTwoClaims_GoOneBehindTheOther) {
  auto first = macvlan("u1", "data0", kDefaults);
  auto second = macvlan("u2", "data1", R"("addresses":["198.51.100.10/24"],
      "routes":[{"dst":"0.0.0.0/0","gw":"198.51.100.1"}])");
  ASSERT_OK(first);
  ASSERT_OK(second);
  for (int again = 0; again < 2; ++again) {
    ASSERT_OK(attach(*first, pod_));
    ASSERT_OK(attach(*second, pod_));
    EXPECT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"),
                ElementsAre("via 10.244.0.1 dev eth0 metric 0", "via 192.0.2.1 dev data0 metric 1024",
                            "via 198.51.100.1 dev data1 metric 1025"));
  }
}

TEST_F(AttachNetwork, DefaultRouteWithTheClustersMetric_TakesItsPlace) {
  auto record = macvlan("u1", "data0", R"("addresses":["192.0.2.10/24","2001:db8::10/64"],
      "routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","metric":0},{"dst":"::/0","gw":"2001:db8::1","metric":1024}])");
  ASSERT_OK(record);
  for (int again = 0; again < 2; ++again) {
    ASSERT_OK(attach(*record, pod_));
    EXPECT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"),
                ElementsAre("via 192.0.2.1 dev data0 metric 0", "via 10.244.0.1 dev eth0 metric 1024"));
    EXPECT_THAT(routes_to(*pod_.socket, "::/0"),
                ElementsAre("via 2001:db8::1 dev data0 metric 1024", "via fd00:244::1 dev eth0 metric 2048"));
  }
}

TEST_F(AttachNetwork, ClustersRouteThatMakesRoom_GoesBehindThoseOfOtherClaims) {
  auto first = macvlan("u1", "data0", kDefaults);
  auto second = macvlan("u2", "data1", R"("addresses":["198.51.100.10/24"],
      "routes":[{"dst":"0.0.0.0/0","gw":"198.51.100.1","metric":0}])");
  auto third = macvlan("u3", "data2", R"("addresses":["203.0.113.10/24"],
      "routes":[{"dst":"0.0.0.0/0","gw":"203.0.113.1","metric":0}])");
  ASSERT_OK(first);
  ASSERT_OK(second);
  ASSERT_OK(third);
  const auto expected =
      ElementsAre("via 198.51.100.1 dev data1 metric 0", "via 192.0.2.1 dev data0 metric 1024",
                  "via 10.244.0.1 dev eth0 metric 1025");
  ASSERT_OK(attach(*first, pod_));
  ASSERT_OK(attach(*second, pod_));
  EXPECT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"), expected);
  // A route of another claim makes room for nobody.
  const auto refused = attach(*third, pod_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what(),
            "interface data2 (request nic): the route to 0.0.0.0/0 with the metric 0 is in the pod already "
            "through data1; give the one of the claim another metric");
  EXPECT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"), expected);
}

TEST_F(AttachNetwork, DefaultRouteWithAnotherMetric_LeavesTheClustersAlone) {
  auto record = macvlan("u1", "data0", R"("addresses":["192.0.2.10/24"],
      "routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","metric":7}])");
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  EXPECT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"),
              ElementsAre("via 10.244.0.1 dev eth0 metric 0", "via 192.0.2.1 dev data0 metric 7"));
}

TEST_F(AttachNetwork, ClustersRouteThatMadeRoom_IsBackAfterAFailedAttach) {
  ASSERT_OK(pod_.socket->add_route({.destination = prefix("10.0.0.0/8"),
                                    .gateway = ip("10.244.0.1"),
                                    .link = link(*pod_.socket, "eth0").index}));
  auto record = macvlan("u1", "data0", R"("addresses":["192.0.2.10/24"],
      "routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","metric":0},{"dst":"10.0.0.0/8","gw":"192.0.2.1"}])");
  ASSERT_OK(record);
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code(), Code::kExists);
  EXPECT_EQ(attached.error().what(),
            "interface data0 (request nic): the route to 10.0.0.0/8 with the metric 0 is in the pod already "
            "through eth0; give the one of the claim another metric");
  EXPECT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"), ElementsAre("via 10.244.0.1 dev eth0 metric 0"));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("eth0", "lo"));
}

TEST_F(AttachNetwork, ClustersRouteThatMadeRoom_IsBackWhenAnotherDeviceFails) {
  auto record = prepare(claim("u1", {{.netdev = R"("macvlan","master":"eth0","interfaceName":"data0",
      "addresses":["192.0.2.10/24"],"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","metric":0}])",
                                      .request = "a"},
                                     {.netdev = R"("veth","interfaceName":"eth0")", .request = "b"}}));
  ASSERT_OK(record);
  ASSERT_FALSE(attach(*record, pod_));
  EXPECT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"), ElementsAre("via 10.244.0.1 dev eth0 metric 0"));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("eth0", "lo"));
}

TEST_F(AttachNetwork, RouteThatLeadsToAGateway_GoesFirst_WhereverItIsWritten) {
  auto record = macvlan("u1", "data0", R"("addresses":["192.0.2.10/32"],
      "routes":[{"dst":"10.0.0.0/8","gw":"198.51.100.1"},{"dst":"198.51.100.1/32"},
                {"dst":"172.16.0.0/12","gw":"203.0.113.1","onlink":true}])");
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  EXPECT_THAT(routes_to(*pod_.socket, "10.0.0.0/8"), ElementsAre("via 198.51.100.1 dev data0 metric 0"));
  EXPECT_THAT(routes_to(*pod_.socket, "172.16.0.0/12"), ElementsAre("via 203.0.113.1 dev data0 metric 0"));
}

/// Kernels before 6.15 look for the name in the node's namespace, too.
TEST_F(AttachNetwork, NameThatALinkOfTheNodeHas_IsFreeInThePod) {
  ASSERT_OK(node_->create_link({.name = "data0", .kind = netlink::Bridge{}}));
  for (const char* fields :
       {R"("macvlan","master":"eth0","interfaceName":"data0")", R"("veth","interfaceName":"data0")"}) {
    const Pod pod = make_pod();
    auto record = prepare(claim("u1", {{.netdev = fields}}));
    ASSERT_OK(record);
    ASSERT_OK(attach(*record, pod));
    EXPECT_THAT(names(*pod.socket), ElementsAre("data0", "lo"));
    ASSERT_OK(driver_->unprepare(*record, {}));
  }
}

TEST_F(AttachNetwork, RouteWithTableScopeAndSource) {
  auto record = macvlan("u1", "data0", R"("addresses":["192.0.2.10/24","192.0.2.11/24"],
      "routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","table":100,"src":"192.0.2.11"},
                {"dst":"10.0.0.0/8","scope":"global","metric":5},{"dst":"10.1.0.0/16","scope":"host"},
                {"dst":"10.2.0.0/16","gw":"192.0.2.1","scope":"site"}])");
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  EXPECT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"), ElementsAre("via 10.244.0.1 dev eth0 metric 0"));
  const auto routes = pod_.socket->routes(100).value();
  ASSERT_EQ(routes.size(), 1U);
  EXPECT_EQ(routes[0].metric, 0U);
  EXPECT_EQ(routes[0].source, ip("192.0.2.11"));
  const auto main = pod_.socket->routes(netlink::kMainTable).value();
  const auto ten = std::ranges::find(main, prefix("10.0.0.0/8"), &netlink::Route::destination);
  ASSERT_NE(ten, main.end());
  EXPECT_EQ(ten->scope, 0);
  EXPECT_THAT(routes_to(*pod_.socket, "10.1.0.0/16"), ElementsAre("dev data0 metric 0"));
  EXPECT_THAT(routes_to(*pod_.socket, "10.2.0.0/16"), ElementsAre("via 192.0.2.1 dev data0 metric 0"));
  EXPECT_EQ(ten->metric, 5U);
}

/// Only the kernel knows: the other interface is none of ours, and came after Prepare.
TEST_F(AttachNetwork, MacThatIsTakenOnTheMaster_IsOneSentenceForTheAuthor) {
  auto record = macvlan("u1", "data0", R"("mac":"02:00:00:00:00:0a")");
  ASSERT_OK(record);
  ASSERT_OK(node_->create_link({.name = "other0",
                                .kind = netlink::Macvlan{.parent = link(*node_, "eth0").index},
                                .mac = *netlink::MacAddress::parse("02:00:00:00:00:0a"),
                                .up = true}));
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_TRUE(dra::is_for_the_author(attached.error().code()));
  EXPECT_EQ(attached.error().what(),
            "interface data0 (request nic): the MAC address 02:00:00:00:00:0a is taken on eth0, by that link "
            "itself or by another interface on it; take another, or leave mac out to get one");
  EXPECT_THAT(names(*pod_.socket), ElementsAre("eth0", "lo"));
}

/// What is refused at Prepare by now, as a record of an older version, or another kernel, may still have it.
struct Refusal {
  const char* name;
  const char* netdev;
  const char* good;  // in the plan, and
  const char* bad;   // what stands there instead
  const char* says;
  const char* device = "netdev-virtual";
};

class WhatTheKernelRefuses : public AttachNetwork, public ::testing::WithParamInterface<Refusal> {};

TEST_P(WhatTheKernelRefuses, IsOneSentenceForTheAuthor) {
  const Refusal& refusal = GetParam();
  ASSERT_OK(node_->create_link({.name = "nic1", .kind = netlink::Veth{.peer = {.name = "cable"}}}));
  auto record = prepare(claim("u1", {{.netdev = refusal.netdev, .device = refusal.device}}));
  ASSERT_OK(record);
  const std::size_t at = record->plan.find(refusal.good);
  ASSERT_NE(at, std::string::npos) << record->plan;
  record->plan.replace(at, std::strlen(refusal.good), refusal.bad);
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_TRUE(dra::is_for_the_author(attached.error().code())) << to_string(attached.error().code());
  EXPECT_THAT(attached.error().what(), StartsWith(refusal.says));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("eth0", "lo"));
}

INSTANTIATE_TEST_SUITE_P(
    Claims, WhatTheKernelRefuses,
    ::testing::Values(
        Refusal{"Address", R"("veth","interfaceName":"data0","addresses":["2001:db8::10/64"])",
                "2001:db8::10/64", "::1/128",
                "interface data0 (request nic): the kernel does not take the address ::1/128: "},
        Refusal{"Mac", R"("veth","interfaceName":"data0","mac":"02:00:00:00:00:0a")", "02:00:00:00:00:0a",
                "03:00:00:00:00:0a",
                "interface data0 (request nic): the kernel does not make the veth with the MAC address "
                "03:00:00:00:00:0a: "},
        Refusal{"Mtu", R"("veth","interfaceName":"data0","mtu":1400)", "1400", "99999",
                "interface data0 (request nic): the kernel does not make the veth with the MTU 99999: "},
        Refusal{"MacOfANic", R"("host-device","interfaceName":"data0","mac":"02:00:00:00:00:0a")",
                "02:00:00:00:00:0a", "03:00:00:00:00:0a",
                "interface data0 (request nic): the kernel does not give the NIC nic1 the MAC address "
                "03:00:00:00:00:0a that the claim asks for: ",
                "nic1"},
        Refusal{"MtuOfANic", R"("host-device","interfaceName":"data0","mtu":1400)", R"(mtu":1400)",
                R"(mtu":99999)",
                "interface data0 (request nic): the kernel does not give the NIC nic1 the MTU 99999 that the "
                "claim "
                "asks for: ",
                "nic1"},
        Refusal{"Route",
                R"("veth","interfaceName":"data0","addresses":["192.0.2.10/24"],
                   "routes":[{"dst":"10.0.0.0/8","gw":"192.0.2.1"}])",
                R"("gw":"192.0.2.1")", R"("gw":"198.51.100.1")",
                "interface data0 (request nic): the kernel does not take the route to 10.0.0.0/8: "}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

/// A bridge has room for 1023 ports.
TEST_F(AttachNetwork, BridgeThatTakesNoMorePorts_IsOneSentenceForTheAuthor) {
  ASSERT_OK(node_->create_link({.name = "br0", .kind = netlink::Bridge{}}));
  auto record = prepare(claim("u1", {{R"("veth","bridge":"br0","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  const netlink::IfIndex bridge = link(*node_, "br0").index;
  for (int i = 0; i < 1023; ++i) {
    const std::string name = "p" + std::to_string(i);
    ASSERT_OK(node_->create_link(
        {.name = name, .kind = netlink::Veth{.peer = {.name = name + "x"}}, .master = bridge}));
  }
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_TRUE(dra::is_for_the_author(attached.error().code())) << to_string(attached.error().code());
  EXPECT_THAT(
      attached.error().what(),
      StartsWith("interface data0 (request nic): the kernel does not make the pair's other end a port of "
                 "the bridge br0: "));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("eth0", "lo"));
}

TEST_F(AttachNetwork, ClustersDefaultRouteThatCannotMakeRoom_IsOneSentenceForTheAuthor) {
  // The kernel keeps the route, and would not take it again: nothing leads to its gateway any more.
  const netlink::IfIndex eth0 = link(*pod_.socket, "eth0").index;
  ASSERT_OK(pod_.socket->add_address({.link = eth0, .prefix = prefix("10.245.0.5/24")}));
  ASSERT_OK(pod_.socket->delete_address(eth0, prefix("10.244.0.5/24")));
  ASSERT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"), ElementsAre("via 10.244.0.1 dev eth0 metric 0"));
  auto record = macvlan("u1", "data0", R"("addresses":["192.0.2.10/24"],
      "routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","metric":0}])");
  ASSERT_OK(record);
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_TRUE(dra::is_for_the_author(attached.error().code())) << to_string(attached.error().code());
  EXPECT_THAT(
      attached.error().what(),
      StartsWith("interface data0 (request nic): the kernel does not move the pod's own default route "
                 "behind the claim's: "));
  EXPECT_THAT(routes_to(*pod_.socket, "0.0.0.0/0"), ElementsAre("via 10.244.0.1 dev eth0 metric 0"));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("eth0", "lo"));
}

/// The kernel renews such a route with the metric that it had: moving it would last no longer than that.
TEST_F(AttachNetwork, ClustersDefaultRouteOfARouterAdvertisement_KeepsItsMetric) {
  const auto replaced = sys::on_netns_thread(pod_.netns.get(), []() -> Result<int> {
    return std::system("ip -6 route replace default via fd00:244::1 dev eth0 metric 1024 proto ra");
  });
  if (!replaced || *replaced != 0) {
    GTEST_SKIP() << "ip(8) is not installed, which can make a route of protocol ra";
  }
  auto equal = macvlan("u1", "data0", R"("addresses":["2001:db8::10/64"],
      "routes":[{"dst":"::/0","gw":"2001:db8::1","metric":1024}])");
  ASSERT_OK(equal);
  const auto attached = attach(*equal, pod_);
  ASSERT_FALSE(attached);
  EXPECT_EQ(
      attached.error().what(),
      "interface data0 (request nic): the route to ::/0 with the metric 1024 is in the pod already through "
      "eth0, by a router advertisement, and keeps its metric; give the one of the claim another metric");
  EXPECT_THAT(routes_to(*pod_.socket, "::/0"), ElementsAre("via fd00:244::1 dev eth0 metric 1024"));
  auto lower = macvlan("u2", "data0", R"("addresses":["2001:db8::10/64"],
      "routes":[{"dst":"::/0","gw":"2001:db8::1","metric":1023}])");
  ASSERT_OK(lower);
  ASSERT_OK(attach(*lower, pod_));
}

TEST_F(AttachNetwork, MasterThatABridgeTookMeanwhile_IsOneSentenceForTheAuthor) {
  auto record = macvlan("u1", "data0", R"("mtu":1400)");
  ASSERT_OK(record);
  ASSERT_OK(node_->create_link({.name = "br0", .kind = netlink::Bridge{}}));
  ASSERT_OK(node_->change_link(link(*node_, "eth0").index, {.master = link(*node_, "br0").index}));
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_TRUE(dra::is_for_the_author(attached.error().code()));
  EXPECT_THAT(attached.error().what(), HasSubstr("the master \"eth0\" has become a port of another link"));
}

TEST_F(AttachNetwork, Ipv6IsSwitchedOnForTheInterface_WhereThePodHasItOff) {
  ASSERT_OK(sys::write_net_sysctl(pod_.netns.get(), "ipv6/conf/default/disable_ipv6", "1"));
  auto record =
      macvlan("u1", "data0", R"("addresses":["2001:db8::10/64"],"routes":[{"dst":"2001:db8:1::/48"}])");
  auto other = macvlan("u2", "data1", R"("addresses":["192.0.2.10/24"])");
  ASSERT_OK(record);
  ASSERT_OK(other);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(attach(*other, pod_));
  const auto addresses = pod_.socket->addresses(link(*pod_.socket, "data0").index).value();
  EXPECT_EQ(std::ranges::count(addresses, prefix("2001:db8::10/64"), &netlink::Address::prefix), 1);
  EXPECT_THAT(routes_to(*pod_.socket, "2001:db8:1::/48"), Not(IsEmpty()));
  // Nobody else gets it.
  for (const char* interface : {"default", "data1"}) {
    EXPECT_EQ(sys::read_net_sysctl(pod_.netns.get(), "ipv6/conf/" + std::string(interface) + "/disable_ipv6")
                  .value(),
              "1")
        << interface;
  }
}

/// An interface of the pod with IPv6 switched off, and a plan with an address for it.
class Ipv6Off : public AttachNetwork {
 protected:
  void SetUp() override {
    AttachNetwork::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    ASSERT_OK(sys::write_net_sysctl(pod_.netns.get(), "ipv6/conf/default/disable_ipv6", "1"));
    ASSERT_OK(pod_.socket->create_link({.name = "data0", .kind = netlink::Veth{.peer = {.name = "peer"}}}));
    plan_.addresses = {prefix("2001:db8::10/64")};
  }

  Error refusal(int netns) {
    const auto configured =
        devices::netdev::configure({.netns = netns, .socket = pod_.socket.get()},
                                   {.index = link(*pod_.socket, "data0").index, .name = "data0"}, plan_);
    EXPECT_FALSE(configured);
    return configured ? Error(Code::kInternal, "") : configured.error();
  }

  /// Runs it in a thread that may do all that root may but set network settings.
  template <class Action>
  static void without_net_admin(Action&& action) {
    std::thread([&] {
      // glibc's setresuid() and capset() would do it to the whole process.
      ASSERT_EQ(::syscall(SYS_setresuid, -1, 65534, -1), 0);
      __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
      std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets = {};
      ASSERT_EQ(::syscall(SYS_capget, &header, sets.data()), 0);
      for (auto& set : sets) {
        set.effective = set.permitted;
      }
      sets[0].effective &= ~(1U << CAP_NET_ADMIN);
      ASSERT_EQ(::syscall(SYS_capset, &header, sets.data()), 0);
      action();
    }).join();
  }

  devices::netdev::NetdevPlan plan_;
};

/// The agent cannot read whether it is off, so that the kernel says it, by EACCES.
TEST_F(Ipv6Off, WhatTheKernelRefuses_IsOneSentenceForTheAuthor) {
  const std::string why =
      " cannot be set: IPv6 is switched off for the interface in the pod's network namespace "
      "(net.ipv6.conf.data0.disable_ipv6 is 1 there), and the agent could not switch it on; leave IPv6 out "
      "of "
      "the claim, or switch it on in the pod's namespace";
  const Error address = refusal(/*netns=*/-1);
  plan_.addresses.clear();
  plan_.routes = {{.destination = prefix("2001:db8:1::/48")}};
  const Error route = refusal(/*netns=*/-1);
  EXPECT_EQ(address.what(), "the address 2001:db8::10" + why);
  EXPECT_EQ(route.what(), "the route to 2001:db8:1::/48" + why);
  for (const Error& error : {address, route}) {
    EXPECT_EQ(error.code(), Code::kUnsupported);
    EXPECT_TRUE(dra::is_for_the_author(error.code()));
    EXPECT_EQ(error.sys_errno(), EACCES);
  }
}

TEST_F(Ipv6Off, SettingThatMayNotBeWritten_IsOneSentenceForTheAuthor) {
  ASSERT_OK(sys::read_net_sysctl(pod_.netns.get(), "ipv6/conf/data0/disable_ipv6"));
  without_net_admin([&] {
    const Error error = refusal(pod_.netns.get());
    EXPECT_EQ(error.code(), Code::kUnsupported);
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("IPv6 is switched off in the pod's network namespace "
                                "(net.ipv6.conf.data0.disable_ipv6), and the agent cannot switch it on"),
                      HasSubstr("Permission denied")));
  });
  EXPECT_THAT(pod_.socket->addresses(link(*pod_.socket, "data0").index).value(), IsEmpty());
}

/// A pod with an interface on eth0 whose kernel knows the new pod's address under the MAC of an earlier one.
class Announced : public AttachNetwork {
 protected:
  void SetUp() override {
    AttachNetwork::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    if (ip_command("-V") != 0) {
      GTEST_SKIP() << "ip(8) is not installed, which can write neighbour entries";
    }
    neighbour_ = make_pod();
    auto record = macvlan("u0", "data0", R"("addresses":["192.0.2.11/24","2001:db8::11/64"])");
    ASSERT_OK(record);
    ASSERT_OK(attach(*record, neighbour_));
  }

  static int ip_command(const std::string& arguments) {
    const int status = std::system(("ip " + arguments + " >/dev/null 2>&1").c_str());  // NOLINT: a test
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  /// In the neighbour's namespace.
  int at_neighbour(const std::string& arguments) {
    return sys::with_netns(neighbour_.netns.get(), [&]() -> Result<int> { return ip_command(arguments); })
        .value_or(-1);
  }

  /// Until the neighbour's kernel knows the address under the MAC; false after a generous while.
  bool wait_for_neighbour(const std::string& address, const std::string& mac) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end) {
      const int found =
          sys::with_netns(neighbour_.netns.get(), [&]() -> Result<int> {
            return std::system(
                ("ip neighbour show " + address + " dev data0 | grep -q " + mac).c_str());  // NOLINT: a test
          }).value_or(-1);
      if (found == 0) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }

  Pod neighbour_;
};

TEST_F(Announced, NeighboursLearnTheNewMac) {
  for (const char* address : {"192.0.2.10", "2001:db8::10"}) {
    ASSERT_EQ(at_neighbour(std::string("neighbour replace ") + address +
                           " lladdr 02:00:00:00:00:99 dev data0 nud stale"),
              0);
  }
  auto record =
      macvlan("u1", "data0", R"("mac":"02:00:00:00:00:10","addresses":["192.0.2.10/24","2001:db8::10/64"])");
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  EXPECT_TRUE(wait_for_neighbour("192.0.2.10", "02:00:00:00:00:10"));
  EXPECT_TRUE(wait_for_neighbour("2001:db8::10", "02:00:00:00:00:10"));
}

TEST_F(Announced, NeighboursLearnTheMacOfALinkThatTheRuntimeMoved) {
  for (const char* address : {"192.0.2.10", "2001:db8::10"}) {
    ASSERT_EQ(at_neighbour(std::string("neighbour replace ") + address +
                           " lladdr 02:00:00:00:00:99 dev data0 nud stale"),
              0);
  }
  mode_ = devices::AttachMode::kNetdevices;
  make_driver();
  auto record =
      macvlan("u1", "data0", R"("mac":"02:00:00:00:00:10","addresses":["192.0.2.10/24","2001:db8::10/64"])");
  ASSERT_OK(record);
  const std::string& staged = record->prepared.device_edits[0].net_devices[0].host_interface_name;
  ASSERT_OK(
      node_->move_link({.link = link(*node_, staged).index, .netns = pod_.netns.get(), .new_name = "data0"}));
  ASSERT_OK(pod_.socket->set_up(link(*pod_.socket, "data0").index));  // as runtimes do
  ASSERT_OK(attach(*record, pod_));
  EXPECT_TRUE(wait_for_neighbour("192.0.2.10", "02:00:00:00:00:10"));
  EXPECT_TRUE(wait_for_neighbour("2001:db8::10", "02:00:00:00:00:10"));
}

}  // namespace
}  // namespace fairlead::agent
