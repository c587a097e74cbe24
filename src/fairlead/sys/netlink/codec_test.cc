// SPDX-License-Identifier: Apache-2.0
// The codec alone: recorded datagrams of a real kernel, whole, cut off and damaged; requests byte by byte.
#include "fairlead/sys/netlink/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

namespace fairlead::netlink::codec {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

Bytes from_hex(const std::string& text) {
  Bytes bytes;
  for (std::size_t at = 0; at + 1 < text.size(); at += 2) {
    bytes.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(at, 2), nullptr, 16)));
  }
  return bytes;
}

/// The recorded datagrams of one name, or of all.
std::vector<Bytes> recorded(const std::string& wanted = "") {
  std::ifstream file(NETLINK_TESTDATA "/messages.txt");
  std::vector<Bytes> datagrams;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    std::string hex;
    words >> name >> hex;
    if (!name.starts_with('#') && (wanted.empty() || name == wanted)) {
      datagrams.push_back(from_hex(hex));
    }
  }
  return datagrams;
}

template <class T>
std::vector<T> read_all(const std::string& name, std::optional<T> (*read)(const Message&)) {
  std::vector<T> values;
  for (const Bytes& datagram : recorded(name)) {
    View rest = datagram;
    while (const auto message = next_message(rest)) {
      if (message->type < NLMSG_MIN_TYPE) {
        continue;
      }
      if (auto value = read(*message)) {
        values.push_back(std::move(*value));
      }
    }
  }
  return values;
}

std::optional<Answer> last_answer(const std::string& name) {
  std::optional<Answer> answer;
  for (const Bytes& datagram : recorded(name)) {
    View rest = datagram;
    while (const auto message = next_message(rest)) {
      answer = read_answer(*message);
    }
  }
  return answer;
}

TEST(Codec, ReadsRecordedLinks) {
  const auto links = read_all<Link>("links", &read_link);
  ASSERT_THAT(links, SizeIs(4));
  const Link& bridge = links[1];
  const Link& port = links[3];
  EXPECT_EQ(links[0].name, "lo");
  EXPECT_EQ(bridge.name, "br0");
  EXPECT_EQ(bridge.kind, "bridge");
  EXPECT_EQ(links[2].name, "eth0p");
  EXPECT_EQ(port.name, "eth0");
  EXPECT_EQ(port.kind, "veth");
  EXPECT_EQ(port.slave_kind, "bridge");
  EXPECT_EQ(port.master, bridge.index);
  EXPECT_EQ(port.mac.to_string(), "02:00:00:00:00:11");
  EXPECT_EQ(port.alias, "an alias");
  EXPECT_THAT(port.altnames, ElementsAre("enp3s0f0-with-a-long-name"));
  EXPECT_EQ(port.local_parent(), links[2].index);
  EXPECT_EQ(port.mtu, 1500U);
  EXPECT_EQ(port.min_mtu, 68U);
  EXPECT_EQ(port.max_mtu, 65535U);
  EXPECT_EQ(port.operstate, OperState::kUp);
  EXPECT_TRUE(port.is_up() && port.is_running());
  EXPECT_EQ(last_answer("links")->error, 0);
}

TEST(Codec, ReadsARecordedMacvlan) {
  const auto links = read_all<Link>("macvlan-in-pod", &read_link);
  ASSERT_THAT(links, SizeIs(1));
  EXPECT_EQ(links[0].name, "data0");
  EXPECT_EQ(links[0].kind, "macvlan");
  EXPECT_EQ(links[0].macvlan_mode, MacvlanMode::kVepa);
  EXPECT_EQ(links[0].mtu, 1400U);
  EXPECT_TRUE(links[0].parent_netnsid);
  EXPECT_FALSE(links[0].local_parent().valid());
}

TEST(Codec, ReadsRecordedAddresses) {
  std::vector<std::string> texts;
  for (const Address& address : read_all<Address>("addresses", &read_address)) {
    texts.push_back(address.prefix.to_string());
  }
  EXPECT_THAT(texts, testing::IsSupersetOf({"10.0.0.5/24", "10.1.0.1/32", "fd00::5/64"}))
      << "of a point-to-point address our own end counts";
}

TEST(Codec, ReadsRecordedRoutes) {
  const auto four = read_all<Route>("routes4", &read_route);
  const auto is_default = [](const Route& route) { return route.destination.is_default(); };
  const auto first = std::ranges::find_if(four, is_default);
  ASSERT_NE(first, four.end());
  EXPECT_EQ(first->metric, 100U);
  EXPECT_EQ(first->table, kMainTable);
  ASSERT_THAT(first->hops, SizeIs(1));
  EXPECT_EQ(first->hops[0].gateway->to_string(), "10.0.0.1");
  const auto multipath = std::ranges::find(four, *IpPrefix::parse("192.0.2.0/24"), &Route::destination);
  ASSERT_NE(multipath, four.end());
  ASSERT_THAT(multipath->hops, SizeIs(2));
  EXPECT_EQ(multipath->hops[1].gateway->to_string(), "10.0.0.3");
  EXPECT_EQ(multipath->hops[1].link, first->hops[0].link);
  const auto blackhole = std::ranges::find(four, *IpPrefix::parse("203.0.113.0/24"), &Route::destination);
  ASSERT_NE(blackhole, four.end());
  EXPECT_THAT(blackhole->hops, SizeIs(0));
  EXPECT_EQ(blackhole->type, RTN_BLACKHOLE);

  const auto of_table = read_all<Route>("routes4-1000", &read_route);
  ASSERT_THAT(of_table, SizeIs(1));
  EXPECT_EQ(of_table[0].table, 1000U);
  EXPECT_EQ(of_table[0].hops[0].gateway->to_string(), "fd00::2") << "IPv4 via IPv6 stands in RTA_VIA";
  const auto six = read_all<Route>("routes6", &read_route);
  EXPECT_EQ(std::ranges::count_if(six, is_default), 1);
}

TEST(Codec, ReadsRecordedAnswers) {
  EXPECT_EQ(last_answer("ack")->error, 0);
  EXPECT_EQ(last_answer("error-no-device")->error, ENODEV);
  for (const auto* name : {"error-with-text", "error-uncapped"}) {
    const auto answer = last_answer(name);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->error, ENETUNREACH) << name;
    EXPECT_EQ(answer->text, "Nexthop has invalid gateway") << name;
  }
}

TEST(Codec, AnAnswerThatIsNoErrnoIsNeverASuccess) {
  for (const std::int32_t code : {1, 17, 4096, -4096, std::numeric_limits<std::int32_t>::min()}) {
    Bytes payload(sizeof code);
    std::memcpy(payload.data(), &code, sizeof code);
    const auto answer = read_answer({.type = NLMSG_ERROR, .payload = payload});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->error, EPROTO) << code;
  }
  EXPECT_FALSE(read_answer({.type = NLMSG_ERROR, .payload = {}}));
}

TEST(Codec, ABridgesOwnMessagesAreNotLinks) {
  // RTM_DELLINK of family AF_BRIDGE: a port was released, the link itself is still there.
  ifinfomsg info = {};
  info.ifi_family = AF_BRIDGE;
  info.ifi_index = 3;
  Bytes payload(sizeof info);
  std::memcpy(payload.data(), &info, sizeof info);
  EXPECT_FALSE(read_link({.type = RTM_DELLINK, .payload = payload}));
  info.ifi_family = AF_UNSPEC;
  std::memcpy(payload.data(), &info, sizeof info);
  EXPECT_TRUE(read_link({.type = RTM_DELLINK, .payload = payload}));
}

/// Reads everything there is to read; the sanitizers watch.
std::size_t read_everything(const Bytes& datagram) {
  View rest = datagram;
  std::size_t count = 0;
  while (const auto message = next_message(rest)) {
    count += read_answer(*message) ? 1U : 0U;
    count += read_link(*message) ? 1U : 0U;
    count += read_address(*message) ? 1U : 0U;
    const auto route = read_route(*message);
    count += route ? 1U : 0U;
    const Told address = told_address(*message);
    (void)put_address(IfIndex(3), address, PutStep::kAdd);
    (void)same_address(address, message->payload);
    (void)put_route(IfIndex(3), route ? told_route(*message, *route) : Told());
    (void)put_route(IfIndex(3), message->payload);
    (void)expires(*message);
  }
  return count;
}

TEST(CodecDamage, CutOffAnywhere_IsSurvived) {
  const auto datagrams = recorded();
  ASSERT_THAT(datagrams, SizeIs(testing::Gt(10U)));
  for (const Bytes& datagram : datagrams) {
    for (std::size_t size = 0; size < datagram.size(); ++size) {
      // A buffer of exactly that size, so that one byte too far is seen.
      Bytes part(datagram.begin(), datagram.begin() + static_cast<std::ptrdiff_t>(size));
      part.shrink_to_fit();
      read_everything(part);
      // And with a header that admits to it, so that the cut goes through the attributes.
      if (size >= sizeof(nlmsghdr)) {
        const auto length = static_cast<std::uint32_t>(size);
        std::memcpy(part.data(), &length, sizeof length);
        read_everything(part);
      }
    }
  }
}

TEST(CodecDamage, MutatedBytes_AreSurvived) {
  std::mt19937 random(20260);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same damage every time
  const auto below = [&](std::size_t limit) {
    return std::uniform_int_distribution<std::size_t>(0, limit - 1)(random);
  };
  constexpr std::array<std::uint8_t, 8> kNasty = {0, 1, 3, 4, 0x7F, 0x80, 0xFE, 0xFF};
  std::size_t still_read = 0;
  for (const Bytes& datagram : recorded()) {
    for (int round = 0; round < 2000; ++round) {
      Bytes damaged = datagram;
      for (std::size_t i = below(6) + 1; i > 0; --i) {
        damaged.at(below(damaged.size())) =
            below(2) == 0 ? kNasty.at(below(kNasty.size())) : static_cast<std::uint8_t>(below(256));
      }
      still_read += read_everything(damaged);
    }
  }
  EXPECT_GT(still_read, 1000U) << "the damage must leave something to read, or nothing was tested";
}

// ---- requests

NewLink macvlan() { return {.name = "data0", .kind = Macvlan{.parent = IfIndex(4)}, .netns = 9, .up = true}; }

TEST(CodecRequests, CreateMacvlan_ReadsBackAsTheLinkItAsksFor) {
  NewLink wanted = macvlan();
  wanted.mac = *MacAddress::parse("02:00:00:00:00:42");
  wanted.mtu = 1400;
  wanted.index = IfIndex(77);
  wanted.master = IfIndex(5);
  wanted.group = 0xfedcba98;
  auto bytes = create_link(wanted);
  ASSERT_TRUE(bytes);
  set_sequence(*bytes, 12345);
  View rest = *bytes;
  const auto message = next_message(rest);
  ASSERT_TRUE(message);
  EXPECT_TRUE(rest.empty());
  EXPECT_EQ(message->type, RTM_NEWLINK);
  EXPECT_EQ(message->flags, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
  EXPECT_EQ(message->sequence, 12345U);
  const auto link = read_link(*message);
  ASSERT_TRUE(link);
  EXPECT_EQ(link->name, "data0");
  EXPECT_EQ(link->kind, "macvlan");
  EXPECT_EQ(link->macvlan_mode, MacvlanMode::kBridge);
  EXPECT_EQ(link->mac, *wanted.mac);
  EXPECT_EQ(link->mtu, 1400U);
  EXPECT_EQ(link->index, IfIndex(77));
  EXPECT_EQ(link->master, IfIndex(5));
  EXPECT_EQ(link->group, 0xfedcba98);
  EXPECT_EQ(link->parent, IfIndex(4));
  EXPECT_TRUE(link->is_up());
}

TEST(CodecRequests, WhatTheKernelWouldMisread_IsRefusedHere) {
  NewLink bad = macvlan();
  bad.name = "sixteen-letters-";
  EXPECT_EQ(create_link(bad).error().code(), Code::kInvalid);
  bad = macvlan();
  bad.name = "net%d";
  EXPECT_EQ(create_link(bad).error().code(), Code::kInvalid);
  bad = macvlan();
  bad.kind = Macvlan{};
  EXPECT_THAT(create_link(bad).error().what(), HasSubstr("macvlan parent"));
  bad.kind = Veth{{.name = "a/b"}};
  EXPECT_THAT(create_link(bad).error().what(), HasSubstr("veth peer"));
  EXPECT_EQ(delete_link(IfIndex()).error().code(), Code::kInvalid);
  EXPECT_EQ(delete_link(IfIndex(-1)).error().code(), Code::kInvalid);
  EXPECT_EQ(get_link("").error().code(), Code::kInvalid);
  EXPECT_EQ(get_link(std::string(128, 'x')).error().code(), Code::kInvalid);
  EXPECT_EQ(change_link(IfIndex(1), {.alias = std::string(256, 'x')}).error().code(), Code::kInvalid);
  EXPECT_TRUE(change_link(IfIndex(1), {.alias = std::string(255, 'x')}));
  EXPECT_EQ(add_route({.destination = *IpPrefix::parse("fd00::/64"),
                       .gateway = *IpAddress::parse("10.0.0.1"),
                       .link = IfIndex(1)})
                .error()
                .code(),
            Code::kInvalid);
}

TEST(CodecRequests, Addresses_ReadBack) {
  for (const auto* text : {"10.0.0.5/24", "fd00::5/64", "127.0.0.9/8", "10.0.0.5/32"}) {
    const auto bytes = add_address({.link = IfIndex(3), .prefix = *IpPrefix::parse(text)});
    ASSERT_TRUE(bytes);
    View rest = *bytes;
    const auto address = read_address(*next_message(rest));
    ASSERT_TRUE(address);
    EXPECT_EQ(address->prefix.to_string(), text);
    EXPECT_EQ(address->link, IfIndex(3));
  }
}

/// Behind its header, with a state of duplicate address detection.
Told told_with_flags(const char* prefix, std::uint32_t flags) {
  const auto bytes = add_address({.link = IfIndex(3), .prefix = *IpPrefix::parse(prefix), .no_dad = false});
  Bytes message = *bytes;
  const nlattr attribute{.nla_len = sizeof(nlattr) + sizeof flags, .nla_type = IFA_FLAGS};
  const auto add = [&](const auto& value) {
    const auto* begin = reinterpret_cast<const std::uint8_t*>(&value);
    message.insert(message.end(), begin, begin + sizeof value);
  };
  add(attribute);
  add(flags);
  return told_address({.type = RTM_NEWADDR, .payload = View(message).subspan(sizeof(nlmsghdr))});
}

std::uint32_t flags_in(const Result<Bytes>& request) {
  View rest = request.value();
  return read_address(*next_message(rest)).value().flags;
}

TEST(CodecRequests, ToldAddress_IsPutBackInUseIfItWas) {
  const Told good = told_with_flags("fd00::5/64", IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE);
  EXPECT_TRUE(needs_finish(good));
  EXPECT_EQ(flags_in(put_address(IfIndex(7), good, PutStep::kAdd)), IFA_F_NOPREFIXROUTE | IFA_F_NODAD);
  EXPECT_EQ(flags_in(put_address(IfIndex(7), good, PutStep::kFinish)), IFA_F_NOPREFIXROUTE);
  const Bytes request = put_address(IfIndex(7), good, PutStep::kAdd).value();
  View rest = request;
  const auto address = read_address(*next_message(rest));
  EXPECT_EQ(address->link, IfIndex(7));
  EXPECT_EQ(address->prefix.to_string(), "fd00::5/64");

  for (const std::uint32_t state : {IFA_F_TENTATIVE, IFA_F_DADFAILED}) {
    const Told bad = told_with_flags("fd00::5/64", IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE | state);
    EXPECT_FALSE(needs_finish(bad));
    EXPECT_EQ(flags_in(put_address(IfIndex(7), bad, PutStep::kAdd)), IFA_F_NOPREFIXROUTE);
    EXPECT_TRUE(same_address(good, bad));
  }
  EXPECT_FALSE(same_address(good, told_with_flags("fd00::5/64", IFA_F_PERMANENT)));
  EXPECT_FALSE(same_address(good, told_with_flags("fd00::6/64", IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE)));
  const Told v4 = told_with_flags("10.0.0.5/24", IFA_F_PERMANENT | IFA_F_SECONDARY);
  EXPECT_FALSE(needs_finish(v4));
  EXPECT_EQ(flags_in(put_address(IfIndex(7), v4, PutStep::kAdd)), 0U);
}

TEST(CodecRequests, ToldRoute_GoesOverTheLinkThatItIsPutOn) {
  const auto bytes = add_route({.destination = *IpPrefix::parse("10.7.0.0/16"),
                                .gateway = *IpAddress::parse("10.0.0.1"),
                                .link = IfIndex(3),
                                .metric = 50});
  View rest = *bytes;
  const Message message = *next_message(rest);
  const Route route = *read_route(message);
  const Told told = told_route(message, route);
  const Bytes request = put_route(IfIndex(9), told).value();
  View again = request;
  const auto put = read_route(*next_message(again));
  ASSERT_TRUE(put);
  EXPECT_EQ(put->destination, route.destination);
  EXPECT_EQ(put->metric, 50U);
  EXPECT_EQ(put->hops,
            (std::vector<NextHop>{{.link = IfIndex(9), .gateway = *IpAddress::parse("10.0.0.1")}}));
}

TEST(CodecRequests, DamagedTold_IsRefusedHere) {
  EXPECT_FALSE(put_address(IfIndex(7), Told(), PutStep::kAdd));
  EXPECT_FALSE(put_address(IfIndex(7), Told{2, 24}, PutStep::kAdd));
  EXPECT_FALSE(put_address(IfIndex(7), Told(64, 0xff), PutStep::kAdd));
  EXPECT_FALSE(put_route(IfIndex(7), Told{2}));
  EXPECT_FALSE(put_route(IfIndex(7), Told(64, 0xff)));
  EXPECT_FALSE(put_route(IfIndex(), Told(64, 2)));
}

TEST(CodecRequests, Routes_ReadBackWithHostBitsCleared) {
  const auto bytes = add_route({.destination = *IpPrefix::parse("192.168.7.9/24"),
                                .gateway = *IpAddress::parse("10.0.0.1"),
                                .link = IfIndex(3),
                                .metric = 50,
                                .table = 70000});
  ASSERT_TRUE(bytes);
  View rest = *bytes;
  const auto route = read_route(*next_message(rest));
  ASSERT_TRUE(route);
  EXPECT_EQ(route->destination.to_string(), "192.168.7.0/24");
  EXPECT_EQ(route->table, 70000U);
  EXPECT_EQ(route->metric, 50U);
  EXPECT_EQ(route->hops,
            (std::vector<NextHop>{{.link = IfIndex(3), .gateway = *IpAddress::parse("10.0.0.1")}}));
}

}  // namespace
}  // namespace fairlead::netlink::codec
