// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/pci.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/sys/testing/sysfs_tree.h"

namespace fairlead::sys {
namespace {

using testing_support::SysfsTree;

constexpr const char* kPort = "pci0000:00/0000:00:02.0/0000:3b:00.0";
constexpr const char* kFunction = "pci0000:00/0000:00:02.0/0000:3b:10.1";

/// A physical function with VFs, as an Intel X710 shows it.
void add_nic(SysfsTree& tree) {
  tree.add_device("pci", kPort,
                  {{"vendor", "0x8086"},
                   {"device", "0x1572"},
                   {"class", "0x020000"},
                   {"numa_node", "1"},
                   {"current_link_speed", "8.0 GT/s PCIe"},
                   {"current_link_width", "8"},
                   {"sriov_totalvfs", "64"},
                   {"sriov_numvfs", "2"}});
  tree.add_link(kPort, "driver", "../../../../bus/pci/drivers/i40e");
  tree.add_device("pci", kFunction, {{"vendor", "0x8086"}, {"device", "0x154c"}, {"numa_node", "-1"}});
  tree.add_link(kFunction, "physfn", "../0000:3b:00.0");
}

TEST(Pci, ReadsAPhysicalFunction) {
  SysfsTree tree;
  add_nic(tree);
  const auto device = read_pci_device(tree.root(), "0000:3b:00.0");
  ASSERT_TRUE(device && *device);
  const PciDevice expected = {.bdf = "0000:3b:00.0",
                              .vendor = 0x8086,
                              .device = 0x1572,
                              .class_code = 0x020000,
                              .driver = "i40e",
                              .numa_node = 1,
                              .pcie_root = "pci0000:00",
                              .link_speed = "8.0 GT/s PCIe",
                              .link_width = 8,
                              .sriov_total_vfs = 64,
                              .sriov_num_vfs = 2};
  EXPECT_EQ(**device, expected);
  EXPECT_FALSE((*device)->is_vf());
}

TEST(Pci, ReadsAVirtualFunctionWithoutDriver) {
  SysfsTree tree;
  add_nic(tree);
  const auto device = read_pci_device(tree.root(), "0000:3b:10.1");
  ASSERT_TRUE(device && *device);
  EXPECT_TRUE((*device)->is_vf());
  EXPECT_EQ((*device)->physical_function, "0000:3b:00.0");
  EXPECT_EQ((*device)->driver, "");
  EXPECT_EQ((*device)->numa_node, -1);
  EXPECT_FALSE((*device)->sriov_total_vfs);
  EXPECT_EQ((*device)->pcie_root, "pci0000:00");
}

TEST(Pci, WhatIsNotThereIsNothing) {
  const SysfsTree tree;
  const auto device = read_pci_device(tree.root(), "0000:3b:00.0");
  ASSERT_TRUE(device);
  EXPECT_FALSE(*device);
}

TEST(Pci, UnreadableFactsKeepTheirDefault) {
  SysfsTree tree;
  tree.add_device("pci", "pci0000:00/0000:00:03.0",
                  {{"vendor", "0x1af4"},
                   {"device", "rubbish"},
                   {"numa_node", ""},
                   {"current_link_speed", "Unknown speed"},
                   {"sriov_totalvfs", "99999999999999"}});
  const auto device = read_pci_device(tree.root(), "0000:00:03.0");
  ASSERT_TRUE(device && *device);
  EXPECT_EQ((*device)->device, 0);
  EXPECT_EQ((*device)->numa_node, -1);
  EXPECT_EQ((*device)->link_speed, "");
  EXPECT_FALSE((*device)->sriov_total_vfs);
}

TEST(Pci, ARootOfAnotherFormIsNoPcieRoot) {
  SysfsTree tree;
  // Behind Intel VMD: the domain has five digits and Kubernetes' attribute does not take it.
  tree.add_device("pci", "pci10000:e0/0000:e1:00.0", {{"vendor", "0x8086"}});
  EXPECT_EQ((**read_pci_device(tree.root(), "0000:e1:00.0")).pcie_root, "");
  tree.add_device("pci", "platform/soc/pci0001:00/0001:01:00.0", {{"vendor", "0x8086"}});
  EXPECT_EQ((**read_pci_device(tree.root(), "0001:01:00.0")).pcie_root, "");
}

TEST(Pci, TellsAddressesFromOtherText) {
  for (const auto* good : {"0000:00:00.0", "ffff:ff:1f.7"}) {
    EXPECT_TRUE(is_bdf(good)) << good;
  }
  for (const auto* bad : {"", "00:00.0", "0000:3B:00.0", "10000:e1:00.0", "0000:00:00.8", "0000:00:00.",
                          "0000-00-00.0", "../../../../", "0000:00:0/.0"}) {
    EXPECT_FALSE(is_bdf(bad)) << bad;
  }
  EXPECT_EQ(read_pci_device("/sys", "../../../etc").error().code(), Code::kInvalid);
}

TEST(Pci, FindsTheFunctionBelowOtherBuses) {
  SysfsTree tree;
  tree.add_device("pci", "pci0000:00/0000:00:03.0", {{"vendor", "0x1af4"}});
  tree.add_device("virtio", "pci0000:00/0000:00:03.0/virtio2", {});
  tree.add_device("auxiliary", std::string(kPort) + "/mlx5_core.sf.4", {});
  tree.add_device("virtio", "platform/a000000.virtio_mmio/virtio0", {});
  EXPECT_EQ(pci_function_of(tree.root(), "virtio", "virtio2"), "0000:00:03.0");
  EXPECT_EQ(pci_function_of(tree.root(), "auxiliary", "mlx5_core.sf.4"), "0000:3b:00.0");
  EXPECT_EQ(pci_function_of(tree.root(), "pci", "0000:00:03.0"), "0000:00:03.0");
  EXPECT_FALSE(pci_function_of(tree.root(), "virtio", "virtio0"));
  EXPECT_FALSE(pci_function_of(tree.root(), "virtio", "virtio9"));
  EXPECT_FALSE(pci_function_of(tree.root(), "..", "devices"));
  EXPECT_FALSE(pci_function_of(tree.root(), "", ""));
}

TEST(Pci, TellsTheDriverOfADeviceOnAnyBus) {
  SysfsTree tree;
  tree.add_device("usb", "pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0", {});
  tree.add_link("pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0", "driver",
                "../../../../../../bus/usb/drivers/r8152");
  tree.add_device("usb", "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0", {});
  EXPECT_EQ(driver_of(tree.root(), "usb", "1-1:1.0"), "r8152");
  EXPECT_EQ(driver_of(tree.root(), "usb", "1-2:1.0"), "");
  EXPECT_EQ(driver_of(tree.root(), "usb", "1-3:1.0"), "");
  EXPECT_EQ(driver_of(tree.root(), "usb", "../1-1:1.0"), "");
  EXPECT_EQ(driver_of(tree.root(), "", ""), "");
}

TEST(Pci, TellsWhichLinkOfItsDeviceOneIs) {
  SysfsTree tree;
  tree.add_device("pci", "pci0000:00/0000:00:14.0", {});
  tree.add_device("unused", "pci0000:00/0000:00:14.0/net/a", {{"dev_port", "0"}});
  tree.add_device("unused", "pci0000:00/0000:00:14.0/net/b", {{"dev_port", "1"}});
  tree.add_device("unused", "pci0000:00/0000:00:14.0/net/c", {{"dev_port", "-7"}});
  EXPECT_EQ(dev_port_of(tree.root(), "pci", "0000:00:14.0", "a"), 0);
  EXPECT_EQ(dev_port_of(tree.root(), "pci", "0000:00:14.0", "b"), 1);
  EXPECT_EQ(dev_port_of(tree.root(), "pci", "0000:00:14.0", "c"), 0);
  EXPECT_EQ(dev_port_of(tree.root(), "pci", "0000:00:14.0", "of-another-namespace"), 0);
  EXPECT_EQ(dev_port_of(tree.root(), "pci", "0000:00:14.0", "../net/b"), 0);
}

}  // namespace
}  // namespace fairlead::sys
