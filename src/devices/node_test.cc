// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/devices/marker.h"
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
  const Marker marker{.driver = "net.example.com", .claim_uid = "0b1c", .index = 12};
  EXPECT_EQ(marker.alias(), "fairlead:net.example.com:0b1c/12");
  EXPECT_EQ(Marker::parse(marker.alias()), marker);
  EXPECT_EQ(Marker::parse(marker.host_alias()), marker);
  for (const char* other :
       {"", "fairlead:", "fairlead:a", "fairlead:a:b", "fairlead:a:b/", "fairlead:a:b/x", "uplink"}) {
    EXPECT_EQ(Marker::parse(other), std::nullopt) << other;
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

TEST(Published, VirtualDeviceFirst_ThenFreeNicsOnly) {
  const NodeOptions options = testing::node_options();
  const NodeView node(testing::inventory(), options);
  EXPECT_THAT(names(published_devices(node, {})), ElementsAre("netdev-virtual", "nic1", "nic2"));
}

TEST(Published, GlobOffersVirtualLinks_ButNeverTheUplinkOrPorts) {
  NodeOptions options = testing::node_options();
  options.host_devices = {"nested*", "eth0", "port0", "lo"};
  const NodeView node(testing::inventory(), options);
  EXPECT_THAT(names(published_devices(node, {})), ElementsAre("netdev-virtual", "nested0", "nic1", "nic2"));
}

TEST(Published, UplinkByFlag_TakesWhatItStandsOnAlong) {
  NodeOptions options = testing::node_options();
  options.uplinks = {"nic2"};
  const NodeView node(testing::inventory(), options);
  EXPECT_THAT(names(published_devices(node, {})), ElementsAre("netdev-virtual", "nic1"));
  NodeOptions vlan = testing::node_options();
  vlan.uplinks = {"eth0.7"};
  const NodeView other(testing::inventory(), vlan);
  EXPECT_TRUE(other.is_uplink(*other.find("eth0.7")));
  EXPECT_TRUE(other.is_uplink(*other.find("eth0")));
}

TEST(Published, VirtualDevice_IsWhatClaimsExpect) {
  NodeOptions options = testing::node_options();
  options.slots = 7;
  const dra::Device device = virtual_device(options);
  EXPECT_TRUE(device.allow_multiple_allocations);
  EXPECT_EQ(device.attributes.at("type"), dra::AttributeValue("netdev"));
  EXPECT_EQ(device.attributes.at("kind"), dra::AttributeValue("virtual"));
  EXPECT_EQ(device.capacity.at("slots").value, "7");
  EXPECT_EQ(device.capacity.at("slots").request_policy->default_value, "1");
  EXPECT_THAT(device.capacity.at("slots").request_policy->valid_values, ElementsAre("1"));
}

TEST(Published, Nic_HasItsTopology) {
  const sys::Inventory inventory = testing::inventory();
  const dra::Device device = nic_device(*inventory.find("nic1"));
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
  EXPECT_THAT(names(published_devices(away, {nic1})), ElementsAre("netdev-virtual", "nic1", "nic2"));

  sys::InventoryLink back = nic1;  // home, but not yet itself again
  back.link.name = "dev3";
  links.push_back(back);
  const NodeView home(sys::Inventory(links), options);
  EXPECT_THAT(names(published_devices(home, {nic1})), ElementsAre("netdev-virtual", "nic1", "nic2"));
}

TEST(Published, LinkNames_BecomeDnsLabels) {
  EXPECT_EQ(device_name("ens1f0"), "ens1f0");
  const std::string made = device_name("Eth_0.5");
  EXPECT_THAT(made, ::testing::StartsWith("net-eth-0-5-"));
  EXPECT_NE(made, device_name("eth_0.5"));
  EXPECT_NE(device_name("netdev-virtual"), "netdev-virtual");
}

}  // namespace
}  // namespace fairlead::devices
