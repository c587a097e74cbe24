// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/ipvlan/ipvlan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/devices/netdev/link_use.h"
#include "fairlead/devices/testing/plan_test.h"

namespace fairlead::devices::netdev {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class IpvlanPlan : public devices::testing::PlanTest {
 protected:
  IpvlanPlan() { options_.kinds_of_kernel.insert("ipvlan"); }

  static std::string ipvlan(const std::string& more) {
    return R"({"type":"netdev","netdev":{"kind":"ipvlan")" + more + "}}";
  }
  /// A link of the node's own on eth0.
  void add_on_eth0(netlink::Link link) {
    std::vector<sys::InventoryLink> links = inventory_.links();
    link.index = netlink::IfIndex(20);
    link.name = "there0";
    link.parent = netlink::IfIndex(2);
    link.arphrd = 1;
    links.push_back({.link = std::move(link)});
    inventory_ = sys::Inventory(std::move(links));
  }
};

TEST_F(IpvlanPlan, HasTheCniPluginsDefaults) {
  const auto planned = plan(ipvlan(R"(,"master":"eth0")"));
  ASSERT_TRUE(planned) << planned.error().what();
  EXPECT_EQ(planned->name, (KindName{.type = "netdev", .kind = "ipvlan"}));
  EXPECT_THAT(body(*planned).own, UnorderedElementsAre(Pair("mode", "l2"), Pair("flag", "bridge")));
  EXPECT_EQ(link_use(*planned)->must_agree.at("receiver"), "ipvlan l2 bridge");
}

TEST_F(IpvlanPlan, TakesEachModeAndFlag) {
  for (const std::string mode : {"l2", "l3", "l3s"}) {
    for (const std::string flag : {"bridge", "private", "vepa"}) {
      const auto planned = plan(ipvlan(R"(,"master":"eth0","mode":")" + mode + R"(","flag":")" + flag + '"'));
      ASSERT_TRUE(planned) << planned.error().what();
      EXPECT_THAT(body(*planned).own, UnorderedElementsAre(Pair("mode", mode), Pair("flag", flag)));
    }
  }
  EXPECT_EQ(refusal(ipvlan(R"(,"master":"eth0","mode":"l4")")),
            "config[0].opaque.parameters.netdev.mode: must be one of \"l2\", \"l3\", \"l3s\", not \"l4\"");
}

TEST_F(IpvlanPlan, HasTheMacAddressOfItsMaster) {
  EXPECT_EQ(refusal(ipvlan(R"(,"master":"eth0","mac":"02:00:00:00:77:01")")),
            "config[0].opaque.parameters.netdev.mac: an ipvlan has the MAC address of its master "
            "(02:00:00:00:00:02 of eth0); leave mac out, or take the kind macvlan");
}

TEST_F(IpvlanPlan, MasterIsRequired_AndOneThatMayBeOne) {
  EXPECT_EQ(
      refusal(ipvlan("")),
      "config[0].opaque.parameters.netdev.master: this field is required: the link of the node that the "
      "ipvlan sits on, such as \"eth0\"");
  EXPECT_THAT(refusal(ipvlan(R"(,"master":"lo")")), HasSubstr("is not an Ethernet link; ipvlan needs one"));
  EXPECT_THAT(refusal(ipvlan(R"(,"master":"port0")")), HasSubstr("is a port of br0"));
  EXPECT_THAT(refusal(ipvlan(R"(,"master":"eth0","mtu":9000)")),
              HasSubstr("is more than the master eth0 has"));
}

TEST_F(IpvlanPlan, OnAnAllocatedNic_ThatIsTheMaster) {
  const auto planned = plan(ipvlan(""), devices::testing::kNic1);
  ASSERT_TRUE(planned) << planned.error().what();
  EXPECT_EQ(body(*planned).master, "nic1");
  EXPECT_TRUE(body(*planned).exclusive);
}

/// ipvlan_link_new would give all of them the newest one's.
TEST_F(IpvlanPlan, OneModeAndFlagPerMaster_OtherClaimsCount) {
  add_other("tenant", "first", R"("ipvlan","master":"eth0","mode":"l3")");
  EXPECT_TRUE(plan(ipvlan(R"(,"master":"eth0","mode":"l3")")));
  EXPECT_TRUE(plan(ipvlan(R"(,"master":"eth0.7")"))) << "another master";
  EXPECT_EQ(refusal(ipvlan(R"(,"master":"eth0")")),
            "config[0].opaque.parameters.netdev: eth0 has an ipvlan l3 bridge on it, of claim first, which "
            "excludes an ipvlan l2 bridge; take what is there, or another master");
  EXPECT_THAT(refusal(ipvlan(R"(,"master":"eth0","mode":"l3","flag":"vepa")")),
              HasSubstr("which excludes an ipvlan l3 vepa"));
}

/// One receive handler per link.
TEST_F(IpvlanPlan, AndMacvlan_ExcludeEachOther) {
  add_other("tenant", "first", R"("ipvlan","master":"eth0")");
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0"}})"),
              HasSubstr("eth0 has an ipvlan l2 bridge on it, of claim first, which excludes a macvlan"));
  others_ = {};
  add_other("elsewhere", "first", R"("macvlan","master":"eth0")");
  EXPECT_THAT(refusal(ipvlan(R"(,"master":"eth0")")),
              HasSubstr("eth0 has a macvlan on it, of another claim, which excludes an ipvlan l2 bridge"));
}

TEST_F(IpvlanPlan, LinksOfTheNode_CountAsWell) {
  add_on_eth0({.kind = "ipvlan", .details = netlink::Ipvlan{.mode = netlink::IpvlanMode::kL3s}});
  EXPECT_TRUE(plan(ipvlan(R"(,"master":"eth0","mode":"l3s")")));
  EXPECT_EQ(refusal(ipvlan(R"(,"master":"eth0")")),
            "config[0].opaque.parameters.netdev.master: \"eth0\" carries the ipvlan there0 in the mode l3s "
            "bridge, and all ipvlans on one link have one mode; take that mode, or another master");
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0"}})"),
              HasSubstr("cannot carry a macvlan while there0 (ipvlan) sits on it"));
}

TEST_F(IpvlanPlan, KernelWithoutThem_SaysSo) {
  options_.kinds_of_kernel.erase("ipvlan");
  EXPECT_THAT(refusal(ipvlan(R"(,"master":"eth0")")), HasSubstr("this node's kernel has no ipvlan links"));
}

}  // namespace
}  // namespace fairlead::devices::netdev
