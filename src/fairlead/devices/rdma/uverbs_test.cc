// SPDX-License-Identifier: Apache-2.0
// rdma.kind "uverbs" on a node made of values: what it offers in which view, what it refuses, and the device nodes
// that it gives, whatever the kernel calls the device by then.
#include "fairlead/devices/rdma/uverbs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "fairlead/devices/netdev/host_device/host_device.h"
#include "fairlead/devices/netdev/link_book.h"
#include "fairlead/devices/offers.h"
#include "fairlead/devices/rdma/rdma_offers.h"
#include "fairlead/devices/testing/node.h"
#include "fairlead/sys/testing/recorded_node.h"

namespace fairlead::devices::rdma {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr const char* kHca = "rdma-0000-03-00-1";
constexpr const char* kSoft = "rdma-guid-505400fffeaa0200";
constexpr std::uint64_t kGuid = 0x0002c90300a1b2c3;
constexpr std::uint64_t kSoftGuid = 0x505400fffeaa0200;

/// What the kernel says.
struct FakeKernel {
  netlink::RdmaNetnsMode mode = netlink::RdmaNetnsMode::kShared;
  std::vector<netlink::RdmaDevice> devices = {
      {.index = 0, .name = "mlx5_0", .node_guid = kGuid, .ports = 2},
      {.index = 1, .name = "rxe0", .node_guid = kSoftGuid, .ports = 1}};
  std::map<std::string, std::vector<std::string>> of_function = {{"0000:03:00.1", {"mlx5_0"}}};
  /// "uverbs 0", "umad 0/1", "rdma_cm"
  std::map<std::string, netlink::RdmaCharDevice> nodes = {
      {"uverbs 0", {.name = "uverbs0", .major = 231, .minor = 192}},
      {"uverbs 1", {.name = "uverbs1", .major = 231, .minor = 193}},
      {"umad 0/1", {.name = "umad0", .major = 231, .minor = 0}},
      {"umad 0/2", {.name = "umad1", .major = 231, .minor = 1}},
      {"rdma_cm", {.name = "rdma_cm", .major = 10, .minor = 260}}};
  DeviceFile::State folder = DeviceFile::State::kThere;
  std::map<std::string, DeviceFile> files = {};  // others are as the kernel says

  RdmaQuestions questions() {
    return {.netns_mode = [this]() -> Result<netlink::RdmaNetnsMode> { return mode; },
            .devices = [this]() -> Result<std::vector<netlink::RdmaDevice>> { return devices; },
            .char_device = [this](const netlink::RdmaCharDeviceQuery& query)
                -> Result<std::optional<netlink::RdmaCharDevice>> {
              std::string key(query.type);
              key += query.device ? " " + std::to_string(*query.device) : "";
              key += query.port ? "/" + std::to_string(*query.port) : "";
              const auto found = nodes.find(key);
              return found == nodes.end() ? std::optional<netlink::RdmaCharDevice>() : found->second;
            },
            .devices_of = [this](const std::string& bdf) -> Result<std::vector<std::string>> {
              return of_function[bdf];
            },
            .file = [this](const std::string& name) -> Result<DeviceFile> {
              if (folder != DeviceFile::State::kThere) {
                return DeviceFile{.state = folder};
              }
              if (const auto found = files.find(name); found != files.end()) {
                return found->second;
              }
              for (const auto& [key, node] : nodes) {
                if (node.name == name) {
                  return DeviceFile{
                      .state = DeviceFile::State::kThere, .major = node.major, .minor = node.minor};
                }
              }
              return DeviceFile{.state = DeviceFile::State::kMissing};
            }};
  }
};

/// The links of devices/testing/node.h: nic1's function has an HCA, rxe0 is on nic2.
class Uverbs : public ::testing::Test {
 protected:
  Uverbs() {
    options_.rdma_view = RdmaView::kRdma;
    registry_.add(std::make_unique<UverbsKind>(kernel_.questions()));
  }
  sys::NodeFacts facts() const { return {inventory_, functions_, rdma_}; }
  NodeView view(const sys::NodeFacts& facts, OtherDrivers others = {}) const {
    return {facts.inventory(), options_, {}, std::move(others), rdma_links(facts, options_.rdma_view, held_)};
  }
  Offers offers() const {
    const sys::NodeFacts facts = this->facts();
    const NodeView node = view(facts, others_);
    return registry_.offers({.node = &node, .facts = &facts, .held = held_});
  }
  std::vector<std::string> published() const {
    std::vector<std::string> names;
    for (const dra::Device& device : published_devices(offers(), held_)) {
      names.push_back(device.name);
    }
    return names;
  }
  std::string withheld(const std::string& name) const {
    for (const Offer& offer : offers().devices) {
      if (offer.device.name == name) {
        return offer.withheld ? offer.withheld->text : "offered";
      }
    }
    return "none of that name";
  }
  Result<DevicePlan> plan(const std::string& fields = "", const std::string& device = kHca,
                          const std::string& reported = "") {
    const sys::NodeFacts facts = this->facts();
    const NodeView node = view(facts, others_);
    const dra::AllocatedDevice allocated{
        .request = "hca",
        .pool = "node-a",
        .device = device,
        .config = {{.parameters = R"({"type":"rdma","rdma":{"kind":"uverbs")" + fields + "}}",
                    .path = "config[0]"}},
        .reported = reported};
    FL_ASSIGN(const auto resolved, registry_.resolve(allocated.config));
    return registry_.plan(
        {.device = &allocated, .node = &node, .facts = &facts, .claim = &claim_, .others = &book_}, resolved);
  }
  Result<cdi::ContainerEdits> prepare(const DevicePlan& plan) {
    PrepareInput input;
    input.plan = &plan;
    input.variable = "HCA";
    return registry_.find(plan.name)->prepare(input);
  }
  Result<cdi::ContainerEdits> prepare() {
    FL_ASSIGN(const DevicePlan planned, plan());
    return prepare(planned);
  }
  dra::DeviceReport report(const DevicePlan& plan) {
    InspectInput input;
    input.plan = &plan;
    const auto report = registry_.find(plan.name)->inspect(input);
    return report ? *report : dra::DeviceReport{.message = report.error().what()};
  }
  static std::string why(const auto& result) { return result ? "accepted" : result.error().what(); }

  FakeKernel kernel_;
  NodeOptions options_ = devices::testing::node_options();
  sys::Inventory inventory_ = devices::testing::inventory();
  std::vector<sys::NetFunction> functions_ = {{.pci = {.bdf = "0000:03:00.1",
                                                       .vendor = 0x15b3,
                                                       .device = 0x1021,
                                                       .driver = "mlx5_core",
                                                       .numa_node = 1,
                                                       .pcie_root = "pci0000:00"},
                                               .rdma_devices = {"mlx5_0"}}};
  std::vector<sys::RdmaDevice> rdma_ = {{.name = "mlx5_0",
                                         .node_guid = "0002:c903:00a1:b2c3",
                                         .firmware = "28.40.1000",
                                         .link_layer = "Ethernet",
                                         .state = "ACTIVE",
                                         .ports = 2,
                                         .bdf = "0000:03:00.1"},
                                        {.name = "rxe0",
                                         .node_guid = "5054:00ff:feaa:0200",
                                         .link_layer = "Ethernet",
                                         .state = "DOWN",
                                         .ports = 1,
                                         .is_software = true,
                                         .link = "nic2"}};
  std::vector<HeldDevice> held_;
  OtherDrivers others_;
  dra::Claim claim_ = {.namespace_ = "tenant", .name = "mine", .uid = "uid-mine"};
  netdev::LinkBook book_;
  Registry registry_ = [] {
    Registry kinds;
    kinds.add(std::make_unique<netdev::HostDeviceKind>());
    return kinds;
  }();
};

TEST_F(Uverbs, ViewRdma_OffersRdmaDevicesInsteadOfTheirInterfaces) {
  EXPECT_THAT(published(), ElementsAre(kHca, kSoft));
  EXPECT_EQ(withheld("pci-0000-03-00-1"), "it is offered as the RDMA device mlx5_0 (--rdma-view rdma)");
}

TEST_F(Uverbs, ViewNic_OffersTheInterfaces) {
  options_.rdma_view = RdmaView::kNic;
  const auto names = published();
  EXPECT_THAT(names, ::testing::Contains("pci-0000-03-00-1"));
  EXPECT_THAT(names, ::testing::Not(::testing::Contains(HasSubstr("rdma-"))));
  EXPECT_THAT(why(plan()), HasSubstr("(--rdma-view nic)"));
}

TEST_F(Uverbs, AttributesOfAnHca) {
  const auto all = offers();
  const dra::Device& device =
      std::ranges::find(all.devices, kHca, [](const Offer& offer) { return offer.device.name; })->device;
  const auto text = [&](const std::string& key) {
    const auto found = device.attributes.find(key);
    return found == device.attributes.end() ? "" : std::get<std::string>(found->second);
  };
  EXPECT_EQ(text("type"), "rdma");
  EXPECT_EQ(text("kind"), "uverbs");
  EXPECT_EQ(text("rdmaDevice"), "mlx5_0");
  EXPECT_EQ(text("nodeGUID"), "0002:c903:00a1:b2c3");
  EXPECT_EQ(text("linkLayer"), "ethernet");
  EXPECT_EQ(text("state"), "active");
  EXPECT_EQ(text("firmware"), "28.40.1000");
  EXPECT_EQ(text("ifName"), "nic1");
  EXPECT_EQ(text("resource.kubernetes.io/pciBusID"), "0000:03:00.1");
  EXPECT_EQ(text("resource.kubernetes.io/pcieRoot"), "pci0000:00");
  EXPECT_EQ(text("pciVendor"), "0x15b3");
  EXPECT_EQ(std::get<std::int64_t>(device.attributes.at("ports")), 2);
  EXPECT_EQ(std::get<std::int64_t>(device.attributes.at("resource.kubernetes.io/numaNode")), 1);
  EXPECT_FALSE(std::get<bool>(device.attributes.at("virtual")));
}

TEST_F(Uverbs, OneOfSoftware_SaysSo_AndItsLink) {
  const auto all = offers();
  const dra::Device& device =
      std::ranges::find(all.devices, kSoft, [](const Offer& offer) { return offer.device.name; })->device;
  EXPECT_TRUE(std::get<bool>(device.attributes.at("virtual")));
  EXPECT_EQ(std::get<std::string>(device.attributes.at("ifName")), "nic2");
  EXPECT_FALSE(device.attributes.contains("resource.kubernetes.io/pciBusID"));
}

TEST_F(Uverbs, RecordedMachine_OffersItsSoftRoce) {
  const auto node =
      sys::testing_support::RecordedNode::load(sys::testing_support::recorded_folder("igb-2pf"));
  ASSERT_TRUE(node) << node.error().what();
  const auto rdma = sys::read_rdma_devices(node->sysfs_root());
  const auto functions = sys::read_net_functions(node->sysfs_root());
  ASSERT_TRUE(rdma && functions);
  inventory_ = sys::make_inventory(node->links(), node->routes(), {.sysfs_root = node->sysfs_root()});
  functions_ = *functions;
  rdma_ = *rdma;
  const auto names = published();
  EXPECT_THAT(names, ::testing::Contains(kSoft));
  EXPECT_EQ(withheld("pci-0000-02-10-0"), "it is offered as the RDMA device rxe0 (--rdma-view rdma)");
  options_.rdma_view = RdmaView::kNic;
  EXPECT_THAT(published(), ::testing::Contains("pci-0000-02-10-0"));
}

TEST_F(Uverbs, OfTheNodesOwnLink_IsWithheld_UnlessReleased) {
  rdma_[1].link = "eth0";
  EXPECT_THAT(withheld(kSoft), HasSubstr("eth0: it carries the node's default route (IPv4) (--not-uplink"));
  EXPECT_THAT(why(plan("", kSoft)), HasSubstr("cannot be given: of its interface eth0"));
  options_.not_uplinks = {"eth0"};
  EXPECT_EQ(withheld(kSoft), "offered");
  EXPECT_EQ(why(plan("", kSoft)), "accepted");
}

TEST_F(Uverbs, OfAFunctionWithVfs_IsWithheld) {
  functions_[0].pci.sriov_num_vfs = 4;
  EXPECT_EQ(withheld(kHca), "it is of a physical function with 4 virtual functions");
  EXPECT_THAT(why(plan()), HasSubstr("4 virtual functions"));
}

TEST_F(Uverbs, WhoseInterfaceAnotherDriverHas_IsWithheld) {
  others_.nics["pci-0000-03-00-1"] = "a claim of the driver b.example.com has it";
  EXPECT_EQ(withheld(kHca), "a claim of the driver b.example.com has it");
  EXPECT_THAT(why(plan()), HasSubstr("b.example.com"));
}

TEST_F(Uverbs, SeveralOfOneFunction_AreToldApartByGuid) {
  rdma_.push_back(rdma_[0]);
  rdma_.back().name = "mlx5_1";
  rdma_.back().node_guid = "0002:c903:00a1:b2c4";
  EXPECT_THAT(published(),
              ElementsAre("rdma-0000-03-00-1-0002c90300a1b2c3", "rdma-0000-03-00-1-0002c90300a1b2c4", kSoft));
}

TEST_F(Uverbs, WithoutGuid_IsCalledByItsName) {
  rdma_[1].node_guid.clear();
  EXPECT_THAT(published(), ElementsAre(kHca, "rdma-rxe0"));
}

TEST_F(Uverbs, GivesItsDeviceNodes) {
  const auto edits = prepare();
  ASSERT_TRUE(edits) << edits.error().what();
  EXPECT_THAT(edits->env, ElementsAre("HCA=mlx5_0"));
  ASSERT_THAT(edits->device_nodes, SizeIs(2));
  EXPECT_EQ(edits->device_nodes[0], (cdi::DeviceNode{.path = "/dev/infiniband/uverbs0",
                                                     .host_path = "/dev/infiniband/uverbs0",
                                                     .type = "c",
                                                     .major = 231,
                                                     .minor = 192,
                                                     .file_mode = 0666,
                                                     .permissions = "rw"}));
  EXPECT_EQ(edits->device_nodes[1].path, "/dev/infiniband/rdma_cm");
  EXPECT_EQ(edits->device_nodes[1].minor, 260);
}

TEST_F(Uverbs, NeedsNoParameters) {
  const sys::NodeFacts facts = this->facts();
  const NodeView node = view(facts);
  const dra::AllocatedDevice allocated{.request = "hca", .pool = "node-a", .device = kHca};
  const auto planned =
      registry_.plan({.device = &allocated, .node = &node, .facts = &facts, .claim = &claim_}, {});
  ASSERT_TRUE(planned) << planned.error().what();
  EXPECT_EQ(planned->key, kHca);
  EXPECT_FALSE(planned->needs.pod_netns);
  EXPECT_EQ(
      planned->identity,
      R"({"identity":{"name":"rdma-0000-03-00-1","nodeGUID":"0002:c903:00a1:b2c3","pciBusID":"0000:03:00.1"}})");
}

TEST_F(Uverbs, UmadAndIssm_OnlyWhenAskedFor) {
  const auto with_umad = plan(R"(,"umad":true)");
  ASSERT_TRUE(with_umad) << with_umad.error().what();
  const auto edits = prepare(*with_umad);
  ASSERT_TRUE(edits) << edits.error().what();
  ASSERT_THAT(edits->device_nodes, SizeIs(4));
  EXPECT_EQ(edits->device_nodes[2].path, "/dev/infiniband/umad0");
  EXPECT_EQ(edits->device_nodes[3].path, "/dev/infiniband/umad1");
  EXPECT_EQ(edits->device_nodes[3].file_mode, 0600U);
  const auto with_issm = plan(R"(,"issm":true)");
  ASSERT_TRUE(with_issm);
  EXPECT_THAT(why(prepare(*with_issm)), HasSubstr("rdma.issm: the RDMA device mlx5_0"));
}

TEST_F(Uverbs, PlanOnDisk_IsReadAgain) {
  const auto planned = plan(R"(,"umad":true)");
  ASSERT_TRUE(planned) << planned.error().what();
  DevicePlan read{.name = planned->name};
  registry_.read(read, planned->body->to_json(), "");
  ASSERT_FALSE(read.problem) << read.problem->what();
  EXPECT_EQ(read.body->to_json(), planned->body->to_json());
  const auto edits = prepare(read);
  ASSERT_TRUE(edits) << edits.error().what();
  EXPECT_THAT(edits->device_nodes, SizeIs(4));
}

TEST_F(Uverbs, DriverLoadedAgain_NewNameAndNumbers_AreFollowed) {
  const auto planned = plan();
  ASSERT_TRUE(planned) << planned.error().what();
  kernel_.devices[0] = {.index = 7, .name = "ibp3s0f1", .node_guid = kGuid, .ports = 2};
  kernel_.of_function["0000:03:00.1"] = {"ibp3s0f1"};
  kernel_.nodes["uverbs 7"] = {.name = "uverbs5", .major = 231, .minor = 197};
  const auto edits = prepare(*planned);
  ASSERT_TRUE(edits) << edits.error().what();
  EXPECT_EQ(edits->device_nodes[0].path, "/dev/infiniband/uverbs5");
  EXPECT_EQ(edits->device_nodes[0].minor, 197);
  EXPECT_THAT(edits->env, ElementsAre("HCA=ibp3s0f1"));
  EXPECT_TRUE(registry_.find(planned->name)->may_change_when_prepared());
}

TEST_F(Uverbs, OneOfSoftware_IsFoundByItsGuid) {
  const auto planned = plan("", kSoft);
  ASSERT_TRUE(planned) << planned.error().what();
  kernel_.devices[1].name = "soft0";
  const auto edits = prepare(*planned);
  ASSERT_TRUE(edits) << edits.error().what();
  EXPECT_EQ(edits->device_nodes[0].path, "/dev/infiniband/uverbs1");
  kernel_.devices[1].node_guid = 0x1111;
  kernel_.devices[1].name = "rxe0";
  EXPECT_THAT(why(prepare(*planned)), HasSubstr("is not on this node now")) << "another of the same name";
}

TEST_F(Uverbs, Gone_IsRefused) {
  const auto planned = plan();
  ASSERT_TRUE(planned) << planned.error().what();
  kernel_.of_function.clear();
  EXPECT_EQ(why(prepare(*planned)),
            "the RDMA device mlx5_0 (PCI address 0000:03:00.1, node GUID 0002:c903:00a1:b2c3) is not on this "
            "node now; "
            "perhaps its driver is being loaded again");
  EXPECT_EQ(report(*planned).reason, "DeviceGone");
  EXPECT_FALSE(report(*planned).ready);
  rdma_.clear();
  EXPECT_THAT(why(plan()),
              HasSubstr("rdma-0000-03-00-1 that the request \"hca\" was allocated is not on this node"));
}

TEST_F(Uverbs, AnotherDeviceInItsPlace_IsRefused) {
  const auto planned = plan();
  ASSERT_TRUE(planned) << planned.error().what();
  kernel_.devices[0].node_guid = 0x0002c90300ffffff;
  EXPECT_THAT(why(prepare(*planned)),
              HasSubstr("was replaced: at its PCI address is mlx5_0 with the node GUID "
                        "0002:c903:00ff:ffff now"));
}

TEST_F(Uverbs, AnotherDeviceThanTheAllocationHadBefore_IsRefused) {
  const auto planned = plan();
  ASSERT_TRUE(planned) << planned.error().what();
  const std::string reported = planned->identity;
  EXPECT_EQ(why(plan("", kHca, reported)), "accepted");
  rdma_[0].node_guid = "0002:c903:00ff:ffff";
  EXPECT_THAT(
      why(plan("", kHca, reported)),
      HasSubstr(
          "the device rdma-0000-03-00-1 of the request \"hca\" (mlx5_0) is another RDMA device than when "
          "the claim was prepared before"));
  EXPECT_EQ(why(plan("", kHca, R"({"foreign":1})")), "accepted");
}

TEST_F(Uverbs, VfWithANewGuid_IsTheSame) {
  functions_[0].pci.physical_function = "0000:03:00.0";
  const auto planned = plan();
  ASSERT_TRUE(planned) << planned.error().what();
  rdma_[0].node_guid = "1234:0000:0000:0001";
  kernel_.devices[0].node_guid = 0x1234000000000001;
  EXPECT_EQ(why(plan("", kHca, planned->identity)), "accepted");
  EXPECT_EQ(why(prepare(*planned)), "accepted");
}

TEST_F(Uverbs, ExclusiveNetnsMode_IsRefused) {
  const auto planned = plan();
  ASSERT_TRUE(planned) << planned.error().what();
  kernel_.mode = netlink::RdmaNetnsMode::kExclusive;
  EXPECT_THAT(why(plan()), HasSubstr("`rdma system` says exclusive"));
  EXPECT_THAT(why(prepare(*planned)), HasSubstr("netns_mode=1"));
}

TEST_F(Uverbs, WithoutModules_TheSentenceNamesThem) {
  const auto planned = plan();
  ASSERT_TRUE(planned) << planned.error().what();
  kernel_.nodes.erase("rdma_cm");
  EXPECT_THAT(why(prepare(*planned)), HasSubstr("load the kernel's module rdma_ucm"));
  kernel_.nodes.erase("uverbs 0");
  EXPECT_THAT(why(prepare(*planned)), HasSubstr("load the kernel's module ib_uverbs"));
}

TEST_F(Uverbs, FilesInDev_MustBeWhatTheKernelHas) {
  const auto planned = plan();
  ASSERT_TRUE(planned) << planned.error().what();
  kernel_.files["uverbs0"] = {.state = DeviceFile::State::kMissing};
  EXPECT_THAT(why(prepare(*planned)), HasSubstr("/dev/infiniband/uverbs0 is missing in this node's /dev"));
  kernel_.files["uverbs0"] = {.state = DeviceFile::State::kThere, .major = 231, .minor = 200};
  EXPECT_THAT(why(prepare(*planned)), HasSubstr("is the device 231:200, and the kernel has 231:192"));
  kernel_.files["uverbs0"] = {.state = DeviceFile::State::kOther};
  EXPECT_THAT(why(prepare(*planned)), HasSubstr("is no character device"));
}

TEST_F(Uverbs, WithoutDevInTheAgentsContainer_TheKernelsNumbersAreEnough) {
  kernel_.folder = DeviceFile::State::kNoFolder;
  const auto planned = plan();
  ASSERT_TRUE(planned) << planned.error().what();
  EXPECT_EQ(why(prepare(*planned)), "accepted");
  EXPECT_THAT(report(*planned).message, HasSubstr("does not see /dev/infiniband"));
}

TEST_F(Uverbs, ReportHasGuidAndNodes) {
  const auto planned = plan();
  ASSERT_TRUE(planned) << planned.error().what();
  const dra::DeviceReport found = report(*planned);
  EXPECT_TRUE(found.ready);
  EXPECT_EQ(found.reason, "Prepared");
  EXPECT_EQ(found.message, "");
  EXPECT_EQ(
      found.data,
      R"({"identity":{"name":"rdma-0000-03-00-1","nodeGUID":"0002:c903:00a1:b2c3","pciBusID":"0000:03:00.1"},)"
      R"("rdma":{"device":"mlx5_0","nodeGUID":"0002:c903:00a1:b2c3",)"
      R"("nodes":["/dev/infiniband/uverbs0","/dev/infiniband/rdma_cm"]}})");
  EXPECT_EQ(why(plan("", kHca, found.data)), "accepted") << "it is what a later prepare compares with";
}

TEST_F(Uverbs, AnotherDeviceOfTheRequest_IsRefused) {
  EXPECT_THAT(why(plan("", "netdev-virtual")),
              HasSubstr("uverbs takes an RDMA device, but the request \"hca\" was "
                        "allocated netdev-virtual; ask for one with a selector"));
  EXPECT_THAT(why(plan(R"(,"device":"mlx5_1")")),
              HasSubstr("rdma.device: \"mlx5_1\" is not the RDMA device"));
  EXPECT_EQ(why(plan(R"(,"device":"mlx5_0")")), "accepted");
  EXPECT_THAT(why(plan(R"(,"mtu":1500)")), HasSubstr("mtu"));
}

TEST_F(Uverbs, InterfaceThatAClaimHas_WithholdsIt) {
  options_.rdma_view = RdmaView::kNic;
  const sys::NodeFacts facts = this->facts();
  const NodeView node = view(facts);
  const dra::AllocatedDevice allocated{.request = "nic", .pool = "node-a", .device = "pci-0000-03-00-1"};
  const auto nic =
      registry_.plan({.device = &allocated, .node = &node, .facts = &facts, .claim = &claim_}, {});
  ASSERT_TRUE(nic) << nic.error().what();
  options_.rdma_view = RdmaView::kRdma;
  book_.add(std::make_shared<const PlannedClaim>(
      PlannedClaim{.namespace_ = "other", .name = "has-it", .uid = "uid-other", .devices = {*nic}}));
  EXPECT_THAT(why(plan()), HasSubstr("the claim other/has-it has its network interface"));
  held_ = {{.name = "pci-0000-03-00-1", .plan = *nic}};
  EXPECT_EQ(withheld(kHca), "a claim has its network interface nic1");
  EXPECT_THAT(published(), ElementsAre("pci-0000-03-00-1", kSoft));
}

TEST_F(Uverbs, HeldByAClaim_StaysPublished_AlsoInTheOtherViewAndWhenGone) {
  const auto planned = plan();
  ASSERT_TRUE(planned) << planned.error().what();
  held_ = {{.name = kHca, .plan = *planned}};
  options_.rdma_view = RdmaView::kNic;
  auto names = published();
  EXPECT_THAT(names, ::testing::Contains(kHca));
  EXPECT_THAT(names, ::testing::Not(::testing::Contains("pci-0000-03-00-1")));
  EXPECT_EQ(withheld("pci-0000-03-00-1"), "a claim has its RDMA device mlx5_0");
  rdma_.clear();
  EXPECT_THAT(published(), ::testing::Contains(kHca));
}

}  // namespace
}  // namespace fairlead::devices::rdma
