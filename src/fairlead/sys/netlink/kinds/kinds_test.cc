// SPDX-License-Identifier: Apache-2.0
// Kinds of links without a kernel: the whole request to create one, byte by byte as the kernel's headers prescribe it,
// and what is read of one from a dump.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "fairlead/sys/netlink/codec.h"

namespace fairlead::netlink {
namespace {

using codec::Bytes;
using codec::View;
using testing::HasSubstr;

template <class T>
Bytes bytes_of(const T& value) {
  Bytes bytes(sizeof value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}
Bytes bytes_of(std::string_view text) {
  Bytes bytes(text.begin(), text.end());
  bytes.push_back(0);
  return bytes;
}
Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

/// An attribute with its header and padding, made without the library that the codec uses.
Bytes attribute(std::uint16_t type, const Bytes& content) {
  const auto length = static_cast<std::uint16_t>(NLA_HDRLEN + content.size());
  Bytes bytes = bytes_of(nlattr{.nla_len = length, .nla_type = type}) + content;
  bytes.resize(NLA_ALIGN(bytes.size()));
  return bytes;
}
Bytes nest(std::uint16_t type, const Bytes& content) {
  return attribute(static_cast<std::uint16_t>(type | NLA_F_NESTED), content);
}

Bytes over_link_4() { return attribute(IFLA_LINK, bytes_of(std::uint32_t{4})); }

/// The request to create data0 with this content of IFLA_LINKINFO.
Bytes request(const Bytes& link_info, const Bytes& lower_link = over_link_4()) {
  const Bytes body = bytes_of(ifinfomsg{}) + attribute(IFLA_IFNAME, bytes_of("data0")) + lower_link +
                     nest(IFLA_LINKINFO, link_info);
  const nlmsghdr header{.nlmsg_len = static_cast<std::uint32_t>(sizeof(nlmsghdr) + body.size()),
                        .nlmsg_type = RTM_NEWLINK,
                        .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
                        .nlmsg_seq = 0,
                        .nlmsg_pid = 0};
  return bytes_of(header) + body;
}

/// The link of RTM_NEWLINK with these attributes.
std::optional<Link> link_of(const Bytes& attributes) {
  ifinfomsg info = {};
  info.ifi_index = 9;
  const Bytes payload = bytes_of(info) + attributes;
  return codec::read_link({.type = RTM_NEWLINK, .payload = payload});
}

Bytes kind(std::string_view name, const Bytes& data) {
  return attribute(IFLA_INFO_KIND, bytes_of(name)) + nest(IFLA_INFO_DATA, data);
}

Bytes vlan_data(std::uint16_t id, std::uint16_t protocol) {
  return attribute(IFLA_VLAN_ID, bytes_of(id)) + attribute(IFLA_VLAN_PROTOCOL, bytes_of(htons(protocol)));
}

template <class K>
std::string error_of(const K& kind) {
  const auto bytes = codec::create_link({.name = "data0", .kind = kind});
  EXPECT_FALSE(bytes);
  EXPECT_EQ(bytes ? Code::kInternal : bytes.error().code(), Code::kInvalid);
  return bytes ? "" : bytes.error().what();
}

/// The details of the link that the kernel would make of a request.
template <class K>
std::optional<K> read_back(const K& kind) {
  const auto bytes = codec::create_link({.name = "data0", .kind = kind, .index = IfIndex(9)});
  EXPECT_TRUE(bytes) << bytes.error().what();
  View rest = *bytes;
  const auto link = codec::read_link(*codec::next_message(rest));
  const K* details = link ? link->as<K>() : nullptr;
  return details != nullptr ? std::optional(*details) : std::nullopt;
}

// ---------------------------------------------------------------------------------------------- macvlan

TEST(MacvlanKind, CreateRequest_IsWhatTheHeadersPrescribe) {
  for (const auto& [word, mode] :
       {std::pair{"private", MACVLAN_MODE_PRIVATE}, std::pair{"vepa", MACVLAN_MODE_VEPA},
        std::pair{"bridge", MACVLAN_MODE_BRIDGE}, std::pair{"passthru", MACVLAN_MODE_PASSTHRU},
        std::pair{"source", MACVLAN_MODE_SOURCE}}) {
    const Macvlan wanted{.parent = IfIndex(4), .mode = parse_macvlan_mode(word).value()};
    EXPECT_EQ(codec::create_link({.name = "data0", .kind = wanted}).value(),
              request(kind("macvlan", attribute(IFLA_MACVLAN_MODE, bytes_of(std::uint32_t{mode})))))
        << word;
    EXPECT_EQ(read_back(wanted), wanted);
  }
}

TEST(MacvlanKind, Dump_OfAMacvtap_HasTheModeToo) {
  const auto link = link_of(
      nest(IFLA_LINKINFO,
           kind("macvtap", attribute(IFLA_MACVLAN_MODE, bytes_of(std::uint32_t{MACVLAN_MODE_VEPA})))));
  ASSERT_TRUE(link);
  EXPECT_EQ(link->macvlan_mode, MacvlanMode::kVepa);
  EXPECT_EQ(link->as<Macvlan>(), nullptr) << "it is none";
}

TEST(MacvlanKind, Dump_WithoutAMode_HasNoDetails) {
  for (const Bytes& data : {Bytes(), attribute(IFLA_MACVLAN_MODE, {1, 0}),
                            attribute(IFLA_MACVLAN_MODE, bytes_of(std::uint32_t{0x100}))}) {
    const auto link = link_of(nest(IFLA_LINKINFO, kind("macvlan", data)));
    ASSERT_TRUE(link);
    EXPECT_EQ(link->as<Macvlan>(), nullptr);
    EXPECT_FALSE(link->macvlan_mode);
  }
}

// ---------------------------------------------------------------------------------------------- veth

TEST(VethKind, CreateRequest_IsWhatTheHeadersPrescribe) {
  const Veth wanted{
      .peer = {.name = "peer0", .mac = *MacAddress::parse("02:00:00:00:00:07"), .mtu = 1400, .netns = 9}};
  const Bytes peer = bytes_of(ifinfomsg{}) + attribute(IFLA_IFNAME, bytes_of("peer0")) +
                     attribute(IFLA_ADDRESS, {2, 0, 0, 0, 0, 7}) +
                     attribute(IFLA_MTU, bytes_of(std::uint32_t{1400})) +
                     attribute(IFLA_NET_NS_FD, bytes_of(std::uint32_t{9}));
  EXPECT_EQ(codec::create_link({.name = "data0", .kind = wanted}).value(),
            request(kind("veth", nest(VETH_INFO_PEER, peer)), {}));
}

TEST(VethKind, APeerThatIsToBeUp_IsNotUpInTheRequest) {
  EXPECT_EQ(
      codec::create_link({.name = "data0", .kind = Veth{.peer = {.name = "peer0", .up = true}}}).value(),
      codec::create_link({.name = "data0", .kind = Veth{.peer = {.name = "peer0"}}}).value());
}

// ---------------------------------------------------------------------------------------------- without attributes

TEST(KindsWithoutAttributes, CreateRequest_HasTheNameAlone) {
  EXPECT_EQ(codec::create_link({.name = "data0", .kind = Dummy{}}).value(),
            request(attribute(IFLA_INFO_KIND, bytes_of("dummy")), {}));
  EXPECT_EQ(codec::create_link({.name = "data0", .kind = Bridge{}}).value(),
            request(attribute(IFLA_INFO_KIND, bytes_of("bridge")), {}));
}

TEST(Kinds, Dump_OfAKindThatIsNotReadable_HasNoDetails) {
  for (const char* name : {"veth", "dummy", "bridge", "bond", ""}) {
    const auto link = link_of(nest(IFLA_LINKINFO, kind(name, vlan_data(5, ETH_P_8021Q))));
    ASSERT_TRUE(link);
    EXPECT_EQ(link->kind, name);
    EXPECT_FALSE(link->details) << name;
  }
}

// ---------------------------------------------------------------------------------------------- ipvlan

Bytes ipvlan_data(std::uint16_t mode, std::uint16_t flags) {
  return attribute(IFLA_IPVLAN_MODE, bytes_of(mode)) + attribute(IFLA_IPVLAN_FLAGS, bytes_of(flags));
}

struct IpvlanCase {
  std::string_view mode_word;
  std::uint16_t mode;
  std::string_view flag_word;
  std::uint16_t flags;
};
constexpr std::array kIpvlans = {IpvlanCase{"l2", IPVLAN_MODE_L2, "bridge", 0},
                                 IpvlanCase{"l2", IPVLAN_MODE_L2, "private", IPVLAN_F_PRIVATE},
                                 IpvlanCase{"l2", IPVLAN_MODE_L2, "vepa", IPVLAN_F_VEPA},
                                 IpvlanCase{"l3", IPVLAN_MODE_L3, "bridge", 0},
                                 IpvlanCase{"l3s", IPVLAN_MODE_L3S, "private", IPVLAN_F_PRIVATE}};

TEST(IpvlanKind, CreateRequest_IsWhatTheHeadersPrescribe) {
  for (const IpvlanCase& one : kIpvlans) {
    const Ipvlan wanted{.parent = IfIndex(4),
                        .mode = parse_ipvlan_mode(one.mode_word).value(),
                        .flag = parse_ipvlan_flag(one.flag_word).value()};
    EXPECT_EQ(codec::create_link({.name = "data0", .kind = wanted}).value(),
              request(kind("ipvlan", ipvlan_data(one.mode, one.flags))))
        << one.mode_word << " " << one.flag_word;
    EXPECT_EQ(read_back(wanted), wanted);
  }
}

TEST(IpvlanKind, Dump_HasModeAndFlag) {
  for (const IpvlanCase& one : kIpvlans) {
    const auto link = link_of(attribute(IFLA_LINK, bytes_of(std::uint32_t{4})) +
                              nest(IFLA_LINKINFO, kind("ipvlan", ipvlan_data(one.mode, one.flags))));
    ASSERT_TRUE(link && link->as<Ipvlan>() != nullptr);
    EXPECT_EQ(link->kind, "ipvlan");
    EXPECT_EQ(link->as<Ipvlan>()->parent, IfIndex(4));
    EXPECT_EQ(to_string(link->as<Ipvlan>()->mode), one.mode_word);
    EXPECT_EQ(to_string(link->as<Ipvlan>()->flag), one.flag_word);
    EXPECT_EQ(link->as<Vlan>(), nullptr);
  }
}

TEST(IpvlanKind, Dump_OfAnotherNamespacesParent_HasNoParent) {
  // The namespace is named behind IFLA_LINKINFO: the order of attributes means nothing.
  const auto link = link_of(attribute(IFLA_LINK, bytes_of(std::uint32_t{4})) +
                            nest(IFLA_LINKINFO, kind("ipvlan", ipvlan_data(IPVLAN_MODE_L3, 0))) +
                            attribute(IFLA_LINK_NETNSID, bytes_of(std::int32_t{0})));
  ASSERT_TRUE(link && link->as<Ipvlan>() != nullptr);
  EXPECT_FALSE(link->as<Ipvlan>()->parent.valid());
  EXPECT_EQ(link->as<Ipvlan>()->mode, IpvlanMode::kL3);
}

TEST(IpvlanKind, Dump_WithoutAKnownMode_HasNoDetails) {
  const auto details_of = [](const Bytes& data) {
    const auto link = link_of(nest(IFLA_LINKINFO, kind("ipvlan", data)));
    return link && link->as<Ipvlan>() != nullptr;
  };
  EXPECT_TRUE(details_of(attribute(IFLA_IPVLAN_MODE, bytes_of(std::uint16_t{IPVLAN_MODE_L3S}))))
      << "before Linux 4.15 there are no flags";
  EXPECT_FALSE(details_of(ipvlan_data(IPVLAN_MODE_MAX, 0)));
  EXPECT_FALSE(details_of(attribute(IFLA_IPVLAN_MODE, {1}))) << "one byte is too short";
  EXPECT_FALSE(details_of({}));
}

TEST(IpvlanKind, Words) {
  for (const std::string_view word : {"l2", "l3", "l3s"}) {
    EXPECT_EQ(to_string(parse_ipvlan_mode(word).value()), word);
  }
  for (const std::string_view word : {"bridge", "private", "vepa"}) {
    EXPECT_EQ(to_string(parse_ipvlan_flag(word).value()), word);
  }
  for (const std::string_view word : {"", "L2", "l3S", "passthru"}) {
    EXPECT_FALSE(parse_ipvlan_mode(word)) << word;
    EXPECT_FALSE(parse_ipvlan_flag(word)) << word;
  }
}

TEST(IpvlanKind, WithoutParent_IsRefused) { EXPECT_THAT(error_of(Ipvlan{}), HasSubstr("ipvlan parent")); }

// ---------------------------------------------------------------------------------------------- vlan

Bytes qos(std::uint32_t from, std::uint32_t to) {
  return attribute(IFLA_VLAN_QOS_MAPPING, bytes_of(ifla_vlan_qos_mapping{.from = from, .to = to}));
}

TEST(VlanKind, CreateRequest_IsWhatTheHeadersPrescribe) {
  const Vlan plain{.parent = IfIndex(4), .id = 100};
  EXPECT_EQ(codec::create_link({.name = "data0", .kind = plain}).value(),
            request(kind("vlan", vlan_data(100, ETH_P_8021Q))));
  EXPECT_EQ(read_back(plain), plain);
  const Vlan outer{.parent = IfIndex(4), .id = 4094, .protocol = VlanProtocol::k8021ad};
  EXPECT_EQ(codec::create_link({.name = "data0", .kind = outer}).value(),
            request(kind("vlan", vlan_data(4094, ETH_P_8021AD))));
  EXPECT_EQ(read_back(outer), outer);
}

TEST(VlanKind, CreateRequest_HasTheQosMaps) {
  const Vlan wanted{.parent = IfIndex(4),
                    .id = 7,
                    .ingress_qos = {{0, 3}, {7, 70000}},
                    .egress_qos = {{1, 2}, {0xffffffff, 7}}};
  const Bytes maps = nest(IFLA_VLAN_EGRESS_QOS, qos(1, 2) + qos(0xffffffff, 7)) +
                     nest(IFLA_VLAN_INGRESS_QOS, qos(0, 3) + qos(7, 70000));
  EXPECT_EQ(codec::create_link({.name = "data0", .kind = wanted}).value(),
            request(kind("vlan", vlan_data(7, ETH_P_8021Q) + maps)));
  EXPECT_EQ(read_back(wanted), wanted);
}

TEST(VlanKind, Dump_HasIdAndProtocol) {
  const auto link = link_of(attribute(IFLA_LINK, bytes_of(std::uint32_t{4})) +
                            nest(IFLA_LINKINFO, kind("vlan", vlan_data(12, ETH_P_8021AD) +
                                                                 nest(IFLA_VLAN_INGRESS_QOS, qos(1, 5)))));
  ASSERT_TRUE(link && link->as<Vlan>() != nullptr);
  EXPECT_EQ(
      *link->as<Vlan>(),
      (Vlan{.parent = IfIndex(4), .id = 12, .protocol = VlanProtocol::k8021ad, .ingress_qos = {{1, 5}}}));
  EXPECT_EQ(link->as<Ipvlan>(), nullptr);
}

TEST(VlanKind, Dump_WithoutIdOrWithAnUnknownProtocol_HasNoDetails) {
  const auto details_of = [](const Bytes& data) {
    const auto link = link_of(nest(IFLA_LINKINFO, kind("vlan", data)));
    return link && link->as<Vlan>() != nullptr;
  };
  EXPECT_TRUE(details_of(attribute(IFLA_VLAN_ID, bytes_of(std::uint16_t{5}))));
  EXPECT_FALSE(details_of(attribute(IFLA_VLAN_PROTOCOL, bytes_of(htons(ETH_P_8021Q)))));
  EXPECT_FALSE(details_of(vlan_data(5, ETH_P_IP)));
  EXPECT_FALSE(details_of(attribute(IFLA_VLAN_ID, {5})));
}

TEST(VlanKind, Words) {
  for (const std::string_view word : {"802.1q", "802.1ad"}) {
    EXPECT_EQ(to_string(parse_vlan_protocol(word).value()), word);
  }
  for (const std::string_view word : {"", "802.1Q", "8021q", "802.1"}) {
    EXPECT_FALSE(parse_vlan_protocol(word)) << word;
  }
}

TEST(VlanKind, WhatTheKernelWouldCutToFit_IsRefused) {
  const IfIndex parent(4);
  EXPECT_THAT(error_of(Vlan{.id = 1}), HasSubstr("vlan parent"));
  EXPECT_THAT(error_of(Vlan{.parent = parent, .id = 4095}), HasSubstr("4095"));
  EXPECT_THAT(error_of(Vlan{.parent = parent, .id = 1, .ingress_qos = {{8, 1}}}),
              HasSubstr("ingress QoS map"));
  EXPECT_THAT(error_of(Vlan{.parent = parent, .id = 1, .egress_qos = {{1, 8}}}), HasSubstr("egress QoS map"));
}

}  // namespace
}  // namespace fairlead::netlink
