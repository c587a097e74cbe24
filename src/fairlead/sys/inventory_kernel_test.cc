// SPDX-License-Identifier: Apache-2.0
// The inventory of a namespace that the running kernel made for us.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "fairlead/sys/inventory.h"
#include "fairlead/sys/netns.h"
#include "fairlead/sys/testing/sysfs_tree.h"

namespace fairlead::sys {
namespace {

using netlink::Bridge;
using netlink::IpAddress;
using netlink::IpPrefix;
using netlink::Socket;
using netlink::Veth;

TEST(InventoryKernel, DefaultRouteOnABridge_MakesItAndItsPortsUplinks) {
  const auto node = create_netns();
  if (!node && node.error().sys_errno() == EPERM) {
    GTEST_SKIP() << "needs CAP_SYS_ADMIN to create network namespaces";
  }
  ASSERT_TRUE(node) << node.error().what();
  const auto outside = create_netns();
  ASSERT_TRUE(outside);
  auto socket = Socket::open_in(node->get());
  ASSERT_TRUE(socket);
  const auto index_of = [&](const char* name) { return (**socket->link(name)).index; };
  ASSERT_TRUE(socket->create_link({.name = "br0", .kind = Bridge{}, .up = true}));
  // The port's peer is outside; a link of the same index is made in its own namespace to be mistaken for it.
  ASSERT_TRUE(socket->create_link({.name = "eth0",
                                   .kind = Veth{{.name = "wire", .netns = outside->get(), .up = true}},
                                   .master = index_of("br0"),
                                   .up = true}));
  ASSERT_TRUE(socket->create_link({.name = "eth1", .kind = Veth{{.name = "eth2"}}, .up = true}));
  const auto before = read_inventory(*socket);
  ASSERT_TRUE(before);
  EXPECT_TRUE(std::ranges::none_of(before->links(), &InventoryLink::is_uplink));

  const netlink::IfIndex bridge = index_of("br0");
  ASSERT_TRUE(socket->add_address({.link = bridge, .prefix = *IpPrefix::parse("10.0.0.5/24")}));
  ASSERT_TRUE(socket->add_route({.destination = *IpPrefix::parse("0.0.0.0/0"),
                                 .gateway = *IpAddress::parse("10.0.0.1"),
                                 .link = bridge}));
  const auto after = read_inventory(*socket);
  ASSERT_TRUE(after);
  EXPECT_TRUE(after->find("br0")->is_uplink);
  EXPECT_TRUE(after->find("eth0")->is_uplink);
  EXPECT_FALSE(after->find("eth1")->is_uplink);
  EXPECT_FALSE(after->find("eth2")->is_uplink);
  EXPECT_FALSE(after->find("lo")->is_uplink);
}

/// A namespace of the node's own, which this thread is in.
class NodeNamespace : public ::testing::Test {
 protected:
  void SetUp() override {
    auto node = create_netns();
    if (!node && node.error().sys_errno() == EPERM) {
      GTEST_SKIP() << "needs CAP_SYS_ADMIN to create network namespaces";
    }
    ASSERT_TRUE(node) << node.error().what();
    auto scope = NetnsScope::enter(node->get());
    ASSERT_TRUE(scope) << scope.error().what();
    scope_.emplace(std::move(*scope));
    auto socket = Socket::open();
    ASSERT_TRUE(socket) << socket.error().what();
    socket_.emplace(std::move(*socket));
    for (const char* name : {"eth0", "eth1", "eth2"}) {
      ASSERT_TRUE(socket_->create_link(
          {.name = name, .kind = Veth{{.name = std::string(name) + "w", .up = true}}, .up = true}));
    }
    if (std::system("ip -Version >/dev/null 2>&1") != 0) {
      GTEST_SKIP() << "needs the program ip (iproute2)";
    }
  }

  std::vector<std::string> with_default_route() {
    const auto inventory = read_inventory(*socket_);
    EXPECT_TRUE(inventory) << inventory.error().what();
    std::vector<std::string> names;
    for (const auto& one : inventory->links()) {
      if (std::ranges::any_of(one.uses,
                              [](const auto& use) { return use.kind == NodeUse::Kind::kBestRoute; })) {
        names.push_back(one.link.name);
      }
    }
    return names;
  }

  std::optional<NetnsScope> scope_;
  std::optional<Socket> socket_;
};

TEST_F(NodeNamespace, DefaultRouteByANexthopObject_IsSeenWithoutCompatibility) {
  ASSERT_EQ(std::system("ip address add 192.0.2.2/24 dev eth0 && ip address add 198.51.100.2/24 dev eth1 && "
                        "ip nexthop add id 7 via 192.0.2.1 dev eth0 && "
                        "ip nexthop add id 8 via 198.51.100.1 dev eth1 && "
                        "ip nexthop add id 9 group 7/8 && "
                        "echo 0 >/proc/sys/net/ipv4/nexthop_compat_mode"),
            0);
  ASSERT_EQ(std::system("ip route add default nhid 7"), 0);
  EXPECT_THAT(with_default_route(), testing::ElementsAre("eth0"));
  EXPECT_TRUE(read_inventory(*socket_)->find("eth0")->is_uplink);
  ASSERT_EQ(std::system("ip route replace default nhid 9"), 0);
  EXPECT_THAT(with_default_route(), testing::ElementsAre("eth0", "eth1"));
}

TEST_F(NodeNamespace, UnderlayOfATunnel_IsSeen) {
  const auto add = [](const char* command) { return std::system(command) == 0; };
  ASSERT_TRUE(add("ip address add 192.0.2.2/24 dev eth0 && ip address add 198.51.100.2/24 dev eth1"));
  if (!add("ip link add tun0 type vxlan id 7 dstport 4789 local 198.51.100.2 2>/dev/null") &&
      !add("ip link add tun0 type gre local 198.51.100.2 remote 192.0.2.9 2>/dev/null") &&
      !add("ip link add tun0 type ipip local 198.51.100.2 remote 192.0.2.9 2>/dev/null") &&
      !add("ip link add tun0 type sit local 198.51.100.2 remote 192.0.2.9 2>/dev/null")) {
    GTEST_SKIP() << "this kernel makes no tunnel: vxlan, gre, ipip or sit";
  }
  const auto inventory = read_inventory(*socket_);
  ASSERT_TRUE(inventory);
  const auto& uses = inventory->find("eth1")->uses;
  ASSERT_EQ(uses.size(), 1U);
  EXPECT_EQ(uses[0].text, "carries the tunnel tun0");
  EXPECT_TRUE(inventory->find("eth2")->uses.empty());
}

}  // namespace
}  // namespace fairlead::sys
