// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/vlan/vlan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/devices/netdev/link_use.h"
#include "fairlead/devices/testing/plan_test.h"

namespace fairlead::devices::netdev {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

class VlanPlan : public devices::testing::PlanTest {
 protected:
  VlanPlan() { options_.kinds_of_kernel.insert("vlan"); }

  static std::string vlan(const std::string& more) {
    return R"({"type":"netdev","netdev":{"kind":"vlan","master":"eth0")" + more + "}}";
  }
};

TEST_F(VlanPlan, IdIsRequired_TheRestHasDefaults) {
  const auto planned = plan(vlan(R"(,"vlanId":7)"));
  ASSERT_TRUE(planned) << planned.error().what();
  EXPECT_THAT(body(*planned).own, UnorderedElementsAre(Pair("vlanId", "7"), Pair("vlanProto", "802.1q")));
  EXPECT_THAT(link_use(*planned)->wants, ElementsAre("VLAN 7 (802.1q)"));
  EXPECT_THAT(refusal(vlan("")), HasSubstr("netdev.vlanId: this field is required"));
  EXPECT_EQ(refusal(vlan(R"(,"vlanId":4095)")),
            "config[0].opaque.parameters.netdev.vlanId: must be a whole number from 0 to 4094, not 4095");
}

TEST_F(VlanPlan, AllFields) {
  const auto planned = plan(vlan(
      R"(,"vlanId":7,"vlanProto":"802.1ad","ingressQosMap":["5:1","6:4294967295"],"egressQosMap":["1:5"],)"
      R"("mac":"02:00:00:00:77:01","mtu":1400)"));
  ASSERT_TRUE(planned) << planned.error().what();
  EXPECT_THAT(body(*planned).own,
              UnorderedElementsAre(Pair("vlanId", "7"), Pair("vlanProto", "802.1ad"),
                                   Pair("ingressQosMap", "5:1,6:4294967295"), Pair("egressQosMap", "1:5")));
}

TEST_F(VlanPlan, QosMaps_AreChecked) {
  EXPECT_EQ(
      refusal(vlan(R"(,"vlanId":7,"ingressQosMap":["8:1"])")),
      "config[0].opaque.parameters.netdev.ingressQosMap[0]: \"8:1\" is not a mapping from a tag's priority "
      "(0 to 7) to a packet's (such as 5:1)");
  EXPECT_THAT(refusal(vlan(R"(,"vlanId":7,"egressQosMap":["1:5","1:8"])")),
              HasSubstr("egressQosMap[1]: \"1:8\""));
  EXPECT_THAT(refusal(vlan(R"(,"vlanId":7,"egressQosMap":["1:5","1:6"])")),
              HasSubstr("egressQosMap[1]: the priority 1 is mapped twice"));
  for (const char* wrong : {"", ":", "1", "1:", ":1", "a:1", "1:1:1", "-1:1", "1:4294967296", " 1:1"}) {
    EXPECT_THAT(refusal(vlan(R"(,"vlanId":7,"ingressQosMap":[")" + std::string(wrong) + R"("])")),
                HasSubstr("ingressQosMap[0]: "))
        << wrong;
  }
}

TEST_F(VlanPlan, OneClaimPerMasterProtocolAndId) {
  add_other("tenant", "first", R"("vlan","master":"eth0","vlanId":7)");
  EXPECT_EQ(refusal(vlan(R"(,"vlanId":7)")),
            "config[0].opaque.parameters.netdev: the VLAN 7 (802.1q) is taken on eth0, by claim first; take "
            "another");
  EXPECT_TRUE(plan(vlan(R"(,"vlanId":8)")));
  EXPECT_TRUE(plan(vlan(R"(,"vlanId":7,"vlanProto":"802.1ad")")));
}

TEST_F(VlanPlan, WhatTheNodeHas_IsTold) {
  change("eth0.7", [](sys::InventoryLink& link) { link.link.details = netlink::Vlan{.id = 7}; });
  EXPECT_EQ(
      refusal(vlan(R"(,"vlanId":7)")),
      "config[0].opaque.parameters.netdev.vlanId: the VLAN 7 (802.1q) on eth0 is the node's link eth0.7; "
      "take another id, or name that link as the master of a macvlan or ipvlan");
  EXPECT_TRUE(plan(vlan(R"(,"vlanId":8)")));
}

TEST_F(VlanPlan, MasterThatIsDown_IsToldBeforeTheSandbox) {
  change("eth0", [](sys::InventoryLink& link) { link.link.flags = 0; });
  EXPECT_EQ(
      refusal(vlan(R"(,"vlanId":7)")),
      "config[0].opaque.parameters.netdev.master: \"eth0\" is down, and a VLAN on it comes up only when it "
      "is up; set it up on the node, or take another master");
}

TEST_F(VlanPlan, BesideAMacvlanOnTheSameMaster) {
  add_other("tenant", "first", R"("macvlan","master":"eth0")");
  EXPECT_TRUE(plan(vlan(R"(,"vlanId":7)"))) << "tagged frames are taken before the receive handler";
}

TEST_F(VlanPlan, FieldsOfOtherKinds_AreRefusedByName) {
  EXPECT_THAT(refusal(vlan(R"(,"vlanId":7,"bridge":"br0")")),
              HasSubstr("netdev.bridge: belongs to kind \"veth\""));
}

}  // namespace
}  // namespace fairlead::devices::netdev
