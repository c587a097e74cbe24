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

TEST(Gateways, OfEveryTable_EachOnce) {
  const auto through = [](int index, const char* destination, const char* gateway, std::uint32_t table) {
    Route route = default_via(index, destination);
    route.hops[0].gateway = *IpAddress::parse(gateway);
    route.table = table;
    return route;
  };
  Route both = through(2, "10.0.0.0/8", "192.0.2.3", netlink::kMainTable);
  both.hops.push_back({.link = IfIndex(3), .gateway = *IpAddress::parse("198.51.100.3")});
  const SysfsTree tree;
  const auto inventory = make_inventory(
      {link(2, "eth0"), link(3, "eth1")},
      {through(2, "0.0.0.0/0", "192.0.2.1", netlink::kMainTable), through(2, "10.1.0.0/16", "192.0.2.1", 7),
       through(2, "::/0", "fe80::1", 7), both, default_via(3)},
      {.sysfs_root = tree.root()});
  const auto ip = [](const char* text) { return *IpAddress::parse(text); };
  EXPECT_THAT(inventory.find("eth0")->gateways, ElementsAre(ip("192.0.2.1"), ip("fe80::1"), ip("192.0.2.3")));
  EXPECT_THAT(inventory.find("eth1")->gateways, ElementsAre(ip("198.51.100.3")));
}

// ---- what the node does over each link

/// "eth0 has ...", for every use of every link.
std::vector<std::string> uses(const std::vector<Link>& links, const std::vector<Route>& routes,
                              const std::vector<netlink::Address>& addresses = {}) {
  const SysfsTree tree;
  const auto inventory = make_inventory(links, routes, {.sysfs_root = tree.root()}, addresses);
  std::vector<std::string> out;
  for (const auto& one : inventory.links()) {
    for (const auto& use : one.uses) {
      out.push_back(one.link.name + " " + use.text);
    }
  }
  return out;
}

Route with(Route route, std::uint32_t metric, std::uint32_t table = netlink::kMainTable,
           std::uint8_t protocol = RTPROT_BOOT) {
  route.metric = metric;
  route.table = table;
  route.protocol = protocol;
  return route;
}

TEST(NodeUse, TheLowestMetricIsTheNodesRoute_TheOthersHaveOneOfTheirOwn) {
  const std::vector<Link> links = {link(2, "eth0"), link(3, "eth1"), link(4, "eth2"), link(5, "eth3")};
  EXPECT_THAT(
      uses(links, {with(default_via(2), 100), with(default_via(3), 5000), with(default_via(4), 0, 1000),
                   with(default_via(5, "::/0"), 1024, netlink::kMainTable, RTPROT_RA)}),
      ElementsAre("eth0 carries the node's default route (IPv4)",
                  "eth1 has a default route of its own (IPv4, metric 5000)",
                  "eth2 has a default route of table 1000 (IPv4, metric 0)",
                  "eth3 carries the node's default route (IPv6)"));
  EXPECT_THAT(
      uses(links, {with(default_via(2), 100), with(default_via(3), 200, netlink::kMainTable, RTPROT_DHCP),
                   with(default_via(4, "::/0"), 10),
                   with(default_via(5, "::/0"), 1024, netlink::kMainTable, RTPROT_RA)}),
      ElementsAre("eth0 carries the node's default route (IPv4)",
                  "eth1 has a default route of DHCP (IPv4, metric 200)",
                  "eth2 carries the node's default route (IPv6)",
                  "eth3 has a default route of a router advertisement (IPv6, metric 1024)"));
}

TEST(NodeUse, RoutesOfOneMetricAreAllUsed) {
  EXPECT_THAT(uses({link(2, "eth0"), link(3, "eth1")}, {with(default_via(2), 10), with(default_via(3), 10)}),
              ElementsAre("eth0 carries the node's default route (IPv4)",
                          "eth1 carries the node's default route (IPv4)"));
}

TEST(NodeUse, TunnelIsCarriedByItsLinkItsLocalAddressAndTheWayToItsRemote) {
  std::vector<Link> links = {link(2, "eth0"), link(3, "eth1"), link(4, "eth2"), link(5, "tun0")};
  const std::vector<Route> routes = {default_via(2), default_via(4, "192.0.2.0/24")};
  const std::vector<netlink::Address> addresses = {
      {.link = IfIndex(3), .prefix = *IpPrefix::parse("198.51.100.7/24")}};
  links[3].tunnel = netlink::TunnelEnds{.link = IfIndex(3)};
  EXPECT_THAT(uses(links, routes, addresses), testing::Contains("eth1 carries the tunnel tun0"));
  links[3].tunnel = netlink::TunnelEnds{.local = *IpAddress::parse("198.51.100.7")};
  EXPECT_THAT(uses(links, routes, addresses), testing::Contains("eth1 carries the tunnel tun0"));
  links[3].tunnel = netlink::TunnelEnds{.remote = *IpAddress::parse("192.0.2.9")};
  EXPECT_THAT(uses(links, routes, addresses), testing::Contains("eth2 carries the tunnel tun0"));
  links[3].tunnel = netlink::TunnelEnds{};
  EXPECT_THAT(uses(links, routes, addresses), ElementsAre("eth0 carries the node's default route (IPv4)"));
}

TEST(NodeUse, TunnelWithoutAWordOfItsUnderlay_IsCarriedByAnyLinkWithAGateway) {
  std::vector<Link> links = {link(2, "eth0"), link(3, "eth1"), link(4, "wg0")};
  links[2].kind = "wireguard";
  links[2].arphrd = 0xFFFE;  // ARPHRD_NONE
  Route to_peer = default_via(3, "203.0.113.9/32");
  to_peer.hops[0].gateway = *IpAddress::parse("198.51.100.1");
  EXPECT_THAT(uses(links, {default_via(4), to_peer, default_via(2, "10.0.0.0/8")}),
              ElementsAre("eth1 may carry the tunnel wg0, which has a default route",
                          "wg0 carries the node's default route (IPv4)"));
}

TEST(Stack, IsWhatALinkStandsOnAndWhatStandsOnThat) {
  // vlan100 on bond0 of eth0 and eth1; a macvlan on eth0; eth2 by itself.
  const SysfsTree tree;
  const auto inventory = make_inventory({link(2, "eth0", 0, 5), link(3, "eth1", 0, 5), link(4, "eth2"),
                                         link(5, "bond0"), link(6, "vlan100", 5), link(7, "mac0", 2)},
                                        {}, {.sysfs_root = tree.root()});
  std::vector<std::string> stack;
  for (const auto& [one, where] : inventory.stack_of(IfIndex(5))) {
    stack.push_back(one->link.name + (where == Inventory::Where::kItself  ? " itself"
                                      : where == Inventory::Where::kBelow ? " below"
                                                                          : " above"));
  }
  EXPECT_THAT(stack, ElementsAre("bond0 itself", "eth0 below", "eth1 below", "vlan100 above", "mac0 above"));
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
