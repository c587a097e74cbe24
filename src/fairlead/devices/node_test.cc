// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "fairlead/devices/marker.h"
#include "fairlead/devices/netdev/nic_offers.h"
#include "fairlead/devices/netdev/plan.h"
#include "fairlead/devices/offers.h"
#include "fairlead/devices/testing/node.h"

namespace fairlead::devices {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> names(const std::vector<dra::Device>& devices) {
  std::vector<std::string> out;
  for (const dra::Device& device : devices) {
    out.push_back(device.name);
  }
  return out;
}

TEST(Marker, Alias_ComesBack) {
  using Origin = MarkedLink::Origin;
  const Marker marker{.driver = "net.example.com", .claim_uid = "0b1c", .index = 12};
  EXPECT_EQ(marker.alias(), "fairlead:net.example.com:0b1c/12");
  const std::string lent = marker.lent_alias("nic1", "rack 4/a:b");
  EXPECT_EQ(lent, "fairlead:net.example.com:0b1c/12/lent:nic1:rack 4/a:b");
  const std::map<std::string, Origin> all = {{marker.alias(), Origin::kUnknown},
                                             {marker.made_alias(), Origin::kMade},
                                             {marker.host_alias(), Origin::kHostEnd},
                                             {lent, Origin::kLent}};
  for (const auto& [alias, origin] : all) {
    const auto parsed = MarkedLink::parse(alias);
    ASSERT_TRUE(parsed) << alias;
    EXPECT_EQ(parsed->marker, marker) << alias;
    EXPECT_EQ(parsed->origin, origin) << alias;
    EXPECT_EQ(Marker::parse(alias), marker) << alias;
    EXPECT_EQ(marker.marks(alias), origin != Origin::kHostEnd) << alias;
    EXPECT_FALSE((Marker{.driver = "net.example.com", .claim_uid = "0b1c", .index = 1}.marks(alias)));
  }
  EXPECT_EQ(MarkedLink::parse(lent)->name, "nic1");
  EXPECT_EQ(MarkedLink::parse(lent)->alias, "rack 4/a:b");
  for (const char* other : {"", "fairlead:", "fairlead:a", "fairlead:a:b", "fairlead:a:b/", "fairlead:a:b/x",
                            "fairlead:a:b/1x", "fairlead:a:b/1/lent", "fairlead:a:b/1/lent:nic1",
                            "fairlead:a:b/1/lent::x", "fairlead:a:b/1/lent:a b:x", "uplink"}) {
    EXPECT_EQ(Marker::parse(other), std::nullopt) << other;
  }
}

TEST(Marker, AliasOfALentLink_FitsTheKernel) {
  const Marker marker{.driver = std::string(63, 'd'), .claim_uid = std::string(36, 'u'), .index = 31};
  const std::string lent = marker.lent_alias("abcdefghijklmno", std::string(255, 'x'));
  EXPECT_LE(lent.size(), 255);
  EXPECT_EQ(MarkedLink::parse(lent)->name, "abcdefghijklmno");
}

TEST(NameWanted, Text_ComesBack) {
  for (const char* alias : {"", "rack 4", "a:b:c"}) {
    const NameWanted wanted{.driver = "net.example.com", .name = "nic1", .alias = alias};
    EXPECT_EQ(NameWanted::parse(wanted.text()), wanted);
    EXPECT_FALSE(Marker::parse(wanted.text()));
  }
  const NameWanted long_one{.driver = "net.example.com", .name = "nic1", .alias = std::string(255, 'x')};
  EXPECT_LE(long_one.text().size(), 255) << "the kernel takes no more";
  EXPECT_EQ(NameWanted::parse(long_one.text())->name, "nic1");
  for (const char* other : {"", "rack 4", "fairlead-wants-name:", "fairlead-wants-name:a:",
                            "fairlead-wants-name:a::x", "fairlead-wants-name:a:b c:x"}) {
    EXPECT_FALSE(NameWanted::parse(other)) << other;
  }
}

TEST(Marker, OfAPart_ComesBack_AndIsNoOther) {
  const Marker whole{.driver = "net.example.com", .claim_uid = "0b1c", .index = 2};
  Marker part = whole;
  part.part = 1;
  EXPECT_EQ(part.alias(), "fairlead:net.example.com:0b1c/2.1");
  for (const std::string& alias :
       {part.alias(), part.made_alias(), part.host_alias(), part.lent_alias("eth1", "x")}) {
    EXPECT_EQ(Marker::parse(alias), part) << alias;
    EXPECT_FALSE(whole.marks(alias)) << alias;
  }
  Marker other = part;
  other.part = 0;
  EXPECT_FALSE(other.marks(part.alias()));
  EXPECT_NE(other.transit_name(), part.transit_name());
  EXPECT_NE(other.birth_group(), part.birth_group());
  for (const char* broken :
       {"fairlead:d:u/2.", "fairlead:d:u/2.x", "fairlead:d:u/2.1.0", "fairlead:d:u/.1"}) {
    EXPECT_FALSE(Marker::parse(broken)) << broken;
  }
}

TEST(Marker, Names_FitTheKernelAndDiffer) {
  const Marker first{.driver = "net.example.com", .claim_uid = "0b1c", .index = 0};
  const Marker second{.driver = "net.example.com", .claim_uid = "0b1c", .index = 1};
  EXPECT_TRUE(netlink::check_link_name(first.host_name()));
  EXPECT_TRUE(netlink::check_link_name(first.transit_name()));
  EXPECT_NE(first.host_name(), second.host_name());
  EXPECT_NE(first.transit_name(), second.transit_name());
  EXPECT_EQ(first.transit_name(), (Marker{.driver = "net.example.com", .claim_uid = "0b1c"}.transit_name()));
}

/// What a claim holds; `was` as in its plan.
struct Held {
  std::string name;
  std::string nic = {};
  std::optional<sys::InventoryLink> was = {};
};

/// What all kinds offer of this node together.
std::vector<dra::Device> published(const NodeView& node, const std::vector<Held>& holds) {
  std::vector<HeldDevice> held;
  for (const Held& one : holds) {
    netdev::NetdevPlan body;
    if (one.was) {
      body.original.emplace().link = *one.was;
    }
    held.push_back({.name = one.name, .plan = {.key = one.nic}});
    held.back().plan.body = std::make_shared<const netdev::NetdevBody>(std::move(body));
  }
  return published_devices(all_kinds().offers({.node = &node, .held = held}), held);
}

TEST(Published, VirtualDeviceFirst_ThenFreeNicsOnly) {
  const NodeOptions options = testing::node_options();
  const NodeView node(testing::inventory(), options);
  EXPECT_THAT(names(published(node, {})), ElementsAre("netdev-virtual", "nic2", "pci-0000-03-00-1"));
}

TEST(Published, GlobOffersVirtualLinks_ButNeverTheUplinkOrPorts) {
  NodeOptions options = testing::node_options();
  options.host_devices = {"nested*", "eth0", "port0", "lo"};
  const NodeView node(testing::inventory(), options);
  EXPECT_THAT(names(published(node, {})),
              ElementsAre("netdev-virtual", "nested0", "nic2", "pci-0000-03-00-1"));
}

TEST(Published, UplinkByFlag_TakesWhatItStandsOnAlong) {
  NodeOptions options = testing::node_options();
  options.uplinks = {"nic2"};
  const NodeView node(testing::inventory(), options);
  EXPECT_THAT(names(published(node, {})), ElementsAre("netdev-virtual", "pci-0000-03-00-1"));
  NodeOptions vlan = testing::node_options();
  vlan.uplinks = {"eth0.7"};
  const NodeView other(testing::inventory(), vlan);
  EXPECT_TRUE(other.is_uplink(*other.find("eth0.7")));
  EXPECT_TRUE(other.is_uplink(*other.find("eth0")));
}

TEST(Published, VirtualDevice_IsWhatClaimsExpect) {
  NodeOptions options = testing::node_options();
  options.slots = 7;
  const dra::Device device = netdev::virtual_device(options);
  EXPECT_TRUE(device.allow_multiple_allocations);
  EXPECT_EQ(device.attributes.at("type"), dra::AttributeValue("netdev"));
  EXPECT_EQ(device.attributes.at("kind"), dra::AttributeValue("virtual"));
  EXPECT_EQ(device.capacity.at("slots").value, "7");
  EXPECT_EQ(device.capacity.at("slots").request_policy->default_value, "1");
  EXPECT_THAT(device.capacity.at("slots").request_policy->valid_values, ElementsAre("1"));
}

TEST(Published, Nic_HasItsTopology) {
  const sys::Inventory inventory = testing::inventory();
  const dra::Device device = netdev::nic_device(*inventory.find("nic1"), "a-name");
  const auto& attributes = device.attributes;
  EXPECT_EQ(attributes.at("resource.kubernetes.io/pciBusID"), dra::AttributeValue("0000:03:00.1"));
  EXPECT_EQ(attributes.at("resource.kubernetes.io/pcieRoot"), dra::AttributeValue("pci0000:00"));
  EXPECT_EQ(attributes.at("resource.kubernetes.io/numaNode"), dra::AttributeValue(std::int64_t{1}));
  EXPECT_EQ(attributes.at("ifName"), dra::AttributeValue("nic1"));
  EXPECT_EQ(attributes.at("mac"), dra::AttributeValue("02:00:00:00:00:03"));
  EXPECT_EQ(attributes.at("mtu"), dra::AttributeValue(std::int64_t{1500}));
  EXPECT_EQ(attributes.at("driver"), dra::AttributeValue("igb"));
  EXPECT_EQ(attributes.at("pciVendor"), dra::AttributeValue("0x8086"));
  EXPECT_EQ(attributes.at("virtual"), dra::AttributeValue(false));
}

TEST(Published, TakenNic_StaysAsItWas) {
  const sys::Inventory before = testing::inventory();
  std::vector<sys::InventoryLink> links = before.links();
  const sys::InventoryLink nic1 = *before.find("nic1");
  std::erase_if(links, [](const sys::InventoryLink& link) { return link.link.name == "nic1"; });
  const NodeOptions options = testing::node_options();
  const NodeView away(sys::Inventory(links), options);
  const Held held{.name = "pci-0000-03-00-1", .nic = "pci-0000-03-00-1", .was = nic1};
  EXPECT_THAT(names(published(away, {held})), ElementsAre("netdev-virtual", "nic2", "pci-0000-03-00-1"));

  sys::InventoryLink back = nic1;  // home, but not yet itself again
  back.link.name = "dev3";
  links.push_back(back);
  const NodeView home(sys::Inventory(links), options);
  EXPECT_THAT(names(published(home, {held})), ElementsAre("netdev-virtual", "nic2", "pci-0000-03-00-1"));
}

TEST(Published, WhatAClaimHolds_StaysUnderTheNameOfItsAllocation) {
  const sys::Inventory before = testing::inventory();
  std::vector<sys::InventoryLink> links = before.links();
  const sys::InventoryLink nic1 = *before.find("nic1");
  std::erase_if(links, [](const sys::InventoryLink& link) { return link.link.name == "nic1"; });
  const NodeOptions options = testing::node_options();
  // Version 0.1 called it as its link was called.
  EXPECT_THAT(names(published(NodeView(sys::Inventory(links), options), {{.name = "nic1", .was = nic1}})),
              ElementsAre("netdev-virtual", "nic1", "nic2"));
  // A macvlan sits on it: it is still here.
  const NodeView node(before, options);
  EXPECT_THAT(names(published(node, {{.name = "nic1"}})), ElementsAre("netdev-virtual", "nic1", "nic2"));
  EXPECT_THAT(names(published(node, {{.name = "old", .nic = "pci-0000-03-00-1"}})),
              ElementsAre("netdev-virtual", "nic2", "old"));
  // Its own interface withholds it from others, and not from the slice.
  const NodeView in_use(before, options, {nic1});
  EXPECT_THAT(names(published(in_use, {{.name = "old", .nic = "pci-0000-03-00-1"}})),
              ElementsAre("netdev-virtual", "nic2", "old"));
  EXPECT_THAT(names(published(in_use, {})), ElementsAre("netdev-virtual", "nic2"));
  // And when no record holds it any more:
  EXPECT_THAT(names(published(node, {})), ElementsAre("netdev-virtual", "nic2", "pci-0000-03-00-1"));
}

/// The published device of a PCI address.
std::string device_at(const NodeView& node, const std::string& bdf) {
  for (const dra::Device& device : published(node, {})) {
    const auto found = device.attributes.find("resource.kubernetes.io/pciBusID");
    if (found != device.attributes.end() && found->second == dra::AttributeValue(bdf)) {
      return device.name;
    }
  }
  return {};
}

sys::Inventory two_nics(const std::string& first_name, const std::string& second_name) {
  std::vector<sys::InventoryLink> links;
  for (int i = 0; i < 2; ++i) {
    netlink::Link link = testing::ethernet(2 + i, i == 0 ? first_name : second_name);
    link.parent_bus = "pci";
    link.parent_dev = "0000:03:00." + std::to_string(i);
    link.permanent_mac = link.mac;
    links.push_back({.link = link, .pci = sys::PciDevice{.bdf = link.parent_dev}});
  }
  return sys::Inventory(std::move(links));
}

TEST(Published, DevicesOfAllKinds_SharedOnesFirst_EachNameOnce) {
  const auto device = [](const std::string& name, bool is_shared = false) {
    return Offer{.device = {.name = name, .allow_multiple_allocations = is_shared}};
  };
  Offers offers{
      .devices = {device("b"), device("shared", true), device("a"), device("withheld"), device("b")}};
  offers.devices[3].withheld = NotOffered{.reason = "in-use", .text = "something has it"};
  EXPECT_THAT(names(published_devices(offers, {})), ElementsAre("shared", "a", "b"));
  const std::vector<HeldDevice> held = {{.name = "withheld"}};
  EXPECT_THAT(names(published_devices(offers, held)), ElementsAre("shared", "a", "b", "withheld"))
      << "a claim has it";
}

TEST(Offered, WhatIsWithheld_WithTheReason_UnlessAClaimTookIt) {
  const NodeOptions options = testing::node_options();
  const NodeView node(testing::inventory(), options);
  std::map<std::string, std::string> reasons;
  const Offers all = all_kinds().offers({.node = &node});
  EXPECT_FALSE(all.problem);
  for (const Offer& offer : all.devices) {
    if (offer.withheld) {
      reasons[offer.called] = offer.withheld->reason + ": " + offer.withheld->text;
    }
  }
  EXPECT_THAT(reasons, ElementsAre(std::pair("eth0", "uplink: it carries the node's default route (IPv4)"),
                                   std::pair("port0", "port: it is a port of br0")));
}

TEST(Offered, ByName_WithItsIdentity) {
  const NodeOptions options = testing::node_options();
  const NodeView node(testing::inventory(), options);
  const Registry kinds = all_kinds();
  const Offers found = kinds.offers({.node = &node, .named = "pci-0000-03-00-1"});
  ASSERT_EQ(found.devices.size(), 1U);
  EXPECT_EQ(found.devices[0].called, "nic1");
  EXPECT_EQ(found.devices[0].identity.key, "pci-0000-03-00-1");
  EXPECT_EQ(parse_identity(found.devices[0].identity.data).pci_bus_id, "0000:03:00.1");
  // As version 0.1 called it: the name that was asked for, the key of today.
  const Offers old = kinds.offers({.node = &node, .named = "nic1"});
  ASSERT_EQ(old.devices.size(), 1U);
  EXPECT_EQ(old.devices[0].device.name, "nic1");
  EXPECT_EQ(old.devices[0].identity.key, "pci-0000-03-00-1");
  EXPECT_TRUE(kinds.offers({.node = &node, .named = "gone"}).devices.empty());
}

TEST(FindDevice, AfterARebootThatSwappedTheNames_IsStillTheNicThatWasPublished) {
  const NodeOptions options = testing::node_options();
  const NodeView before(two_nics("eth1", "eth2"), options);
  const std::string first = device_at(before, "0000:03:00.0");
  const std::string second = device_at(before, "0000:03:00.1");
  const NodeView after(two_nics("eth2", "eth1"), options);
  ASSERT_NE(after.find_device(first), nullptr);
  ASSERT_NE(after.find_device(second), nullptr);
  EXPECT_EQ(after.find_device(first)->link.parent_dev, "0000:03:00.0");
  EXPECT_EQ(after.find_device(second)->link.parent_dev, "0000:03:00.1");
}

TEST(FindDevice, ByTheNameThatVersion01Gave_IsTheLinkOfThatName) {
  const NodeOptions options = testing::node_options();
  const NodeView node(testing::inventory(), options);
  ASSERT_NE(node.find_device("nic1"), nullptr);
  EXPECT_EQ(node.find_device("nic1")->link.name, "nic1");
  ASSERT_NE(node.find_device("eth0"), nullptr);
  EXPECT_FALSE(node.is_offered(*node.find_device("eth0"))) << "the uplink is nobody's";
}

TEST(FindDevice, WhoseSiblingIsInAPod) {
  netlink::Link here = testing::ethernet(2, "a");
  here.parent_bus = "pci";
  here.parent_dev = "0000:03:00.0";
  here.permanent_mac = here.mac;
  netlink::Link away = testing::ethernet(3, "b");
  away.parent_bus = "pci";
  away.parent_dev = "0000:03:00.0";
  away.permanent_mac = away.mac;
  const NodeOptions options = testing::node_options();
  const NodeView both(sys::Inventory({{.link = here}, {.link = away}}), options);
  const auto before = names(published(both, {}));
  const NodeView one(sys::Inventory({{.link = here}}), options);
  const std::string other = both.device_name(*both.find("b"));
  EXPECT_EQ(names(published(one, {{.name = other, .nic = other, .was = {{.link = away}}}})), before);
  ASSERT_NE(one.find_device(both.device_name(*both.find("a"))), nullptr);
  EXPECT_EQ(one.find_device(other), nullptr);
}

}  // namespace
}  // namespace fairlead::devices
