// SPDX-License-Identifier: Apache-2.0
// The inventory of recorded machines and of a large made-up one.
#include "fairlead/sys/testing/recorded_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <net/if_arp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>

#include "fairlead/sys/files.h"
#include "fairlead/sys/inventory.h"
#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::sys {
namespace {

namespace fs = std::filesystem;
using netlink::codec::Bytes;
using netlink::codec::View;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::SizeIs;
using testing_support::generate_node;
using testing_support::recorded_folder;
using testing_support::RecordedNode;
using testing_support::TemporaryFolder;

Inventory inventory_of(const RecordedNode& node) {
  return make_inventory(node.links(), node.routes(), {.sysfs_root = node.sysfs_root()});
}

std::vector<PciDevice> functions_of(const RecordedNode& node) {
  std::vector<PciDevice> functions;
  for (const auto& entry : fs::directory_iterator(node.sysfs_root() + "/bus/pci/devices")) {
    const auto device = read_pci_device(node.sysfs_root(), entry.path().filename().string());
    if (device && *device) {
      functions.push_back(**device);
    }
  }
  std::ranges::sort(functions, {}, &PciDevice::bdf);
  return functions;
}

/// PF -> its VFs that have a link.
std::map<std::string, int> linked_vfs(const Inventory& inventory) {
  std::map<std::string, int> count;
  for (const InventoryLink& link : inventory.links()) {
    if (link.pci && link.pci->is_vf()) {
      ++count[link.pci->physical_function];
    }
  }
  return count;
}

std::set<std::string> names_of(const Inventory& inventory) {
  std::set<std::string> names;
  for (const InventoryLink& link : inventory.links()) {
    names.insert(link.link.name);
  }
  return names;
}

std::set<std::string> entries_of(const std::string& folder) {
  const auto names = list_dir(folder);
  return names ? std::set<std::string>(names->begin(), names->end()) : std::set<std::string>();
}

/// All symbolic links below a folder that lead nowhere.
std::vector<std::string> dangling(const std::string& root) {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.is_symlink() && !fs::exists(entry.path())) {
      found.push_back(entry.path().string());
    }
  }
  return found;
}

void write(const TemporaryFolder& folder, const std::string& name, std::string_view content) {
  std::ofstream(folder.path() / name) << content;
}

// ---- the two recorded guests

class Recorded : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto loaded = RecordedNode::load(recorded_folder(GetParam()));
    ASSERT_TRUE(loaded) << loaded.error().what();
    node_.emplace(std::move(*loaded));
  }
  [[nodiscard]] const RecordedNode& node() const { return *node_; }

 private:
  std::optional<RecordedNode> node_;
};

TEST_P(Recorded, LinksOfTheTreeLeadSomewhere) { EXPECT_THAT(dangling(node().sysfs_root()), IsEmpty()); }

TEST_P(Recorded, PhysicalFunctionsSayWhatTheyCanHave) {
  const Inventory inventory = inventory_of(node());
  const InventoryLink* first = inventory.find("ens1");
  const InventoryLink* second = inventory.find("ens2");
  ASSERT_TRUE(first && second && first->pci && second->pci);
  EXPECT_EQ(first->pci->vendor, 0x8086);
  EXPECT_EQ(first->pci->device, 0x10c9);
  EXPECT_EQ(first->pci->class_code, 0x020000U);
  EXPECT_EQ(first->pci->driver, "igb");
  EXPECT_EQ(first->pci->link_speed, "2.5 GT/s PCIe");
  EXPECT_EQ(first->pci->link_width, 1);
  EXPECT_EQ(first->pci->sriov_total_vfs, 7);
  EXPECT_EQ(first->pci->sriov_num_vfs, 4);
  EXPECT_EQ(second->pci->sriov_num_vfs, 7);
  EXPECT_FALSE(first->pci->is_vf());
  EXPECT_EQ(first->link.permanent_mac.to_string(), "52:54:00:aa:00:01");
  EXPECT_EQ(inventory.find("enp1s0-a-long-alternative-name"), first);
}

TEST_P(Recorded, EveryVfIsOfItsPf) {
  const Inventory inventory = inventory_of(node());
  const std::string first = inventory.find("ens1")->pci->bdf;
  const std::string second = inventory.find("ens2")->pci->bdf;
  EXPECT_EQ(linked_vfs(inventory), (std::map<std::string, int>{{first, 3}, {second, 7}}))
      << "one VF of the first is on vfio-pci and has no link";
  const InventoryLink* vf = inventory.find("ens2v4");
  ASSERT_TRUE(vf != nullptr && vf->pci);
  EXPECT_EQ(vf->pci->physical_function, second);
  EXPECT_EQ(vf->pci->driver, "igbvf");
  EXPECT_EQ(vf->pci->device, 0x10ca);
  EXPECT_FALSE(vf->pci->sriov_total_vfs);
  EXPECT_EQ(vf->link.mac.to_string(), "52:54:00:aa:02:04");
  EXPECT_EQ(fs::canonical(node().sysfs_root() + "/bus/pci/devices/" + second + "/virtfn4").filename(),
            vf->pci->bdf);
}

TEST_P(Recorded, AVfOnVfioHasNoLinkButAGroupOfItsOwn) {
  const auto functions = functions_of(node());
  const auto vfio = std::ranges::find(functions, "vfio-pci", &PciDevice::driver);
  ASSERT_NE(vfio, functions.end());
  EXPECT_TRUE(vfio->is_vf());
  const Inventory inventory = inventory_of(node());
  EXPECT_THAT(inventory.find_bdf(vfio->bdf), IsEmpty());
  const std::string folder = node().sysfs_root() + "/bus/pci/devices/" + vfio->bdf;
  EXPECT_EQ(read_file(folder + "/driver_override").value_or(""), "vfio-pci\n");
  EXPECT_THAT(entries_of(folder + "/iommu_group/devices"), ElementsAre(vfio->bdf));
  const std::string group = fs::canonical(folder + "/iommu_group").filename().string();
  EXPECT_TRUE(fs::exists(node().sysfs_root() + "/class/vfio/" + group + "/dev"));
}

TEST_P(Recorded, EveryFunctionIsInAGroupThatNamesIt) {
  const auto functions = functions_of(node());
  EXPECT_THAT(functions, SizeIs(15)) << "2 PFs, 11 VFs, 2 root ports";
  for (const PciDevice& function : functions) {
    const std::string folder = node().sysfs_root() + "/bus/pci/devices/" + function.bdf;
    EXPECT_THAT(entries_of(folder + "/iommu_group/devices"), testing::Contains(function.bdf));
  }
}

TEST_P(Recorded, TheUplinkIsTheOneWithTheDefaultRoute) {
  std::vector<std::string> uplinks;
  const Inventory inventory = inventory_of(node());
  for (const InventoryLink& link : inventory.links()) {
    if (link.is_uplink) {
      uplinks.push_back(link.link.name);
    }
  }
  EXPECT_THAT(uplinks, ElementsAre("ens1"));
}

TEST_P(Recorded, VirtualLinksStandOnWhatTheyWereMadeOn) {
  const Inventory inventory = inventory_of(node());
  ASSERT_THAT(names_of(inventory), IsSupersetOf({"lo", "br0", "ens2.100", "data0"}));
  EXPECT_EQ(inventory.find("ens2.100")->link.kind, "vlan");
  EXPECT_EQ(inventory.find("ens2.100")->link.parent, inventory.find("ens2")->link.index);
  EXPECT_EQ(inventory.find("data0")->link.macvlan_mode, netlink::MacvlanMode::kBridge);
  EXPECT_EQ(inventory.find("data0")->link.alias, "a macvlan on a VF");
  EXPECT_EQ(inventory.find("ens2v1")->link.master, inventory.find("br0")->link.index);
  EXPECT_FALSE(inventory.find("data0")->pci);
}

TEST_P(Recorded, SysfsAndNetlinkTellTheSameStory) {
  const Inventory inventory = inventory_of(node());
  EXPECT_EQ(entries_of(node().sysfs_root() + "/class/net"), names_of(inventory));
  for (const InventoryLink& link : inventory.links()) {
    const std::string folder = node().sysfs_root() + "/class/net/" + link.link.name;
    EXPECT_EQ(read_file(folder + "/address").value_or(""), link.link.mac.to_string() + "\n");
    EXPECT_EQ(read_file(folder + "/ifindex").value_or(""), std::to_string(link.link.index.value()) + "\n");
  }
}

TEST_P(Recorded, AnUnreadableFileIsThereAndFails) {
  const auto& unreadable = node().unreadable();
  const auto down = std::ranges::find_if(
      unreadable, [](const auto& one) { return one.first.ends_with("/net/ens2v5/speed"); });
  ASSERT_NE(down, unreadable.end());
  EXPECT_EQ(down->second, "EINVAL") << "the link is down";
  const std::string path = node().sysfs_root() + "/" + down->first;
  EXPECT_TRUE(fs::exists(path));
  EXPECT_EQ(read_file(path).error().sys_errno(), EISDIR);
  EXPECT_EQ(read_file(node().sysfs_root() + "/class/net/ens2/speed").value_or(""), "1000\n");
}

TEST_P(Recorded, AnRdmaDeviceOnAVf) {
  const std::string rxe = node().sysfs_root() + "/class/infiniband/rxe0";
  EXPECT_EQ(read_file(rxe + "/ports/1/link_layer").value_or(""), "Ethernet\n");
  EXPECT_EQ(read_file(rxe + "/ports/1/gids/0").value_or(""), "fe80:0000:0000:0000:5054:00ff:feaa:0200\n");
  EXPECT_EQ(read_file(rxe + "/ports/1/gid_attrs/ndevs/0").value_or(""), "ens2v0\n");
  EXPECT_EQ(read_file(node().sysfs_root() + "/class/infiniband_verbs/uverbs0/ibdev").value_or(""), "rxe0\n");
  EXPECT_FALSE(fs::exists(rxe + "/device")) << "soft-RoCE hangs on no device";
  for (const auto* name : {"rdma", "rdma_ports", "rdma_system", "nexthops", "devlink"}) {
    View rest = node().dump(name);
    EXPECT_TRUE(netlink::codec::next_message(rest)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Node, Recorded, ::testing::Values("igb-2pf", "igb-numa"), [](const auto& test) {
  return test.param == std::string("igb-2pf") ? "igb" : "numa";
});

TEST(RecordedNuma, CardsAreOnTheirOwnRootsAndNodes) {
  const auto node = RecordedNode::load(recorded_folder("igb-numa"));
  ASSERT_TRUE(node) << node.error().what();
  const Inventory inventory = inventory_of(*node);
  EXPECT_EQ(inventory.find("ens1")->pci->pcie_root, "pci0000:20");
  EXPECT_EQ(inventory.find("ens1")->pci->numa_node, 0);
  EXPECT_EQ(inventory.find("ens2")->pci->pcie_root, "pci0000:40");
  EXPECT_EQ(inventory.find("ens2")->pci->numa_node, 1);
  EXPECT_EQ(inventory.find("ens2v6")->pci->numa_node, 1) << "VFs are where their PF is";
  EXPECT_EQ(read_file(node->sysfs_root() + "/devices/system/node/node1/distance").value_or(""), "20 10\n");
}

TEST(RecordedNuma, OneNodeSaysNothingAboutNuma) {
  const auto node = RecordedNode::load(recorded_folder("igb-2pf"));
  ASSERT_TRUE(node) << node.error().what();
  const Inventory inventory = inventory_of(*node);
  EXPECT_EQ(inventory.find("ens1")->pci->numa_node, -1);
}

TEST(RecordedSwitchdev, RepresentorsNameTheirVfAndShareTheirCardsSwitch) {
  const auto node = RecordedNode::load(recorded_folder("netdevsim-switchdev"));
  ASSERT_TRUE(node) << node.error().what();
  EXPECT_THAT(dangling(node->sysfs_root()), IsEmpty());
  const std::string links = node->sysfs_root() + "/class/net/";
  EXPECT_EQ(read_file(links + "sim1pf0vf3/phys_port_name").value_or(""), "pf0vf3\n");
  const auto of_card = read_file(links + "sim1p1/phys_switch_id");
  ASSERT_TRUE(of_card) << of_card.error().what();
  EXPECT_EQ(read_file(links + "sim1pf0vf3/phys_switch_id").value_or(""), *of_card);
  const Inventory inventory = inventory_of(*node);
  const InventoryLink* representor = inventory.find("sim1pf0vf0");
  ASSERT_NE(representor, nullptr);
  EXPECT_EQ(representor->link.parent_bus, "netdevsim");
  EXPECT_EQ(representor->link.phys_port_name.substr(0, 5), "pf0vf");
  EXPECT_FALSE(representor->pci);
  std::size_t ports = 0;
  for (View rest = node->dump("devlink_ports"); const auto message = netlink::codec::next_message(rest);) {
    ports += message->type >= NLMSG_MIN_TYPE ? 1U : 0U;
  }
  EXPECT_EQ(ports, 6U) << "2 ports, 4 representors";
}

// ---- damage

void read_everything(View dump) {
  while (const auto message = netlink::codec::next_message(dump)) {
    (void)netlink::codec::read_answer(*message);
    (void)netlink::codec::read_link(*message);
    (void)netlink::codec::read_address(*message);
    (void)netlink::codec::read_route(*message);
  }
}

TEST(RecordedDamage, DumpsCutOffAnywhere_AreSurvived) {
  const auto node = RecordedNode::load(recorded_folder("igb-2pf"));
  ASSERT_TRUE(node) << node.error().what();
  std::size_t tried = 0;
  for (const auto* name : {"links", "addresses", "routes4", "routes6", "rdma", "rdma_ports"}) {
    const Bytes& whole = node->dump(name);
    for (std::size_t size = 0; size < whole.size(); size += 4) {
      // A buffer of exactly that size, so that one byte too far is seen; only the last message is of
      // interest.
      View rest = View(whole).first(size);
      View last = rest;
      while (netlink::codec::next_message(rest)) {
        last = rest.empty() ? last : rest;
      }
      Bytes part(last.begin(), last.end());
      if (part.size() >= sizeof(nlmsghdr)) {
        const auto length = static_cast<std::uint32_t>(part.size());
        std::memcpy(part.data(), &length, sizeof length);
      }
      read_everything(part);
      ++tried;
    }
  }
  EXPECT_GT(tried, 5000U);
}

TEST(RecordedDamage, MutatedDumps_AreSurvived) {
  const auto node = RecordedNode::load(recorded_folder("igb-2pf"));
  ASSERT_TRUE(node) << node.error().what();
  std::mt19937 random(20261);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same damage every time
  const auto below = [&](std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random);
  };
  const auto routes = node->routes();
  std::size_t still_read = 0;
  for (int round = 0; round < 300; ++round) {
    Bytes damaged = node->dump("links");
    for (int i = 0; i < 40; ++i) {
      damaged.at(below(damaged.size())) = static_cast<std::uint8_t>(below(256));
    }
    std::vector<netlink::Link> links;
    for (View rest = damaged; const auto message = netlink::codec::next_message(rest);) {
      if (auto link = netlink::codec::read_link(*message)) {
        links.push_back(std::move(*link));
      }
    }
    still_read += links.size();
    const Inventory inventory = make_inventory(std::move(links), routes, {.sysfs_root = node->sysfs_root()});
    (void)inventory.find("ens1");
  }
  EXPECT_GT(still_read, 1000U) << "the damage must leave something to read, or nothing was tested";
}

TEST(RecordedTree, WhatIsNotOfTheFormat_IsRefusedWithFileAndLine) {
  const TemporaryFolder folder;
  for (const auto* bad :
       {"vendor = 0x8086\n", "[devices]\nvendor\n", "[../etc]\n", "[/etc]\n", "[devices]\n.. = x\n",
        "[devices]\na/b = x\n", "[devices]\nvendor ? x\n", "[devices]\nvendor = \\q\n",
        "[devices]\nvendor = \\x4\n", "[devices]\na = 1\na = 2\n"}) {
    write(folder, "tree.txt", bad);
    const auto node = RecordedNode::load(folder.path().string());
    ASSERT_FALSE(node) << bad;
    EXPECT_THAT(node.error().what(), HasSubstr("tree.txt:")) << bad;
  }
  EXPECT_EQ(RecordedNode::load((folder.path() / "nowhere").string()).error().code(), Code::kNotFound);
}

TEST(RecordedTree, ValuesComeBackAsTheyWere) {
  const TemporaryFolder folder;
  write(folder, "tree.txt", "[devices/a b]\nbytes : \\x00\\xff\\\\\nempty =\nlines = one\\ntwo\nnothing :\n");
  const auto node = RecordedNode::load(folder.path().string());
  ASSERT_TRUE(node) << node.error().what();
  const std::string below = node->sysfs_root() + "/devices/a b/";
  EXPECT_EQ(read_file(below + "bytes").value_or("?"), std::string("\0\xff\\", 3));
  EXPECT_EQ(read_file(below + "empty").value_or("?"), "\n");
  EXPECT_EQ(read_file(below + "lines").value_or("?"), "one\ntwo\n");
  EXPECT_EQ(read_file(below + "nothing").value_or("?"), "");
}

// ---- the large one

Result<RecordedNode> generated(const std::vector<std::string>& arguments) {
  const TemporaryFolder folder;
  FL_TRY(generate_node(folder.path().string(), arguments));
  return RecordedNode::load(folder.path().string());
}

TEST(GeneratedNode, EightCardsWith2048Vfs_AreReadWhole) {
  const auto node = generated({});
  if (!node && node.error().code() == Code::kUnsupported) {
    GTEST_SKIP() << node.error().what();
  }
  ASSERT_TRUE(node) << node.error().what();
  const Inventory inventory = inventory_of(*node);

  EXPECT_THAT(inventory.links(), SizeIs(2 + 8 + 8 * 256 + 8)) << "lo, eno1, PFs, VFs, IPoIB";
  EXPECT_THAT(names_of(inventory), SizeIs(inventory.links().size())) << "names are unique";
  std::map<int, int> pfs_of_node;
  std::map<int, int> vfs_of_node;
  std::set<std::string> roots;
  std::set<std::string> macs;
  for (const InventoryLink& link : inventory.links()) {
    ASSERT_TRUE(link.pci || link.link.name == "lo") << link.link.name;
    macs.insert(link.link.mac.to_string());
    if (link.pci && link.pci->is_vf()) {
      ++vfs_of_node[link.pci->numa_node];
    } else if (link.pci && link.pci->sriov_total_vfs) {
      ++pfs_of_node[link.pci->numa_node];
      EXPECT_EQ(link.pci->sriov_num_vfs, 256);
      roots.insert(link.pci->pcie_root);
    }
  }
  EXPECT_EQ(pfs_of_node, (std::map<int, int>{{0, 4}, {1, 4}}));
  EXPECT_EQ(vfs_of_node, (std::map<int, int>{{0, 1024}, {1, 1024}}));
  EXPECT_THAT(roots, SizeIs(8));
  EXPECT_THAT(macs, SizeIs(inventory.links().size()));
  const auto vfs = linked_vfs(inventory);
  EXPECT_THAT(vfs, SizeIs(8));
  EXPECT_TRUE(std::ranges::all_of(vfs, [](const auto& one) { return one.second == 256; }));
  const InventoryLink* last = inventory.find("ens1f0v255");
  ASSERT_TRUE(last != nullptr && last->pci);
  EXPECT_EQ(last->pci->bdf, "0000:12:00.0") << "the VFs of one card need more than one bus number";
  EXPECT_EQ(last->pci->physical_function, "0000:11:00.0");
  EXPECT_TRUE(inventory.find("eno1")->is_uplink);

  EXPECT_THAT(entries_of(node->sysfs_root() + "/class/infiniband"), SizeIs(16));
  EXPECT_EQ(std::ranges::count_if(inventory.links(),
                                  [](const auto& one) { return one.link.arphrd == ARPHRD_INFINIBAND; }),
            8);
}

TEST(GeneratedNode, TheTreeIsWhole) {
  const auto node = generated({"--pfs", "2", "--vfs", "3", "--hcas", "3"});
  if (!node && node.error().code() == Code::kUnsupported) {
    GTEST_SKIP() << node.error().what();
  }
  ASSERT_TRUE(node) << node.error().what();
  EXPECT_THAT(dangling(node->sysfs_root()), IsEmpty());
  EXPECT_EQ(entries_of(node->sysfs_root() + "/class/net"), names_of(inventory_of(*node)));
  EXPECT_THAT(entries_of(node->sysfs_root() + "/class/infiniband"),
              ElementsAre("mlx5_0", "mlx5_1", "mlx5_2"));
}

TEST(GeneratedNode, AVfListThatOverflowsItsAttribute_IsSurvived) {
  // 256 VFs with counters: the kernel's 16-bit length wraps, and the rest of the list looks like attributes
  // of the link. Nothing must be read beyond the message, and every other link must come out whole.
  const auto node = generated({"--pfs", "1", "--hcas", "0", "--vf-statistics"});
  if (!node && node.error().code() == Code::kUnsupported) {
    GTEST_SKIP() << node.error().what();
  }
  ASSERT_TRUE(node) << node.error().what();
  const auto links = node->links();
  ASSERT_THAT(links, SizeIs(2 + 1 + 256));
  EXPECT_EQ(links[3].name, "ens1f0v0");
  EXPECT_EQ(links[3].parent_dev, "0000:11:00.1");
  // What a reader of such a dump gets for the PF: only what stands before the list can be trusted. So links
  // are asked for without their VFs (codec::dump_links), and VF lists without counters.
  EXPECT_EQ(links[2].name, "ens1f0np0");
  EXPECT_NE(links[2].mac.octets().size(), 6U) << "a piece of the list is taken for the address";
}

}  // namespace
}  // namespace fairlead::sys
