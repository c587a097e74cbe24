// SPDX-License-Identifier: Apache-2.0
// Which link is the NIC: by values, as they are on machines that this one is not.
#include "fairlead/devices/netdev/host_device/find_nic.h"

#include <gtest/gtest.h>

#include <string>

#include "fairlead/devices/netdev/plan.h"
#include "fairlead/devices/testing/node.h"
#include "fairlead/sys/testing/recorded_node.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::IfIndex;
using netlink::Link;
using sys::testing_support::recorded_folder;
using sys::testing_support::RecordedNode;

const Marker kMine = {.driver = "net.example.com", .claim_uid = "u1"};
const Marker kOther = {.driver = "net.example.com", .claim_uid = "u2"};

/// A NIC as a record has it, one process or version later.
Original recorded(const Link& link) {
  const NetdevPlan plan{.original = Original{.link = {.link = link}}};
  return *parse_plan(to_json(plan)).value().original;
}

std::string picked(const std::vector<Link>& links, const NicSearch& search) {
  const Link* nic = pick_nic(links, search);
  return nic == nullptr ? "none" : nic->name;
}

Link vf(int index, const std::string& name, const std::string& bdf) {
  Link link = testing::ethernet(index, name);
  link.parent_bus = "pci";
  link.parent_dev = bdf;
  return link;
}

TEST(FindNic, PermanentMac_IsStrongerThanAnyAlias) {
  Link nic = vf(3, "nic1", "0000:03:00.1");
  nic.permanent_mac = nic.mac;
  const Original original = recorded(nic);
  nic.name = "mine0";
  nic.index = IfIndex(9);
  nic.alias = kOther.alias();
  nic.mac = *netlink::MacAddress::parse("02:00:00:00:00:99");
  Link impostor = testing::ethernet(5, "nic1");
  impostor.alias = kMine.alias();
  for (const bool in_pod : {true, false}) {
    EXPECT_EQ(picked({impostor, nic}, {.original = &original, .marker = kMine, .in_pod = in_pod}), "mine0");
    EXPECT_EQ(picked({impostor}, {.original = &original, .marker = kMine, .in_pod = in_pod}), "none");
  }
}

TEST(FindNic, RecordedPortsOfOneDevice_AreTheirOwn) {
  const auto node = RecordedNode::load(recorded_folder("netdevsim-switchdev"));
  ASSERT_TRUE(node) << node.error().what();
  const std::vector<Link> links = node->links();
  int ports = 0;
  for (const Link& link : links) {
    if (link.phys_port_name.empty()) {
      continue;
    }
    ++ports;
    EXPECT_TRUE(has_identity(link)) << link.name;
    const Original original = recorded(link);
    // All of them carry the claim's marker, and have other indexes and MACs than they had.
    std::vector<Link> moved = links;
    for (Link& other : moved) {
      other.alias = kMine.alias();
      other.index = IfIndex(other.index.value() + 100);
      other.mac = links.front().mac;
    }
    for (const bool in_pod : {true, false}) {
      EXPECT_EQ(picked(moved, {.original = &original, .marker = kMine, .in_pod = in_pod}), link.name);
    }
    std::erase_if(moved, [&](const Link& other) { return other.name == link.name; });
    EXPECT_EQ(picked(moved, {.original = &original, .marker = kMine}), "none")
        << "not a sibling of " << link.name;
  }
  EXPECT_EQ(ports, 6);
}

TEST(FindNic, SiblingsThatNothingTellsApart_AreKnownByIndexThenMarker) {
  const Link pf = vf(3, "pf0", "0000:03:00.0");
  const Link rep = vf(4, "rep0", "0000:03:00.0");
  EXPECT_FALSE(same_nic({.link = rep}, pf));
  EXPECT_TRUE(same_nic({.link = rep}, rep));
  const Original original = recorded(rep);
  EXPECT_EQ(picked({pf, rep}, {.original = &original, .marker = kMine}), "rep0");
  Link there = rep;
  there.index = IfIndex(7);
  const NicSearch in_pod{.original = &original, .marker = kMine, .in_pod = true};
  EXPECT_EQ(picked({pf, there}, in_pod), "none") << "one of them; which is not known";
  there.alias = kMine.alias();
  EXPECT_EQ(picked({pf, there}, in_pod), "rep0");
  Link marked_pf = pf;
  marked_pf.alias = kMine.alias();
  there.alias.clear();
  NicSearch with_index = in_pod;
  with_index.index_in_pod = there.index;
  EXPECT_EQ(picked({marked_pf, there}, with_index), "rep0") << "the index counts more than an alias";
}

TEST(FindNic, OnlyLinkOfItsDevice_IsFoundWithoutAliasAndIndex) {
  const Original original = recorded(vf(3, "vf0", "0000:03:10.0"));
  Link back = vf(12, "fast0", "0000:03:10.0");
  EXPECT_EQ(picked({testing::ethernet(2, "eth0"), back}, {.original = &original, .marker = kMine}), "fast0");
  back.alias = kOther.alias();
  EXPECT_EQ(picked({back}, {.original = &original, .marker = kMine}), "none");
}

TEST(FindNic, VethWithItsOtherEndOnTheNode_IsKnownByThat) {
  Link nic = testing::ethernet(3, "nic1");
  nic.kind = "veth";
  nic.parent = IfIndex(4);
  const Original original = recorded(nic);
  Link there = nic;
  there.index = IfIndex(2);
  there.parent_netnsid = 5;
  Link impostor = there;  // its other end has that index in a namespace of the pod's own making
  impostor.name = "mine0";
  impostor.index = IfIndex(3);
  impostor.parent_netnsid = 6;
  impostor.alias = kMine.alias();
  NicSearch search{
      .original = &original, .marker = kMine, .in_pod = true, .node_netnsid = 5, .peer_is_on_node = true};
  EXPECT_EQ(picked({impostor, there}, search), "nic1");
  EXPECT_EQ(picked({impostor}, search), "none");
  // The other end has left the node, or never was there: the index that the record has, then the marker.
  search.peer_is_on_node = false;
  search.index_in_pod = there.index;
  EXPECT_EQ(picked({impostor, there}, search), "nic1");
}

TEST(FindNic, RecordOf01_IsReadAndFindsItsNic) {
  const auto plan = parse_plan(R"({"original":{"ifindex":3,"name":"nic1","altnames":["enp3s0f1"],"kind":"",
      "mac":"02:00:00:00:00:03","permanentMac":"02:00:00:00:00:03","mtu":1500,"flags":4099,"operstate":6,
      "alias":"rack 4","parentDev":"0000:03:00.1","parentBus":"pci","arphrd":1,"addresses":["10.9.8.7/24"]}})");
  ASSERT_TRUE(plan) << plan.error().what();
  ASSERT_TRUE(plan->original);
  Link nic = vf(9, "mine0", "0000:03:00.1");
  nic.permanent_mac = *netlink::MacAddress::parse("02:00:00:00:00:03");
  nic.phys_port_name = "p0";  // what 0.1 did not read
  EXPECT_EQ(picked({nic}, {.original = &*plan->original, .marker = kMine}), "mine0");
  EXPECT_TRUE(plan->original->routes.empty());
  EXPECT_FALSE(plan->original->details) << "its group, queue and settings are not known";
}

TEST(FindNic, Record_KeepsWhatIdentifiesTheNicAndItsRoutes) {
  Original original{.link = {.link = vf(3, "rep0", "0000:03:00.0")}};
  original.link.link.phys_port_name = "pf0vf3";
  original.link.link.phys_port_id = "0a0b";
  original.link.link.phys_switch_id = "c220e598";
  original.link.link.parent = IfIndex(7);
  original.link.link.parent_netnsid = 0;
  original.routes = {{.destination = *netlink::IpPrefix::parse("10.7.0.0/16"),
                      .gateway = *netlink::IpAddress::parse("198.51.100.1"),
                      .metric = 5,
                      .table = 1000}};
  original.link.link.group = 7;
  original.link.link.tx_queue_len = 300;
  original.link.link.mode = 1;
  original.link.link.limits = {{41, 30000}};
  original.details = Details{.addresses = {{0x02, 0x18, 0x00, 0xff}, {0x0a}},
                             .routes = {{0x02, 0x10}},
                             .settings = {{"ipv4/conf", {{"rp_filter", "2"}}}}};
  const auto read = parse_plan(to_json({.original = original}));
  ASSERT_TRUE(read) << read.error().what();
  Link expected = original.link.link;
  EXPECT_EQ(read->original->link.link, expected);
  ASSERT_EQ(read->original->routes.size(), 1);
  EXPECT_EQ(read->original->routes[0].destination.to_string(), "10.7.0.0/16");
  EXPECT_EQ(read->original->routes[0].gateway->to_string(), "198.51.100.1");
  EXPECT_EQ(read->original->routes[0].metric, 5);
  EXPECT_EQ(read->original->routes[0].table, 1000);
  ASSERT_TRUE(read->original->details);
  EXPECT_EQ(read->original->details->addresses, original.details->addresses);
  EXPECT_EQ(read->original->details->routes, original.details->routes);
  EXPECT_EQ(read->original->details->settings, original.details->settings);
}

TEST(FindNic, RecordWithDamagedDetails_IsRefused) {
  Original original{.link = {.link = vf(3, "nic1", "0000:03:00.1")}, .details = Details{.routes = {{0xab}}}};
  std::string text = to_json({.original = original});
  text.replace(text.find("\"ab\""), 4, "\"zz\"");
  const auto read = parse_plan(text);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Code::kCorrupt);
}

}  // namespace
}  // namespace fairlead::devices::netdev
