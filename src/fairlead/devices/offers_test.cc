// SPDX-License-Identifier: Apache-2.0
// Which NICs a node offers, and which are its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include "fairlead/devices/node.h"
#include "fairlead/devices/testing/node.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::devices {
namespace {

using netlink::IfIndex;
using netlink::IpAddress;
using netlink::IpPrefix;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

netlink::Route default_via(int index, std::uint32_t metric, const char* family = "0.0.0.0/0",
                           std::uint32_t table = netlink::kMainTable) {
  return {.destination = *IpPrefix::parse(family),
          .hops = {{.link = IfIndex(index)}},
          .metric = metric,
          .table = table,
          .protocol = RTPROT_BOOT};
}

/// Three NICs: nic1 to nic3 are links 1 to 3. Whatever else a test adds.
class Node : public ::testing::Test {
 protected:
  Node() {
    for (const int index : {1, 2, 3}) {
      links_.push_back(testing::ethernet(index, "nic" + std::to_string(index)));
    }
  }

  netlink::Link& add(int index, const std::string& name, const std::string& kind, int parent = 0) {
    links_.push_back(testing::ethernet(index, name));
    links_.back().kind = kind;
    links_.back().parent = IfIndex(parent);
    return links_.back();
  }
  void add_address(int index, const char* prefix) {
    addresses_.push_back({.link = IfIndex(index), .prefix = *IpPrefix::parse(prefix)});
  }
  void know(std::initializer_list<const char*> addresses) {
    std::vector<IpAddress> parsed;
    for (const char* address : addresses) {
      parsed.push_back(*IpAddress::parse(address));
    }
    memory().set_addresses(std::move(parsed));
  }
  NodeMemory& memory() {
    if (!options_.memory) {
      options_.memory = std::make_shared<NodeMemory>(state_folder());
    }
    return *options_.memory;
  }

  [[nodiscard]] std::string state_folder() const { return folder_.path().string() + "/state"; }

  [[nodiscard]] sys::Inventory inventory() const {
    return sys::make_inventory(links_, routes_, {.sysfs_root = folder_.path()}, addresses_);
  }
  [[nodiscard]] NodeView view() const { return {inventory(), options_}; }
  [[nodiscard]] std::vector<std::string> offered() const {
    std::vector<std::string> names;
    const NodeView node = view();
    for (const auto& link : node.inventory().links()) {
      if (node.is_offered(link)) {
        names.push_back(link.link.name);
      }
    }
    return names;
  }
  [[nodiscard]] std::string why_not(const std::string& name) const {
    const NodeView node = view();
    const auto withheld = node.withheld(*node.find(name));
    return withheld ? std::string(to_string(withheld->why)) + ": " + withheld->text : "offered";
  }

  const sys::testing_support::TemporaryFolder folder_;
  NodeOptions options_ = testing::node_options();
  std::vector<netlink::Link> links_;
  std::vector<netlink::Route> routes_;
  std::vector<netlink::Address> addresses_;
};

TEST_F(Node, DefaultRoutesOfOtherTables_WithholdANic) {
  routes_ = {default_via(1, 0), default_via(2, 0, "0.0.0.0/0", 1000)};
  EXPECT_THAT(offered(), ElementsAre("nic3"));
  EXPECT_THAT(why_not("nic2"), HasSubstr("other-route: it has a default route of table 1000"));
}

TEST_F(Node, BackupUplink_IsWithheld_UntilAFlagReleasesIt) {
  routes_ = {default_via(1, 100), default_via(2, 5000)};
  EXPECT_THAT(offered(), ElementsAre("nic3"));
  EXPECT_THAT(why_not("nic2"), HasSubstr("--not-uplink releases"));
  options_.not_uplinks = {"nic[23]"};
  EXPECT_THAT(offered(), ElementsAre("nic2", "nic3"));
}

TEST_F(Node, NotUplink_TakesPciAddressesAndAltnames) {
  routes_ = {default_via(1, 100), default_via(2, 200), default_via(3, 300)};
  links_[1].parent_bus = "pci";
  links_[1].parent_dev = "0000:03:00.1";
  links_[2].altnames = {"rack4"};
  options_.not_uplinks = {"0000:03:00.1", "rack*"};
  EXPECT_THAT(offered(), ElementsAre("nic2", "nic3"));
}

TEST_F(Node, UplinkOfTheNodesFamily_IsNeverReleased) {
  routes_ = {default_via(1, 100), default_via(2, 1024, "::/0")};
  options_.not_uplinks = {"*"};
  know({"192.0.2.5"});
  EXPECT_THAT(offered(), ElementsAre("nic2", "nic3")) << "nobody reaches this node by IPv6";
  know({"192.0.2.5", "2001:db8::5"});
  EXPECT_THAT(offered(), ElementsAre("nic3"));
  know({"2001:db8::5"});
  EXPECT_THAT(offered(), ElementsAre("nic1", "nic3"));
  options_.memory.reset();
  EXPECT_THAT(offered(), ElementsAre("nic2", "nic3")) << "nobody asks for its addresses: IPv4 comes first";
  routes_.erase(routes_.begin());
  EXPECT_THAT(offered(), ElementsAre("nic1", "nic3"));
}

TEST_F(Node, LinkWithTheNodesAddress_IsItsOwn_WithWhatIsBelowAndAbove) {
  know({"192.0.2.5"});
  add(4, "bond0", "bond");
  links_[0].master = IfIndex(4);
  links_[1].master = IfIndex(4);
  add(5, "bond0.7", "vlan", 4);
  add_address(4, "192.0.2.5/24");
  options_.host_devices = {"bond*"};
  options_.not_uplinks = {"*"};
  EXPECT_THAT(offered(), ElementsAre("nic3"));
  EXPECT_EQ(why_not("bond0"), "node-address: it has the Node's address 192.0.2.5");
  EXPECT_EQ(why_not("nic1"), "node-address: bond0, which sits on it, has the Node's address 192.0.2.5");
  EXPECT_EQ(why_not("bond0.7"), "node-address: it depends on bond0, which has the Node's address 192.0.2.5");
}

TEST_F(Node, UnderlayOfATunnel_IsItsOwn) {
  add(4, "tunl0", "ipip").tunnel = netlink::TunnelEnds{.remote = *IpAddress::parse("203.0.113.9")};
  routes_ = {default_via(1, 0)};
  routes_.push_back(default_via(2, 0));
  routes_.back().destination = *IpPrefix::parse("203.0.113.0/24");
  options_.not_uplinks = {"*"};
  EXPECT_THAT(offered(), ElementsAre("nic3"));
  EXPECT_EQ(why_not("nic2"), "tunnel: it carries the tunnel tunl0");
}

TEST_F(Node, NodeObjectThatWasNotRead_WithholdsEveryNic) {
  memory().set_problem("the API server is away");
  EXPECT_THAT(offered(), ElementsAre());
  EXPECT_EQ(why_not("nic1"),
            "node-unknown: which link has the Node's address is not known: the API server is away");
  EXPECT_TRUE(view().problem());
  know({"192.0.2.5"});
  EXPECT_THAT(offered(), ElementsAre("nic1", "nic2", "nic3"));
  memory().set_problem("the API server is away again");
  EXPECT_THAT(offered(), ElementsAre("nic1", "nic2", "nic3")) << "what was read once is still known";
}

TEST_F(Node, UplinkFlagThatNamesNothing_WithholdsEveryNic) {
  options_.uplinks = {"nic1", "bond7"};
  EXPECT_THAT(offered(), ElementsAre());
  EXPECT_THAT(why_not("nic2"),
              HasSubstr("uplink-missing: --uplink names bond7, and this node has no such link"));
  EXPECT_EQ(why_not("nic1"), "uplink-flag: it is the node's own (--uplink)");
  options_.uplinks = {"nic1"};
  EXPECT_THAT(offered(), ElementsAre("nic2", "nic3"));
}

TEST_F(Node, WhatWasTheUplinkOnce_StaysWithheld_AlsoAfterARestart) {
  know({"203.0.113.9"});  // no link here has it
  routes_ = {default_via(1, 100), default_via(2, 200)};
  memory().remember_uplinks(inventory());
  routes_ = {default_via(2, 200)};  // its carrier drops
  memory().remember_uplinks(inventory());
  EXPECT_THAT(offered(), ElementsAre("nic3"));
  EXPECT_THAT(why_not("nic1"), HasSubstr("was-uplink: it was the node's uplink since the node came up"));

  options_.memory.reset();
  EXPECT_THAT(offered(), ElementsAre("nic1", "nic3")) << "nothing is known without the file";
  memory();
  EXPECT_THAT(offered(), ElementsAre("nic3"));
  options_.not_uplinks = {"nic1"};
  EXPECT_THAT(offered(), ElementsAre("nic1", "nic3"));
}

TEST_F(Node, WhatTheUplinkStoodOn_IsRememberedToo) {
  know({"203.0.113.9"});  // no link here has it
  add(4, "eth0.7", "vlan", 1);
  routes_ = {default_via(4, 0)};
  memory().remember_uplinks(inventory());
  routes_.clear();
  links_.pop_back();
  EXPECT_THAT(offered(), ElementsAre("nic2", "nic3"));
}

TEST_F(Node, MemoryOfAnOlderVersion_ThatANodeHasNoAddress_CountsAsNotKnown) {
  know({"192.0.2.5"});
  const std::string file = state_folder() + "/" + NodeMemory::kFile;
  auto text = sys::read_file(file);
  ASSERT_TRUE(text);
  const auto at = text->find("\"192.0.2.5\"");
  ASSERT_NE(at, std::string::npos);
  text->erase(at, 11);
  ASSERT_TRUE(sys::replace_file(state_folder(), NodeMemory::kFile, *text));
  EXPECT_FALSE(NodeMemory(state_folder()).known().addresses);
}

TEST_F(Node, MemoryOfAnotherBoot_IsForgotten_AndADamagedOneIsNoHindrance) {
  know({"192.0.2.5"});
  const std::string file = state_folder() + "/" + NodeMemory::kFile;
  auto text = sys::read_file(file);
  ASSERT_TRUE(text);
  const auto at = text->find("\"bootId\": \"") + 11;
  (*text)[at] = (*text)[at] == '0' ? '1' : '0';
  ASSERT_TRUE(sys::replace_file(state_folder(), NodeMemory::kFile, *text));
  EXPECT_FALSE(NodeMemory(state_folder()).known().addresses);
  ASSERT_TRUE(sys::replace_file(state_folder(), NodeMemory::kFile, "{\"bootId\": 7"));
  EXPECT_FALSE(NodeMemory(state_folder()).known().addresses);
}

TEST_F(Node, LinksThatTheKernelDoesNotMove_AreNotOffered) {
  add(4, "br0", "bridge");
  add(5, "data0", "vlan");
  links_[0].parent_bus = "pci";
  links_[0].parent_dev = "0000:04:00.0";
  const std::string function = folder_.path().string() + "/bus/pci/devices/0000:04:00.0";
  ASSERT_TRUE(sys::make_dirs(function + "/ieee80211"));
  ASSERT_TRUE(sys::replace_file(function, "vendor", "0x8086\n"));
  options_.sysfs_root = folder_.path().string();
  options_.host_devices = {"*"};
  EXPECT_THAT(offered(), ElementsAre("nic2", "nic3", "data0"));
  EXPECT_EQ(why_not("br0"), "immovable: the kernel moves no such link into a pod");
}

TEST_F(Node, PhysicalFunctionWithVfs_IsNotOffered) {
  const sys::Inventory before = inventory();
  auto links = before.links();
  links[0].pci = sys::PciDevice{.bdf = "0000:03:00.0", .sriov_total_vfs = 7, .sriov_num_vfs = 0};
  links[1].pci = sys::PciDevice{.bdf = "0000:03:00.1", .sriov_total_vfs = 7, .sriov_num_vfs = 4};
  const NodeView node(sys::Inventory(std::move(links)), options_);
  EXPECT_TRUE(node.is_offered(*node.find("nic1")));
  EXPECT_FALSE(node.is_offered(*node.find("nic2")));
  EXPECT_THAT(node.withheld(*node.find("nic2"))->text,
              HasSubstr("a physical function with 4 virtual functions"));
}

}  // namespace
}  // namespace fairlead::devices
