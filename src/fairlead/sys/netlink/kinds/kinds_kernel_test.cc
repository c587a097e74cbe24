// SPDX-License-Identifier: Apache-2.0
// Kinds of links against the running kernel: created in a pod's namespace, read from a dump there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netns.h"

namespace fairlead::netlink {
namespace {

using testing::HasSubstr;

#define ASSERT_OK(expression)                                       \
  do {                                                              \
    const auto& ok_result = (expression);                           \
    ASSERT_TRUE(ok_result.has_value()) << ok_result.error().what(); \
  } while (false)

/// Two namespaces, "home" (the node) with a parent link and "pod".
class LinkKinds : public testing::Test {
 protected:
  void SetUp() override {
    auto home = sys::create_netns();
    if (!home && home.error().sys_errno() == EPERM) {
      GTEST_SKIP() << "needs CAP_SYS_ADMIN to create network namespaces";
    }
    auto pod = sys::create_netns();
    ASSERT_OK(home);
    ASSERT_OK(pod);
    pod_fd_ = std::move(*pod);
    auto home_socket = Socket::open_in(home->get());
    auto pod_socket = Socket::open_in(pod_fd_.get());
    ASSERT_OK(home_socket);
    ASSERT_OK(pod_socket);
    home_.emplace(std::move(*home_socket));
    pod_.emplace(std::move(*pod_socket));
    ASSERT_OK(home_->create_link({.name = "up0", .kind = Veth{{.name = "up0p", .up = true}}, .up = true}));
    parent_ = find(*home_, "up0");
  }

  /// Whether this kernel can make links of this kind at all: it answers EOPNOTSUPP where it has no such module.
  template <class K>
  [[nodiscard]] bool kernel_has(const K& kind) {
    const auto made = home_->create_link({.name = "probe0", .kind = kind});
    EXPECT_TRUE(made || made.error().code() == Code::kUnsupported) << made.error().what();
    if (made) {
      EXPECT_TRUE(home_->delete_link(find(*home_, "probe0").index));
    }
    return made.has_value();
  }

  /// As a dump of its namespace shows it.
  static Link find(Socket& socket, const std::string& name) {
    const auto links = socket.links();
    EXPECT_TRUE(links) << links.error().what();
    for (const Link& link : links ? *links : std::vector<Link>()) {
      if (link.name == name) {
        return link;
      }
    }
    ADD_FAILURE() << name << " is not there";
    return {};
  }

  UniqueFd pod_fd_;
  std::optional<Socket> home_, pod_;
  Link parent_;
};

TEST_F(LinkKinds, Ipvlan_OfEachModeAndFlag_IsBornInThePod) {
  if (!kernel_has(Ipvlan{.parent = parent_.index})) {
    GTEST_SKIP() << "this kernel has no ipvlan links";
  }
  for (const IpvlanMode mode : {IpvlanMode::kL2, IpvlanMode::kL3, IpvlanMode::kL3s}) {
    for (const IpvlanFlag flag : {IpvlanFlag::kBridge, IpvlanFlag::kPrivate, IpvlanFlag::kVepa}) {
      const auto made =
          home_->create_link({.name = "data0",
                              .kind = Ipvlan{.parent = parent_.index, .mode = mode, .flag = flag},
                              .netns = pod_fd_.get(),
                              .up = true});
      ASSERT_OK(made);
      const Link link = find(*pod_, "data0");
      EXPECT_EQ(link.kind, "ipvlan");
      EXPECT_EQ(link.mac, parent_.mac);
      EXPECT_TRUE(link.is_up());
      ASSERT_NE(link.as<Ipvlan>(), nullptr);
      EXPECT_EQ(link.as<Ipvlan>()->mode, mode) << to_string(mode);
      EXPECT_EQ(link.as<Ipvlan>()->flag, flag) << to_string(mode) << " " << to_string(flag);
      EXPECT_FALSE(link.as<Ipvlan>()->parent.valid()) << "it is in another namespace";
      ASSERT_OK(pod_->delete_link(link.index));
    }
  }
}

TEST_F(LinkKinds, Ipvlan_ModeAndFlagBelongToTheParent) {
  if (!kernel_has(Ipvlan{.parent = parent_.index})) {
    GTEST_SKIP() << "this kernel has no ipvlan links";
  }
  ASSERT_OK(
      home_->create_link({.name = "one0", .kind = Ipvlan{.parent = parent_.index, .mode = IpvlanMode::kL2}}));
  ASSERT_OK(home_->create_link(
      {.name = "two0",
       .kind = Ipvlan{.parent = parent_.index, .mode = IpvlanMode::kL3, .flag = IpvlanFlag::kPrivate}}));
  const Link first = find(*home_, "one0");
  ASSERT_NE(first.as<Ipvlan>(), nullptr);
  EXPECT_EQ(*first.as<Ipvlan>(),
            (Ipvlan{.parent = parent_.index, .mode = IpvlanMode::kL3, .flag = IpvlanFlag::kPrivate}))
      << "the second link changed the first one too";
}

TEST_F(LinkKinds, Ipvlan_BesideMacvlan_IsBusy) {
  if (!kernel_has(Ipvlan{.parent = parent_.index})) {
    GTEST_SKIP() << "this kernel has no ipvlan links";
  }
  ASSERT_OK(home_->create_link({.name = "mac0", .kind = Macvlan{.parent = parent_.index}}));
  const auto made = home_->create_link({.name = "ip0", .kind = Ipvlan{.parent = parent_.index}});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().sys_errno(), EBUSY);
  EXPECT_THAT(made.error().what(), HasSubstr("create ipvlan ip0"));
}

TEST_F(LinkKinds, Vlan_OfEachProtocol_IsBornInThePod) {
  if (!kernel_has(Vlan{.parent = parent_.index, .id = 1})) {
    GTEST_SKIP() << "this kernel has no vlan links";
  }
  for (const VlanProtocol protocol : {VlanProtocol::k8021q, VlanProtocol::k8021ad}) {
    const Vlan wanted{.parent = parent_.index,
                      .id = 4094,
                      .protocol = protocol,
                      .ingress_qos = {{1, 3}, {7, 70000}},
                      .egress_qos = {{2, 5}, {6, 7}}};
    ASSERT_OK(home_->create_link({.name = "data0",
                                  .kind = wanted,
                                  .mac = *MacAddress::parse("02:00:00:00:00:42"),
                                  .netns = pod_fd_.get(),
                                  .up = true}));
    const Link link = find(*pod_, "data0");
    EXPECT_EQ(link.kind, "vlan");
    EXPECT_EQ(link.mac.to_string(), "02:00:00:00:00:42");
    EXPECT_TRUE(link.is_up());
    ASSERT_NE(link.as<Vlan>(), nullptr);
    Vlan expected = wanted;
    expected.parent = IfIndex();  // it is in another namespace
    EXPECT_EQ(*link.as<Vlan>(), expected) << to_string(protocol);
    ASSERT_OK(pod_->delete_link(link.index));
  }
}

TEST_F(LinkKinds, Vlan_WithATakenId_SaysExists) {
  const Vlan wanted{.parent = parent_.index, .id = 100};
  if (!kernel_has(wanted)) {
    GTEST_SKIP() << "this kernel has no vlan links";
  }
  ASSERT_OK(home_->create_link({.name = "one0", .kind = wanted, .netns = pod_fd_.get()}));
  const auto again = home_->create_link({.name = "two0", .kind = wanted, .netns = pod_fd_.get()});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), Code::kExists);
  Vlan other = wanted;
  other.protocol = VlanProtocol::k8021ad;
  ASSERT_OK(home_->create_link({.name = "two0", .kind = other, .netns = pod_fd_.get()}));
}

}  // namespace
}  // namespace fairlead::netlink
