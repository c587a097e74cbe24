// SPDX-License-Identifier: Apache-2.0
// RDMA devices from sysfs: of a recorded machine, and laid out by hand.
#include "fairlead/sys/facts/rdma_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "fairlead/sys/facts/node_facts.h"
#include "fairlead/sys/testing/recorded_node.h"
#include "fairlead/sys/testing/sysfs_tree.h"

namespace fairlead::sys {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(RdmaDevices, RecordedOneOfSoftware_IsOnItsLink) {
  const auto node = testing_support::RecordedNode::load(testing_support::recorded_folder("igb-2pf"));
  ASSERT_TRUE(node) << node.error().what();
  auto devices = read_rdma_devices(node->sysfs_root());
  ASSERT_TRUE(devices) << devices.error().what();
  EXPECT_THAT(*devices, ElementsAre(RdmaDevice{.name = "rxe0",
                                               .node_guid = "5054:00ff:feaa:0200",
                                               .link_layer = "Ethernet",
                                               .state = "ACTIVE",
                                               .ports = 1,
                                               .is_software = true,
                                               .link = "ens2v0"}));
  const NodeFacts facts(make_inventory(node->links(), node->routes(), {.sysfs_root = node->sysfs_root()}), {},
                        *devices);
  const auto links = facts.links_of(facts.rdma_devices().front());
  ASSERT_THAT(links, SizeIs(1));
  EXPECT_EQ(links[0]->link.name, "ens2v0");
}

TEST(RdmaDevices, OfAFunction_AndOfADeviceOnAnotherBus) {
  const testing_support::SysfsTree sysfs;
  const auto add = [&](const std::string& place, const std::string& name, const std::string& guid) {
    const std::filesystem::path root = sysfs.root();
    const auto folder = root / "devices" / place / "infiniband" / name;
    std::filesystem::create_directories(folder / "ports/1");
    std::filesystem::create_directories(root / "class/infiniband");
    std::ofstream(folder / "node_type") << "1: CA\n";
    std::ofstream(folder / "node_guid") << guid << "\n";
    std::ofstream(folder / "fw_ver") << "28.40.1000\n";
    std::ofstream(folder / "ports/1/link_layer") << "InfiniBand\n";
    std::ofstream(folder / "ports/1/state") << "1: DOWN\n";
    std::filesystem::create_symlink(root / "devices" / place, folder / "device");
    std::filesystem::create_symlink(folder, root / "class/infiniband" / name);
  };
  add("pci0000:00/0000:03:00.0", "mlx5_0", "0002:c903:00a1:b2c3");
  add("pci0000:00/0000:03:00.0/mlx5_core.sf.4", "mlx5_2", "0000:0000:0000:0000");
  const auto devices = read_rdma_devices(sysfs.root());
  ASSERT_TRUE(devices) << devices.error().what();
  EXPECT_THAT(*devices, ElementsAre(RdmaDevice{.name = "mlx5_0",
                                               .node_guid = "0002:c903:00a1:b2c3",
                                               .firmware = "28.40.1000",
                                               .link_layer = "InfiniBand",
                                               .state = "DOWN",
                                               .ports = 1,
                                               .bdf = "0000:03:00.0"},
                                    RdmaDevice{.name = "mlx5_2",
                                               .firmware = "28.40.1000",
                                               .link_layer = "InfiniBand",
                                               .state = "DOWN",
                                               .ports = 1}));
}

TEST(RdmaDevices, NodeWithoutAny) {
  const testing_support::SysfsTree sysfs;
  const auto devices = read_rdma_devices(sysfs.root());
  ASSERT_TRUE(devices) << devices.error().what();
  EXPECT_THAT(*devices, IsEmpty());
}

}  // namespace
}  // namespace fairlead::sys
