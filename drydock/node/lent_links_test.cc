// SPDX-License-Identifier: Apache-2.0
// What may be lent, and the way there and back, between two namespaces that the tests make.
#include "drydock/node/lent_links.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "drydock/node/link_choice.h"
#include "drydock/node/link_search.h"
#include "drydock/node/machine_state.h"
#include "drydock/node/testing/temp_folder.h"
#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netns.h"
#include "fairlead/sys/sysctl.h"

namespace drydock {
namespace {

namespace netlink = fairlead::netlink;
namespace sys = fairlead::sys;
using fairlead::Code;
using fairlead::Result;
using fairlead::UniqueFd;
using netlink::IfIndex;
using netlink::IpPrefix;
using netlink::Link;
using netlink::MacAddress;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(PciAddress, IsCompletedAndTakenInEitherCase) {
  EXPECT_EQ(pci_address("0000:01:10.0"), "0000:01:10.0");
  EXPECT_EQ(pci_address("01:10.0"), "0000:01:10.0");
  EXPECT_EQ(pci_address("0000:AF:00.1"), "0000:af:00.1");
}

TEST(PciAddress, LinkNamesAreNone) {
  for (const auto* name : {"eth0", "enp1s0", "aabb.cc", "", "0000:01:10", "01:10.9"}) {
    EXPECT_EQ(pci_address(name), "") << name;
  }
}

Link hardware(const std::string& name, const std::string& bdf) {
  return {.name = name, .parent_dev = bdf, .parent_bus = "pci"};
}

class PciLookUp : public ::testing::Test {
 protected:
  void SetUp() override { folder_.write("bus/pci/devices/0000:01:10.0/vendor", "0x8086\n"); }
  [[nodiscard]] std::string refusal(const std::vector<Link>& links,
                                    const std::string& asked = "01:10.0") const {
    const auto found = look_up(asked, links, folder_.path());
    return found ? "found " + (*found)->name : found.error().what();
  }
  TempFolder folder_;
};

TEST_F(PciLookUp, TheOnlyInterfaceIsMeant) {
  const std::vector<Link> links = {hardware("nic0", "0000:01:10.0"), hardware("nic1", "0000:01:10.1")};
  const auto found = look_up("01:10.0", links, folder_.path());
  ASSERT_TRUE(found) << found.error().what();
  EXPECT_EQ((*found)->name, "nic0");
}
TEST_F(PciLookUp, SeveralInterfacesAreListed) {
  EXPECT_THAT(refusal({hardware("p0", "0000:01:10.0"), hardware("p1", "0000:01:10.0")}),
              AllOf(HasSubstr("has several network interfaces"), HasSubstr("p0, p1")));
}
TEST_F(PciLookUp, NoInterfaceNamesTheKernelDriver) {
  EXPECT_THAT(refusal({}),
              HasSubstr("PCI function 0000:01:10.0 has no network interface here (its kernel driver: none)"));
}
TEST_F(PciLookUp, NoSuchFunction) {
  EXPECT_THAT(refusal({}, "0000:02:00.0"), HasSubstr("there is no PCI function 0000:02:00.0"));
}

const auto kMac = *MacAddress::parse("02:00:00:00:00:77");

TEST(Likeness, HardwareIsKnownByBusAddressAndBurntInMac) {
  Link was = hardware("nic0", "0000:01:10.0");
  was.permanent_mac = kMac;
  Link seen = was;
  seen.name = "dev7";
  seen.index = IfIndex(12);
  seen.mac = *MacAddress::parse("02:00:00:00:00:99");
  EXPECT_GT(likeness(was, seen), 0);
  seen.permanent_mac = *MacAddress::parse("02:00:00:00:00:78");
  EXPECT_EQ(likeness(was, seen), 0) << "another port of the same function";
  seen = was;
  seen.parent_dev = "0000:01:10.1";
  EXPECT_EQ(likeness(was, seen), 0);
}
TEST(Likeness, VirtualLinkNeedsItsMacOrIndexAndName) {
  const Link was = {.index = IfIndex(7), .name = "nic0", .kind = "veth", .mac = kMac};
  const auto mac = *MacAddress::parse("02:00:00:00:00:78");
  EXPECT_GT(likeness(was, {.index = IfIndex(9), .name = "odd0", .kind = "veth", .mac = kMac}), 0);
  EXPECT_GT(likeness(was, {.index = IfIndex(7), .name = "nic0", .kind = "veth", .mac = mac}), 0);
  EXPECT_EQ(likeness(was, {.index = IfIndex(7), .name = "odd0", .kind = "veth", .mac = mac}), 0);
  EXPECT_EQ(likeness(was, {.index = IfIndex(9), .name = "nic0", .kind = "veth", .mac = mac}), 0);
  EXPECT_EQ(likeness(was, {.index = IfIndex(7), .name = "nic0", .kind = "macvlan", .mac = kMac}), 0);
}

TEST(MachineStateOfLentLinks, OnlyTheirIndexMayChange) {
  MachineState before;
  before.links = {"nic0 (index 4)", "eth0 (index 2)"};
  MachineState after;
  after.links = {"nic0 (index 9)", "eth0 (index 3)"};
  forget_indices(before, {"nic0"});
  forget_indices(after, {"nic0"});
  EXPECT_THAT(differences(before, after),
              ElementsAre("link eth0 (index 3) is new", "link eth0 (index 2) is gone"));
}

TEST(Likeness, MacOfALinkOnAnotherOne_IsNotEnough) {
  const Link was = {.index = IfIndex(7), .name = "nic0.5", .kind = "vlan", .mac = kMac};
  EXPECT_EQ(likeness(was, {.index = IfIndex(9), .name = "nic0.6", .kind = "vlan", .mac = kMac}), 0);
  EXPECT_GT(likeness(was, {.index = IfIndex(7), .name = "odd0", .kind = "vlan", .mac = kMac}), 0);
}

class LentLinksKernel : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "needs root for network namespaces";
    }
    machine_ = *sys::create_netns();
    node_ = *sys::create_netns();
    socket_.emplace(*netlink::Socket::open_in(machine_.get()));
    ASSERT_TRUE(socket_->create_link({.name = "nic0",
                                      .kind = netlink::Veth{.peer = {.name = "far0", .up = true}},
                                      .mac = kMac,
                                      .mtu = 1400,
                                      .up = true}));
  }
  Result<LentLinks> find(const std::vector<std::string>& wanted) {
    return sys::on_netns_thread(machine_.get(), [&] { return LentLinks::find(wanted, {"eth0", "pods0"}); });
  }
  std::string refusal(const std::vector<std::string>& wanted) {
    const auto found = find(wanted);
    if (found) {
      return "not refused";
    }
    EXPECT_EQ(found.error().code(), Code::kInvalid) << found.error().what();
    return found.error().what();
  }
  std::optional<Link> link_in(const UniqueFd& netns, const std::string& name) {
    auto socket = *netlink::Socket::open_in(netns.get());
    return *socket.link(std::string_view(name));
  }
  IfIndex index(const std::string& name) { return link_in(machine_, name)->index; }
  Result<> add_address(const std::string& text, const std::string& name = "nic0") {
    return socket_->add_address({.link = index(name), .prefix = *IpPrefix::parse(text)});
  }

  UniqueFd machine_, node_;
  std::optional<netlink::Socket> socket_;
};

TEST_F(LentLinksKernel, UnknownName_IsRefused) {
  EXPECT_THAT(refusal({"nic7"}), HasSubstr("--lend nic7: there is no such link"));
}
TEST_F(LentLinksKernel, Loopback_IsRefused) { EXPECT_THAT(refusal({"lo"}), HasSubstr("loopback")); }
TEST_F(LentLinksKernel, Bridge_IsRefusedBecauseTheKernelCannotMoveIt) {
  ASSERT_TRUE(socket_->create_link({.name = "br0", .kind = netlink::Bridge{}}));
  EXPECT_THAT(refusal({"br0"}), HasSubstr("the kernel cannot move br0 to another network namespace"));
}
TEST_F(LentLinksKernel, PortOfABridge_IsRefused) {
  ASSERT_TRUE(socket_->create_link({.name = "br0", .kind = netlink::Bridge{}}));
  ASSERT_TRUE(socket_->change_link(index("nic0"), {.master = index("br0")}));
  EXPECT_THAT(refusal({"nic0"}), HasSubstr("nic0 is a port of br0"));
}
TEST_F(LentLinksKernel, LinkUnderOthers_IsRefusedBecauseTheyWouldBeDeleted) {
  ASSERT_TRUE(socket_->create_link({.name = "mv0", .kind = netlink::Macvlan{.parent = index("nic0")}}));
  ASSERT_TRUE(socket_->create_link({.name = "mv1", .kind = netlink::Macvlan{.parent = index("nic0")}}));
  EXPECT_THAT(refusal({"nic0"}),
              HasSubstr("--lend nic0: mv0 (macvlan), mv1 (macvlan) sit on nic0, and the kernel deletes "
                        "such links when it leaves; delete them first"));
  EXPECT_EQ(refusal({"mv0"}), "not refused");
  EXPECT_EQ(refusal({"far0"}), "not refused") << "a veth's other end does not sit on it";
}
TEST_F(LentLinksKernel, UnknownNameWhileAnotherDrydockLends_SaysThatItMayHaveIt) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t keeper = ::fork();
  ASSERT_GE(keeper, 0);
  if (keeper == 0) {
    (void)::prctl(PR_SET_NAME, "drydock-keeper");
    (void)!::write(writer.get(), "x", 1);
    while (true) {
      (void)::pause();
    }
  }
  const fairlead::ScopeExit end([&] {
    (void)::kill(keeper, SIGKILL);
    (void)::waitpid(keeper, nullptr, 0);
  });
  char byte = 0;
  ASSERT_EQ(::read(reader.get(), &byte, 1), 1);
  EXPECT_THAT(refusal({"nic7"}), AllOf(HasSubstr("there is no such link"),
                                       HasSubstr("it may be lent to another drydock just now"),
                                       HasSubstr(" " + std::to_string(keeper))));
}
TEST_F(LentLinksKernel, SameLinkTwice_IsRefusedAlsoByItsOtherName) {
  EXPECT_THAT(refusal({"nic0", "nic0"}), HasSubstr("link nic0 is lent already"));
  auto messages = *netlink::Socket::open_in(machine_.get());
  ASSERT_TRUE(messages.add_altname(index("nic0"), "the-other-name"));
  EXPECT_THAT(refusal({"nic0", "the-other-name"}), HasSubstr("link nic0 is lent already (--lend nic0)"));
}
TEST_F(LentLinksKernel, NameThatTheNodeUses_IsRefused) {
  ASSERT_TRUE(socket_->set_down(index("nic0")));  // Linux before 6.2 renames nothing that is up
  ASSERT_TRUE(socket_->rename(index("nic0"), "eth0"));
  EXPECT_THAT(refusal({"eth0"}), HasSubstr("the node has a link eth0 of its own"));
}
TEST_F(LentLinksKernel, Uplink_IsRefusedAndSoIsWhatItStandsOn) {
  ASSERT_TRUE(
      socket_->create_link({.name = "mv0", .kind = netlink::Macvlan{.parent = index("nic0")}, .up = true}));
  ASSERT_TRUE(add_address("192.0.2.1/24", "mv0"));
  ASSERT_TRUE(socket_->add_route({.destination = *IpPrefix::parse("0.0.0.0/0"),
                                  .gateway = *netlink::IpAddress::parse("192.0.2.9"),
                                  .link = index("mv0")}));
  EXPECT_THAT(refusal({"mv0"}), HasSubstr("mv0 carries a default route of this machine"));
  EXPECT_THAT(refusal({"nic0"}), HasSubstr("nic0 carries a default route of this machine"));
  EXPECT_EQ(refusal({"far0"}), "not refused");
}

TEST_F(LentLinksKernel, ThereAndBack_AllIsAsItWas) {
  auto messages = *LinkMessages::open_in(machine_.get());
  const auto nic = index("nic0");
  ASSERT_TRUE(socket_->add_altname(nic, "a-name-that-is-longer-than-fifteen"));
  ASSERT_TRUE(messages.set_flags(nic, IFF_PROMISC, IFF_PROMISC));
  ASSERT_TRUE(add_address("192.0.2.1/24"));
  ASSERT_TRUE(add_address("192.0.2.2/24"));
  ASSERT_TRUE(add_address("fd00::1/64"));
  ASSERT_TRUE(socket_->add_route({.destination = *IpPrefix::parse("198.51.100.0/24"),
                                  .gateway = *netlink::IpAddress::parse("192.0.2.9"),
                                  .link = nic,
                                  .metric = 50}));
  ASSERT_TRUE(socket_->add_route({.destination = *IpPrefix::parse("fd01::/64"),
                                  .gateway = *netlink::IpAddress::parse("fd00::9"),
                                  .link = nic}));
  const auto before = *link_in(machine_, "nic0");
  const auto identities = [&] {
    std::set<std::string> out;
    const auto addresses = messages.addresses(index("nic0"));
    const auto routes = messages.routes(index("nic0"));
    for (const auto& list : {*addresses, *routes}) {
      for (const auto& one : list) {
        out.insert(identity(one));
      }
    }
    return out;
  };
  const auto all_before = identities();
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent) << lent.error().what();
  const auto moved = lent->move_to(node_.get());
  ASSERT_TRUE(moved) << moved.error().what();
  EXPECT_FALSE(link_in(machine_, "nic0"));
  const auto there = link_in(node_, "nic0");
  ASSERT_TRUE(there);
  EXPECT_TRUE(there->is_up());
  EXPECT_EQ(there->mtu, 1400U);
  EXPECT_EQ(there->mac, kMac);
  EXPECT_THAT(there->altnames, ElementsAre("a-name-that-is-longer-than-fifteen"));
  auto node = *LinkMessages::open_in(node_.get());
  EXPECT_GE(node.addresses(there->index)->size(), 3U);

  const auto home = lent->take_back(node_.get());
  ASSERT_THAT(home, SizeIs(1));
  EXPECT_EQ(home[0].problem, "");
  EXPECT_FALSE(link_in(node_, "nic0"));
  const auto after = *link_in(machine_, "nic0");
  EXPECT_EQ(after.flags, before.flags);
  EXPECT_EQ(after.mtu, before.mtu);
  EXPECT_EQ(after.altnames, before.altnames);
  EXPECT_EQ(identities(), all_before);
  EXPECT_THAT(lent->take_back(node_.get())[0].problem, IsEmpty()) << "the way back may be gone twice";
}

TEST_F(LentLinksKernel, FlagsGroupQueueAndSettings_GoThereAndComeBack) {
  auto messages = *LinkMessages::open_in(machine_.get());
  const auto nic = index("nic0");
  ASSERT_TRUE(messages.set_flags(nic, IFF_ALLMULTI | IFF_MULTICAST, IFF_ALLMULTI));
  ASSERT_TRUE(socket_->change_link(nic, {.group = 7, .tx_queue_len = 300}));
  ASSERT_TRUE(sys::write_net_sysctl(machine_.get(), "ipv4/conf/nic0/rp_filter", "2"));
  ASSERT_TRUE(sys::write_net_sysctl(machine_.get(), "ipv6/conf/nic0/accept_ra", "0"));
  const auto before = *link_in(machine_, "nic0");
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  EXPECT_EQ(sys::read_net_sysctl(node_.get(), "ipv4/conf/nic0/rp_filter").value(), "2");
  EXPECT_THAT(lent->changes_in(node_.get()).value(), IsEmpty());

  auto node = *netlink::Socket::open_in(node_.get());
  ASSERT_TRUE(
      node.change_link(link_in(node_, "nic0")->index,
                       {.group = 8,
                        .flags = netlink::FlagChange{.mask = IFF_NOARP | IFF_ALLMULTI, .flags = IFF_NOARP},
                        .tx_queue_len = 3}));
  EXPECT_THAT(lent->take_back(node_.get())[0].problem, IsEmpty());
  const auto after = *link_in(machine_, "nic0");
  EXPECT_EQ(after.flags & netlink::kSettableFlags, before.flags & netlink::kSettableFlags);
  EXPECT_EQ(after.group, 7U);
  EXPECT_EQ(after.tx_queue_len, 300U);
  EXPECT_EQ(sys::read_net_sysctl(machine_.get(), "ipv4/conf/nic0/rp_filter").value(), "2");
  EXPECT_EQ(sys::read_net_sysctl(machine_.get(), "ipv6/conf/nic0/accept_ra").value(), "0");
}

/// What a driver or a pod may leave on it is told of the node.
TEST_F(LentLinksKernel, LeftWithOtherFlagsAddressesAndSettings_IsToldOfTheNode) {
  ASSERT_TRUE(add_address("192.0.2.1/24"));
  ASSERT_TRUE(sys::write_net_sysctl(machine_.get(), "ipv4/conf/nic0/rp_filter", "2"));
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  EXPECT_THAT(lent->changes_in(node_.get()).value(), IsEmpty());
  auto node = *netlink::Socket::open_in(node_.get());
  const auto there = link_in(node_, "nic0")->index;
  ASSERT_TRUE(node.change_link(
      there,
      {.group = 8, .flags = netlink::FlagChange{.mask = IFF_NOARP, .flags = IFF_NOARP}, .tx_queue_len = 3}));
  ASSERT_TRUE(sys::write_net_sysctl(node_.get(), "ipv4/conf/nic0/rp_filter", "1"));
  const auto told = node.told_addresses(there).value();
  const auto address = std::ranges::find_if(
      told, [](const auto& one) { return one.address.prefix.to_string() == "192.0.2.1/24"; });
  ASSERT_NE(address, told.end());
  ASSERT_TRUE(node.delete_address(there, address->told));
  ASSERT_TRUE(node.add_address({.link = there, .prefix = *IpPrefix::parse("192.0.2.1/32")}));
  const auto changes = lent->changes_in(node_.get());
  ASSERT_TRUE(changes);
  ASSERT_THAT(*changes, SizeIs(1));
  EXPECT_THAT((*changes)[0],
              AllOf(HasSubstr("its flags is NOARP, MULTICAST, it was MULTICAST"), HasSubstr("its group is 8"),
                    HasSubstr("its queue length is 3"), HasSubstr("its address 192.0.2.1/24 is not there"),
                    HasSubstr("its address 192.0.2.1/32 is new"),
                    HasSubstr("its setting ipv4/conf/nic0/rp_filter is 1, it was 2")));
  EXPECT_THAT(lent->take_back(node_.get())[0].problem, IsEmpty());
}

TEST_F(LentLinksKernel, AddressesThatChangeMeanwhile_AreListedAll) {
  // More than fit into one datagram, so that there is a moment between two of a list.
  constexpr int kAddresses = 1000;
  constexpr int kChanges = 20;
  netlink::Batch batch;
  for (int i = 0; i < kAddresses; ++i) {
    const auto text = "10.1." + std::to_string(i / 250) + "." + std::to_string(1 + i % 250) + "/32";
    batch.add_address({.link = index("nic0"), .prefix = *IpPrefix::parse(text)});
  }
  ASSERT_TRUE(socket_->run(std::move(batch)));
  auto messages = *LinkMessages::open_in(machine_.get());
  const auto nic = index("nic0");
  for (int round = 0; round < 20; ++round) {
    std::atomic<bool> ended = false;
    std::jthread rival([&, far = index("far0")] {
      auto socket = *netlink::Socket::open_in(machine_.get());
      const auto prefix = *IpPrefix::parse("10.2.0.1/32");
      for (int i = 0; i < kChanges; ++i) {
        EXPECT_TRUE(socket.add_address({.link = far, .prefix = prefix}));
        EXPECT_TRUE(socket.delete_address(far, prefix));
      }
      ended = true;
    });
    while (!ended) {
      const auto all = messages.addresses(nic);
      ASSERT_TRUE(all) << all.error().what();
      ASSERT_GE(all->size(), std::size_t{kAddresses});
    }
  }
}

TEST_F(LentLinksKernel, RefusalOfTheKernel_SaysWhatWasAsked) {
  auto messages = *LinkMessages::open_in(machine_.get());
  const auto done = messages.set_flags(IfIndex(4711), IFF_UP, IFF_UP);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().what(), ::testing::StartsWith("set the link's flags: No such device"));
}

TEST_F(LentLinksKernel, LinkThatWasDown_StaysDown) {
  ASSERT_TRUE(socket_->set_down(index("nic0")));
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  EXPECT_FALSE(link_in(node_, "nic0")->is_up());
  EXPECT_THAT(lent->take_back(node_.get())[0].problem, IsEmpty());
  EXPECT_FALSE(link_in(machine_, "nic0")->is_up());
}

TEST_F(LentLinksKernel, LeftWithAnotherNameMacAndMtu_ComesHomeAsItWas) {
  ASSERT_TRUE(add_address("192.0.2.1/24"));
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  auto node = *netlink::Socket::open_in(node_.get());
  const auto there = link_in(node_, "nic0")->index;
  ASSERT_TRUE(node.set_down(there));
  ASSERT_TRUE(node.change_link(there, {.name = "odd0",
                                       .mtu = 1300,
                                       .mac = MacAddress::parse("02:00:00:00:00:99").value(),
                                       .alias = "somebody's"}));
  EXPECT_THAT(lent->take_back(node_.get())[0].problem, IsEmpty());
  const auto after = link_in(machine_, "nic0");
  ASSERT_TRUE(after);
  EXPECT_TRUE(after->is_up());
  EXPECT_EQ(after->mac, kMac);
  EXPECT_EQ(after->mtu, 1400U);
  EXPECT_EQ(after->alias, "");
  EXPECT_FALSE(link_in(node_, "odd0"));
}

TEST_F(LentLinksKernel, FoundOnTheMachineUnderAContainersName_IsRenamedAndConfigured) {
  // As the kernel hands hardware back: down, without addresses, under the name that it had in the pod.
  ASSERT_TRUE(add_address("192.0.2.1/24"));
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  auto node = *netlink::Socket::open_in(node_.get());
  ASSERT_TRUE(
      node.move_link({.link = link_in(node_, "nic0")->index, .netns = machine_.get(), .new_name = "net1"}));
  EXPECT_THAT(lent->take_back(node_.get())[0].problem, IsEmpty());
  EXPECT_FALSE(link_in(machine_, "net1"));
  ASSERT_TRUE(link_in(machine_, "nic0"));
  EXPECT_TRUE(link_in(machine_, "nic0")->is_up());
  auto messages = *LinkMessages::open_in(machine_.get());
  const auto addresses = messages.addresses(index("nic0"));
  ASSERT_TRUE(addresses);
  std::vector<std::string> texts;
  for (const auto& one : *addresses) {
    texts.push_back(destination(one));
  }
  EXPECT_THAT(texts, Contains("192.0.2.1/24"));
}

TEST_F(LentLinksKernel, NeverMoved_IsLeftAlone) {
  ASSERT_TRUE(add_address("192.0.2.1/24"));
  const auto lent = find({"nic0"});
  ASSERT_TRUE(lent);
  const auto before = link_in(machine_, "nic0");
  EXPECT_THAT(lent->take_back(node_.get())[0].problem, IsEmpty());
  EXPECT_EQ(link_in(machine_, "nic0"), before);
}

TEST_F(LentLinksKernel, VirtualLinkThatIsGone_IsSaidToBeGoneOneWayOrTheOther) {
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  auto node = *netlink::Socket::open_in(node_.get());
  ASSERT_TRUE(node.delete_link(link_in(node_, "nic0")->index));
  EXPECT_THAT(
      lent->take_back(node_.get())[0].problem,
      HasSubstr("it is gone: deleted in the node, or with the network namespace of a pod that it was in"));
}

TEST_F(LentLinksKernel, NameTakenOnTheMachineMeanwhile_ComesHomeUnderAnotherName) {
  ASSERT_TRUE(add_address("192.0.2.1/24"));
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  ASSERT_TRUE(socket_->create_link({.name = "nic0", .kind = netlink::Bridge{}}));
  EXPECT_THAT(lent->take_back(node_.get())[0].problem,
              AllOf(HasSubstr("it is back, but not all as it was"),
                    HasSubstr("the name nic0 belongs to another link now"),
                    HasSubstr("its name is dev0, it was nic0")));
  const auto after = link_in(machine_, "dev0");
  ASSERT_TRUE(after);
  EXPECT_TRUE(after->is_up());
  EXPECT_EQ(after->mac, kMac);
  auto messages = *LinkMessages::open_in(machine_.get());
  EXPECT_FALSE(messages.addresses(after->index)->empty());
  // Once the name is free again, the way back leads to the end.
  ASSERT_TRUE(socket_->delete_link(index("nic0")));
  EXPECT_THAT(lent->take_back(node_.get())[0].problem, IsEmpty());
  EXPECT_EQ(link_in(machine_, "nic0")->index, after->index);
}

TEST_F(LentLinksKernel, OnTheMachineUnderEachOthersNames_AreUntangled) {
  ASSERT_TRUE(socket_->create_link({.name = "nic1", .kind = netlink::Veth{.peer = {.name = "far1"}}}));
  const auto mac = link_in(machine_, "nic1")->mac;
  auto lent = find({"nic0", "nic1"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  auto node = *netlink::Socket::open_in(node_.get());
  const auto first = link_in(node_, "nic0")->index;
  const auto second = link_in(node_, "nic1")->index;
  ASSERT_TRUE(node.move_link({.link = first, .netns = machine_.get(), .new_name = "nic1"}));
  ASSERT_TRUE(node.move_link({.link = second, .netns = machine_.get(), .new_name = "nic0"}));
  for (const auto& home : lent->take_back(node_.get())) {
    EXPECT_EQ(home.problem, "") << home.name;
  }
  EXPECT_EQ(link_in(machine_, "nic0")->mac, kMac);
  EXPECT_EQ(link_in(machine_, "nic1")->mac, mac);
}

TEST_F(LentLinksKernel, ForeignAltnameThatIsTakenOnTheMachine_DoesNotKeepTheLinkAway) {
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  auto node = *netlink::Socket::open_in(node_.get());
  ASSERT_TRUE(node.add_altname(link_in(node_, "nic0")->index, "far0"));
  EXPECT_THAT(lent->take_back(node_.get())[0].problem, IsEmpty());
  ASSERT_TRUE(link_in(machine_, "nic0"));
  EXPECT_THAT(link_in(machine_, "nic0")->altnames, IsEmpty());
  EXPECT_THAT(link_in(machine_, "far0")->altnames, IsEmpty());
}

TEST_F(LentLinksKernel, OwnAltnameThatIsTakenOnTheMachine_IsAProblemOfALinkThatIsBack) {
  auto machine = *netlink::Socket::open_in(machine_.get());
  ASSERT_TRUE(machine.add_altname(index("nic0"), "port-to-outside"));
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  ASSERT_TRUE(machine.add_altname(index("far0"), "port-to-outside"));
  EXPECT_THAT(lent->take_back(node_.get())[0].problem,
              AllOf(HasSubstr("it is back, but not all as it was"), HasSubstr("port-to-outside")));
  ASSERT_TRUE(link_in(machine_, "nic0"));
  EXPECT_TRUE(link_in(machine_, "nic0")->is_up());
}

TEST_F(LentLinksKernel, RenamedWithItsOldNameAsAltname_ComesHomeAsItWas) {
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  auto node = *netlink::Socket::open_in(node_.get());
  auto messages = *netlink::Socket::open_in(node_.get());
  const auto there = link_in(node_, "nic0")->index;
  ASSERT_TRUE(node.set_down(there));
  ASSERT_TRUE(node.rename(there, "odd0"));
  ASSERT_TRUE(messages.add_altname(there, "nic0"));
  EXPECT_THAT(lent->take_back(node_.get())[0].problem, IsEmpty());
  EXPECT_EQ(link_in(machine_, "nic0")->name, "nic0");
  EXPECT_THAT(link_in(machine_, "nic0")->altnames, IsEmpty());
}

TEST_F(LentLinksKernel, OnTheMachineWithItsNameAsAltname_IsMadeWhatItWas) {
  // A return by the kernel, of a link that a pod had renamed.
  auto lent = find({"nic0"});
  ASSERT_TRUE(lent && lent->move_to(node_.get()));
  auto node = *netlink::Socket::open_in(node_.get());
  ASSERT_TRUE(
      node.move_link({.link = link_in(node_, "nic0")->index, .netns = machine_.get(), .new_name = "net1"}));
  auto messages = *netlink::Socket::open_in(machine_.get());
  ASSERT_TRUE(messages.add_altname(index("net1"), "nic0"));
  ASSERT_TRUE(messages.add_altname(index("net1"), "the-pods-own"));
  EXPECT_THAT(lent->take_back(node_.get())[0].problem, IsEmpty());
  EXPECT_EQ(link_in(machine_, "nic0")->name, "nic0");
  EXPECT_THAT(link_in(machine_, "nic0")->altnames, IsEmpty());
}

TEST_F(LentLinksKernel, SecondLinkCannotMove_TheFirstComesHome) {
  ASSERT_TRUE(socket_->create_link({.name = "mv0", .kind = netlink::Macvlan{.parent = index("far0")}}));
  auto lent = find({"nic0", "mv0"});
  ASSERT_TRUE(lent) << lent.error().what();
  auto node = *netlink::Socket::open_in(node_.get());
  ASSERT_TRUE(node.create_link({.name = "mv0", .kind = netlink::Bridge{}}));
  const auto moved = lent->move_to(node_.get());
  ASSERT_FALSE(moved);
  EXPECT_THAT(moved.error().what(), HasSubstr("lend mv0 to the node"));
  for (const auto& home : lent->take_back(node_.get())) {
    EXPECT_EQ(home.problem, "") << home.name;
  }
  EXPECT_TRUE(link_in(machine_, "nic0"));
  EXPECT_TRUE(link_in(machine_, "mv0"));
}

}  // namespace
}  // namespace drydock
