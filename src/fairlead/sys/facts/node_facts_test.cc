// SPDX-License-Identifier: Apache-2.0
// PCI functions and their RDMA devices, from a sysfs of our own.
#include "fairlead/sys/facts/node_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "fairlead/sys/testing/sysfs_tree.h"

namespace fairlead::sys {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

/// A PF with a link and an RDMA device, a VF on vfio-pci, a disk.
class NodeFactsTest : public testing::Test {
 protected:
  void SetUp() override {
    tree_.add_device("pci", "pci0000:00/0000:03:00.0",
                     {{"vendor", "0x15b3"}, {"device", "0x101d"}, {"class", "0x020000"}});
    tree_.add_device("pci", "pci0000:00/0000:03:00.2",
                     {{"vendor", "0x15b3"}, {"device", "0x101e"}, {"class", "0x020000"}});
    tree_.add_device("pci", "pci0000:00/0000:00:1f.2",
                     {{"vendor", "0x8086"}, {"device", "0x2922"}, {"class", "0x010601"}});
    tree_.add_link("pci0000:00/0000:03:00.2", "physfn", "../0000:03:00.0");
    tree_.add_link("pci0000:00/0000:03:00.2", "driver", "../../../bus/pci/drivers/vfio-pci");
    for (const char* name : {"mlx5_1", "mlx5_0"}) {
      std::filesystem::create_directories(tree_.root() + "/devices/pci0000:00/0000:03:00.0/infiniband/" +
                                          name);
    }
  }
  testing_support::SysfsTree tree_;
};

TEST_F(NodeFactsTest, FunctionsOfNetworkControllers_WithAndWithoutALink) {
  const auto functions = read_net_functions(tree_.root());
  ASSERT_TRUE(functions) << functions.error().what();
  ASSERT_THAT(*functions, SizeIs(2));
  EXPECT_EQ(functions->at(0).pci.bdf, "0000:03:00.0");
  EXPECT_THAT(functions->at(0).rdma_devices, ElementsAre("mlx5_0", "mlx5_1"));
  EXPECT_EQ(functions->at(1).pci.bdf, "0000:03:00.2");
  EXPECT_EQ(functions->at(1).pci.driver, "vfio-pci");
  EXPECT_EQ(functions->at(1).pci.physical_function, "0000:03:00.0");
  EXPECT_THAT(functions->at(1).rdma_devices, IsEmpty());
}

TEST_F(NodeFactsTest, JoinsLinksFunctionsAndRdmaDevices) {
  netlink::Link link{.index = netlink::IfIndex(2), .name = "eth0"};
  link.parent_bus = "pci";
  link.parent_dev = "0000:03:00.0";
  const NodeFacts facts(make_inventory({link}, {}, {.sysfs_root = tree_.root()}),
                        read_net_functions(tree_.root()).value());
  const NetFunction* function = facts.function_of_rdma("mlx5_1");
  ASSERT_NE(function, nullptr);
  EXPECT_EQ(function, facts.function("0000:03:00.0"));
  const auto links = facts.inventory().find_bdf(function->pci.bdf);
  ASSERT_THAT(links, SizeIs(1));
  EXPECT_EQ(links[0]->link.name, "eth0");
  EXPECT_EQ(links[0]->pci, function->pci);
  EXPECT_THAT(facts.inventory().find_bdf("0000:03:00.2"), IsEmpty());
  EXPECT_EQ(facts.function("0000:00:1f.2"), nullptr) << "a disk";
  EXPECT_EQ(facts.function_of_rdma("rxe0"), nullptr);
}

TEST(NodeFacts, MachineWithoutPci_HasNoFunctions) {
  const testing_support::SysfsTree tree;
  const auto functions = read_net_functions(tree.root());
  ASSERT_TRUE(functions) << functions.error().what();
  EXPECT_THAT(*functions, IsEmpty());
}

}  // namespace
}  // namespace fairlead::sys
