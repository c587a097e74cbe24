// SPDX-License-Identifier: Apache-2.0
// Claims, from plan() to unprepare(), against the running kernel.
#include "fairlead/agent/attach/attach.h"
#include "fairlead/core/pinned.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/rtnetlink.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <functional>

#include <time.h>

#include <map>
#include <memory>
#include <thread>

#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/devices/netdev/host_device/host_device.h"
#include "fairlead/devices/netdev/host_device/restore.h"
#include "fairlead/devices/netdev/plan.h"
#include "fairlead/devices/netdev/veth/veth.h"
#include "fairlead/sys/sysctl.h"
#include "fairlead/sys/testing/sysfs_tree.h"

namespace fairlead::agent {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

using sys::testing_support::kRunsWithoutDescriptors;
using sys::testing_support::NoDescriptors;
using Attach = KernelTest;

std::vector<std::string> global_addresses(netlink::Socket& socket, netlink::IfIndex link) {
  std::vector<std::string> out;
  const auto addresses = socket.addresses(link).value();
  for (const netlink::Address& address : addresses) {
    if (address.scope == 0) {
      out.push_back(address.prefix.to_string());
    }
  }
  std::ranges::sort(out);
  return out;
}

TEST_F(Attach, Macvlan_IsBornInThePodAsAsked) {
  auto record = prepare(claim("u1", {{R"("macvlan","master":"eth0","interfaceName":"data0","mtu":1400,
      "mac":"02:00:00:00:aa:01","addresses":["192.0.2.10/24","fd00::5/64"],
      "routes":[{"dst":"10.0.0.0/8","gw":"192.0.2.1"},{"dst":"fd01::/16","gw":"fd00::1"}])"}}));
  ASSERT_OK(record);
  const auto before = node_names();
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link data0 = link(*pod_.socket, "data0");
  EXPECT_EQ(data0.kind, "macvlan");
  EXPECT_EQ(data0.macvlan_mode, netlink::MacvlanMode::kBridge);
  EXPECT_EQ(data0.mac.to_string(), "02:00:00:00:aa:01");
  EXPECT_EQ(data0.mtu, 1400);
  EXPECT_TRUE(data0.is_up());
  EXPECT_EQ(data0.alias, "fairlead:net.example.com:u1/0/made");
  EXPECT_THAT(global_addresses(*pod_.socket, data0.index), ElementsAre("192.0.2.10/24", "fd00::5/64"));
  int routes_found = 0;
  const auto routes = pod_.socket->routes().value();
  for (const netlink::Route& route : routes) {
    const std::string destination = route.destination.to_string();
    routes_found += destination == "10.0.0.0/8" || destination == "fd01::/16" ? 1 : 0;
  }
  EXPECT_EQ(routes_found, 2);
  EXPECT_EQ(node_names(), before);

  record->state = dra::ClaimState::kUnpreparing;
  ASSERT_OK(driver_->unprepare(*record, {}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(node_names(), before);
}

TEST_F(Attach, Twice_ChangesNothing_ButMakesALinkThatIsMissing) {
  auto record = prepare(
      claim("u1", {{R"("macvlan","master":"eth0","interfaceName":"data0","addresses":["192.0.2.10/24"])"},
                   {.netdev = R"("veth")", .request = "other"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const auto node_before = node_names();
  const auto pod_before = names(*pod_.socket);
  const netlink::Link first = link(*pod_.socket, "data0");
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(link(*pod_.socket, "data0"), first);
  EXPECT_EQ(names(*pod_.socket), pod_before);
  EXPECT_EQ(node_names(), node_before);

  ASSERT_OK(pod_.socket->delete_link(link(*pod_.socket, "net1").index));
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(names(*pod_.socket), pod_before);
  EXPECT_EQ(node_names(), node_before);
  EXPECT_THAT(global_addresses(*pod_.socket, first.index), ElementsAre("192.0.2.10/24"));
}

TEST_F(Attach, ProcessKilledBeforeTheRecord_IsCompleted) {
  auto record = prepare(
      claim("u1", {{R"("macvlan","master":"eth0","interfaceName":"data0","addresses":["192.0.2.10/24"])"}}));
  ASSERT_OK(record);
  const std::string never_attached = record->prepared.state;
  ASSERT_OK(attach(*record, pod_));
  const netlink::IfIndex data0 = link(*pod_.socket, "data0").index;
  ASSERT_OK(pod_.socket->delete_address(data0, *netlink::IpPrefix::parse("192.0.2.10/24")));
  record->prepared.state = never_attached;
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(link(*pod_.socket, "data0").index, data0);
  EXPECT_THAT(global_addresses(*pod_.socket, data0), ElementsAre("192.0.2.10/24"));
}

TEST_F(Attach, RestartedContainer_FindsWhatTheApplicationMadeOfItsInterfaces) {
  ASSERT_OK(
      node_->create_link({.name = "nic1", .kind = netlink::Veth{.peer = {.name = "cable", .up = true}}}));
  auto record = prepare(claim("u1", {{.netdev = R"("macvlan","master":"eth0","interfaceName":"data0",
      "addresses":["192.0.2.10/24"],"routes":[{"dst":"10.0.0.0/8","gw":"192.0.2.1"}])",
                                      .request = "a"},
                                     {.netdev = R"("host-device","interfaceName":"fast0","mtu":1300,
      "addresses":["198.51.100.10/24"],"routes":[{"dst":"10.1.0.0/16","gw":"198.51.100.1"}])",
                                      .device = "nic1",
                                      .request = "b"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const auto replace_route = [&](const char* interface, const char* destination, const char* gateway) {
    const std::string command =
        std::string("ip route replace ") + destination + " via " + gateway + " dev " + interface;
    return sys::on_netns_thread(pod_.netns.get(),
                                [&]() -> Result<int> { return std::system(command.c_str()); });
  };
  EXPECT_EQ(replace_route("data0", "10.0.0.0/8", "192.0.2.2").value_or(-1), 0);
  EXPECT_EQ(replace_route("fast0", "10.1.0.0/16", "198.51.100.2").value_or(-1), 0);
  const netlink::IfIndex data0 = link(*pod_.socket, "data0").index;
  const netlink::IfIndex fast0 = link(*pod_.socket, "fast0").index;
  ASSERT_OK(pod_.socket->add_address({.link = data0, .prefix = *netlink::IpPrefix::parse("192.0.2.99/32")}));
  ASSERT_OK(pod_.socket->delete_address(fast0, *netlink::IpPrefix::parse("198.51.100.10/24")));
  ASSERT_OK(pod_.socket->change_link(fast0, {.mtu = 1200}));
  const auto routes = pod_.socket->routes().value();

  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(pod_.socket->routes().value(), routes);
  EXPECT_THAT(global_addresses(*pod_.socket, data0), ElementsAre("192.0.2.10/24", "192.0.2.99/32"));
  EXPECT_THAT(global_addresses(*pod_.socket, fast0), ElementsAre());
  EXPECT_EQ(link(*pod_.socket, "fast0").mtu, 1200);
}

/// As a pod with NET_ADMIN can: the alias is what finds the interface otherwise.
TEST_F(Attach, RestartedContainer_WhoseInterfaceHasNoMarkerAnyMore_KeepsIt) {
  auto record = prepare(claim("u1", {{R"("macvlan","master":"eth0","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  const auto attach_in_sandbox = [&]() -> Result<> {
    FL_ASSIGN(
        record->prepared.state,
        driver_->attacher().attach(*record, {.netns = pod_.netns.get(), .sandbox = "s1", .container = "c"}));
    return {};
  };
  ASSERT_OK(attach_in_sandbox());
  const netlink::Link data0 = link(*pod_.socket, "data0");
  ASSERT_OK(pod_.socket->change_link(data0.index, {.alias = ""}));
  ASSERT_OK(attach_in_sandbox());
  EXPECT_EQ(link(*pod_.socket, "data0").index, data0.index);
  EXPECT_THAT(names(*pod_.socket), ElementsAre("data0", "lo"));
}

TEST_F(Attach, NameTakenInTheContainer_IsOneSentenceAndNothingIsLeft) {
  ASSERT_OK(pod_.socket->create_link({.name = "data0", .kind = netlink::Veth{.peer = {.name = "other"}}}));
  const auto pod_before = names(*pod_.socket);
  const auto node_before = node_names();
  auto record = prepare(
      claim("u1", {{.netdev = R"("veth","interfaceName":"first0")", .request = "a"},
                   {.netdev = R"("macvlan","master":"eth0","interfaceName":"data0")", .request = "b"}}));
  ASSERT_OK(record);
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code(), Code::kExists);
  EXPECT_EQ(attached.error().what(),
            "interface data0 (request b): the name \"data0\" is already taken in the container's network "
            "namespace; "
            "choose another interfaceName");
  EXPECT_EQ(names(*pod_.socket), pod_before);
  EXPECT_EQ(node_names(), node_before);
}

/// A veth whose link was just born: it has no alias yet, and is not up.
class SlowVeth : public devices::netdev::VethKind {
 public:
  explicit SlowVeth(std::function<void()>& just_born) : just_born_(&just_born) {}

 protected:
  Result<> finish_host_side(const devices::netdev::NetdevPlan& plan, const devices::Marker& marker,
                            const devices::netdev::Place& node) const override {
    if (const auto meanwhile = std::exchange(*just_born_, {})) {
      meanwhile();
    }
    return VethKind::finish_host_side(plan, marker, node);
  }

 private:
  std::function<void()>* just_born_;
};

TEST_F(Attach, TwoClaimsOfAPodAtOnce_NeverShareALink) {
  std::function<void()> just_born;
  devices::Registry registry;
  registry.add(std::make_unique<SlowVeth>(just_born));
  registry_ = std::move(registry);
  make_driver();
  auto first = prepare(claim("u1", {{R"("veth","interfaceName":"net1")"}}));
  auto second = prepare(claim("u2", {{R"("veth","interfaceName":"net1")"}}));
  ASSERT_OK(first);
  ASSERT_OK(second);
  Result<> late;
  just_born = [&] { late = attach(*second, pod_); };
  ASSERT_OK(attach(*first, pod_));
  ASSERT_FALSE(late);
  EXPECT_THAT(late.error().what(), HasSubstr("the name \"net1\" is already taken"));
  const netlink::Link net1 = link(*pod_.socket, "net1");
  EXPECT_EQ(net1.alias, "fairlead:net.example.com:u1/0/made");
  EXPECT_EQ(net1.group, 0);
  EXPECT_TRUE(net1.is_up());
}

TEST_F(Attach, LinkOfAProcessThatWasKilledAtItsBirth_IsMadeAnew) {
  auto record = prepare(claim("u1", {{R"("veth","interfaceName":"net1")"}}));
  ASSERT_OK(record);
  const devices::Marker marker{.driver = "net.example.com", .claim_uid = "u1"};
  ASSERT_OK(node_->create_link({.name = "net1",
                                .kind = netlink::Veth{.peer = {.name = marker.host_name()}},
                                .netns = pod_.netns.get(),
                                .group = marker.birth_group()}));
  const netlink::IfIndex old = link(*pod_.socket, "net1").index;
  ASSERT_OK(attach(*record, pod_));
  EXPECT_NE(link(*pod_.socket, "net1").index, old);
  EXPECT_EQ(link(*pod_.socket, "net1").alias, marker.made_alias());
}

TEST_F(Attach, MasterGoneSincePlan_IsOneSentence) {
  auto record = prepare(claim("u1", {{R"("macvlan","master":"eth0","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  ASSERT_OK(node_->delete_link(link(*node_, "eth0").index));
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().what(),
            "interface data0 (request nic): the master \"eth0\" is gone from this node");
}

TEST_F(Attach, ConfigurationThatFails_TakesTheLinkAwayAgain) {
  ASSERT_OK(pod_.socket->set_up(link(*pod_.socket, "lo").index));
  ASSERT_OK(pod_.socket->add_route(
      {.destination = *netlink::IpPrefix::parse("10.0.0.0/8"), .link = link(*pod_.socket, "lo").index}));
  auto record = prepare(claim("u1", {{R"("veth","interfaceName":"data0","routes":[{"dst":"10.0.0.0/8"}])"}}));
  ASSERT_OK(record);
  const auto pod_before = names(*pod_.socket);
  const auto node_before = node_names();
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(), HasSubstr("10.0.0.0/8"));
  EXPECT_EQ(names(*pod_.socket), pod_before);
  EXPECT_EQ(node_names(), node_before);
}

TEST_F(Attach, Veth_HostEndIsAPortOfTheBridge) {
  // A bridge with a port of the node's own, as cni0 has them: its MTU follows its smallest port.
  ASSERT_OK(node_->create_link({.name = "br0", .kind = netlink::Bridge{}, .up = true}));
  ASSERT_OK(node_->create_link({.name = "port0",
                                .kind = netlink::Veth{.peer = {.name = "port1"}},
                                .master = link(*node_, "br0").index}));
  const auto before = node_names();
  auto record = prepare(claim("u1", {{R"("veth","bridge":"br0","interfaceName":"data0","mtu":1300)"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(link(*node_, "br0").mtu, 1500);
  const netlink::Link host =
      link(*node_, devices::Marker{.driver = "net.example.com", .claim_uid = "u1"}.host_name());
  EXPECT_EQ(host.master, link(*node_, "br0").index);
  EXPECT_TRUE(host.is_up());
  EXPECT_EQ(host.mtu, 1500);
  EXPECT_EQ(host.alias, "fairlead:net.example.com:u1/0/host");
  EXPECT_EQ(link(*pod_.socket, "data0").mtu, 1300);
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(node_names(), before);
  EXPECT_THAT(names(*pod_.socket), Not(Contains("data0")));
}

TEST_F(Attach, Dummy_WhereTheKernelHasIt) {
  if (!kinds_.contains("dummy")) {
    const auto refused = prepare(claim("u1", {{R"("dummy")"}}));
    ASSERT_FALSE(refused);
    EXPECT_EQ(
        refused.error().what(),
        "config[0].opaque.parameters.netdev.kind: this node's kernel has no dummy links (module dummy)");
    GTEST_SKIP() << "this kernel has no dummy links";
  }
  auto record = prepare(claim("u1", {{R"("dummy","interfaceName":"ctrl0")"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(link(*pod_.socket, "ctrl0").kind, "dummy");
}

TEST_F(Attach, SecondPodWhileTheFirstLives_IsRefused) {
  auto record = prepare(claim("u1", {{R"("macvlan","master":"eth0","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  const Inhabitant pause(pod_.netns.get());
  ASSERT_OK(attach(*record, pod_));
  const Pod second = make_pod();
  const auto attached = attach(*record, second);
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().code(), Code::kBusy);
  EXPECT_EQ(attached.error().what(),
            "the claim's interfaces are in another pod that still runs; a claim with network interfaces "
            "cannot be shared by two pods");
}

TEST_F(Attach, NewSandboxAfterTheFirstIsGone_AttachesAnew) {
  auto record = prepare(claim("u1", {{R"("veth","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  pod_ = make_pod();  // nobody lives in the first any more
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(link(*pod_.socket, "data0").kind, "veth");
}

TEST_F(Attach, NodesOwnNamespace_IsRefused) {
  auto record = prepare(claim("u1", {{R"("veth")"}}));
  ASSERT_OK(record);
  const auto attached = driver_->attacher().attach(*record, {.netns = node_netns_.get(), .container = "c"});
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().what(),
            "the pod uses the node's own network (hostNetwork: true), so it can get no network interface");
}

TEST_F(Attach, ClaimThatIsNotPrepared_IsRefused) {
  auto record = prepare(claim("u1", {{R"("veth")"}}));
  ASSERT_OK(record);
  record->state = dra::ClaimState::kUnpreparing;
  EXPECT_FALSE(attach(*record, pod_));
}

// ---- host-device: a veth stands for the NIC, offered by --host-devices

class HostDevice : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    if (!has_ip()) {
      GTEST_SKIP() << "ip(8) is not installed, which tells how the NIC is";
    }
    ASSERT_OK(node_->create_link({.name = "nic1",
                                  .kind = netlink::Veth{.peer = {.name = "cable", .up = true}},
                                  .mac = *netlink::MacAddress::parse("02:00:00:00:00:77"),
                                  .mtu = 1450,
                                  .alias = "rack 4",
                                  .up = true}));
    ASSERT_OK(node_->add_address(
        {.link = link(*node_, "nic1").index, .prefix = *netlink::IpPrefix::parse("198.51.100.7/24")}));
    ASSERT_OK(node_->add_altname(link(*node_, "nic1").index, "enp9s0f1"));
    before_ = link(*node_, "nic1");
  }

  Result<dra::ClaimRecord> prepare_nic(const std::string& more = "") {
    nic_before_ = describe_link("nic1");
    return prepare(claim("u1", {{.netdev = R"("host-device")" + more, .device = "nic1"}}));
  }

  /// `but`: what is part of lines that may differ.
  void expect_home(const std::vector<std::string>& but = {}) {
    const netlink::Link now = link(*node_, "nic1");
    EXPECT_EQ(now.mac, before_.mac);
    EXPECT_EQ(now.mtu, before_.mtu);
    EXPECT_EQ(now.alias, before_.alias);
    EXPECT_THAT(now.altnames, ::testing::UnorderedElementsAreArray(before_.altnames));
    EXPECT_TRUE(now.is_up());
    if (!nic_before_.empty()) {
      auto changed = changes(nic_before_, describe_link("nic1"));
      std::erase_if(changed, [&](const std::string& line) {
        return std::ranges::any_of(but, [&](const std::string& part) { return line.contains(part); });
      });
      EXPECT_THAT(changed, IsEmpty());
    } else {
      EXPECT_THAT(global_addresses(*node_, now.index), ElementsAre("198.51.100.7/24"));
    }
  }

  /// Until the kernel has looked for duplicates of the NIC's IPv6 addresses.
  static void wait_for_addresses() {
    for (int i = 0; i < 1000 && ip("addr show dev nic1 tentative").value_or("") != ""; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

  /// As an administrator does it on the node.
  static void on_node(const std::string& arguments) { EXPECT_TRUE(ip(arguments)) << "ip " << arguments; }

  std::vector<std::string> published() {
    std::vector<std::string> out;
    const auto pools = driver_->discover().value();
    for (const dra::Device& device : pools.front().devices) {
      out.push_back(device.name);
    }
    return out;
  }

  netlink::Link before_;
  std::vector<std::string> nic_before_;  // at the last prepare_nic()
};

TEST_F(HostDevice, MovesAndComesHomeAsItWas) {
  auto record = prepare_nic(
      R"(,"interfaceName":"fast0","mtu":1200,"mac":"02:00:00:00:bb:01","addresses":["192.0.2.10/24"])");
  ASSERT_OK(record);
  records_ = {*record};
  ASSERT_OK(attach(*record, pod_));
  EXPECT_THAT(node_names(), Not(Contains("nic1")));
  const netlink::Link there = link(*pod_.socket, "fast0");
  EXPECT_EQ(there.mtu, 1200);
  EXPECT_EQ(there.mac.to_string(), "02:00:00:00:bb:01");
  EXPECT_TRUE(there.is_up());
  EXPECT_THAT(global_addresses(*pod_.socket, there.index), ElementsAre("192.0.2.10/24"));
  EXPECT_THAT(published(), ElementsAre("netdev-virtual", "nic1"));
  ASSERT_OK(attach(*record, pod_));

  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
  records_.clear();
  EXPECT_THAT(published(), ElementsAre("netdev-virtual", "nic1"));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

/// The Unprepare comes between any two looks of discover(): the NIC is somewhere all the time.
TEST_F(HostDevice, ComesHomeWhileTheNodeIsLookedAt_StaysPublished) {
  for (int when = 1; when <= 3; ++when) {
    auto record = prepare_nic(R"(,"interfaceName":"fast0")");
    ASSERT_OK(record);
    records_ = {*record};
    ASSERT_OK(attach(*record, pod_));
    int call = 0;
    on_records_ = [&] {
      if (++call == when) {
        records_.clear();
        EXPECT_TRUE(driver_->unprepare(*record, {}));
      }
    };
    EXPECT_THAT(published(), ElementsAre("netdev-virtual", "nic1")) << "before look " << when;
    on_records_ = nullptr;
    records_.clear();
    ASSERT_OK(driver_->unprepare(*record, {}));
  }
}

TEST_F(HostDevice, GoesIntoAPodWhileTheNodeIsLookedAt_StaysPublished) {
  for (int when = 1; when <= 2; ++when) {
    auto record = prepare_nic(R"(,"interfaceName":"fast0")");
    ASSERT_OK(record);
    int call = 0;
    on_records_ = [&] {
      if (++call == when) {
        records_ = {*record};
        EXPECT_TRUE(attach(*record, pod_));
      }
    };
    EXPECT_THAT(published(), ElementsAre("netdev-virtual", "nic1")) << "before look " << when;
    on_records_ = nullptr;
    records_.clear();
    ASSERT_OK(driver_->unprepare(*record, {}));
  }
}

TEST_F(HostDevice, PodIsGone_NicIsKeptAndComesHome) {
  auto record = prepare_nic(R"(,"interfaceName":"fast0")");
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  pod_ = Pod();  // the kernel would delete a veth with its namespace
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(HostDevice, RenamedAndChangedByThePod_ComesHomeAsItWas) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link there = link(*pod_.socket, "net1");
  ASSERT_OK(pod_.socket->set_down(there.index));
  ASSERT_OK(pod_.socket->change_link(
      there.index, {.name = "mine", .mtu = 900, .mac = *netlink::MacAddress::parse("02:00:00:00:cc:01")}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(HostDevice, AltnamesChangedByThePod_ComeHomeAsTheyWere) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link there = link(*pod_.socket, "net1");
  ASSERT_OK(pod_.socket->delete_altname(there.index, "enp9s0f1"));
  ASSERT_OK(pod_.socket->add_altname(there.index, "flannel.1"));
  // A link of the node has this one: with it the NIC could not be moved back to the node.
  ASSERT_OK(node_->create_link({.name = "cni0", .kind = netlink::Bridge{}}));
  ASSERT_OK(pod_.socket->add_altname(there.index, "cni0"));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(HostDevice, AltnameThatAnotherLinkHasByNow_StaysWithThat) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(pod_.socket->delete_altname(link(*pod_.socket, "net1").index, "enp9s0f1"));
  ASSERT_OK(node_->create_link({.name = "enp9s0f1", .kind = netlink::Bridge{}}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  before_.altnames.clear();
  expect_home({"altname enp9s0f1", "alias rack 4"});
}

/// With it the NIC could not be moved back to the node, however often the kubelet asks.
TEST_F(HostDevice, AltnameOfItsOwnThatAnotherLinkHasByNow_DoesNotKeepItInThePod) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_THAT(link(*pod_.socket, "net1").altnames, ElementsAre("enp9s0f1"));
  ASSERT_OK(node_->create_link({.name = "enp9s0f1", .kind = netlink::Bridge{}}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(link(*node_, "enp9s0f1").kind, "bridge");
  before_.altnames.clear();
  expect_home({"altname enp9s0f1", "alias rack 4"});
}

/// The alias is the pod's to change: whose the NIC is it does not tell.
TEST_F(HostDevice, MarkerOfAnotherDriverThatThePodWrote_DoesNotKeepTheNicFromComingHome) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const devices::Marker other{.driver = "other.example.com", .claim_uid = "u9"};
  ASSERT_OK(pod_.socket->change_link(link(*pod_.socket, "net1").index,
                                     {.mtu = 1300, .alias = other.lent_alias("nic1", "rack 4")}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(HostDevice, NicThatSomebodyMovedAwayBeforeTheAttach_IsNotWaitedFor) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(node_->move_link({.link = before_.index, .netns = pod_.netns.get(), .new_name = "theirs0"}));
  const netlink::Link there = link(*pod_.socket, "theirs0");
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(link(*pod_.socket, "theirs0"), there);
}

TEST_F(HostDevice, LinkThatThePodMadeOnTheNic_DoesNotComeHomeWithIt) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::IfIndex nic = link(*pod_.socket, "net1").index;
  ASSERT_OK(pod_.socket->create_link({.name = "ear0", .kind = netlink::Macvlan{.parent = nic}, .up = true}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
  EXPECT_THAT(names(*pod_.socket), Not(Contains("ear0")));
}

// ---- everything that a pod with NET_ADMIN can set on the link, and what the kernel forgets when it moves

constexpr const char* kSpoil[] = {"arp off promisc on allmulticast on multicast off dynamic on", "group 7",
                                  "txqueuelen 3", "mode dormant",
                                  "gso_max_size 30000 gso_max_segs 99 gro_max_size 31000"};

TEST_F(HostDevice, FlagsGroupAndQueueSetByThePod_ComeHomeAsTheyWere) {
  auto record = prepare_nic(R"(,"interfaceName":"fast0")");
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  for (const char* what : kSpoil) {
    ASSERT_TRUE(ip_in(pod_, "link set dev fast0 " + std::string(what)));
  }
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(HostDevice, FlagsGroupAndQueueOfTheNode_ComeHomeAfterThePodChangedThem) {
  on_node("link set dev nic1 arp off promisc on allmulticast on");
  on_node("link set dev nic1 group 42");
  on_node("link set dev nic1 txqueuelen 77");
  auto record = prepare_nic(R"(,"interfaceName":"fast0")");
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_TRUE(ip_in(pod_, "link set dev fast0 arp on promisc off allmulticast off txqueuelen 5"));
  ASSERT_TRUE(ip_in(pod_, "link set dev fast0 group 0"));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

/// A bridge has its ports hear everything, which is not the flag that somebody sets.
TEST_F(HostDevice, PortOfABridgeInThePod_IsNotPromiscuousAtHome) {
  auto record = prepare_nic(R"(,"interfaceName":"fast0")");
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(pod_.socket->create_link({.name = "br0", .kind = netlink::Bridge{}, .up = true}));
  ASSERT_TRUE(ip_in(pod_, "link set dev fast0 master br0 promisc on"));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

/// The agent was not there when the first pod ended, and the kernel gave the NIC back.
TEST_F(HostDevice, FallenBackSpoiled_TheNextPodGetsItAsTheNodeHadIt) {
  auto record = prepare_nic(R"(,"interfaceName":"fast0")");
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const std::string before = ip_in(pod_, "-o link show dev fast0").value();
  for (const char* what : kSpoil) {
    ASSERT_TRUE(ip_in(pod_, "link set dev fast0 " + std::string(what)));
  }
  ASSERT_TRUE(ip_in(pod_, "link set dev fast0 down"));
  ASSERT_TRUE(ip_in(pod_, "link set dev fast0 mtu 900 address 02:00:00:00:cc:01"));
  ASSERT_OK(pod_.socket->move_link(
      {.link = link(*pod_.socket, "fast0").index, .netns = node_netns_.get(), .new_name = "dev7"}));
  pod_ = make_pod();
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link there = link(*pod_.socket, "fast0");
  EXPECT_EQ(there.flags & netlink::kSettableFlags, before_.flags & netlink::kSettableFlags);
  EXPECT_EQ(there.group, before_.group);
  EXPECT_EQ(there.tx_queue_len, before_.tx_queue_len);
  EXPECT_EQ(there.mode, before_.mode);
  EXPECT_EQ(there.limits, before_.limits);
  EXPECT_EQ(there.mtu, before_.mtu);
  EXPECT_EQ(there.mac, before_.mac);
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

/// As after kill -9 between the move and its record, when the pod set nothing but a flag.
TEST_F(HostDevice, FallenBackWithAnotherFlagFromAnAttachThatWasCutOff_IsRestored) {
  auto record = prepare_nic(R"(,"interfaceName":"nic1")");
  ASSERT_OK(record);
  const auto begun =
      driver_->attacher().begin(*record, {.netns = pod_.netns.get(), .container = "container-1"});
  ASSERT_OK(begun);
  record->prepared.state = *begun;
  auto lost = *record;
  ASSERT_OK(attach(lost, pod_));
  ASSERT_OK(pod_.socket->change_link(link(*pod_.socket, "nic1").index, {.alias = before_.alias}));
  ASSERT_TRUE(ip_in(pod_, "link set dev nic1 arp off"));
  ASSERT_OK(pod_.socket->move_link({.link = link(*pod_.socket, "nic1").index, .netns = node_netns_.get()}));
  pod_ = Pod();
  make_driver();
  driver_->restored({*record});
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

void set_on_node(const std::string& setting, const std::string& value) {
  const auto written = sys::write_net_sysctl(sys::open_own_netns()->get(), setting, value);
  EXPECT_TRUE(written) << written.error().what();
}

TEST_F(HostDevice, SettingsOfTheNode_ComeHome) {
  const std::pair<const char*, const char*> settings[] = {
      {"ipv4/conf/nic1/rp_filter", "2"},
      {"ipv4/conf/nic1/arp_ignore", "1"},
      {"ipv4/conf/nic1/arp_announce", "2"},
      {"ipv4/conf/nic1/proxy_arp", "1"},
      {"ipv4/conf/nic1/forwarding", "1"},
      {"ipv4/neigh/nic1/gc_stale_time", "77"},
      {"ipv4/neigh/nic1/retrans_time_ms", "1200"},
      {"ipv6/conf/nic1/accept_ra", "0"},
      {"ipv6/conf/nic1/autoconf", "0"},
      {"ipv6/conf/nic1/accept_ra_pinfo", "0"},
      {"ipv6/conf/nic1/use_tempaddr", "2"},
      {"ipv6/conf/nic1/accept_dad", "0"},
      {"ipv6/conf/nic1/addr_gen_mode", "1"},
      {"ipv6/conf/nic1/forwarding", "1"},
      {"ipv6/conf/nic1/mtu", "1300"},
      {"ipv6/neigh/nic1/ucast_solicit", "9"},
  };
  for (const auto& [setting, value] : settings) {
    set_on_node(setting, value);
  }
  auto record = prepare_nic(R"(,"interfaceName":"fast0","mtu":1280)");
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
  for (const auto& [setting, value] : settings) {
    EXPECT_EQ(sys::read_net_sysctl(node_netns_.get(), setting).value(), value) << setting;
  }
}

TEST_F(HostDevice, Ipv6OffOnTheNic_IsOffAtHome) {
  set_on_node("ipv6/conf/nic1/disable_ipv6", "1");
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
  EXPECT_THAT(ip("-6 addr show dev nic1"), ::testing::Optional(std::string()));
}

/// To write the secret has the kernel change addr_gen_mode.
TEST_F(HostDevice, SecretOfItsIpv6Addresses_ComesHome) {
  set_on_node("ipv6/conf/nic1/stable_secret", "2001:db8::1");
  set_on_node("ipv6/conf/nic1/addr_gen_mode", "1");
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

/// The kernel would drop what the node has learned over all its links.
TEST_F(HostDevice, ForwardingOfIpv6_IsNotRestoredAtTheCostOfLearnedRoutes) {
  set_on_node("ipv6/conf/nic1/forwarding", "1");
  on_node("-6 route add default dev eth0 proto ra metric 1024");
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(sys::read_net_sysctl(node_netns_.get(), "ipv6/conf/nic1/forwarding").value(), "0");
  EXPECT_NE(ip("-6 route show default dev eth0").value_or(""), "");
}

TEST_F(HostDevice, Addresses_ComeHomeWithAllThatTheyHad) {
  for (const char* address :
       {"203.0.113.9/24 noprefixroute", "10.9.0.1 peer 10.9.0.2/32", "169.254.7.7/16 scope link",
        "198.51.100.8/24 label nic1:a metric 77 broadcast 198.51.100.127", "198.51.100.9/24",
        "192.0.2.5/24 metric 300", "fd00:5::7/64", "fd00:5::8/64 preferred_lft 0",
        "fd00:6::1/64 noprefixroute", "fd00:7::1 peer fd00:7::2/128", "fd00:8::1/64 metric 99",
        "fd00:9::1/64 nodad", "fe80::5/64"}) {
    on_node("addr add " + std::string(address) + " dev nic1");
  }
  wait_for_addresses();
  auto record = prepare_nic(R"(,"addresses":["192.0.2.10/24"])");
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_TRUE(ip_in(pod_, "addr add 192.0.2.99/24 dev net1"));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

/// The addresses are deleted, not the link moved: as the container runtime gets it.
TEST_F(HostDevice, AddressesOfAStagedNic_AreAwayAndComeBack) {
  for (const char* address : {"203.0.113.9/24 noprefixroute", "10.9.0.1 peer 10.9.0.2/32",
                              "169.254.7.7/16 scope link", "198.51.100.8/24 label nic1:a"}) {
    on_node("addr add " + std::string(address) + " dev nic1");
  }
  mode_ = devices::AttachMode::kNetdevices;
  make_driver();
  auto record = prepare_nic();
  ASSERT_OK(record);
  EXPECT_THAT(ip("addr show dev nic1").value(), Not(HasSubstr("inet ")));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(HostDevice, AddressesForATime_DoNotComeHomeForEver) {
  on_node("addr add 203.0.113.9/24 valid_lft 3000 preferred_lft 2000 dev nic1");
  on_node("addr add fd00:5::7/64 valid_lft 3000 preferred_lft 2000 dev nic1");
  on_node("-6 route add fd07::/16 dev nic1 expires 3000");
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_THAT(global_addresses(*node_, link(*node_, "nic1").index), ElementsAre("198.51.100.7/24"));
  EXPECT_THAT(ip("-6 route show dev nic1").value(), Not(HasSubstr("fd07::/16")));
}

/// Somebody on the wire has it: it must not be used without asking again.
TEST_F(HostDevice, AddressThatSomebodyElseHas_IsNotInUseAtHome) {
  on_node("link set dev cable address 02:00:00:00:00:88");
  on_node("addr add fd00:5::7/64 nodad dev cable");
  on_node("addr add fd00:5::7/64 dev nic1");
  const auto has_failed = [&] { return ip("addr show dev nic1").value_or("").contains("dadfailed"); };
  for (int i = 0; i < 1000 && !has_failed(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ASSERT_TRUE(has_failed());
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_THAT(ip("-o addr show dev nic1 to fd00:5::7").value(),
              ::testing::ContainsRegex("tentative|dadfailed"));
}

TEST_F(HostDevice, Routes_ComeHomeWithAllThatTheyHad) {
  on_node("addr add fd00:5::7/64 nodad dev nic1");
  on_node("addr add 203.0.113.9/24 noprefixroute dev nic1");
  for (const char* route :
       {"10.7.0.0/16 via 198.51.100.1 mtu 1300 advmss 1200 initcwnd 20 dev nic1",
        "10.8.0.0/16 via 198.51.100.2 proto static metric 50 src 198.51.100.7 dev nic1",
        "10.9.0.0/16 via 192.0.2.1 onlink dev nic1", "10.10.0.0/16 tos 0x10 dev nic1",
        "10.11.0.0/16 nexthop via 198.51.100.1 dev nic1 weight 3 nexthop via 198.51.100.2 dev nic1",
        "10.12.0.0/16 via inet6 fe80::99 dev nic1", "10.13.0.0/16 dev nic1 scope link table 1000",
        "local 203.0.113.128/25 dev nic1",
        "203.0.113.0/24 dev nic1 proto kernel scope link src 203.0.113.9 metric 100",
        "-6 fd07::/16 via fd00:5::1 pref high mtu 1400 dev nic1",
        "-6 fd08::/16 nexthop via fd00:5::1 dev nic1 weight 2 nexthop via fd00:5::2 dev nic1",
        "-6 fd09::/16 dev nic1 metric 7 src fd00:5::7"}) {
    const std::string text = route;
    on_node(text.starts_with("-6 ") ? "-6 route add " + text.substr(3) : "route add " + text);
  }
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(HostDevice, RouteOfANexthopObject_ComesHomeWithTheHopItStoodFor) {
  on_node("nexthop add id 5 via 198.51.100.1 dev nic1");
  on_node("route add 10.7.0.0/16 nhid 5 mtu 1300");
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_THAT(ip("route show 10.7.0.0/16").value(),
              StartsWith("10.7.0.0/16 via 198.51.100.1 dev nic1 mtu 1300"));
}

/// As after kill -9 in the middle of it, when half of it is there already.
TEST_F(HostDevice, RestoredTwice_IsAsItWas) {
  on_node("addr add fd00:5::7/64 nodad dev nic1");
  on_node("addr add fd00:6::7/64 dev nic1");
  on_node("route add 10.7.0.0/16 via 198.51.100.1 mtu 1300 dev nic1");
  on_node("-6 route add fd07::/16 via fd00:5::1 mtu 1400 dev nic1");
  wait_for_addresses();
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(driver_->unprepare(*record, {}));
  on_node("addr del 198.51.100.7/24 dev nic1");
  on_node("addr add 198.51.100.7/24 noprefixroute dev nic1");
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

/// As after kill -9 between the move and its record, when the pod changed the alias and ended.
TEST_F(HostDevice, FallenBackFromAnAttachThatWasCutOff_IsRestored) {
  auto record = prepare_nic(R"(,"mtu":1200)");
  ASSERT_OK(record);
  const auto begun =
      driver_->attacher().begin(*record, {.netns = pod_.netns.get(), .container = "container-1"});
  ASSERT_OK(begun);
  record->prepared.state = *begun;
  auto lost = *record;
  ASSERT_OK(attach(lost, pod_));
  const netlink::IfIndex there = link(*pod_.socket, "net1").index;
  ASSERT_OK(pod_.socket->change_link(there, {.alias = "mine"}));
  ASSERT_OK(pod_.socket->move_link({.link = there, .netns = node_netns_.get(), .new_name = "dev7"}));
  pod_ = Pod();
  make_driver();
  driver_->restored({*record});
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(HostDevice, AttachThatWasCutOffBeforeTheMove_LeavesTheNicAlone) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  const auto begun =
      driver_->attacher().begin(*record, {.netns = pod_.netns.get(), .container = "container-1"});
  ASSERT_OK(begun);
  record->prepared.state = *begun;
  ASSERT_OK(
      node_->add_address({.link = before_.index, .prefix = *netlink::IpPrefix::parse("198.51.100.8/24")}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_THAT(global_addresses(*node_, before_.index), ElementsAre("198.51.100.7/24", "198.51.100.8/24"));
}

// ---- settings that the kernel refuses to give back

TEST_F(HostDevice, Ipv6IsOffOnTheNodeByNow_TheNicComesHomeWithoutItsIpv6Address) {
  ASSERT_OK(node_->add_address({.link = before_.index, .prefix = *netlink::IpPrefix::parse("fd00:5::7/64")}));
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  // For links that come from now on.
  ASSERT_OK(sys::write_net_sysctl(node_netns_.get(), "ipv6/conf/default/disable_ipv6", "1"));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home({"fd00:5::", "disable_ipv6"});
}

TEST_F(HostDevice, EverySettingThatIsRefused_LeavesTheOthersAsTheyWere) {
  const devices::Marker marker{.driver = "net.example.com", .claim_uid = "u1"};
  devices::netdev::Original original{.link = {.link = before_}};
  original.link.link.mac = *netlink::MacAddress::parse("01:00:5e:00:00:01");  // a group's
  original.link.link.mtu = 1;                                                 // less than Ethernet takes
  original.link.link.altnames = {"enp9s0f1", std::string(200, 'x')};
  original.addresses = {*netlink::IpPrefix::parse("198.51.100.7/24")};
  ASSERT_OK(node_->set_down(before_.index));
  ASSERT_OK(node_->change_link(before_.index, {.name = "dev7", .alias = marker.alias()}));
  ASSERT_OK(node_->delete_address(before_.index, *netlink::IpPrefix::parse("198.51.100.7/24")));
  ASSERT_OK(devices::netdev::restore(*node_, link(*node_, "dev7"), original, marker));
  expect_home();
}

/// It says flags, but neither group nor queue.
TEST_F(HostDevice, RecordOf01_BringsHomeWhatItSays_AndLeavesTheRestAlone) {
  const devices::Marker marker{.driver = "net.example.com", .claim_uid = "u1"};
  devices::netdev::Original original{.link = {.link = before_}};
  original.link.link.tx_queue_len = 0;
  original.addresses = {*netlink::IpPrefix::parse("198.51.100.7/24")};
  on_node("link set dev nic1 arp off promisc on txqueuelen 77");
  on_node("link set dev nic1 group 7");
  on_node("addr add 198.51.100.99/24 dev nic1");
  ASSERT_OK(devices::netdev::restore(*node_, link(*node_, "nic1"), original, marker));
  const netlink::Link now = link(*node_, "nic1");
  EXPECT_EQ(now.flags & netlink::kSettableFlags, before_.flags & netlink::kSettableFlags);
  EXPECT_EQ(now.group, 7);
  EXPECT_EQ(now.tx_queue_len, 77);
  expect_home();
}

TEST_F(HostDevice, FallenBackUnderAnotherName_IsRestored) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  // What the kernel does when a namespace ends: home under the pod's name, or dev%d, and down.
  ASSERT_OK(pod_.socket->move_link(
      {.link = link(*pod_.socket, "net1").index, .netns = node_netns_.get(), .new_name = "dev7"}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
  EXPECT_THAT(node_names(), Not(Contains("dev7")));
}

TEST_F(HostDevice, FallenBackUnderEachOthersNames_BothAreRestored) {
  ASSERT_OK(node_->create_link({.name = "nic2",
                                .kind = netlink::Veth{.peer = {.name = "cable2", .up = true}},
                                .mac = *netlink::MacAddress::parse("02:00:00:00:00:78"),
                                .up = true}));
  auto first =
      prepare(claim("u1", {{.netdev = R"("host-device","interfaceName":"nic2")", .device = "nic1"}}));
  auto second =
      prepare(claim("u2", {{.netdev = R"("host-device","interfaceName":"nic1")", .device = "nic2"}}));
  ASSERT_OK(first);
  ASSERT_OK(second);
  ASSERT_OK(attach(*first, pod_));
  ASSERT_OK(attach(*second, pod_));
  for (const char* name : {"nic1", "nic2"}) {
    ASSERT_OK(pod_.socket->move_link(
        {.link = link(*pod_.socket, name).index, .netns = node_netns_.get(), .new_name = name}));
  }
  ASSERT_OK(driver_->unprepare(*first, {}));
  ASSERT_OK(driver_->unprepare(*second, {}));
  expect_home();
  EXPECT_EQ(link(*node_, "nic2").mac.to_string(), "02:00:00:00:00:78");
}

TEST_F(HostDevice, FallenBackUnderTheNameOfAForeignLink_WaitsForItsName) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(node_->create_link({.name = "nic1", .kind = netlink::Bridge{}}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(link(*node_, "nic1").kind, "bridge");
  EXPECT_THAT(
      told_,
      ElementsAre(StartsWith("u1 NicNameTaken: the NIC nic1 returned to the node as it was, but another")));
  const std::string meanwhile =
      devices::Marker{.driver = "net.example.com", .claim_uid = "u1"}.transit_name();
  const netlink::Link waiting = link(*node_, meanwhile);
  EXPECT_EQ(waiting.mac, before_.mac);
  EXPECT_EQ(waiting.mtu, before_.mtu);
  EXPECT_EQ(waiting.altnames, before_.altnames);
  EXPECT_TRUE(waiting.is_up());
  EXPECT_THAT(global_addresses(*node_, waiting.index), ElementsAre("198.51.100.7/24"));
  ASSERT_OK(driver_->unprepare(*record, {}));  // the kubelet may ask again

  make_driver();  // a restart forgets nothing
  driver_->restored({});
  (void)published();
  EXPECT_EQ(link(*node_, meanwhile).index, waiting.index);
  ASSERT_OK(node_->delete_link(link(*node_, "nic1").index));
  (void)published();
  expect_home();
  EXPECT_THAT(node_names(), Not(Contains(meanwhile)));
}

TEST_F(HostDevice, NameThatThePodMadeAnAltname_IsTheNicsAllTheSame) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link there = link(*pod_.socket, "net1");
  ASSERT_OK(pod_.socket->add_altname(there.index, "nic1"));
  ASSERT_OK(pod_.socket->move_link({.link = there.index, .netns = node_netns_.get(), .new_name = "dev7"}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

// ---- identity: what a pod can change says nothing

TEST_F(HostDevice, AliasMovedToALinkOfThePod_TheNicComesHomeAndTheOtherStays) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link there = link(*pod_.socket, "net1");
  ASSERT_OK(pod_.socket->create_link({.name = "mine0", .kind = netlink::Veth{.peer = {.name = "mine1"}}}));
  ASSERT_OK(pod_.socket->change_link(there.index, {.alias = ""}));
  ASSERT_OK(pod_.socket->change_link(link(*pod_.socket, "mine0").index, {.alias = there.alias}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
  EXPECT_EQ(link(*node_, "nic1").parent, before_.parent) << "another link has the NIC's name";
  EXPECT_THAT(names(*pod_.socket), IsSupersetOf({"mine0", "mine1"}));
}

TEST_F(HostDevice, AliasMovedToALinkOfThePod_AfterARestart_Too) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link there = link(*pod_.socket, "net1");
  ASSERT_OK(pod_.socket->change_link(there.index, {.alias = ""}));
  make_driver();
  driver_->restored({*record});
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(HostDevice, AliasMovedFromADummyThatIsLent_TheDummyComesHomeAndTheOtherStays) {
  if (!kinds_.contains("dummy")) {
    GTEST_SKIP() << "this kernel has no dummy links";
  }
  ASSERT_OK(node_->create_link({.name = "nic9", .kind = netlink::Dummy{}}));
  const netlink::MacAddress mac = link(*node_, "nic9").mac;
  auto record = prepare(claim("u9", {{.netdev = R"("host-device")", .device = "nic9"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link there = link(*pod_.socket, "net1");
  ASSERT_OK(pod_.socket->create_link({.name = "mine0", .kind = netlink::Dummy{}}));
  ASSERT_OK(pod_.socket->change_link(there.index, {.alias = ""}));
  ASSERT_OK(pod_.socket->change_link(link(*pod_.socket, "mine0").index, {.alias = there.alias}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(link(*node_, "nic9").mac, mac);
  EXPECT_THAT(names(*pod_.socket), Contains("mine0"));
}

TEST_F(HostDevice, SettingThatTheNicRefuses_IsOneSentenceThatNamesIt_AndTheNicIsHome) {
  ASSERT_OK(
      node_->create_link({.name = "nic2", .kind = netlink::Macvlan{.parent = link(*node_, "eth0").index}}));
  const auto before = node_names();
  auto record = prepare(claim("u1", {{.netdev = R"("host-device","mtu":9000)", .device = "nic2"}}));
  ASSERT_OK(record);
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(),
              HasSubstr("the kernel does not give the NIC nic2 the MTU 9000 that the claim asks for: "));
  EXPECT_EQ(node_names(), before);
  EXPECT_EQ(link(*node_, "nic2").alias, "");
}

TEST_F(HostDevice, AliasesSwappedByThePod_EachClaimHasItsOwnNic) {
  ASSERT_OK(node_->create_link({.name = "nic2",
                                .kind = netlink::Veth{.peer = {.name = "cable2", .up = true}},
                                .mac = *netlink::MacAddress::parse("02:00:00:00:00:78"),
                                .up = true}));
  const netlink::Link second_before = link(*node_, "nic2");
  auto first = prepare_nic(R"(,"interfaceName":"fast1")");
  auto second =
      prepare(claim("u2", {{.netdev = R"("host-device","interfaceName":"fast2")", .device = "nic2"}}));
  ASSERT_OK(first);
  ASSERT_OK(second);
  ASSERT_OK(attach(*first, pod_));
  ASSERT_OK(attach(*second, pod_));
  const netlink::Link fast1 = link(*pod_.socket, "fast1");
  const netlink::Link fast2 = link(*pod_.socket, "fast2");
  ASSERT_OK(pod_.socket->change_link(fast1.index, {.alias = fast2.alias}));
  ASSERT_OK(pod_.socket->change_link(fast2.index, {.alias = fast1.alias}));
  for (const netlink::Link& fallen : {fast1, fast2}) {
    ASSERT_OK(pod_.socket->move_link({.link = fallen.index, .netns = node_netns_.get()}));
  }
  // The first is attached again, elsewhere: it must be its own NIC that goes there.
  pod_ = make_pod();
  ASSERT_OK(attach(*first, pod_));
  EXPECT_EQ(link(*pod_.socket, "fast1").parent, before_.parent);
  ASSERT_OK(driver_->unprepare(*second, {}));
  EXPECT_EQ(link(*node_, "nic2").parent, second_before.parent);
  EXPECT_EQ(link(*node_, "nic2").mac, second_before.mac);
  ASSERT_OK(driver_->unprepare(*first, {}));
  expect_home();
  EXPECT_EQ(link(*node_, "nic1").parent, before_.parent);
}

// ---- routes

TEST_F(HostDevice, StaticRoutes_ComeHome) {
  ASSERT_OK(node_->add_address({.link = before_.index, .prefix = *netlink::IpPrefix::parse("fd00:5::7/64")}));
  const auto route = [&](const char* destination, const char* gateway, std::uint32_t metric,
                         std::uint32_t table) {
    netlink::NewRoute wanted{.destination = *netlink::IpPrefix::parse(destination),
                             .link = before_.index,
                             .metric = metric,
                             .table = table};
    if (gateway != nullptr) {
      wanted.gateway = *netlink::IpAddress::parse(gateway);
    }
    return wanted;
  };
  ASSERT_OK(node_->add_route(route("10.7.0.0/16", "198.51.100.1", 0, netlink::kMainTable)));
  ASSERT_OK(node_->add_route(route("10.8.0.0/16", nullptr, 50, netlink::kMainTable)));
  ASSERT_OK(node_->add_route(route("10.9.0.0/16", "10.8.0.1", 0, netlink::kMainTable)));
  ASSERT_OK(node_->add_route(route("0.0.0.0/0", "198.51.100.1", 7, 1000)));
  ASSERT_OK(node_->add_route(route("fd07::/16", "fd00:5::1", 0, netlink::kMainTable)));
  const auto routes = [&] {
    std::vector<netlink::Route> out;
    const auto all = node_->routes().value();
    for (const netlink::Route& one : all) {
      if (one.protocol == 4 && one.hops.size() == 1 && one.hops.front().link == link(*node_, "nic1").index) {
        out.push_back(one);
      }
    }
    return out;
  };
  const auto routes_before = routes();
  ASSERT_EQ(routes_before.size(), 5);
  not_uplinks_ = {"nic1"};  // its default route of another table would withhold it
  make_driver();
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_THAT(routes(), ::testing::UnorderedElementsAreArray(routes_before));
}

// ---- the pod's namespace

/// The kernel gives a NIC back by itself when the last user of its namespace is gone, too.
using GivenBack = HostDevice;

TEST_F(GivenBack, NamespaceThatOnlySomebodysDescriptorKeeps_TheNicComesHome) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const UniqueFd somebodys(::fcntl(pod_.netns.get(), F_DUPFD_CLOEXEC, 0));
  pod_ = Pod();  // nobody lives there, no path leads there
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(GivenBack, NamespaceIsOpenedAgainAtAStart) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  make_driver();
  driver_->restored({*record});
  pod_ = Pod();
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(GivenBack, NamespaceIsLetGoWhenTheNicIsHome) {
  auto record = prepare_nic(R"(,"routes":[{"dst":"10.0.0.0/8"}])");
  ASSERT_OK(record);
  ASSERT_OK(pod_.socket->create_link(
      {.name = "mine0",
       .kind = netlink::Veth{.peer = {.name = "witness", .netns = node_netns_.get()}},
       .up = true}));
  ASSERT_OK(pod_.socket->add_route(
      {.destination = *netlink::IpPrefix::parse("10.0.0.0/8"), .link = link(*pod_.socket, "mine0").index}));
  ASSERT_FALSE(attach(*record, pod_));
  expect_home();
  pod_ = Pod();
  // The kernel ends a namespace in its own time, and its links with it.
  for (int i = 0; i < 1000 && node_->link("witness").value(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_THAT(node_names(), Not(Contains("witness"))) << "something keeps the pod's namespace alive";
}

TEST_F(GivenBack, NamespaceOfAClaimThatAnotherInstanceUndid_IsLetGo) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(pod_.socket->create_link(
      {.name = "mine0", .kind = netlink::Veth{.peer = {.name = "witness", .netns = node_netns_.get()}}}));
  ASSERT_OK(attach(*record, pod_));
  records_ = {*record};
  auto first = std::move(driver_);
  make_driver();
  driver_->restored(records_);
  ASSERT_OK(driver_->unprepare(*record, {}));
  records_.clear();
  driver_ = std::move(first);
  (void)published();
  pod_ = Pod();
  for (int i = 0; i < 500 && node_->link("witness").value(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_THAT(node_names(), Not(Contains("witness"))) << "something keeps the pod's namespace alive";
}

TEST_F(GivenBack, NamespaceIsKept_AsLongAsTheRecordSaysThatTheNicMayBeThere) {
  for (const auto state : {dra::ClaimState::kPrepared, dra::ClaimState::kUnpreparing}) {
    auto record = prepare_nic();
    ASSERT_OK(record);
    ASSERT_OK(attach(*record, pod_));
    record->state = state;
    records_ = {*record};
    (void)published();
    pod_ = Pod();
    ASSERT_OK(driver_->unprepare(*record, {}));
    expect_home();
    records_.clear();
    pod_ = make_pod();
  }
}

// ---- a claim that the API server has no more: who has its interfaces?

using Use = dra::ClaimUse::Kind;

TEST_F(HostDevice, Use_OfANicOnItsWayThroughAPod) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  EXPECT_EQ(driver_->use_of(*record).kind, Use::kUnknown) << "its pod may be about to start";
  EXPECT_THAT(driver_->use_of(*record).why, HasSubstr("was never attached"));
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(driver_->use_of(*record).kind, Use::kInUse);
  ASSERT_OK(pod_.socket->change_link(link(*pod_.socket, "net1").index, {.alias = ""}));
  EXPECT_EQ(driver_->use_of(*record).kind, Use::kInUse) << "whatever the pod does to the alias";
  auto released = *record;
  const auto state = driver_->attacher().release(*record, "s1", std::chrono::steady_clock::time_point::max());
  ASSERT_OK(state);
  released.prepared.state = *state;
  EXPECT_EQ(driver_->use_of(released).kind, Use::kUnused) << "its sandbox has stopped";
}

TEST_F(HostDevice, Use_AfterThePodsEnd) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  pod_.pause.reset();  // its namespace lives on by descriptors: ours, and the test's
  EXPECT_EQ(driver_->use_of(*record).kind, Use::kUnused);
}

TEST_F(Attach, Use_OfVirtualLinks_IsSaidOnlyWhenItIsCertain) {
  auto record = prepare(claim("u1", {{R"("veth","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(driver_->use_of(*record).kind, Use::kInUse);
  // Another namespace with the number, or a pod that changed what it has: nobody knows.
  ASSERT_OK(pod_.socket->change_link(link(*pod_.socket, "data0").index, {.alias = ""}));
  EXPECT_EQ(driver_->use_of(*record).kind, Use::kUnknown);
  EXPECT_THAT(driver_->use_of(*record).why, HasSubstr("none of its links says that it is the claim's"));
  pod_ = Pod();
  EXPECT_EQ(driver_->use_of(*record).kind, Use::kUnused);
}

TEST_F(Attach, Use_OfAPodThatWasNeverVisible_IsNotKnown) {
  auto record = prepare(claim("u1", {{R"("veth","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  pod_.pause.reset();
  ASSERT_OK(attach(*record, pod_));
  EXPECT_EQ(driver_->use_of(*record).kind, Use::kUnknown);
}

TEST_F(HostDevice, Use_OfAPodThatCannotBeLookedFor_IsNotKnown) {
  if (!kRunsWithoutDescriptors) {
    GTEST_SKIP() << "the undefined behaviour sanitizer needs descriptors for its own checks";
  }
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  pod_.pause.reset();
  std::optional<NoDescriptors> none(std::in_place);
  const dra::ClaimUse unknown = driver_->use_of(*record);
  none.reset();
  EXPECT_EQ(unknown.kind, Use::kUnknown);
  EXPECT_THAT(unknown.why, HasSubstr("cannot be looked for now"));
  EXPECT_THAT(unknown.why, HasSubstr("Too many open files"));
  EXPECT_EQ(driver_->use_of(*record).kind, Use::kUnused);
}

/// The state as an agent wrote it that looked elsewhere, or did not say where.
dra::ClaimRecord seen_in(dra::ClaimRecord record, const std::string& place) {
  auto state = parse_attach_state(record.prepared.state).value();
  EXPECT_NE(state.seen_in, "");
  state.seen_in = place;
  record.prepared.state = to_json(state);
  return record;
}

TEST_F(Attach, Use_OfAPodThatAnotherAgentSaw_IsNotKnown) {
  auto record = prepare(claim("u1", {{R"("veth","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  pod_.pause.reset();
  EXPECT_EQ(driver_->use_of(*record).kind, Use::kUnused);
  const auto elsewhere = driver_->use_of(seen_in(*record, "folder 1:2"));
  EXPECT_EQ(elsewhere.kind, Use::kUnknown);
  EXPECT_THAT(elsewhere.why, HasSubstr("was seen where the agent does not look any more"));
  const auto old = driver_->use_of(seen_in(*record, ""));
  EXPECT_EQ(old.kind, Use::kUnknown);
  EXPECT_THAT(old.why, HasSubstr("does not say where"));
}

/// This thread may not look at processes that have more rights meanwhile, as an agent without SYS_PTRACE that
/// sees those of its node (hostPID).
class NoInspection : private Pinned {
 public:
  NoInspection() {
    (void)::syscall(SYS_capget, &header_, before_.data());
    auto fewer = before_;
    fewer[CAP_TO_INDEX(CAP_SYS_PTRACE)].effective &= ~CAP_TO_MASK(CAP_SYS_PTRACE);
    (void)::syscall(SYS_capset, &header_, fewer.data());
  }
  ~NoInspection() { (void)::syscall(SYS_capset, &header_, before_.data()); }

 private:
  __user_cap_header_struct header_ = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> before_ = {};
};

TEST_F(Attach, SecondPod_WhileTheFirstCannotBeLookedFor_IsRefused) {
  auto record = prepare(claim("u1", {{R"("veth","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  pod_.pause.reset();  // it has ended, but who may not look cannot know
  const Pod second = make_pod();
  {
    const NoInspection none;
    const auto refused = attach(*record, second);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Code::kBusy);
    EXPECT_THAT(refused.error().what(), HasSubstr("cannot be looked for now"));
    EXPECT_THAT(refused.error().what(), HasSubstr("Permission denied"));
  }
  EXPECT_THAT(names(*pod_.socket), Contains("data0"));
  ASSERT_OK(attach(*record, second));
}

TEST_F(Attach, SecondPod_AfterOneThatAnotherAgentSaw_IsRefused) {
  auto record = prepare(claim("u1", {{R"("veth","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  pod_.pause.reset();
  const Pod second = make_pod();
  auto other = seen_in(*record, "folder 1:2");
  const auto refused = attach(other, second);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("was seen where the agent does not look any more"));
}

// ---- a NIC that does not come

TEST_F(HostDevice, InANamespaceThatNobodyCanSee_IsOneSentenceAndNoWait) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  pod_.pause.reset();
  make_driver();
  driver_->restored({*record});  // cannot find the namespace: only descriptors keep it
  const auto refused = driver_->unprepare(*record, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnavailable);
  EXPECT_THAT(
      refused.error().what(),
      HasSubstr(
          "the NIC nic1 has not returned to the node: it is in a network namespace that the agent cannot "
          "see and that a process, a mount or an open file keeps alive"));
  ASSERT_OK(pod_.socket->delete_link(link(*pod_.socket, "net1").index));
  ASSERT_OK(driver_->unprepare(*record, {}));
}

TEST_F(HostDevice, NameTakenInTheContainer_StaysHomeAsItWas) {
  ASSERT_OK(pod_.socket->create_link({.name = "fast0", .kind = netlink::Veth{.peer = {.name = "other"}}}));
  auto record = prepare_nic(R"(,"interfaceName":"fast0")");
  ASSERT_OK(record);
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(),
              StartsWith("interface fast0 (request nic): the name \"fast0\" is already taken"));
  expect_home();
}

TEST_F(HostDevice, ConfigurationThatFails_TakesItHome) {
  ASSERT_OK(pod_.socket->set_up(link(*pod_.socket, "lo").index));
  ASSERT_OK(pod_.socket->add_route(
      {.destination = *netlink::IpPrefix::parse("10.0.0.0/8"), .link = link(*pod_.socket, "lo").index}));
  auto record = prepare_nic(R"(,"routes":[{"dst":"10.0.0.0/8"}])");
  ASSERT_OK(record);
  ASSERT_FALSE(attach(*record, pod_));
  expect_home();
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
}

TEST_F(HostDevice, BecameTheUplinkSincePlan_IsNotTaken) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(node_->add_route({.destination = netlink::IpPrefix(),
                              .gateway = *netlink::IpAddress::parse("198.51.100.1"),
                              .link = before_.index}));
  const auto attached = attach(*record, pod_);
  ASSERT_FALSE(attached);
  EXPECT_THAT(attached.error().what(), HasSubstr("has become the node's uplink"));
  expect_home({"default via 198.51.100.1"});
  EXPECT_THAT(prepare_nic(R"(,"device":"nic1")").error().what(),
              StartsWith("config[0].opaque.parameters.netdev.device: \"nic1\" is the node's uplink"));
}

TEST_F(HostDevice, NeverAttached_IsLeftAlone) {
  auto record = prepare_nic();
  ASSERT_OK(record);
  ASSERT_OK(node_->change_link(before_.index, {.mtu = 1111}));  // the admin's own change
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(link(*node_, "nic1").mtu, 1111);
}

TEST_F(HostDevice, AfterARestart_RecordsAreEnough) {
  auto record = prepare_nic(R"(,"interfaceName":"fast0")");
  ASSERT_OK(record);
  std::optional<Inhabitant> pause(std::in_place, pod_.netns.get());
  ASSERT_OK(attach(*record, pod_));
  make_driver();
  driver_->restored({*record});
  records_ = {*record};
  EXPECT_THAT(published(), ElementsAre("netdev-virtual", "nic1"));
  pause.reset();
  pod_ = Pod();
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

/// One after the other they would hold a worker, and the claims behind it, two seconds each.
TEST_F(HostDevice, ManyNicsThatDoNotCome_AreWaitedForTogether) {
  ClaimPlan plan;
  for (int i = 1; i <= 3; ++i) {
    const netlink::Link nic = devices::testing::ethernet(i, "nic9" + std::to_string(i));
    plan.devices.push_back(
        {.name = {.type = "netdev", .kind = "host-device"},
         .request = "r" + std::to_string(i),
         .body = std::make_shared<const devices::netdev::NetdevBody>(
             devices::netdev::NetdevPlan{.original = devices::netdev::Original{.link = {.link = nic}},
                                         .interface_name = "net" + std::to_string(i)})});
  }
  const dra::ClaimRecord record{.claim = claim("u1", {}),
                                .state = dra::ClaimState::kUnpreparing,
                                .plan = to_json(plan),
                                .prepared = {.state = to_json(AttachState{.phase = AttachPhase::kAttached})}};
  const auto start = std::chrono::steady_clock::now();
  const auto refused = driver_->unprepare(record, {.deadline = start + std::chrono::seconds(30)});
  const auto took = std::chrono::steady_clock::now() - start;
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnavailable) << refused.error().what();
  EXPECT_GE(took, std::chrono::milliseconds(1900)) << "no NIC was waited for";
  EXPECT_LT(took, std::chrono::milliseconds(3500));
}

// ---- a NIC that is nowhere to be seen: what its device says

/// A NIC without a kind, as a record has it; it was in a pod's namespace that is gone, or not visible.
class AbsentNic : public KernelTest {
 protected:
  Result<> detach(const std::string& bus, const std::string& device,
                  std::chrono::milliseconds time = std::chrono::milliseconds(20)) {
    netlink::Link nic = devices::testing::ethernet(9, "nic7");
    nic.parent_bus = bus;
    nic.parent_dev = device;
    nic.permanent_mac = nic.mac;
    const devices::DevicePlan device_plan{
        .name = {.type = "netdev", .kind = "host-device"},
        .body = std::make_shared<const devices::netdev::NetdevBody>(
            devices::netdev::NetdevPlan{.original = devices::netdev::Original{.link = {.link = nic}}})};
    devices::NodeOptions options = devices::testing::node_options();
    options.sysfs_root = sysfs_.root();
    devices::CallScope scope;
    devices::DetachInput input;
    input.plan = &device_plan;
    input.marker = {.driver = "net.example.com", .claim_uid = "u1"};
    input.node = {.netns = node_netns_.get(), .scope = &scope};
    input.options = &options;
    input.was_attached = true;
    input.deadline = std::chrono::steady_clock::now() + time;
    return devices::netdev::HostDeviceKind().detach(input);
  }

  sys::testing_support::SysfsTree sysfs_;
};

TEST_F(AbsentNic, DeviceIsGone_UnprepareEnds) {
  sysfs_.add_device("pci", "pci0000:00/0000:00:04.0", {});
  sysfs_.add_device("usb", "pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0", {});
  sysfs_.add_device("virtio", "pci0000:00/0000:00:03.0/virtio0", {});
  // Not a moment is waited: the time would be an error.
  for (const auto& [bus, device] : std::map<std::string, std::string>{
           {"pci", "0000:03:00.1"}, {"usb", "2-1:1.0"}, {"virtio", "virtio7"}}) {
    ASSERT_OK(detach(bus, device, std::chrono::hours(1)));
  }
}

TEST_F(AbsentNic, DriverIsUnbound_UnprepareEnds) {
  sysfs_.add_device("pci", "pci0000:00/0000:03:00.1", {{"vendor", "0x8086"}, {"device", "0x10c9"}});
  ASSERT_OK(detach("pci", "0000:03:00.1"));
}

TEST_F(AbsentNic, InANamespaceThatSomethingKeeps_IsOneSentence) {
  sysfs_.add_device("pci", "pci0000:00/0000:03:00.1", {});
  sysfs_.add_device("net", "pci0000:00/0000:03:00.1/net", {});
  const auto refused = detach("pci", "0000:03:00.1");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kUnavailable);
  EXPECT_THAT(
      refused.error().what(),
      StartsWith("the NIC nic7 (pci device 0000:03:00.1) has not returned to the node: it is in a network "
                 "namespace that the agent cannot see"));
}

TEST_F(AbsentNic, Waiting_CostsNoProcessorTime) {
  sysfs_.add_device("pci", "pci0000:00/0000:03:00.1", {});
  sysfs_.add_device("net", "pci0000:00/0000:03:00.1/net", {});
  const auto used = [] {
    timespec time = {};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  };
  const auto before = used();
  EXPECT_FALSE(detach("pci", "0000:03:00.1", std::chrono::milliseconds(500)));
  EXPECT_LT(used() - before, std::chrono::milliseconds(100));
}

// ---- netdevices mode

class Netdevices : public HostDevice {
 protected:
  Netdevices() { mode_ = devices::AttachMode::kNetdevices; }
};

TEST_F(Netdevices, VirtualLinks_WaitWithoutAddressesForTheRuntime) {
  const auto before = node_names();
  const auto wanted = claim(
      "u1",
      {{.netdev =
            R"("macvlan","master":"eth0","interfaceName":"data0","mtu":1400,"addresses":["192.0.2.10/24","fd00::5/64"])",
        .request = "data"},
       {.netdev = R"("veth")", .request = "ctrl"}});
  auto record = prepare(wanted);
  ASSERT_OK(record);
  record = prepare(wanted);  // again, as after a crash
  ASSERT_OK(record);
  const auto& edits = record->prepared.device_edits;
  ASSERT_EQ(edits.size(), 2);
  ASSERT_EQ(edits[0].net_devices.size(), 1);
  EXPECT_EQ(edits[0].net_devices[0].name, "data0");
  EXPECT_EQ(edits[1].net_devices[0].name, "net1");
  EXPECT_THAT(edits[0].env, ElementsAre("FAIRLEAD_CLAIM_U1_DATA=data0"));
  const netlink::Link staged = link(*node_, edits[0].net_devices[0].host_interface_name);
  EXPECT_EQ(staged.mtu, 1400);
  EXPECT_FALSE(staged.is_up());
  EXPECT_THAT(global_addresses(*node_, staged.index), ElementsAre());
  EXPECT_EQ(node_names().size(), before.size() + 3);

  ASSERT_OK(node_->move_link({.link = staged.index, .netns = pod_.netns.get(), .new_name = "data0"}));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(node_names(), before);
}

TEST_F(Netdevices, AddressOfAClaim_IsNeverTheNodesOwn) {
  // Somebody else's address, such as the API server's: a pod that never starts must not take it.
  for (const char* device : {"netdev-virtual", "nic1"}) {
    const std::string kind =
        device == std::string("nic1") ? R"("host-device")" : R"("macvlan","master":"eth0")";
    const auto record = prepare(claim(
        "u1",
        {{.netdev = kind + R"(,"addresses":["203.0.113.77/32","2001:db8::77/128"])", .device = device}}));
    ASSERT_OK(record);
    const auto local = node_->routes(RT_TABLE_LOCAL).value();
    for (const netlink::Route& route : local) {
      EXPECT_THAT(route.destination.to_string(), Not(HasSubstr("203.0.113.77"))) << device;
      EXPECT_THAT(route.destination.to_string(), Not(HasSubstr("2001:db8::77"))) << device;
    }
    ASSERT_OK(driver_->unprepare(*record, {}));
  }
}

TEST_F(Netdevices, Guard_AddsAddressesAndRoutesWhereTheRuntimeMovedTheLink) {
  const auto before = node_names();
  auto record = prepare(claim("u1", {{R"("macvlan","master":"eth0","interfaceName":"data0",
      "addresses":["192.0.2.10/24","fd00::5/64"],"routes":[{"dst":"10.0.0.0/8","gw":"192.0.2.1"}])"}}));
  ASSERT_OK(record);
  ASSERT_EQ(record->prepared.claim_edits.hooks.size(), 1);
  EXPECT_EQ(record->prepared.claim_edits.hooks[0].hook_name, "createRuntime");
  EXPECT_EQ(record->prepared.claim_edits.hooks[0].path, "/opt/fairlead-guard");

  const auto too_early = attach(*record, pod_);
  ASSERT_FALSE(too_early);
  EXPECT_THAT(too_early.error().what(),
              StartsWith("interface data0 (request nic): the container runtime has not moved it"));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));

  const std::string& staged = record->prepared.device_edits[0].net_devices[0].host_interface_name;
  ASSERT_OK(
      node_->move_link({.link = link(*node_, staged).index, .netns = pod_.netns.get(), .new_name = "data0"}));
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link data0 = link(*pod_.socket, "data0");
  EXPECT_TRUE(data0.is_up());
  EXPECT_THAT(global_addresses(*pod_.socket, data0.index), ElementsAre("192.0.2.10/24", "fd00::5/64"));
  const auto routes = pod_.socket->routes(netlink::kMainTable).value();
  EXPECT_TRUE(std::ranges::any_of(
      routes, [](const netlink::Route& route) { return route.destination.to_string() == "10.0.0.0/8"; }));
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(node_names(), before);
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
}

TEST_F(Netdevices, PodWithTheNodesNetwork_IsRefused_AndTheLinksWaitAsBefore) {
  auto record = prepare(claim(
      "u1", {{.netdev = R"("macvlan","master":"eth0","interfaceName":"data0","addresses":["192.0.2.10/24"])",
              .request = "a"},
             {.netdev = R"("host-device","interfaceName":"fast0")", .device = "nic1", .request = "b"}}));
  ASSERT_OK(record);
  const auto staged = node_names();
  for (int i = 0; i < 2; ++i) {  // the kubelet tries again
    for (const cdi::ContainerEdits& edits : record->prepared.device_edits) {
      const auto& moved = edits.net_devices[0];
      const auto index = link(*node_, moved.host_interface_name).index;
      ASSERT_OK(node_->rename(index, moved.name));
      ASSERT_OK(node_->set_up(index));
    }
    const auto refused = driver_->attacher().attach(*record, {.netns = node_netns_.get(), .container = "c"});
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().what(), HasSubstr("hostNetwork: true"));
    EXPECT_EQ(node_names(), staged);
    for (const cdi::ContainerEdits& edits : record->prepared.device_edits) {
      const netlink::Link waiting = link(*node_, edits.net_devices[0].host_interface_name);
      EXPECT_FALSE(waiting.is_up());
      EXPECT_THAT(global_addresses(*node_, waiting.index), ElementsAre());
    }
  }
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(Netdevices, Nic_GetsItsAddressFromTheGuard_AndComesHome) {
  auto record = prepare_nic(R"(,"interfaceName":"fast0","addresses":["192.0.2.10/24"])");
  ASSERT_OK(record);
  ASSERT_OK(
      node_->move_link({.link = link(*node_, "nic1").index, .netns = pod_.netns.get(), .new_name = "fast0"}));
  ASSERT_OK(attach(*record, pod_));
  EXPECT_THAT(global_addresses(*pod_.socket, link(*pod_.socket, "fast0").index),
              ElementsAre("192.0.2.10/24"));
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(Netdevices, GuardThatFails_LetsTheLinksWaitOnTheNodeAgain) {
  auto record = prepare(claim(
      "u1",
      {{.netdev = R"("host-device","interfaceName":"fast0")", .device = "nic1", .request = "a"},
       {.netdev = R"("veth","interfaceName":"data0","routes":[{"dst":"10.0.0.0/8"}])", .request = "b"}}));
  ASSERT_OK(record);
  // The pod has that route already, so that the attach fails.
  const netlink::IfIndex loopback = link(*pod_.socket, "lo").index;
  ASSERT_OK(pod_.socket->set_up(loopback));
  ASSERT_OK(
      pod_.socket->add_route({.destination = *netlink::IpPrefix::parse("10.0.0.0/8"), .link = loopback}));
  const auto staged = node_names();
  for (int i = 0; i < 2; ++i) {  // the kubelet tries again, and so does the runtime
    for (const cdi::ContainerEdits& edits : record->prepared.device_edits) {
      const auto& moved = edits.net_devices[0];
      ASSERT_OK(node_->move_link({.link = link(*node_, moved.host_interface_name).index,
                                  .netns = pod_.netns.get(),
                                  .new_name = moved.name}));
    }
    const auto failed = attach(*record, pod_);
    ASSERT_FALSE(failed);
    EXPECT_THAT(failed.error().what(), HasSubstr("10.0.0.0/8"));
    EXPECT_EQ(node_names(), staged);
    EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
  }
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_home();
}

TEST_F(Netdevices, WithoutGuard_OnlyLinksWithoutAddressesArePrepared) {
  has_guard_ = false;
  make_driver();
  const auto record = prepare(claim("u1", {{R"("veth")"}}));
  ASSERT_OK(record);
  EXPECT_TRUE(record->prepared.claim_edits.hooks.empty());
  const auto refused = prepare(claim("u2", {{R"("veth","addresses":["192.0.2.10/24"])"}}));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(),
              StartsWith("config[0].opaque.parameters.netdev.addresses: this node "
                         "attaches with --attach=netdevices and has no fairlead-guard"));
}

TEST_F(Netdevices, VirtualLinkThatARuntimeRenamedInTheNodesNamespace_IsRemoved) {
  const auto before = node_names();
  const auto record = prepare(claim("u1", {{R"("macvlan","master":"eth0","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  const std::string& staged = record->prepared.device_edits[0].net_devices[0].host_interface_name;
  ASSERT_OK(node_->change_link(link(*node_, staged).index, {.name = "data0"}));  // hostNetwork: true
  ASSERT_OK(driver_->unprepare(*record, {}));
  EXPECT_EQ(node_names(), before);
}

TEST_F(Netdevices, Nic_IsConfiguredAndRestored_WhetherMovedOrNot) {
  for (const bool moved : {false, true}) {
    auto record = prepare_nic(R"(,"interfaceName":"fast0","mtu":1200,"addresses":["192.0.2.10/24"])");
    ASSERT_OK(record);
    EXPECT_EQ(record->prepared.device_edits[0].net_devices[0].host_interface_name, "nic1");
    const netlink::Link staged = link(*node_, "nic1");
    EXPECT_EQ(staged.mtu, 1200);
    EXPECT_THAT(global_addresses(*node_, staged.index), ElementsAre());
    if (moved) {
      ASSERT_OK(node_->move_link({.link = staged.index, .netns = pod_.netns.get(), .new_name = "fast0"}));
      ASSERT_OK(
          pod_.socket->move_link({.link = link(*pod_.socket, "fast0").index, .netns = node_netns_.get()}));
    }
    ASSERT_OK(driver_->unprepare(*record, {}));
    expect_home();
  }
}

TEST_F(Netdevices, FailureOfOneDevice_TakesBackTheOthers) {
  const auto before = node_names();
  auto wanted =
      claim("u1", {{.netdev = R"("veth")", .request = "a"},
                   {.netdev = R"("macvlan","master":"eth0","interfaceName":"data0")", .request = "b"}});
  const auto plan = driver_->plan(wanted);
  ASSERT_OK(plan);
  ASSERT_OK(node_->delete_link(link(*node_, "eth0").index));
  const auto prepared = driver_->prepare(wanted, *plan, {});
  ASSERT_FALSE(prepared);
  EXPECT_THAT(prepared.error().what(), HasSubstr("the master \"eth0\" is gone"));
  std::vector<std::string> left = before;
  std::erase_if(left, [](const std::string& name) { return name.starts_with("eth0"); });
  EXPECT_EQ(node_names(), left);
}

// ---- what was left behind

TEST_F(Attach, Sweep_RemovesOnlyOwnLinksOfUnknownClaims) {
  auto kept = prepare(claim("kept", {{R"("veth")"}}));
  auto lost = prepare(claim("lost", {{R"("veth")"}}));
  ASSERT_OK(kept);
  ASSERT_OK(lost);
  ASSERT_OK(attach(*kept, pod_));
  const Pod other = make_pod();
  ASSERT_OK(attach(*lost, other));
  ASSERT_OK(node_->create_link({.name = "foreign",
                                .kind = netlink::Veth{.peer = {.name = "foreign-p"}},
                                .alias = "fairlead:other.example.com:lost/0"}));
  const auto host_end = [](const std::string& uid) {
    return devices::Marker{.driver = "net.example.com", .claim_uid = uid}.host_name();
  };
  EXPECT_THAT(node_names(), IsSupersetOf({host_end("kept"), host_end("lost"), std::string("foreign")}));
  driver_->restored({*kept});
  EXPECT_THAT(node_names(), IsSupersetOf({host_end("kept"), std::string("foreign")}));
  EXPECT_THAT(node_names(), Not(Contains(host_end("lost"))));
}

TEST_F(Attach, Sweep_LeavesWhatAnotherInstanceIsJustMaking) {
  auto begun = prepare(claim("begun", {{R"("veth")"}}));
  auto lost = prepare(claim("lost", {{R"("veth")"}}));
  ASSERT_OK(begun);
  ASSERT_OK(lost);
  ASSERT_OK(attach(*begun, pod_));
  const Pod other = make_pod();
  ASSERT_OK(attach(*lost, other));
  std::vector<std::string> asked;
  if_unknown_ = [&](const std::string& uid, const std::function<void()>& action) -> Result<bool> {
    asked.push_back(uid);
    if (uid == "begun") {
      return false;  // its record came after the records had been read
    }
    action();
    return true;
  };
  make_driver();
  driver_->restored({});
  const auto host_end = [](const std::string& uid) {
    return devices::Marker{.driver = "net.example.com", .claim_uid = uid}.host_name();
  };
  EXPECT_THAT(asked, UnorderedElementsAre("begun", "lost"));
  EXPECT_THAT(node_names(), Contains(host_end("begun")));
  EXPECT_THAT(node_names(), Not(Contains(host_end("lost"))));
}

TEST_F(Attach, Sweep_OfAClaimThatSomebodyIsAtWorkOn_WaitsForTheNextStart) {
  auto begun = prepare(claim("begun", {{R"("veth")"}}));
  ASSERT_OK(begun);
  ASSERT_OK(attach(*begun, pod_));
  const auto before = node_names();
  if_unknown_ = [](const std::string&, const std::function<void()>&) -> Result<bool> {
    return Error(Code::kTimeout, "another instance of the driver is at work on this claim or its devices");
  };
  make_driver();
  driver_->restored({});
  EXPECT_EQ(node_names(), before);
}

/// Killed on its way back to the node, and its record is damaged: it has the name of a link that we make, and its kind.
TEST_F(HostDevice, Sweep_OfALentLinkWithoutRecord_BringsItHome_WhateverItsKind) {
  ASSERT_OK(
      node_->create_link({.name = "nic2", .kind = netlink::Macvlan{.parent = link(*node_, "eth0").index}}));
  Pod outside = make_pod();
  ASSERT_OK(node_->create_link(
      {.name = "nic3", .kind = netlink::Veth{.peer = {.name = "cable3", .netns = outside.netns.get()}}}));
  std::vector<std::string> nics = {"nic1", "nic2", "nic3"};
  if (kinds_.contains("dummy")) {
    ASSERT_OK(node_->create_link({.name = "nic4", .kind = netlink::Dummy{}}));
    nics.emplace_back("nic4");
  }
  const auto before = node_names();
  for (const std::string& nic : nics) {
    const netlink::Link was = link(*node_, nic);
    ASSERT_OK(node_->change_link(was.index, {.alias = "bay of " + nic}));
    const std::string uid = "of-" + nic;
    auto lost = prepare(claim(uid, {{.netdev = R"("host-device","interfaceName":"fast0")", .device = nic}}));
    ASSERT_OK(lost);
    ASSERT_OK(attach(*lost, pod_));
    const devices::Marker marker{.driver = "net.example.com", .claim_uid = uid};
    ASSERT_OK(pod_.socket->move_link({.link = link(*pod_.socket, "fast0").index,
                                      .netns = node_netns_.get(),
                                      .new_name = marker.transit_name()}));
    make_driver();
    driver_->restored({});
    ASSERT_OK(driver_->discover());
    const netlink::Link home = link(*node_, nic);
    EXPECT_EQ(home.kind, was.kind) << nic;
    EXPECT_EQ(home.mac, was.mac) << nic;
    EXPECT_EQ(home.alias, "bay of " + nic);
    EXPECT_EQ(node_names(), before) << nic;
  }
}

TEST_F(HostDevice, Sweep_OfALentLinkWhoseNameIsTaken_WaitsForTheName) {
  auto lost = prepare_nic(R"(,"interfaceName":"fast0")");
  ASSERT_OK(lost);
  ASSERT_OK(attach(*lost, pod_));
  ASSERT_OK(pod_.socket->move_link(
      {.link = link(*pod_.socket, "fast0").index, .netns = node_netns_.get(), .new_name = "dev7"}));
  ASSERT_OK(node_->create_link({.name = "nic1", .kind = netlink::Veth{.peer = {.name = "other"}}}));
  driver_->restored({});
  ASSERT_OK(driver_->discover());
  EXPECT_EQ(link(*node_, "dev7").mac, before_.mac);
  ASSERT_OK(node_->delete_link(link(*node_, "nic1").index));
  ASSERT_OK(driver_->discover());
  EXPECT_EQ(link(*node_, "nic1").mac, before_.mac);
  EXPECT_EQ(link(*node_, "nic1").alias, before_.alias);
}

/// Version 0.1 marked what it made and what it took alike.
TEST_F(HostDevice, Sweep_DeletesNothingThatVersion01Marked_ButHostEnds) {
  const devices::Marker marker{.driver = "net.example.com", .claim_uid = "lost"};
  ASSERT_OK(node_->create_link({.name = marker.transit_name(),
                                .kind = netlink::Macvlan{.parent = link(*node_, "eth0").index},
                                .alias = marker.alias()}));
  driver_->restored({});
  EXPECT_EQ(link(*node_, marker.transit_name()).alias, "");
}

TEST_F(Netdevices, Sweep_DeletesWhatWasMadeAndWaits) {
  const auto before = node_names();
  for (const char* netdev : {R"("macvlan","master":"eth0")", R"("veth")"}) {
    ASSERT_OK(prepare(claim("lost", {{netdev}})));
    ASSERT_NE(node_names(), before);
    driver_->restored({});
    EXPECT_EQ(node_names(), before) << netdev;
  }
}

/// Version 0.1's marker, on its way back to the node.
TEST_F(HostDevice, Sweep_FreesANicOnItsWayHome) {
  const devices::Marker marker{.driver = "net.example.com", .claim_uid = "lost"};
  ASSERT_OK(node_->set_down(before_.index));
  ASSERT_OK(node_->change_link(before_.index, {.name = marker.transit_name(), .alias = marker.alias()}));
  driver_->restored({});
  const netlink::Link freed = link(*node_, marker.transit_name());
  EXPECT_EQ(freed.index, before_.index);
  EXPECT_EQ(freed.alias, "");
}

// ---- what prepare() tells the runtime

TEST_F(Attach, GuardMode_TouchesNothingAndAsksForTheHook) {
  const auto before = node_names();
  auto record = prepare(
      claim("u1", {{.netdev = R"("macvlan","master":"eth0")", .request = "data-nic"},
                   {.netdev = R"("macvlan","master":"eth0","interfaceName":"net2")", .request = "data-nic"},
                   {.netdev = R"("veth")", .request = "ctrl/sub"}}));
  ASSERT_OK(record);
  EXPECT_EQ(node_names(), before);
  const auto& prepared = record->prepared;
  ASSERT_EQ(prepared.device_edits.size(), 3);
  EXPECT_THAT(prepared.device_edits[0].env, ElementsAre("FAIRLEAD_CLAIM_U1_DATA_NIC_1=net1"));
  EXPECT_THAT(prepared.device_edits[1].env, ElementsAre("FAIRLEAD_CLAIM_U1_DATA_NIC_2=net2"));
  EXPECT_THAT(prepared.device_edits[2].env, ElementsAre("FAIRLEAD_CLAIM_U1_CTRL=net3"));
  ASSERT_EQ(prepared.claim_edits.hooks.size(), 1);
  const cdi::Hook& hook = prepared.claim_edits.hooks[0];
  EXPECT_EQ(hook.hook_name, "createRuntime");
  EXPECT_EQ(hook.path, "/opt/fairlead-guard");
  EXPECT_THAT(hook.args, ElementsAre("fairlead-guard", "--socket", "/run/x/guard.sock", "--claim", "u1"));
  EXPECT_EQ(hook.timeout_seconds, 30);
}

TEST_F(Attach, TwoDevicesAskingForOneName_AreRefused) {
  const auto planned =
      driver_->plan(claim("u1", {{.netdev = R"("veth","interfaceName":"data0")", .request = "a"},
                                 {.netdev = R"("veth","interfaceName":"data0")", .request = "b"}}));
  ASSERT_FALSE(planned);
  EXPECT_EQ(planned.error().what(),
            "config[0].opaque.parameters.netdev.interfaceName: \"data0\" is the interface name of two "
            "devices (requests a "
            "and b); each interface of a pod needs a name of its own");
}

TEST_F(Attach, AdminAccess_OnlyWatches) {
  auto watched = claim("u1", {{R"("veth")"}});
  watched.devices[0].admin_access = true;
  EXPECT_THAT(driver_->plan(watched).error().what(),
              HasSubstr("has adminAccess, which only watches a device"));
  watched.devices[0].config.clear();
  auto record = prepare(watched);
  ASSERT_OK(record);
  EXPECT_TRUE(record->prepared.device_edits[0].empty());
  ASSERT_OK(attach(*record, pod_));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("lo"));
}

}  // namespace
}  // namespace fairlead::agent
