// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/net_hardware.h"

#include <gtest/gtest.h>

#include "fairlead/sys/testing/recorded_node.h"

namespace fairlead::sys {
namespace {

using testing_support::recorded_folder;
using testing_support::RecordedNode;
using testing_support::SysfsTree;

TEST(NetHardware, RecordedFunctions_HaveALinkOrNone) {
  const auto node = RecordedNode::load(recorded_folder("igb-2pf"));
  ASSERT_TRUE(node) << node.error().what();
  int with_link = 0;
  for (const netlink::Link& link : node->links()) {
    if (!link.parent_dev.empty()) {
      EXPECT_EQ(net_hardware(node->sysfs_root(), link.parent_bus, link.parent_dev), NetHardware::kHasLink)
          << link.name;
      ++with_link;
    }
  }
  EXPECT_GT(with_link, 2);
}

TEST(NetHardware, DeviceGone_DriverGone_AndNotKnown) {
  SysfsTree tree;
  tree.add_device("usb", "pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0", {{"bInterfaceNumber", "00"}});
  tree.add_device("usb", "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0", {{"bInterfaceNumber", "00"}});
  tree.add_device("net-of-it", "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/net", {});
  EXPECT_EQ(net_hardware(tree.root(), "usb", "1-1:1.0"), NetHardware::kNoLink);
  EXPECT_EQ(net_hardware(tree.root(), "usb", "1-2:1.0"), NetHardware::kHasLink);
  EXPECT_EQ(net_hardware(tree.root(), "usb", "1-3:1.0"), NetHardware::kGone);
  EXPECT_EQ(net_hardware(tree.root(), "platform", "fec0"), NetHardware::kUnknown) << "no such bus here";
  EXPECT_EQ(net_hardware(tree.root(), "", ""), NetHardware::kUnknown);
  EXPECT_EQ(net_hardware(tree.root(), "usb", "../../usb"), NetHardware::kUnknown);
  EXPECT_EQ(net_hardware(tree.root() + "/nowhere", "usb", "1-1:1.0"), NetHardware::kUnknown);
}

}  // namespace
}  // namespace fairlead::sys
