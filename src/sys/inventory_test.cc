// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/inventory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include "fairlead/sys/testing/sysfs_tree.h"

namespace fairlead::sys {
namespace {

using netlink::IfIndex;
using netlink::IpAddress;
using netlink::IpPrefix;
using netlink::Link;
using netlink::Route;
using testing::ElementsAre;
using testing::IsEmpty;
using testing_support::SysfsTree;

Link link(int index, const std::string& name, int parent = 0, int master = 0) {
  return {.index = IfIndex(index), .name = name, .parent = IfIndex(parent), .master = IfIndex(master)};
}

Route default_via(int index, const char* everything = "0.0.0.0/0") {
  return {.destination = *IpPrefix::parse(everything), .hops = {{.link = IfIndex(index)}}};
}

std::vector<std::string> uplinks(const std::vector<Link>& links, const std::vector<Route>& routes) {
  const SysfsTree tree;
  const auto inventory = make_inventory(links, routes, {.sysfs_root = tree.root()});
  std::vector<std::string> names;
  for (const auto& one : inventory.links()) {
    if (one.is_uplink) {
      names.push_back(one.link.name);
    }
  }
  return names;
}

TEST(Uplink, IsTheLinkOfADefaultRoute) {
  const std::vector<Link> links = {link(1, "lo"), link(2, "eth0"), link(3, "eth1")};
  EXPECT_THAT(uplinks(links, {default_via(2)}), ElementsAre("eth0"));
  EXPECT_THAT(uplinks(links, {default_via(3, "::/0")}), ElementsAre("eth1"));
  EXPECT_THAT(uplinks(links, {default_via(2), default_via(3, "::/0")}), ElementsAre("eth0", "eth1"));
  EXPECT_THAT(uplinks(links, {}), IsEmpty());
}

TEST(Uplink, OtherRoutesDoNotMakeOne) {
  const std::vector<Link> links = {link(2, "eth0"), link(3, "eth1")};
  Route other = default_via(3);
  other.table = 1000;
  Route unreachable = default_via(3);
  unreachable.type = RTN_UNREACHABLE;
  EXPECT_THAT(uplinks(links, {default_via(2, "10.0.0.0/8"), other, unreachable}), IsEmpty());
}

TEST(Uplink, EveryHopOfAMultipathRouteCounts) {
  Route both = default_via(2);
  both.hops.push_back({.link = IfIndex(3)});
  EXPECT_THAT(uplinks({link(2, "eth0"), link(3, "eth1"), link(4, "eth2")}, {both}),
              ElementsAre("eth0", "eth1"));
}

TEST(Uplink, EverythingBelowCountsToo) {
  // vlan100 on bond0 of eth0 and eth1; eth2 and the macvlan on eth0 are not below.
  const std::vector<Link> links = {link(2, "eth0", 0, 5), link(3, "eth1", 0, 5), link(4, "eth2"),
                                   link(5, "bond0"),      link(6, "vlan100", 5), link(7, "mac0", 2)};
  EXPECT_THAT(uplinks(links, {default_via(6)}), ElementsAre("eth0", "eth1", "bond0", "vlan100"));
}

TEST(Uplink, APeerInAnotherNamespaceIsNotBelow) {
  // The node's eth0 is a veth end; its peer's index means nothing here, where 3 is somebody else.
  Link end = link(2, "eth0", 3);
  end.parent_netnsid = 0;
  EXPECT_THAT(uplinks({end, link(3, "eth1")}, {default_via(2)}), ElementsAre("eth0"));
}

TEST(Uplink, PairsThatPointAtEachOtherEnd) {
  EXPECT_THAT(uplinks({link(2, "v0", 3), link(3, "v1", 2)}, {default_via(2)}), ElementsAre("v0", "v1"));
}

TEST(Inventory, JoinsLinksWithTheirPciFunction) {
  SysfsTree tree;
  tree.add_device("pci", "pci0000:00/0000:00:02.0/0000:3b:00.0", {{"vendor", "0x8086"}, {"numa_node", "1"}});
  tree.add_device("pci", "pci0000:00/0000:00:03.0", {{"vendor", "0x1af4"}});
  tree.add_device("virtio", "pci0000:00/0000:00:03.0/virtio2", {});
  tree.add_link("pci0000:00/0000:00:02.0/0000:3b:00.0", "driver", "../../../../bus/pci/drivers/ice");
  tree.add_link("pci0000:00/0000:00:03.0", "driver", "../../../bus/pci/drivers/virtio-pci");
  tree.add_link("pci0000:00/0000:00:03.0/virtio2", "driver", "../../../../bus/virtio/drivers/virtio_net");
  Link nic = link(3, "enp59s0");
  nic.parent_bus = "pci";
  nic.parent_dev = "0000:3b:00.0";
  nic.altnames = {"data-port"};
  Link virtio = link(2, "ens3");
  virtio.parent_bus = "virtio";
  virtio.parent_dev = "virtio2";
  Link vanished = link(4, "gone0");
  vanished.parent_bus = "pci";
  vanished.parent_dev = "0000:99:00.0";
  const auto inventory = make_inventory({nic, virtio, vanished}, {}, {.sysfs_root = tree.root()});

  ASSERT_EQ(inventory.links().size(), 3U);
  EXPECT_EQ(inventory.links()[0].link.name, "ens3") << "sorted by index";
  EXPECT_EQ(inventory.find("ens3")->pci->bdf, "0000:00:03.0");
  EXPECT_EQ(inventory.find("ens3")->driver, "virtio_net") << "that of the virtio device, not of its function";
  EXPECT_EQ(inventory.find("enp59s0")->driver, "ice");
  EXPECT_EQ(inventory.find("gone0")->driver, "");
  EXPECT_EQ(inventory.find("data-port")->pci->numa_node, 1);
  EXPECT_EQ(inventory.find(IfIndex(3))->pci->pcie_root, "pci0000:00");
  EXPECT_FALSE(inventory.find("gone0")->pci);
  EXPECT_EQ(inventory.find("nope"), nullptr);
  EXPECT_EQ(inventory.find(IfIndex(9)), nullptr);
  ASSERT_EQ(inventory.find_bdf("0000:3b:00.0").size(), 1U);
  EXPECT_EQ(inventory.find_bdf("0000:3b:00.0")[0]->link.name, "enp59s0");
  EXPECT_THAT(inventory.find_bdf("0000:00:03.0"), IsEmpty())
      << "the link sits on virtio2, not on the function";
}

}  // namespace
}  // namespace fairlead::sys
