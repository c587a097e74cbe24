// SPDX-License-Identifier: Apache-2.0
// The inventory of a namespace that the running kernel made for us.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  // The port's peer is outside; a link of the same index is made at home to be mistaken for it.
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

}  // namespace
}  // namespace fairlead::sys
