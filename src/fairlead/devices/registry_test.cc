// SPDX-License-Identifier: Apache-2.0
// What claims may ask for, and what they are told when they ask for something wrong.
#include "fairlead/devices/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fairlead/devices/netdev/link_use.h"
#include "fairlead/devices/testing/plan_test.h"

namespace fairlead::devices {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

using testing::kNic1;
using testing::kPath;
using testing::PlanTest;

TEST_F(PlanTest, Macvlan_AllFields) {
  const auto result =
      plan(R"({"type":"netdev","netdev":{"kind":"macvlan","interfaceName":"data0","master":"eth0",
    "mode":"vepa","mtu":1400,"mac":"02:00:00:AA:bb:01","addresses":["192.0.2.10/24","fd00::5/64"],
    "routes":[{"dst":"10.0.0.0/8","gw":"192.0.2.1"},{"dst":"fd01::/16"}]}})");
  ASSERT_TRUE(result) << result.error().what();
  EXPECT_EQ(result->name.type, "netdev");
  EXPECT_EQ(result->name.kind, "macvlan");
  EXPECT_EQ(result->request, "nic");
  EXPECT_EQ(body(*result).interface_name, "data0");
  const netdev::NetdevPlan plan = body(*result);
  EXPECT_EQ(plan.master, "eth0");
  EXPECT_EQ(plan.own.at("mode"), "vepa");
  EXPECT_EQ(plan.mtu, 1400);
  EXPECT_EQ(plan.mac->to_string(), "02:00:00:aa:bb:01");
  ASSERT_EQ(plan.addresses.size(), 2);
  EXPECT_EQ(plan.addresses[1].to_string(), "fd00::5/64");
  ASSERT_EQ(plan.routes.size(), 2);
  EXPECT_EQ(plan.routes[0].gateway->to_string(), "192.0.2.1");
  EXPECT_FALSE(plan.routes[1].gateway);
}

TEST_F(PlanTest, Macvlan_EveryModeThatLeavesOthersTheirTraffic) {
  for (const char* mode : {"bridge", "private", "source", "vepa"}) {
    const auto result = plan(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0","mode":")" +
                             std::string(mode) + "\"}}");
    ASSERT_TRUE(result) << result.error().what();
    EXPECT_EQ(body(*result).own.at("mode"), mode);
  }
}

TEST_F(PlanTest, Macvlan_PassthruOnALinkThatOthersUse_IsDenied) {
  for (const char* master : {"eth0", "nic1", "eth0.7"}) {
    const auto result = plan(R"({"type":"netdev","netdev":{"kind":"macvlan","mode":"passthru","master":")" +
                             std::string(master) + "\"}}");
    ASSERT_FALSE(result) << master;
    EXPECT_EQ(result.error().code(), Code::kDenied);
    EXPECT_THAT(result.error().what(), HasSubstr("netdev.mode: \"passthru\" takes all that"));
    EXPECT_THAT(result.error().what(), HasSubstr("ask for a whole NIC"));
  }
}

TEST_F(PlanTest, Macvlan_PassthruOnTheAllocatedNic_UnlessAnotherLinkSitsOnIt) {
  const std::string passthru = R"({"type":"netdev","netdev":{"kind":"macvlan","mode":"passthru"}})";
  const auto alone = plan(passthru, kNic1);
  ASSERT_TRUE(alone) << alone.error().what();
  EXPECT_EQ(body(*alone).own.at("mode"), "passthru");

  auto links = inventory_.links();
  netlink::Link vlan = testing::ethernet(9, "nic1.7");
  vlan.kind = "vlan";
  vlan.parent = inventory_.find("nic1")->link.index;
  links.push_back({.link = vlan});
  inventory_ = sys::Inventory(std::move(links));
  EXPECT_THAT(refusal(passthru, kNic1), HasSubstr("cannot be taken now: nic1.7 of this node sits on it"));
}

TEST_F(PlanTest, Macvlan_PassthruHasTheMacOfItsNic) {
  for (const char* mac : {"02:00:00:00:00:77", "02:00:00:00:00:03"}) {
    EXPECT_EQ(
        refusal(R"({"type":"netdev","netdev":{"kind":"macvlan","mode":"passthru","mac":")" +
                    std::string(mac) + "\"}}",
                kNic1),
        "config[0].opaque.parameters.netdev.mac: a macvlan in mode passthru has the MAC address of its NIC "
        "(02:00:00:00:00:03 of nic1); leave mac out, or take another mode");
  }
}

TEST_F(PlanTest, Macvlan_OnAPortOfABridge_IsDenied) {
  const auto result = plan(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"port0"}})");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kDenied);
  EXPECT_THAT(result.error().what(), HasSubstr("netdev.master: \"port0\" is a port of br0"));
}

TEST_F(PlanTest, OneInterface_IsOneSlot) {
  const dra::DeviceConfig config{.parameters = R"({"type":"netdev","netdev":{"kind":"dummy"}})",
                                 .path = kPath};
  for (const char* slots : {"1", "1000m"}) {
    EXPECT_TRUE(plan_all({config}, "netdev-virtual", slots)) << slots;
  }
  for (const char* slots : {"1m", "2", "128"}) {
    const auto result = plan_all({config}, "netdev-virtual", slots);
    ASSERT_FALSE(result) << slots;
    EXPECT_THAT(result.error().what(), HasSubstr(std::string("was allocated ") + slots + " slots"));
  }
}

TEST_F(PlanTest, ClassGivesDefaults_ClaimOverridesFieldByField) {
  const auto result = plan_all(
      {{.from_class = true,
        .parameters =
            R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0","mode":"private","mtu":1300}})",
        .path = "config[0].opaque.parameters"},
       {.parameters = R"({"type":"netdev","netdev":{"kind":"macvlan","interfaceName":"data0","mtu":1400}})",
        .path = "config[1].opaque.parameters"}});
  ASSERT_TRUE(result) << result.error().what();
  EXPECT_EQ(body(*result).interface_name, "data0");
  EXPECT_EQ(body(*result).master, "eth0");
  EXPECT_EQ(body(*result).own.at("mode"), "private");
  EXPECT_EQ(body(*result).mtu, 1400);
}

TEST_F(PlanTest, ClaimOfAnotherKind_ReplacesTheClass) {
  const auto result =
      plan_all({{.from_class = true,
                 .parameters = R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0"}})",
                 .path = "a"},
                {.parameters = R"({"type":"netdev","netdev":{"kind":"dummy"}})", .path = "b"}});
  ASSERT_TRUE(result) << result.error().what();
  EXPECT_EQ(result->name.kind, "dummy");
  EXPECT_EQ(body(*result).master, "");
}

TEST_F(PlanTest, Veth_OnABridge) {
  const auto result = plan(R"({"type":"netdev","netdev":{"kind":"veth","bridge":"br0"}})");
  ASSERT_TRUE(result) << result.error().what();
  EXPECT_EQ(body(*result).bridge, "br0");
  EXPECT_EQ(body(*result).interface_name, "");  // named with the claim's others
}

TEST_F(PlanTest, HostDevice_RemembersHowItWas) {
  for (const char* named :
       {R"("device":"nic1")", R"("device":"enp3s0f1")", R"("pciBusID":"0000:03:00.1")", R"("mtu":9000)"}) {
    const auto result =
        plan(R"({"type":"netdev","netdev":{"kind":"host-device",)" + std::string(named) + "}}", kNic1);
    ASSERT_TRUE(result) << result.error().what();
    const auto original = body(*result).original;
    ASSERT_TRUE(original);
    EXPECT_EQ(original->link.link.name, "nic1");
    EXPECT_EQ(original->link.link.altnames, std::vector<std::string>{"enp3s0f1"});
    EXPECT_EQ(original->link.link.permanent_mac.to_string(), "02:00:00:00:00:03");
    EXPECT_TRUE(original->link.link.is_up());
    EXPECT_EQ(original->link.pci->bdf, "0000:03:00.1");
    ASSERT_EQ(original->addresses.size(), 1);
    EXPECT_EQ(original->addresses[0].to_string(), "10.9.8.7/24");
  }
}

TEST_F(PlanTest, NicWithoutParameters_IsHandedOutAsItIs) {
  const auto result = plan_all({}, "nic2");
  ASSERT_TRUE(result) << result.error().what();
  EXPECT_EQ(result->name.kind, "host-device");
  EXPECT_EQ(netdev::taken_nic(*result)->link.name, "nic2");
}

TEST_F(PlanTest, MacvlanOnAnAllocatedNic_SitsOnIt) {
  const auto result = plan(R"({"type":"netdev","netdev":{"kind":"macvlan"}})", "nic2");
  ASSERT_TRUE(result) << result.error().what();
  EXPECT_EQ(body(*result).master, "nic2");
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0"}})", "nic2"),
            "config[0].opaque.parameters.netdev.master: \"eth0\" is not the NIC that the request \"nic\" was "
            "allocated "
            "(nic2); leave master out, or ask for the device netdev-virtual");
}

// ---- bad input: one sentence with the field path

TEST_F(PlanTest, VirtualDeviceWithoutParameters_SaysWhatToAdd) {
  const auto result = plan_all({});
  ASSERT_FALSE(result);
  EXPECT_THAT(
      result.error().what(),
      StartsWith("request \"nic\" got the device netdev-virtual, but nothing says what to make of it"));
}

TEST_F(PlanTest, UnknownField) {
  EXPECT_THAT(refused_field(R"("interfacename":"x")"),
              StartsWith("config[0].opaque.parameters.netdev.interfacename: unknown field"));
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":{"kind":"dummy"},"extra":1})"),
              StartsWith("config[0].opaque.parameters.extra: unknown field"));
}

TEST_F(PlanTest, FieldOfAnotherKind) {
  EXPECT_EQ(refused_field(R"("bridge":"br0")"),
            "config[0].opaque.parameters.netdev.bridge: belongs to kind \"veth\", not to \"macvlan\"");
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"dummy","bridge":"br0"}})"),
            "config[0].opaque.parameters.netdev.bridge: belongs to kind \"veth\", not to \"dummy\"");
}

TEST_F(PlanTest, WrongTypes) {
  EXPECT_THAT(refused_field(R"("mtu":"big")"),
              StartsWith("config[0].opaque.parameters.netdev.mtu: must be a whole number from 68 to 65535"));
  EXPECT_THAT(refused_field(R"("mtu":67)"), HasSubstr("netdev.mtu: must be a whole number from 68 to 65535"));
  EXPECT_THAT(refused_field(R"("interfaceName":7)"), HasSubstr("netdev.interfaceName: must be a string"));
  EXPECT_THAT(refused_field(R"("addresses":"192.0.2.1/24")"), HasSubstr("netdev.addresses: must be a list"));
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":[]})"), HasSubstr("parameters.netdev: must be"));
  EXPECT_THAT(refusal(R"(["netdev"])"), StartsWith("config[0].opaque.parameters: must be a JSON object"));
}

TEST_F(PlanTest, MissingOrUnknownTypeAndKind) {
  EXPECT_EQ(refusal("{}"), "config[0].opaque.parameters.type: this field is required");
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{}})"),
            "config[0].opaque.parameters.netdev.kind: this field is required");
  EXPECT_EQ(refusal(R"({"type":"netdev"})"), "config[0].opaque.parameters.netdev: this field is required");
  EXPECT_THAT(refusal(R"({"type":"later","later":{"kind":"one"}})"),
              StartsWith("config[0].opaque.parameters.type: must be"));
  std::string kinds;
  for (const Kind* kind : registry_.kinds()) {
    if (kind->name().type == "netdev") {
      kinds += (kinds.empty() ? "\"" : ", \"") + kind->name().kind + "\"";
    }
  }
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"macvaln"}})"),
            "config[0].opaque.parameters.netdev.kind: must be one of " + kinds + ", not \"macvaln\"");
}

TEST_F(PlanTest, InterfaceNames) {
  EXPECT_THAT(refused_field(R"("interfaceName":"sixteen-letters0")"),
              StartsWith("config[0].opaque.parameters.netdev.interfaceName: "));
  for (const char* name : {"", ".", "..", "../x", "a/b", "a b", "a:b", "net%d", "a\\u0001b", "a\\u0000b",
                           "a\\tb", "lo", "all", "default"}) {
    EXPECT_THAT(refused_field(R"("interfaceName":")" + std::string(name) + "\""),
                StartsWith("config[0].opaque.parameters.netdev.interfaceName: "))
        << name;
  }
  EXPECT_EQ(refused_field(R"("interfaceName":"fifteen-letters")"), "accepted");
}

TEST_F(PlanTest, NestingSizeAndDuplicates) {
  const std::string deep = std::string(5000, '[') + std::string(5000, ']');
  EXPECT_THAT(refusal(R"({"type":)" + deep + "}"), StartsWith("config[0].opaque.parameters"));
  EXPECT_THAT(refused_field(R"("mtu":1400,"mtu":1500)"), HasSubstr("netdev.mtu"));
  EXPECT_THAT(refused_field("\"interfaceName\":\"" + std::string(11000, 'x') + "\""),
              StartsWith("config[0].opaque.parameters"));
  EXPECT_THAT(refusal("not json"), StartsWith("config[0].opaque.parameters"));
  EXPECT_THAT(refusal(""), StartsWith("config[0].opaque.parameters"));
}

TEST_F(PlanTest, MacAddresses) {
  EXPECT_EQ(refused_field(R"("mac":"hello")"),
            "config[0].opaque.parameters.netdev.mac: \"hello\" is not a MAC address (six bytes such as "
            "02:00:00:00:00:01)");
  EXPECT_THAT(refused_field(R"("mac":"01:00:5e:00:00:01")"),
              HasSubstr("netdev.mac: \"01:00:5e:00:00:01\" is a group address"));
  EXPECT_THAT(refused_field(R"("mac":"00:00:00:00:00:00")"),
              HasSubstr("netdev.mac: an interface cannot have"));
}

TEST_F(PlanTest, AddressesAndRoutes) {
  EXPECT_EQ(refused_field(R"("addresses":["192.0.2.1/24","192.0.2.1"])"),
            "config[0].opaque.parameters.netdev.addresses[1]: \"192.0.2.1\" is not an address with its "
            "prefix length "
            "(such as 192.0.2.10/24)");
  EXPECT_THAT(refused_field(R"("addresses":["224.0.0.1/24"])"),
              HasSubstr("addresses[0]: \"224.0.0.1/24\" is not an address that"));
  EXPECT_THAT(refused_field(R"("addresses":["fd00::1/64","fd00:0::1/64"])"),
              HasSubstr("addresses[1]: \"fd00:0::1/64\" is listed twice"));
  EXPECT_THAT(refused_field(R"("routes":[{"gw":"192.0.2.1"}])"),
              HasSubstr("netdev.routes[0].dst: this field is required"));
  EXPECT_THAT(refused_field(R"("routes":[{"dst":"10.0.0.1/8"}])"),
              HasSubstr("netdev.routes[0].dst: \"10.0.0.1/8\" has bits behind its prefix length; the network "
                        "is 10.0.0.0/8"));
  EXPECT_THAT(refused_field(R"("routes":[{"dst":"10.0.0.0/8","gw":"fd00::1"}])"),
              HasSubstr("netdev.routes[0].gw: \"fd00::1\" is not of the same family"));
  EXPECT_THAT(refused_field(R"("routes":[{"dst":"10.0.0.0/8","via":"192.0.2.1"}])"),
              HasSubstr("netdev.routes[0].via: unknown field"));
}

TEST_F(PlanTest, Routes_AllFields) {
  const auto result = plan(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0",
    "addresses":["192.0.2.10/24","192.0.2.11/24","2001:db8::10/64"],
    "routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","metric":0,"table":100,"src":"192.0.2.11"},
              {"dst":"10.0.0.0/8","gw":"198.51.100.1","onlink":true,"scope":"site","metric":4294967295},
              {"dst":"198.51.100.0/24","scope":"global"},
              {"dst":"::/0","gw":"2001:db8::1","src":"2001:db8::10"}]}})");
  ASSERT_TRUE(result) << result.error().what();
  const auto routes = body(*result).routes;
  ASSERT_EQ(routes.size(), 4U);
  EXPECT_EQ(routes[0].metric, 0U);
  EXPECT_EQ(routes[0].table, 100U);
  EXPECT_EQ(routes[0].source->to_string(), "192.0.2.11");
  EXPECT_TRUE(routes[1].onlink);
  EXPECT_EQ(routes[1].scope, 200);
  EXPECT_EQ(routes[1].metric, 4294967295U);
  EXPECT_EQ(routes[2].scope, 0);
  EXPECT_FALSE(routes[2].onlink);
  EXPECT_EQ(routes[3].source->to_string(), "2001:db8::10");
  EXPECT_FALSE(routes[3].metric);
  EXPECT_EQ(routes[3].table, 254U);
}

TEST_F(PlanTest, Routes_FieldsThatCannotBe) {
  const auto refused = [&](const std::string& route) {
    return refused_field(R"("addresses":["192.0.2.10/24","2001:db8::10/64"],"routes":[{)" + route + "}]");
  };
  EXPECT_THAT(refused(R"("dst":"10.0.0.0/8","gw":"192.0.2.1","metric":-1)"),
              HasSubstr("routes[0].metric: must be a whole number from 0 to 4294967295"));
  EXPECT_THAT(refused(R"("dst":"10.0.0.0/8","gw":"192.0.2.1","table":0)"),
              HasSubstr("routes[0].table: must be a whole number from 1 to 4294967295"));
  EXPECT_THAT(refused(R"("dst":"10.0.0.0/8","gw":"192.0.2.1","table":255)"),
              HasSubstr("routes[0].table: 255 is the table of the kernel's own"));
  EXPECT_THAT(refused(R"("dst":"10.0.0.0/8","onlink":true)"), HasSubstr("routes[0].onlink: says that"));
  EXPECT_THAT(refused(R"("dst":"10.0.0.0/8","gw":"192.0.2.1","scope":"link")"),
              HasSubstr("routes[0].scope: \"link\" is of routes without a gateway"));
  EXPECT_THAT(refused(R"("dst":"2001:db8:1::/48","scope":"link")"),
              HasSubstr("routes[0].scope: IPv6 routes have no scope"));
  EXPECT_THAT(refused(R"("dst":"10.0.0.0/8","src":"192.0.2.11")"),
              HasSubstr("routes[0].src: 192.0.2.11 is none of the interface's addresses (192.0.2.10/24, "
                        "2001:db8::10/64)"));
  EXPECT_THAT(refused(R"("dst":"10.0.0.0/8","src":"2001:db8::10")"),
              HasSubstr("routes[0].src: \"2001:db8::10\" is not an address of the destination's family"));
  EXPECT_THAT(refused(R"("dst":"10.0.0.0/8","src":"192.0.2.10/24")"), HasSubstr("routes[0].src: "));
}

TEST_F(PlanTest, Gateways_ThatTheInterfaceReaches) {
  for (const char* fields :
       {R"("addresses":["192.0.2.10/24"],"routes":[{"dst":"10.0.0.0/8","gw":"192.0.2.1"}])",
        R"("addresses":["192.0.2.10/31"],"routes":[{"dst":"10.0.0.0/8","gw":"192.0.2.11"}])",
        R"("addresses":["192.0.2.10/32"],"routes":[{"dst":"10.0.0.0/8","gw":"198.51.100.1","onlink":true}])",
        R"("addresses":["192.0.2.10/32"],"routes":[{"dst":"0.0.0.0/0","gw":"198.51.100.1"},
                                                   {"dst":"198.51.100.1/32"}])",
        R"("addresses":["192.0.2.10/32"],"routes":[{"dst":"10.0.0.0/8","gw":"198.51.100.1","table":7},
                                                   {"dst":"198.51.100.0/24","table":7}])",
        R"("routes":[{"dst":"::/0","gw":"fe80::1"}])",
        R"("addresses":["2001:db8::10/64"],"routes":[{"dst":"::/0","gw":"2001:db8::1"}])"}) {
    EXPECT_EQ(refused_field(fields), "accepted") << fields;
  }
}

TEST_F(PlanTest, Gateways_ThatItDoesNotReach) {
  EXPECT_EQ(
      refused_field(R"("addresses":["192.0.2.10/24"],"routes":[{"dst":"10.0.0.0/8","gw":"198.51.100.1"}])"),
      "config[0].opaque.parameters.netdev.routes[0].gw: 198.51.100.1 is in no network of the interface's "
      "addresses (192.0.2.10/24); add an address, or a route without gw that leads to it, or say onlink: "
      "true if it is on the link all the same");
  for (const char* fields :
       {R"("routes":[{"dst":"10.0.0.0/8","gw":"192.0.2.1"}])",
        R"("addresses":["192.0.2.10/32"],"routes":[{"dst":"10.0.0.0/8","gw":"192.0.2.1"}])",
        R"("addresses":["192.0.2.10/32"],"routes":[{"dst":"10.0.0.0/8","gw":"198.51.100.1"},
                                                   {"dst":"198.51.100.0/24","table":7}])",
        R"("addresses":["192.0.2.10/24"],"routes":[{"dst":"::/0","gw":"2001:db8::1"}])"}) {
    EXPECT_THAT(refused_field(fields), HasSubstr("netdev.routes[0].gw: ")) << fields;
    EXPECT_THAT(refused_field(fields), HasSubstr("is in no network of the interface's addresses")) << fields;
  }
  const std::string address = R"("addresses":["192.0.2.10/24"],"routes":[{"dst":"10.0.0.0/8","gw":)";
  EXPECT_THAT(refused_field(address + R"("192.0.2.10"}])"), HasSubstr("is the interface's own address"));
  EXPECT_THAT(refused_field(address + R"("192.0.2.0"}])"),
              HasSubstr("is the address of 192.0.2.0/24 itself"));
  EXPECT_THAT(refused_field(address + R"("192.0.2.255"}])"),
              HasSubstr("is the broadcast address of 192.0.2.0/24 itself"));
}

TEST_F(PlanTest, Routes_ThatAreThereAlready) {
  const auto refused = [&](const std::string& routes) {
    return refused_field(R"("addresses":["192.0.2.10/24","2001:db8::10/64"],"routes":[)" + routes + "]");
  };
  EXPECT_THAT(
      refused(R"({"dst":"10.0.0.0/8"},{"dst":"10.0.0.0/8","gw":"192.0.2.1"})"),
      HasSubstr("netdev.routes[1]: the destination 10.0.0.0/8 with this metric is routes[0] already"));
  // Without a metric they get the same one, and so do 0 and 1024 in IPv6.
  EXPECT_THAT(
      refused(R"({"dst":"0.0.0.0/0","gw":"192.0.2.1"},{"dst":"0.0.0.0/0","gw":"192.0.2.2","metric":1024})"),
      HasSubstr("netdev.routes[1]: "));
  EXPECT_THAT(refused(R"({"dst":"2001:db8:1::/48"},{"dst":"2001:db8:1::/48","metric":1024})"),
              HasSubstr("netdev.routes[1]: "));
  EXPECT_THAT(refused(R"({"dst":"192.0.2.0/24","gw":"192.0.2.1"})"),
              HasSubstr("netdev.routes[0].dst: 192.0.2.0/24 is on the link"));
  EXPECT_EQ(refused(R"({"dst":"10.0.0.0/8"},{"dst":"10.0.0.0/8","gw":"192.0.2.1","metric":5},
                       {"dst":"10.0.0.0/8","table":9},{"dst":"192.0.2.0/24","gw":"192.0.2.1","metric":5})"),
            "accepted");
}

TEST_F(PlanTest, AddressesOfTheNetworkItself) {
  const auto refused = [&](const std::string& address) {
    return refused_field(R"("addresses":["198.51.100.7/24",")" + address + "\"]");
  };
  EXPECT_EQ(refused("192.0.2.0/24"),
            "config[0].opaque.parameters.netdev.addresses[1]: \"192.0.2.0/24\" is the address of "
            "192.0.2.0/24 itself; an interface needs one in it");
  EXPECT_THAT(refused("192.0.2.255/24"), HasSubstr("\"192.0.2.255/24\" is the broadcast address of"));
  EXPECT_THAT(refused("192.0.2.3/30"), HasSubstr("is the broadcast address of 192.0.2.0/30"));
  EXPECT_THAT(refused("255.255.255.255/32"), HasSubstr("is not an address that an interface can have"));
  EXPECT_THAT(refused("2001:db8::/64"), HasSubstr("is the routers' anycast address of 2001:db8::/64"));
  EXPECT_THAT(refused("198.51.100.7/25"), HasSubstr("addresses[1]: \"198.51.100.7/25\" is listed twice"));
  for (const char* address : {"192.0.2.0/31", "192.0.2.1/31", "192.0.2.0/32", "2001:db8::/127",
                              "2001:db8::/128", "192.0.2.255/23", "2001:db8::ffff:ffff:ffff:ffff/64"}) {
    EXPECT_EQ(refused(address), "accepted") << address;
  }
}

TEST_F(PlanTest, AddressesThatNoInterfaceHas) {
  for (const char* address : {"::1/128", "127.0.0.1/8", "127.9.9.9/32", "0.1.2.3/8", "::ffff:192.0.2.1/128",
                              "0.0.0.0/32", "::/128"}) {
    EXPECT_THAT(refused_field(R"("addresses":[")" + std::string(address) + "\"]"),
                StartsWith("config[0].opaque.parameters.netdev.addresses[0]: \"" + std::string(address) +
                           "\" is not an address that an interface can have"))
        << address;
  }
  for (const char* gateway : {"127.0.0.1", "0.1.2.3"}) {
    EXPECT_THAT(refused_field(R"("routes":[{"dst":"10.0.0.0/8","onlink":true,"gw":")" + std::string(gateway) +
                              "\"}]"),
                HasSubstr("routes[0].gw: \"" + std::string(gateway) + "\" is not a gateway's address"));
  }
  EXPECT_THAT(refused_field(R"("routes":[{"dst":"2001:db8:1::/48","onlink":true,"gw":"::1"}])"),
              HasSubstr("routes[0].gw: \"::1\" is not a gateway's address"));
}

TEST_F(PlanTest, Mtu_TooSmallForIpv6) {
  EXPECT_EQ(refused_field(R"("mtu":1000,"addresses":["192.0.2.10/24","2001:db8::10/64"])"),
            "config[0].opaque.parameters.netdev.mtu: 1000 is too small for IPv6, which needs 1280, and there "
            "is the address 2001:db8::10/64");
  EXPECT_THAT(refused_field(R"("mtu":1279,"routes":[{"dst":"2001:db8:1::/48"}])"),
              HasSubstr("netdev.mtu: 1279 is too small for IPv6"));
  EXPECT_EQ(refused_field(R"("mtu":1280,"addresses":["2001:db8::10/64"])"), "accepted");
  EXPECT_EQ(refused_field(R"("mtu":1000,"addresses":["192.0.2.10/24"])"), "accepted");

  auto links = inventory_.links();
  for (auto& link : links) {
    link.link.mtu = 1000;
  }
  inventory_ = sys::Inventory(std::move(links));
  EXPECT_THAT(refused_field(R"("addresses":["2001:db8::10/64"])"),
              HasSubstr("the interface gets the 1000 of the master eth0"));
  EXPECT_THAT(
      refusal(R"({"type":"netdev","netdev":{"kind":"host-device","addresses":["2001:db8::10/64"]}})", "nic1"),
      HasSubstr("the interface gets the 1000 of nic1"));
}

TEST_F(PlanTest, Mtu_MoreThanTheBridgeHas) {
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"veth","bridge":"br0","mtu":9000}})"),
            "config[0].opaque.parameters.netdev.mtu: 9000 is more than the bridge br0 has (1500)");
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"veth","mtu":9000}})"), "accepted");
}

TEST_F(PlanTest, Mtu_OfAVethOnABridge_IsTheBridgesByDefault) {
  change("br0", [](sys::InventoryLink& link) { link.link.mtu = 1400; });
  const auto result = plan(R"({"type":"netdev","netdev":{"kind":"veth","bridge":"br0"}})");
  ASSERT_TRUE(result) << result.error().what();
  EXPECT_EQ(body(*result).mtu, 1400);
  const auto smaller = plan(R"({"type":"netdev","netdev":{"kind":"veth","bridge":"br0","mtu":1300}})");
  ASSERT_TRUE(smaller) << smaller.error().what();
  EXPECT_EQ(body(*smaller).mtu, 1300);

  change("br0", [](sys::InventoryLink& link) { link.link.mtu = 1000; });
  EXPECT_THAT(
      refusal(R"({"type":"netdev","netdev":{"kind":"veth","bridge":"br0","addresses":["2001:db8::10/64"]}})"),
      HasSubstr("the interface gets the 1000 of the bridge br0"));
}

TEST_F(PlanTest, Mtu_BeyondWhatTheNicTakes) {
  change("nic1", [](sys::InventoryLink& link) {
    link.link.min_mtu = 256;
    link.link.max_mtu = 9216;
  });
  const auto with_mtu = [&](const std::string& mtu) {
    return refusal(R"({"type":"netdev","netdev":{"kind":"host-device","mtu":)" + mtu + "}}", kNic1);
  };
  EXPECT_EQ(with_mtu("60000"),
            "config[0].opaque.parameters.netdev.mtu: 60000 is more than the NIC nic1 takes (256 to 9216)");
  EXPECT_EQ(with_mtu("255"),
            "config[0].opaque.parameters.netdev.mtu: 255 is less than the NIC nic1 takes (256 to 9216)");
  EXPECT_EQ(with_mtu("9216"), "accepted");
  EXPECT_EQ(with_mtu("256"), "accepted");
  change("nic1", [](sys::InventoryLink& link) { link.link.max_mtu = 0; });  // its driver names no limit
  EXPECT_EQ(with_mtu("60000"), "accepted");
  EXPECT_EQ(with_mtu("255"),
            "config[0].opaque.parameters.netdev.mtu: 255 is less than the NIC nic1 takes (256 "
            "or more)");
}

TEST_F(PlanTest, MacOfANicWhoseAddressIsNotOfThatLength) {
  const std::string with_mac =
      R"({"type":"netdev","netdev":{"kind":"host-device","mac":"02:00:00:00:00:77"}})";
  change("nic1", [](sys::InventoryLink& link) {
    link.link.arphrd = ARPHRD_INFINIBAND;
    link.link.mac =
        *netlink::MacAddress::parse("80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:00:00:01");
  });
  EXPECT_EQ(
      refusal(with_mac, kNic1),
      "config[0].opaque.parameters.netdev.mac: the hardware address of the NIC nic1 has 20 bytes, not the 6 "
      "of 02:00:00:00:00:77 (InfiniBand has its own); leave mac out");
}

TEST_F(PlanTest, MacOfTheMasterItself) {
  EXPECT_THAT(refused_field(R"("mac":"02:00:00:00:00:02")"),
              HasSubstr("netdev.mac: 02:00:00:00:00:02 is the MAC address of the master eth0 itself"));
}

TEST_F(PlanTest, MacThatAnotherClaimHasOnTheSameLink) {
  add_other("tenant", "twin", R"("macvlan","master":"eth0","mac":"02:00:00:00:00:aa")");
  const std::string wanted = R"("kind":"macvlan","mac":"02:00:00:00:00:aa","master":)";
  const auto taken = plan(R"({"type":"netdev","netdev":{)" + wanted + "\"eth0\"}}");
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code(), Code::kExists);
  EXPECT_EQ(taken.error().what(),
            "config[0].opaque.parameters.netdev.mac: the MAC address 02:00:00:00:00:aa is taken on eth0, by "
            "claim twin; take another, or leave mac out to get one");
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{)" + wanted + "\"nic2\"}}"), "accepted");
}

TEST_F(PlanTest, AddressThatAnotherClaimHasOnTheSameLink) {
  add_other("tenant", "twin", R"("veth","bridge":"br0","addresses":["192.0.2.10/24"])");
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"br0",
                        "addresses":["192.0.2.9/24","192.0.2.10/25"]}})"),
            "config[0].opaque.parameters.netdev.addresses[1]: the address 192.0.2.10 is taken on br0, by "
            "claim twin; take another");
  EXPECT_EQ(refused_field(R"("addresses":["192.0.2.10/24"])"), "accepted");
}

TEST_F(PlanTest, LinkThatWasRenamedMeanwhile_IsTheSameLink) {
  add_other("tenant", "twin", R"("macvlan","master":"nic1","addresses":["192.0.2.10/24"])");
  add_other("tenant", "other", R"("veth","bridge":"br0","mac":"02:00:00:00:00:aa")");
  change("nic1", [](sys::InventoryLink& link) { link.link.name = "renamed1"; });
  change("nic2", [](sys::InventoryLink& link) { link.link.name = "nic1"; });
  change("br0", [](sys::InventoryLink& link) { link.link.name = "renamed0"; });
  const auto on = [&](const std::string& master) {
    return refusal(R"({"type":"netdev","netdev":{"kind":"macvlan","addresses":["192.0.2.10/24"],"master":")" +
                   master + "\"}}");
  };
  EXPECT_EQ(
      on("renamed1"),
      "config[0].opaque.parameters.netdev.addresses[0]: the address 192.0.2.10 is taken on renamed1, by "
      "claim twin; take another");
  EXPECT_EQ(on("nic1"), "accepted");
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":{"kind":"veth","bridge":"renamed0",
                          "mac":"02:00:00:00:00:aa"}})"),
              HasSubstr("the MAC address 02:00:00:00:00:aa is taken on renamed0, by claim other"));
}

/// Its ports' claims have it as soon as one of their containers starts again.
TEST_F(PlanTest, BridgeThatWasMadeAnew_IsTheSameBridge) {
  add_other("tenant", "twin", R"("veth","bridge":"br0","addresses":["192.0.2.10/24"])");
  const std::string wanted =
      R"({"type":"netdev","netdev":{"kind":"veth","bridge":"br0","addresses":["192.0.2.10/24"]}})";
  change("br0", [](sys::InventoryLink& link) { link.link.index = netlink::IfIndex(20); });
  EXPECT_THAT(refusal(wanted), HasSubstr("the address 192.0.2.10 is taken on br0, by claim twin"));
  // The old one is still there, under another name.
  auto links = inventory_.links();
  netlink::Link old = testing::ethernet(5, "old0");
  old.kind = "bridge";
  links.push_back({.link = old});
  inventory_ = sys::Inventory(std::move(links));
  EXPECT_EQ(refusal(wanted), "accepted");
}

/// What every macvlan, every bridged veth and every NIC of the node may announce an address on, and what not.
class NodesOwn : public PlanTest {
 protected:
  NodesOwn() {
    give("eth0", {"198.51.100.1", "2001:db8:1::1", "fe80::2"}, {"198.51.100.254", "fe80::254"});
    give("br0", {"10.200.0.1", "fe80::5"}, {});
    give("nic1", {"10.9.8.7"}, {"10.9.8.1"});
  }

  void give(const std::string& name, const std::vector<const char*>& addresses,
            const std::vector<const char*>& gateways) {
    change(name, [&](sys::InventoryLink& link) {
      for (const char* address : addresses) {
        link.addresses.push_back(*netlink::IpAddress::parse(address));
      }
      for (const char* gateway : gateways) {
        link.gateways.push_back(*netlink::IpAddress::parse(gateway));
      }
    });
  }

  /// Whatever is asked for is the second of two addresses.
  std::string on(const std::string& link, const std::string& address, const std::string& device) {
    return refusal(R"({"type":"netdev","netdev":{"kind":)" + link + R"(,"addresses":["192.0.2.10/24",")" +
                       address + "\"]}}",
                   device);
  }
  std::string on_eth0(const std::string& address) {
    return on(R"("macvlan","master":"eth0")", address, "netdev-virtual");
  }
  std::string on_nic2(const std::string& address) {
    return on(R"("macvlan","master":"nic2")", address, "netdev-virtual");
  }
  std::string on_bridge(const std::string& address) {
    return on(R"("veth","bridge":"br0")", address, "netdev-virtual");
  }
  std::string on_nic1_itself(const std::string& address) { return on(R"("host-device")", address, kNic1); }
};

TEST_F(NodesOwn, Address_IsRefusedWhereverItCouldBeAnnounced) {
  EXPECT_EQ(
      on_eth0("198.51.100.1/24"),
      "config[0].opaque.parameters.netdev.addresses[1]: 198.51.100.1 is the node's own address, on eth0, "
      "and what is sent to it would go to the pod; choose one that is not in use");
  for (const char* address : {"198.51.100.1/32", "2001:db8:1::1/64"}) {
    for (const auto& refused :
         {on_eth0(address), on_nic2(address), on_bridge(address), on_nic1_itself(address)}) {
      EXPECT_THAT(refused, HasSubstr("addresses[1]: ")) << address;
      EXPECT_THAT(refused, HasSubstr("is the node's own address, on ")) << address;
    }
  }
  // A bridge is a network of its own.
  EXPECT_THAT(on_bridge("10.200.0.1/24"), HasSubstr("is the node's own address, on br0"));
  EXPECT_EQ(on_nic2("10.200.0.1/24"), "accepted");
  // Not the same: the network's others.
  EXPECT_EQ(on_eth0("198.51.100.2/24"), "accepted");
}

TEST_F(NodesOwn, AddressOfTheNodeObject_IsRefused) {
  options_.memory = std::make_shared<NodeMemory>(::testing::TempDir() + "fairlead-nodes-own");
  options_.memory->set_addresses({*netlink::IpAddress::parse("203.0.113.9")});
  for (const auto& refused : {on_eth0("203.0.113.9/24"), on_bridge("203.0.113.9/24")}) {
    EXPECT_THAT(refused, HasSubstr("addresses[1]: 203.0.113.9 is an address of the Node object, "));
  }
}

TEST_F(NodesOwn, Gateway_IsRefused) {
  EXPECT_EQ(
      on_eth0("198.51.100.254/24"),
      "config[0].opaque.parameters.netdev.addresses[1]: 198.51.100.254 is a gateway of the node, on eth0, "
      "and what the node sends through it would go to the pod; choose one that is not in use");
  for (const auto& refused : {on_nic2("198.51.100.254/24"), on(R"("macvlan")", "10.9.8.1/24", kNic1),
                              on_nic1_itself("198.51.100.254/24"), on_eth0("fe80::254/64")}) {
    EXPECT_THAT(refused, HasSubstr("is a gateway of the node, on "));
  }
  EXPECT_EQ(on_bridge("10.9.8.1/24"), "accepted") << "nic1's network is another";
}

TEST_F(NodesOwn, NicThatLeavesTheNode_TakesItsAddressAndItsGatewayAlong) {
  EXPECT_EQ(on_nic1_itself("10.9.8.7/24"), "accepted");
  EXPECT_EQ(on_nic1_itself("10.9.8.1/24"), "accepted");
  EXPECT_THAT(on(R"("macvlan")", "10.9.8.7/24", kNic1), HasSubstr("is the node's own address, on nic1"));
}

TEST_F(NodesOwn, LinkLocalAddress_CountsOnItsOwnLinkAndOnTheUplink) {
  EXPECT_THAT(on_bridge("fe80::5/64"), HasSubstr("is the node's own address, on br0"));
  EXPECT_EQ(on_nic2("fe80::5/64"), "accepted");
  EXPECT_THAT(on_nic2("fe80::2/64"), HasSubstr("is the node's own address, on eth0"));
}

TEST_F(NodesOwn, AddressOfALinkWithoutParent_IsRefusedToo) {
  for (const char* link : {R"("veth")", R"("dummy")"}) {
    const auto refused = [&](const std::string& address) { return on(link, address, "netdev-virtual"); };
    EXPECT_EQ(refused("198.51.100.1/24"),
              "config[0].opaque.parameters.netdev.addresses[1]: 198.51.100.1 is the node's own address, on "
              "eth0, and what is sent to it would go to the pod; choose one that is not in use");
    // The pod's interface of the cluster network may be on any bridge of the node.
    EXPECT_THAT(refused("10.200.0.1/24"), HasSubstr("is the node's own address, on br0"));
    EXPECT_THAT(refused("198.51.100.254/24"), HasSubstr("is a gateway of the node, on eth0"));
    EXPECT_EQ(refused("198.51.100.2/24"), "accepted");
    EXPECT_EQ(refused("10.9.8.1/24"), "accepted") << "a gateway on a NIC that is not the uplink";
    EXPECT_EQ(refused("fe80::5/64"), "accepted") << "valid on br0 only";
  }
}

TEST_F(PlanTest, ParentOfTheNodesOwn_BelowPrivileged_OnlyAsTheAdminWroteIt) {
  const std::string macvlan = R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0"}})";
  own_parents_ = OwnParents::kNone;
  EXPECT_THAT(refusal(macvlan),
              StartsWith("config[0].opaque.parameters.netdev.master: \"eth0\" is the node's own; below level "
                         "privileged a claim may have it as parent only if its DeviceClass sets it, or if "));
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0.7"}})"),
              HasSubstr("is the node's own"))
      << "above the uplink";
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"nic2"}})"), "accepted");
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"veth","bridge":"br0"}})"), "accepted");
  change("br0", [](sys::InventoryLink& link) { link.is_uplink = true; });
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":{"kind":"veth","bridge":"br0"}})"),
              HasSubstr("netdev.bridge: \"br0\" is the node's own"));
  own_parents_ = OwnParents::kAsWritten;
  EXPECT_EQ(refusal(macvlan), "accepted");
}

TEST_F(PlanTest, ParentWhileTheNodesOwnIsNotKnown_IsRefusedBelowPrivileged) {
  options_.uplinks = {"missing0"};
  const std::string macvlan = R"({"type":"netdev","netdev":{"kind":"macvlan","master":"nic2"}})";
  EXPECT_EQ(refusal(macvlan), "accepted");
  own_parents_ = OwnParents::kNone;
  EXPECT_THAT(refusal(macvlan), HasSubstr("while it is not known which links are the node's own: "));
}

TEST_F(PlanTest, AddressOfALinkWithoutParent_MayBeAnotherClaimsToo) {
  add_other("tenant", "other", R"("dummy","addresses":["192.0.2.10/24"])");
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"dummy","addresses":["192.0.2.10/24"]}})"),
            "accepted");
}

TEST_F(NodesOwn, Mac_IsRefused) {
  const auto with_mac = [&](const std::string& link, const std::string& mac, const std::string& device) {
    return refusal(R"({"type":"netdev","netdev":{"kind":)" + link + R"(,"mac":")" + mac + "\"}}", device);
  };
  constexpr auto kOfEth0 = "02:00:00:00:00:02";
  EXPECT_EQ(with_mac(R"("macvlan","master":"nic2")", kOfEth0, "netdev-virtual"),
            "config[0].opaque.parameters.netdev.mac: 02:00:00:00:00:02 is the MAC address of the node's link "
            "eth0; take another, or leave mac out");
  EXPECT_THAT(with_mac(R"("veth","bridge":"br0")", "02:00:00:00:00:05", "netdev-virtual"),
              HasSubstr("is the MAC address of the node's link br0"));
  EXPECT_THAT(with_mac(R"("host-device")", kOfEth0, kNic1), HasSubstr("of the node's link eth0"));
  EXPECT_EQ(with_mac(R"("host-device")", "02:00:00:00:00:03", kNic1), "accepted");
  EXPECT_EQ(with_mac(R"("veth")", kOfEth0, "netdev-virtual"), "accepted");
}

TEST_F(PlanTest, NameOfAClaimOfAnotherNamespace_IsNotTold) {
  add_other("elsewhere", "secret", R"("macvlan","master":"eth0","mac":"02:00:00:00:00:aa")");
  const std::string refused = refused_field(R"("mac":"02:00:00:00:00:aa")");
  EXPECT_THAT(refused, HasSubstr("is taken on eth0, by another claim;"));
  EXPECT_THAT(refused, Not(HasSubstr("secret")));
  EXPECT_THAT(refused, Not(HasSubstr("elsewhere")));
}

TEST_F(PlanTest, MasterMissingOrNotThere) {
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"macvlan"}})"),
            "config[0].opaque.parameters.netdev.master: this field is required: the link of the node that "
            "the macvlan "
            "sits on, such as \"eth0\"");
  EXPECT_THAT(
      refusal(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth9"}})"),
      StartsWith(
          "config[0].opaque.parameters.netdev.master: this node has no link \"eth9\" (it has eth0, nic1"));
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":{"kind":"macvlan","master":"lo"}})"),
              HasSubstr("netdev.master: \"lo\" is not an Ethernet link"));
  EXPECT_THAT(refused_field(R"("mtu":9000)"),
              HasSubstr("netdev.mtu: 9000 is more than the master eth0 has (1500)"));
}

TEST_F(PlanTest, BridgeMissingOrNoBridge) {
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":{"kind":"veth","bridge":"br9"}})"),
              HasSubstr("netdev.bridge: this node has no bridge \"br9\""));
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"veth","bridge":"nested0"}})"),
            "config[0].opaque.parameters.netdev.bridge: \"nested0\" is not a bridge but a veth");
}

TEST_F(PlanTest, HostDeviceNamingTheUplink) {
  for (const char* device : {"netdev-virtual", kNic1}) {
    EXPECT_EQ(
        refusal(R"({"type":"netdev","netdev":{"kind":"host-device","device":"eth0"}})", device),
        "config[0].opaque.parameters.netdev.device: \"eth0\" is the node's uplink and can never be taken");
  }
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":{"kind":"host-device"}})", "eth0"),
              StartsWith("the device eth0 that the request"));
}

TEST_F(PlanTest, HostDeviceOnTheVirtualDevice_SaysHowToAsk) {
  EXPECT_EQ(
      refusal(R"({"type":"netdev","netdev":{"kind":"host-device","device":"nic1"}})"),
      "config[0].opaque.parameters.netdev.kind: host-device takes a NIC, but the request \"nic\" was "
      "allocated "
      "netdev-virtual; ask for a NIC with a selector such as device.attributes[\"net.example.com\"].kind == "
      "\"host-device\" && device.attributes[\"net.example.com\"].ifName == \"nic1\"");
}

TEST_F(PlanTest, HostDeviceNamingAnotherNic) {
  EXPECT_THAT(
      refusal(R"({"type":"netdev","netdev":{"kind":"host-device","device":"nic2"}})", kNic1),
      StartsWith(
          "config[0].opaque.parameters.netdev.device: \"nic2\" is not the NIC that the request \"nic\" was "
          "allocated, which is nic1; ask for a NIC with a selector such as "));
  EXPECT_THAT(
      refusal(R"({"type":"netdev","netdev":{"kind":"host-device","pciBusID":"0000:03:00.0"}})", kNic1),
      HasSubstr("netdev.pciBusID: \"0000:03:00.0\" is not the NIC"));
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":{"kind":"host-device","pciBusID":"../../x"}})", kNic1),
              HasSubstr("netdev.pciBusID: \"../../x\" is not a PCI address"));
}

TEST_F(PlanTest, VirtualKindOnANic) {
  EXPECT_EQ(
      refusal(R"({"type":"netdev","netdev":{"kind":"veth"}})", kNic1),
      "config[0].opaque.parameters.netdev.kind: a veth is made from nothing, but the request \"nic\" "
      "was allocated "
      "the NIC pci-0000-03-00-1; ask for the device netdev-virtual (its attribute kind is \"virtual\")");
}

TEST_F(PlanTest, KindThatTheKernelLacks) {
  options_.kinds_of_kernel = {"veth"};
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"dummy"}})"),
            "config[0].opaque.parameters.netdev.kind: this node's kernel has no dummy links (module dummy)");
}

TEST_F(PlanTest, NetdevicesModeWithoutGuard_RefusesAddressesAndRoutes) {
  options_.mode = AttachMode::kNetdevices;
  options_.has_guard = false;
  for (const char* field : {"addresses", "routes"}) {
    const std::string value =
        field == std::string("addresses") ? R"(["192.0.2.10/24"])" : R"([{"dst":"10.0.0.0/8"}])";
    EXPECT_THAT(refused_field("\"" + std::string(field) + "\":" + value),
                StartsWith("config[0].opaque.parameters.netdev." + std::string(field) +
                           ": this node attaches with --attach=netdevices and has no fairlead-guard"));
  }
}

TEST_F(PlanTest, NetdevicesModeWithGuard_TakesAddressesAndRoutes) {
  options_.mode = AttachMode::kNetdevices;
  const auto planned = plan(
      R"({"type":"netdev","netdev":{"kind":"macvlan","master":"eth0","addresses":["192.0.2.10/24"],"routes":[{"dst":"10.0.0.0/8"}]}})");
  ASSERT_TRUE(planned) << planned.error().what();
  EXPECT_EQ(body(*planned).addresses.size(), 1);
  EXPECT_EQ(body(*planned).routes.size(), 1);
}

TEST_F(PlanTest, NicThatIsStillBeingGivenBack) {
  std::vector<sys::InventoryLink> links = inventory_.links();
  for (sys::InventoryLink& link : links) {
    if (link.link.name == "nic1") {
      link.link.alias = Marker{.driver = "net.example.com", .claim_uid = "old"}.alias();
    }
  }
  inventory_ = sys::Inventory(links);
  EXPECT_EQ(refusal(R"({"type":"netdev","netdev":{"kind":"host-device"}})", kNic1),
            "the NIC nic1 is still being given back by the claim old");
}

TEST_F(PlanTest, NicThatIsAnotherThanWhenTheClaimWasPrepared_IsRefused) {
  const std::string nic = R"({"type":"netdev","netdev":{"kind":"host-device"}})";
  const auto first = plan(nic, kNic1);
  ASSERT_TRUE(first) << first.error().what();
  EXPECT_EQ(first->key, kNic1);
  reported_ = first->identity;
  EXPECT_TRUE(plan(nic, kNic1));

  change("nic1", [](sys::InventoryLink& link) {  // another card in the slot
    link.link.permanent_mac = *netlink::MacAddress::parse("02:99:99:99:99:99");
  });
  EXPECT_THAT(refusal(nic, kNic1),
              StartsWith("the device pci-0000-03-00-1 of the request \"nic\" (nic1) is another NIC than when "
                         "the claim was prepared before: it was the one with PCI address 0000:03:00.1, "
                         "permanent MAC 02:00:00:00:00:03, and now it is the one with PCI address "
                         "0000:03:00.1, permanent MAC 02:99:99:99:99:99"));
  EXPECT_THAT(refusal(R"({"type":"netdev","netdev":{"kind":"macvlan"}})", kNic1),
              HasSubstr("is another NIC"));
}

TEST_F(PlanTest, AfterARebootThatSwappedTheNames_EachClaimGetsItsOwnNic) {
  const std::string nic = R"({"type":"netdev","netdev":{"kind":"host-device"}})";
  change("nic2", [](sys::InventoryLink& link) {
    link.link.parent_bus = "pci";
    link.link.parent_dev = "0000:03:00.0";
    link.link.permanent_mac = link.link.mac;
  });
  const NodeView before(inventory_, options_);
  const std::string other_device = before.device_name(*inventory_.find("nic2"));
  const auto first = plan(nic, kNic1);
  const auto second = plan(nic, other_device);
  ASSERT_TRUE(first && second);

  change("nic1", [](sys::InventoryLink& link) { link.link.name = "was-nic1"; });
  change("nic2", [](sys::InventoryLink& link) { link.link.name = "nic1"; });
  change("was-nic1", [](sys::InventoryLink& link) { link.link.name = "nic2"; });
  const auto get = [&](const DevicePlan& planned, const std::string& device) {
    reported_ = planned.identity;
    const auto again = plan(nic, device);
    return again ? body(*again).original->link.link.parent_dev : again.error().what();
  };
  EXPECT_EQ(get(*first, kNic1), "0000:03:00.1");
  EXPECT_EQ(get(*second, other_device), "0000:03:00.0");
}

TEST_F(PlanTest, AllocationOfVersion01_WhoseNameAnotherNicHasNow_IsRefused) {
  const std::string nic = R"({"type":"netdev","netdev":{"kind":"host-device"}})";
  const auto first = plan(nic, "nic1");
  ASSERT_TRUE(first) << first.error().what();
  EXPECT_EQ(first->key, kNic1);
  reported_ = first->identity;
  change("nic1", [](sys::InventoryLink& link) { link.link.name = "nic3"; });
  change("nic2", [](sys::InventoryLink& link) { link.link.name = "nic1"; });
  EXPECT_THAT(refusal(nic, "nic1"), HasSubstr("is another NIC than when the claim was prepared before"));
}

TEST_F(PlanTest, HostDevice_NamedByItsDevice) {
  for (const char* name : {kNic1, "nic1"}) {
    EXPECT_TRUE(plan(
        R"({"type":"netdev","netdev":{"kind":"host-device","device":")" + std::string(name) + "\"}}", kNic1))
        << name;
  }
}

}  // namespace
}  // namespace fairlead::devices
