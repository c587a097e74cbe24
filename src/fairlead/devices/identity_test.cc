// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "fairlead/devices/node.h"
#include "fairlead/devices/testing/node.h"
#include "fairlead/sys/testing/recorded_node.h"
#include "fairlead/sys/testing/sysfs_tree.h"
#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::devices {
namespace {

using sys::testing_support::RecordedNode;
using sys::testing_support::SysfsTree;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

RecordedNode recorded(const char* name) {
  auto node = RecordedNode::load(sys::testing_support::recorded_folder(name));
  EXPECT_TRUE(node) << node.error().what();
  return std::move(*node);
}

std::vector<std::string> names_of(const std::vector<sys::InventoryLink>& links) {
  std::vector<const sys::InventoryLink*> all;
  for (const sys::InventoryLink& link : links) {
    all.push_back(&link);
  }
  return device_names(all);
}

/// Link -> device.
std::map<std::string, std::string> devices_of(const std::vector<sys::InventoryLink>& links) {
  const auto names = names_of(links);
  std::map<std::string, std::string> devices;
  for (std::size_t i = 0; i < links.size(); ++i) {
    devices[links[i].link.name] = names[i];
  }
  return devices;
}

std::map<std::string, std::string> devices_of(const sys::Inventory& inventory) {
  return devices_of(inventory.links());
}

std::map<std::string, std::string> devices_of(const RecordedNode& node) {
  return devices_of(sys::make_inventory(node.links(), node.routes(), {.sysfs_root = node.sysfs_root()}));
}

void expect_names_differ(const std::map<std::string, std::string>& devices) {
  std::set<std::string> names;
  for (const auto& [link, device] : devices) {
    EXPECT_TRUE(names.insert(device).second) << link << " has the name of another: " << device;
    EXPECT_LE(device.size(), 63U) << device;
    EXPECT_THAT(device, MatchesRegex("[a-z0-9]([-a-z0-9]*[a-z0-9])?")) << link;
  }
}

netlink::MacAddress mac(const std::string& text) { return *netlink::MacAddress::parse(text); }

netlink::Link on_bus(int index, const std::string& name, const std::string& bus, const std::string& device,
                     const std::string& permanent_mac = "") {
  netlink::Link link = testing::ethernet(index, name);
  link.parent_bus = bus;
  link.parent_dev = device;
  if (!permanent_mac.empty()) {
    link.permanent_mac = mac(permanent_mac);
  }
  return link;
}

TEST(DeviceNames, OfARecordedMachine) {
  expect_names_differ(devices_of(recorded("igb-numa")));
  const auto devices = devices_of(recorded("igb-2pf"));
  expect_names_differ(devices);
  EXPECT_EQ(devices.at("ens1"), "pci-0000-01-00-0");
  EXPECT_EQ(devices.at("ens1v1"), "pci-0000-01-10-2");
  EXPECT_EQ(devices.at("br0"), "br0");
  // It has the permanent address of the NIC that it is a VLAN of.
  EXPECT_THAT(devices.at("ens2.100"), StartsWith("net-ens2-100-"));
}

TEST(DeviceNames, OfLinksOnABusThatIsNotPci_AreThoseOfTheLinks) {
  const auto devices = devices_of(recorded("netdevsim-switchdev"));
  expect_names_differ(devices);
  EXPECT_EQ(devices.at("sim1p1"), "sim1p1");
  EXPECT_EQ(devices.at("sim1pf0vf3"), "sim1pf0vf3");
}

TEST(DeviceNames, OfManyVfs) {
  const sys::testing_support::TemporaryFolder folder;
  const auto made = sys::testing_support::generate_node(folder.path().string() + "/node",
                                                        {"--pfs", "4", "--vfs", "64", "--hcas", "4"});
  if (!made && made.error().code() == Code::kUnsupported) {
    GTEST_SKIP() << made.error().what();
  }
  ASSERT_TRUE(made) << made.error().what();
  const auto node = RecordedNode::load(folder.path().string() + "/node");
  ASSERT_TRUE(node) << node.error().what();
  const auto devices = devices_of(*node);
  EXPECT_GE(devices.size(), 256U);
  expect_names_differ(devices);
}

TEST(DeviceNames, StayWhenLinksAreRenamed) {
  const RecordedNode node = recorded("igb-2pf");
  const auto before = devices_of(node);
  auto links = node.links();
  for (netlink::Link& link : links) {  // as a kernel without udev names them
    if (link.name == "ens1") {
      link.name = "ens2";
    } else if (link.name == "ens2") {
      link.name = "ens1";
    }
  }
  const auto after =
      devices_of(sys::make_inventory(std::move(links), node.routes(), {.sysfs_root = node.sysfs_root()}));
  EXPECT_EQ(after.at("ens1"), before.at("ens2"));
  EXPECT_EQ(after.at("ens2"), before.at("ens1"));
}

TEST(DeviceNames, OfSeveralLinksOnOneFunction_TellTheirPorts) {
  SysfsTree tree;
  tree.add_device("pci", "pci0000:00/0000:00:01.0/0000:03:00.0", {{"vendor", "0x15b3"}});
  std::filesystem::create_directories(tree.root() + "/devices/pci0000:00/0000:00:01.0/0000:03:00.0/net/b");
  std::ofstream(tree.root() + "/devices/pci0000:00/0000:00:01.0/0000:03:00.0/net/b/dev_port") << "1\n";
  const auto pci = [](int index, const char* name, const char* port) {
    netlink::Link link = on_bus(index, name, "pci", "0000:03:00.0");
    link.phys_port_name = port;
    return link;
  };
  const auto devices = devices_of(sys::make_inventory(
      {pci(2, "a", "p0"), pci(3, "b", "p1"), pci(4, "c", "pf0vf0"), pci(5, "d", "pf0vf1")}, {},
      {.sysfs_root = tree.root()}));
  expect_names_differ(devices);
  EXPECT_EQ(devices.at("a"), "pci-0000-03-00-0");
  EXPECT_EQ(devices.at("b"), "pci-0000-03-00-0-p1");
  EXPECT_EQ(devices.at("c"), "pci-0000-03-00-0-pf0vf0");
  EXPECT_EQ(devices.at("d"), "pci-0000-03-00-0-pf0vf1");
}

TEST(DeviceNames, OfLinksThatNoPortTellsApart_HaveTheirMac_ElseTheirLink) {
  const auto devices = devices_of(
      std::vector<sys::InventoryLink>{{.link = on_bus(2, "a", "pci", "0000:03:00.0", "02:00:00:00:00:0a")},
                                      {.link = on_bus(3, "b", "pci", "0000:03:00.0", "02:00:00:00:00:0b")},
                                      {.link = on_bus(4, "c", "pci", "0000:04:00.0")},
                                      {.link = on_bus(5, "d", "pci", "0000:04:00.0")},
                                      {.link = on_bus(6, "e", "pci", "10000:e1:00.0")}});
  expect_names_differ(devices);
  EXPECT_EQ(devices.at("a"), "pci-0000-03-00-0-02000000000a");
  EXPECT_EQ(devices.at("b"), "pci-0000-03-00-0-02000000000b");
  EXPECT_EQ(devices.at("c"), "pci-0000-04-00-0-c");
  EXPECT_EQ(devices.at("e"), "pci-10000-e1-00-0");
}

TEST(DeviceNames, OfUsbNics_AreMacAndDriver_NotTheHostController) {
  SysfsTree tree;
  tree.add_device("pci", "pci0000:00/0000:00:14.0", {{"vendor", "0x8086"}});
  for (const char* port : {"1-1", "1-2"}) {
    const std::string place = std::string("pci0000:00/0000:00:14.0/usb1/") + port + "/" + port + ":1.0";
    tree.add_device("usb", place, {});
    tree.add_link(place, "driver", "../../../../../bus/usb/drivers/r8152");
  }
  netlink::Link gone = on_bus(4, "c", "vmbus", "0aa0-11", "02:00:00:00:00:0a");
  const auto devices =
      devices_of(sys::make_inventory({on_bus(2, "a", "usb", "1-1:1.0", "02:00:00:00:00:0a"),
                                      on_bus(3, "b", "usb", "1-2:1.0", "02:00:00:00:00:0b"), std::move(gone)},
                                     {}, {.sysfs_root = tree.root()}));
  expect_names_differ(devices);
  EXPECT_EQ(devices.at("a"), "mac-02000000000a-r8152");
  EXPECT_EQ(devices.at("b"), "mac-02000000000b-r8152");
}

TEST(DeviceNames, OfVirtioNics_AreTheirPciFunction) {
  SysfsTree tree;
  tree.add_device("pci", "pci0000:00/0000:00:03.0", {{"vendor", "0x1af4"}});
  tree.add_device("virtio", "pci0000:00/0000:00:03.0/virtio0", {});
  const auto devices = devices_of(
      sys::make_inventory({on_bus(2, "eth0", "virtio", "virtio0")}, {}, {.sysfs_root = tree.root()}));
  EXPECT_EQ(devices.at("eth0"), "pci-0000-00-03-0");
}

TEST(DeviceNames, OfWhateverLength_AreLabels) {
  sys::InventoryLink usb{.link = on_bus(2, "a", "usb", "1-1:1.0", "02:00:00:00:00:0a")};
  usb.driver = std::string(80, 'X');
  sys::InventoryLink other = usb;
  other.link.name = "b";
  other.driver.back() = 'Y';
  netlink::Link odd = testing::ethernet(3, "Eth_0.5");
  expect_names_differ(devices_of(std::vector<sys::InventoryLink>{usb, other, {.link = odd}}));
}

TEST(DeviceNames, ByLink_AreThoseOfVersion01) {
  EXPECT_EQ(name_by_link("ens1f0"), "ens1f0");
  EXPECT_EQ(name_by_link("Eth_0.5"), "net-eth-0-5-9dbb579e");
  EXPECT_NE(name_by_link("Eth_0.5"), name_by_link("eth_0.5"));
  EXPECT_NE(name_by_link("netdev-virtual"), "netdev-virtual");
}

// ---- what stands in the claim's status

NicIdentity identity(const sys::Inventory& inventory, const char* name) {
  return identity_of(*inventory.find(name), inventory);
}

TEST(Identity, IsTheSame_WhateverTheLinkIsCalled) {
  const sys::Inventory before = testing::inventory();
  auto links = before.links();
  for (sys::InventoryLink& link : links) {
    if (link.link.name == "nic1") {
      link.link.name = "eth7";
      link.link.mac = mac("02:11:11:11:11:11");
    }
  }
  const sys::Inventory after(std::move(links));
  EXPECT_TRUE(check_is_same(to_json(identity(before, "nic1")), identity(after, "eth7"), "it"));
}

TEST(Identity, OfAnotherCardInTheSlot_IsAnother) {
  const sys::Inventory before = testing::inventory();
  auto links = before.links();
  for (sys::InventoryLink& link : links) {
    if (link.link.name == "nic1") {
      link.link.permanent_mac = mac("02:99:99:99:99:99");
    }
  }
  const auto same = check_is_same(to_json(identity(before, "nic1")),
                                  identity(sys::Inventory(std::move(links)), "nic1"), "the device x");
  ASSERT_FALSE(same);
  EXPECT_EQ(same.error().code(), Code::kInvalid);
  EXPECT_EQ(same.error().what(),
            "the device x is another NIC than when the claim was prepared before: it was the one with PCI "
            "address 0000:03:00.1, permanent MAC 02:00:00:00:00:03, and now it is the one with PCI address "
            "0000:03:00.1, permanent MAC 02:99:99:99:99:99; delete the claim, so that a NIC is allocated "
            "anew, or bring the old one back to its place");
}

TEST(Identity, OfALinkWithoutAny_IsNotThatOfANic) {
  const sys::Inventory inventory = testing::inventory();
  EXPECT_THAT(check_is_same(to_json(identity(inventory, "nic1")), identity(inventory, "nested0"), "it")
                  .error()
                  .what(),
              HasSubstr("now it is one without PCI address and permanent MAC"));
  EXPECT_FALSE(check_is_same(to_json(identity(inventory, "nested0")), identity(inventory, "nic1"), "it"));
  EXPECT_TRUE(check_is_same(to_json(identity(inventory, "nested0")), identity(inventory, "nested0"), "it"));
}

TEST(Identity, OfAVf_IsItsFunctionAndItsPf_NotItsOwnAddress) {
  const RecordedNode node = recorded("igb-2pf");
  const auto read = [&](std::vector<netlink::Link> links) {
    return sys::make_inventory(std::move(links), node.routes(), {.sysfs_root = node.sysfs_root()});
  };
  const sys::Inventory before = read(node.links());
  const std::string reported = to_json(identity(before, "ens1v0"));
  EXPECT_THAT(reported, AllOf(HasSubstr("0000:01:10.0"), HasSubstr("pfPermanentMAC"),
                              Not(HasSubstr("permanentMAC\""))));

  auto set_up_anew = node.links();  // sriov_numvfs written again: the PF's driver draws new addresses
  auto other_card = node.links();
  for (std::size_t i = 0; i < other_card.size(); ++i) {
    if (set_up_anew[i].name == "ens1v0") {
      set_up_anew[i].permanent_mac = mac("02:99:99:99:99:99");
    } else if (other_card[i].name == "ens1") {
      other_card[i].permanent_mac = mac("02:99:99:99:99:99");
    }
  }
  EXPECT_TRUE(check_is_same(reported, identity(read(std::move(set_up_anew)), "ens1v0"), "it"));
  EXPECT_THAT(check_is_same(reported, identity(read(std::move(other_card)), "ens1v0"), "it").error().what(),
              HasSubstr("permanent MAC of its PF 02:99:99:99:99:99"));
}

TEST(Identity, TextThatIsNoneOfOurs_SaysNothing) {
  const NicIdentity now = identity(testing::inventory(), "nic1");
  for (const char* text : {"", "null", "[]", "{}", "{\"identity\":1}", "{\"identity\":{}}", "{\"x\":{}}", "{",
                           "{\"identity\":{\"name\":1,\"pciBusID\":[]}}"}) {
    EXPECT_TRUE(check_is_same(text, now, "it")) << text;
  }
  const auto long_text = check_is_same(
      R"({"identity":{"name":"x","pciBusID":"a b\n","permanentMAC":"02:00:00:00:00:09"}})", now, "it");
  ASSERT_FALSE(long_text);
  EXPECT_THAT(long_text.error().what(), Not(HasSubstr("a b")));
}

TEST(Identity, OfInfiniband_IsTheGuid) {
  netlink::Link link = testing::ethernet(2, "ib0");
  link.arphrd = ARPHRD_INFINIBAND;
  link.parent_bus = "pci";
  link.parent_dev = "0000:05:00.0";
  link.permanent_mac = mac("80:00:00:48:fe:80:00:00:00:00:00:00:02:00:00:03:00:aa:bb:cc");
  const NicIdentity nic = identity_of({.link = link}, {});
  EXPECT_EQ(nic.permanent_mac, "02:00:00:03:00:aa:bb:cc");
}

}  // namespace
}  // namespace fairlead::devices
