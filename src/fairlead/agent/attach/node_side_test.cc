// SPDX-License-Identifier: Apache-2.0
// What claims leave alone in the node's namespace: everything but their own links.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <thread>

#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/sysctl.h"

namespace fairlead::agent {
namespace {

using ::testing::IsEmpty;
using ::testing::StartsWith;

devices::Marker marker_of(const std::string& uid) { return {.driver = "net.example.com", .claim_uid = uid}; }

class NodeSide : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    ASSERT_OK(node_->create_link({.name = "br0", .kind = netlink::Bridge{}, .up = true}));
    ASSERT_OK(node_->create_link({.name = "port0",
                                  .kind = netlink::Veth{.peer = {.name = "port1", .up = true}},
                                  // A bridge takes the lowest of its ports' for its own: this is a high one.
                                  .mac = *netlink::MacAddress::parse("fe:ff:ff:ff:ff:01"),
                                  .master = link(*node_, "br0").index,
                                  .up = true}));
    ASSERT_OK(node_->add_address(
        {.link = link(*node_, "br0").index, .prefix = *netlink::IpPrefix::parse("10.200.0.1/24")}));
    ASSERT_OK(node_->add_address(
        {.link = link(*node_, "eth0").index, .prefix = *netlink::IpPrefix::parse("198.51.100.1/24")}));
    ASSERT_OK(node_->add_route({.destination = netlink::IpPrefix(),
                                .gateway = *netlink::IpAddress::parse("198.51.100.254"),
                                .link = link(*node_, "eth0").index}));
    for (const char* name : {"nic1", "nic2"}) {
      ASSERT_OK(node_->create_link(
          {.name = name, .kind = netlink::Veth{.peer = {.name = name + std::string("p")}}}));
    }
  }

  std::string setting(const std::string& link, const std::string& name) {
    return sys::read_net_sysctl(node_netns_.get(), "ipv6/conf/" + link + "/" + name).value_or("none");
  }
};

// ---- router advertisements

/// What a pod with the capability NET_RAW can send: "I am your router, and this is your network."
void advertise_router(const Pod& pod, netlink::IfIndex from) {
  const auto source = *netlink::IpPrefix::parse("fe80::99/64");
  ASSERT_OK(pod.socket->add_address({.link = from, .prefix = source}));
  const auto socket = sys::with_netns(pod.netns.get(), []() -> Result<UniqueFd> {
    return UniqueFd(::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6));
  });
  ASSERT_TRUE(socket && socket->valid());
  constexpr int kHops = 255;  // RFC 4861, 6.1.2: nobody forwarded it
  const int index = from.value();
  ASSERT_EQ(::setsockopt(socket->get(), IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &kHops, sizeof kHops), 0);
  ASSERT_EQ(::setsockopt(socket->get(), IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index), 0);
  sockaddr_in6 own{};
  own.sin6_family = AF_INET6;
  own.sin6_scope_id = static_cast<std::uint32_t>(index);
  std::ranges::copy(source.address().octets(), own.sin6_addr.s6_addr);
  ASSERT_EQ(::bind(socket->get(), reinterpret_cast<const sockaddr*>(&own), sizeof own), 0) << errno;

  struct {
    nd_router_advert router{};
    nd_opt_prefix_info prefix{};
  } message;
  message.router.nd_ra_type = ND_ROUTER_ADVERT;
  message.router.nd_ra_router_lifetime = htons(1800);
  message.prefix.nd_opt_pi_type = ND_OPT_PREFIX_INFORMATION;
  message.prefix.nd_opt_pi_len = sizeof message.prefix / 8;
  message.prefix.nd_opt_pi_prefix_len = 64;
  message.prefix.nd_opt_pi_flags_reserved = ND_OPT_PI_FLAG_ONLINK | ND_OPT_PI_FLAG_AUTO;
  message.prefix.nd_opt_pi_valid_time = htonl(3600);
  message.prefix.nd_opt_pi_preferred_time = htonl(3600);
  const auto network = *netlink::IpAddress::parse("2001:db8:bad::");
  std::ranges::copy(network.octets(), message.prefix.nd_opt_pi_prefix.s6_addr);
  sockaddr_in6 all_nodes{};
  all_nodes.sin6_family = AF_INET6;
  all_nodes.sin6_scope_id = own.sin6_scope_id;
  const auto group = *netlink::IpAddress::parse("ff02::1");
  std::ranges::copy(group.octets(), all_nodes.sin6_addr.s6_addr);
  ASSERT_EQ(::sendto(socket->get(), &message, sizeof message, 0,
                     reinterpret_cast<const sockaddr*>(&all_nodes), sizeof all_nodes),
            static_cast<ssize_t>(sizeof message))
      << errno;
}

/// Routes of the node over this link, in any table.
std::vector<std::string> routes_over(netlink::Socket& node, netlink::IfIndex link) {
  std::vector<std::string> out;
  for (const auto table : {std::optional<std::uint32_t>(), std::optional<std::uint32_t>(RT_TABLE_LOCAL)}) {
    const auto routes = node.routes(table).value();
    for (const netlink::Route& route : routes) {
      if (std::ranges::any_of(route.hops, [&](const netlink::NextHop& hop) { return hop.link == link; })) {
        out.push_back(route.destination.to_string());
      }
    }
  }
  return out;
}

TEST_F(NodeSide, RouterAdvertisementOfAPod_GivesTheNodeNothing) {
  auto record = prepare(claim("u1", {{R"("veth","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const netlink::Link host = link(*node_, marker_of("u1").host_name());
  ASSERT_TRUE(host.is_up());
  // A pair as it is without us: when the node has believed the second advertisement, it would have believed
  // the first.
  ASSERT_OK(node_->create_link({.name = "believes",
                                .kind = netlink::Veth{.peer = {.name = "liar", .netns = pod_.netns.get()}},
                                .up = true}));
  const netlink::Link believes = link(*node_, "believes");
  ASSERT_OK(sys::write_net_sysctl(node_netns_.get(), "ipv6/conf/believes/accept_ra", "2"));
  ASSERT_OK(pod_.socket->set_up(link(*pod_.socket, "liar").index));

  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  do {
    ASSERT_TRUE(std::chrono::steady_clock::now() < end) << "the advertisement is not a valid one";
    advertise_router(pod_, link(*pod_.socket, "data0").index);
    advertise_router(pod_, link(*pod_.socket, "liar").index);  // lost while the kernel takes it into use
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  } while (std::ranges::count(routes_over(*node_, believes.index), "::/0") == 0);
  EXPECT_THAT(routes_over(*node_, host.index), IsEmpty());
  EXPECT_THAT(node_->addresses(host.index).value(), IsEmpty());
}

TEST_F(NodeSide, HostEnd_IsOutOfTheNodesIpv6) {
  auto alone = prepare(claim("u1", {{R"("veth")"}}));
  auto port = prepare(claim("u2", {{R"("veth","bridge":"br0","interfaceName":"net2")"}}));
  auto small = prepare(claim("u3", {{R"("veth","mtu":1000,"interfaceName":"net3")"}}));  // too small for IPv6
  for (auto* record : {&alone, &port, &small}) {
    ASSERT_OK(*record);
    ASSERT_OK(attach(**record, pod_));
  }
  for (const char* uid : {"u1", "u2"}) {
    const netlink::Link host = link(*node_, marker_of(uid).host_name());
    EXPECT_TRUE(host.is_up());
    EXPECT_EQ(setting(host.name, "disable_ipv6"), "1");
    EXPECT_EQ(setting(host.name, "accept_ra"), "0");
    EXPECT_EQ(setting(host.name, "autoconf"), "0");
    EXPECT_EQ(setting(host.name, "addr_gen_mode"), "1");
    EXPECT_THAT(node_->addresses(host.index).value(), IsEmpty());
  }
  EXPECT_THAT(node_->addresses(link(*node_, marker_of("u3").host_name()).index).value(), IsEmpty());
}

TEST_F(NodeSide, WhatAnAdminSwitchedOnAtAHostEnd_StaysOn) {
  auto record = prepare(claim("u1", {{R"("veth")"}}));
  ASSERT_OK(record);
  ASSERT_OK(attach(*record, pod_));
  const std::string host = marker_of("u1").host_name();
  ASSERT_OK(sys::write_net_sysctl(node_netns_.get(), "ipv6/conf/" + host + "/disable_ipv6", "0"));
  ASSERT_OK(attach(*record, pod_));  // another container of the pod
  EXPECT_EQ(setting(host, "disable_ipv6"), "0");
  EXPECT_THAT(node_->addresses(link(*node_, host).index).value(), IsEmpty()) << "addr_gen_mode is none";
}

// ---- addresses by which the node is reached, or reaches others

struct Coveted {
  const char* name;
  const char* netdev;
  const char* says;
  const char* device = "netdev-virtual";
};

class NodesOwnAddress : public NodeSide, public ::testing::WithParamInterface<Coveted> {};

/// A pod would announce it, and what is sent to the node would go to the pod.
TEST_P(NodesOwnAddress, IsRefusedAtPrepare) {
  const auto record = prepare(claim("u1", {{.netdev = GetParam().netdev, .device = GetParam().device}}));
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().code(), Code::kExists);
  EXPECT_THAT(record.error().what(),
              StartsWith(std::string("config[0].opaque.parameters.netdev.addresses[0]: ") + GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Claims, NodesOwnAddress,
    ::testing::Values(Coveted{"MacvlanOnTheUplink",
                              R"("macvlan","master":"eth0","addresses":["198.51.100.1/24"])",
                              "198.51.100.1 is the node's own address, on eth0"},
                      Coveted{"MacvlanOnAnotherNic",
                              R"("macvlan","master":"nic1","addresses":["198.51.100.1/24"])",
                              "198.51.100.1 is the node's own address, on eth0"},
                      Coveted{"VethOnTheBridge", R"("veth","bridge":"br0","addresses":["10.200.0.1/24"])",
                              "10.200.0.1 is the node's own address, on br0"},
                      Coveted{"HostDevice", R"("host-device","addresses":["198.51.100.1/24"])",
                              "198.51.100.1 is the node's own address, on eth0", "nic1"},
                      Coveted{"Gateway", R"("macvlan","master":"eth0","addresses":["198.51.100.254/24"])",
                              "198.51.100.254 is a gateway of the node, on eth0"}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

// ---- everything else

/// The node as it is without the claims' links: what can be asked of the kernel, as lines.
std::map<std::string, std::string> describe_node(netlink::Socket& node) {
  std::map<std::string, std::string> out;
  std::map<std::int32_t, std::string> names;
  const auto links = node.links().value();
  for (const netlink::Link& link : links) {
    if (devices::Marker::parse(link.alias)) {
      continue;
    }
    names[link.index.value()] = link.name;
    out["link " + link.name] = link.mac.to_string() + " mtu " + std::to_string(link.mtu) + " flags " +
                               std::to_string(link.flags & (netlink::kSettableFlags | IFF_UP)) + " master " +
                               std::to_string(link.master.value()) + " group " + std::to_string(link.group) +
                               " queue " + std::to_string(link.tx_queue_len) + " alias " + link.alias;
    if (!link.name.starts_with("nic")) {
      continue;
    }
    // Flags, peers, scopes, labels, metrics, and all else of its addresses and routes.
    int line = 0;
    for (const std::string& text : describe_link(link.name)) {
      out["ip(8) of " + link.name + ", line " + std::to_string(++line)] = text;
    }
  }
  // The kernel gives the node's links their own link-local addresses, whenever it gets to it.
  const auto comes_by_itself = [&](const std::string& text, netlink::IfIndex link) {
    return (text.starts_with("fe80:") || text == "ff00::/8") && names.contains(link.value());
  };
  const auto addresses = node.addresses().value();
  for (const netlink::Address& address : addresses) {
    if (comes_by_itself(address.prefix.to_string(), address.link)) {
      continue;
    }
    out["address of " + names[address.link.value()] + ": " + address.prefix.to_string()] = "there";
  }
  for (const auto table : {std::optional<std::uint32_t>(), std::optional<std::uint32_t>(RT_TABLE_LOCAL)}) {
    const auto routes = node.routes(table).value();
    for (const netlink::Route& route : routes) {
      if (!route.hops.empty() && comes_by_itself(route.destination.to_string(), route.hops.front().link)) {
        continue;
      }
      out["route " + std::to_string(route.table) + " " + route.destination.to_string() + " metric " +
          std::to_string(route.metric) + " over " +
          (route.hops.empty() ? "-" : names[route.hops.front().link.value()])] = "there";
    }
  }
  for (const char* family : {"ipv4", "ipv6"}) {
    for (const char* folder : {"conf", "neigh"}) {
      std::vector<std::string> of = {"all", "default"};
      for (const auto& [index, name] : names) {
        of.push_back(name);
      }
      for (const std::string& name : of) {
        const std::string path = std::string("/proc/sys/net/") + family + "/" + folder + "/" + name;
        std::error_code error;
        for (const auto& file : std::filesystem::directory_iterator(path, error)) {
          if (const auto value = sys::read_file(file.path().string())) {
            out[file.path().string()] = *value;
          }
        }
      }
    }
  }
  for (const char* path : {"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/forwarding"}) {
    out[path] = sys::read_file(path).value_or("");
  }
  out["arp"] = sys::read_file("/proc/thread-self/net/arp").value_or("");
  return out;
}

struct Wish {
  const char* name;
  const char* netdev;
  const char* device = "netdev-virtual";
  /// What is the claim's own while it has it.
  const char* takes = "";
  /// What the pod sets flags of.
  const char* spoils = "";
};

class EveryKind : public NodeSide,
                  public ::testing::WithParamInterface<std::tuple<devices::AttachMode, Wish>> {
 protected:
  EveryKind() { mode_ = std::get<0>(GetParam()); }

  void SetUp() override {
    NodeSide::SetUp();
    if (!IsSkipped() && !HasFatalFailure() && !has_ip()) {
      GTEST_SKIP() << "ip(8) is not installed, which tells how the node's links are";
    }
  }

  /// A NIC with what an administrator may have set: nothing of it is the kernel's default.
  void configure_as_a_node_does(const std::string& nic) {
    const std::pair<const char*, const char*> settings[] = {{"ipv4/conf/", "/rp_filter"},
                                                            {"ipv4/conf/", "/proxy_arp"},
                                                            {"ipv6/conf/", "/use_tempaddr"},
                                                            {"ipv6/conf/", "/accept_ra"},
                                                            {"ipv4/neigh/", "/ucast_solicit"}};
    for (const auto& [folder, name] : settings) {
      const std::string path = folder + nic + name;
      const std::string value = path.ends_with("solicit") ? "9" : path.ends_with("proxy_arp") ? "1" : "2";
      ASSERT_OK(sys::write_net_sysctl(node_netns_.get(), path, value));
    }
    for (const std::string& arguments :
         {"link set dev " + nic + "p up", "link set dev " + nic + " up txqueuelen 700",
          "link set dev " + nic + " group 42", "addr add 192.0.2.1/24 noprefixroute dev " + nic,
          "addr add 10.9.0.1 peer 10.9.0.2/32 dev " + nic, "addr add 169.254.7.7/16 scope link dev " + nic,
          "addr add fd00:5::7/64 noprefixroute nodad dev " + nic,
          "route add 192.0.2.0/24 dev " + nic + " proto kernel scope link src 192.0.2.1 metric 100",
          "route add 10.7.0.0/16 via 10.9.0.2 mtu 1400 dev " + nic}) {
      ASSERT_TRUE(ip(arguments)) << "ip " << arguments;
    }
  }

  /// As long as the claim has it, both without what is the claim's own.
  void expect_same_but_own(std::map<std::string, std::string> now,
                           std::map<std::string, std::string> before) {
    const std::string own = std::get<1>(GetParam()).takes;
    for (auto* node : {&now, &before}) {
      std::erase_if(*node, [&](const auto& entry) {
        const std::string& what = entry.first;
        return !own.empty() &&
               (what == "link " + own || what.contains("/" + own + "/") ||
                what.starts_with("ip(8) of " + own + ",") || what.starts_with("address of " + own + ":") ||
                what.ends_with(" over " + own));
      });
    }
    expect_same(std::move(now), std::move(before));
  }

  static void expect_same(std::map<std::string, std::string> now, std::map<std::string, std::string> before) {
    std::vector<std::string> changed;
    for (const auto& [what, value] : now) {
      if (!before.contains(what) || before[what] != value) {
        changed.push_back(what + ": " + (before.contains(what) ? before[what] : "new") + " -> " + value);
      }
    }
    for (const auto& [what, value] : before) {
      if (!now.contains(what)) {
        changed.push_back(what + " is gone");
      }
    }
    EXPECT_THAT(changed, IsEmpty());
  }
};

TEST_P(EveryKind, ChangesNothingOfTheNodeButItsOwnLinks) {
  const Wish& wish = std::get<1>(GetParam());
  if (wish.takes[0] != '\0') {
    configure_as_a_node_does(wish.takes);
  }
  const auto before = describe_node(*node_);
  auto record = prepare(claim("u1", {{.netdev = wish.netdev, .device = wish.device}}));
  ASSERT_OK(record);
  expect_same_but_own(describe_node(*node_), before);
  if (mode_ == devices::AttachMode::kNetdevices) {  // the runtime's part
    const auto& moved = record->prepared.device_edits[0].net_devices[0];
    ASSERT_OK(node_->move_link({.link = link(*node_, moved.host_interface_name).index,
                                .netns = pod_.netns.get(),
                                .new_name = moved.name}));
  }
  ASSERT_OK(attach(*record, pod_));
  expect_same_but_own(describe_node(*node_), before);
  ASSERT_OK(attach(*record, pod_));
  expect_same_but_own(describe_node(*node_), before);
  if (const std::string own = wish.spoils; !own.empty()) {
    for (const char* what : {"arp off promisc on allmulticast on multicast off", "group 7", "txqueuelen 3",
                             "mode dormant", "gso_max_size 30000"}) {
      EXPECT_TRUE(ip_in(pod_, "link set dev " + own + " " + what)) << what;
    }
  }
  ASSERT_OK(driver_->unprepare(*record, {}));
  expect_same(describe_node(*node_), before);  // it is the node's again
}

INSTANTIATE_TEST_SUITE_P(
    Claims, EveryKind,
    ::testing::Combine(
        ::testing::Values(devices::AttachMode::kGuard, devices::AttachMode::kNetdevices),
        ::testing::Values(Wish{"Veth", R"("veth","mtu":1300,"addresses":["10.200.0.9/24","fd00::5/64"])"},
                          Wish{"VethOnABridge",
                               R"("veth","bridge":"br0","mtu":1300,"mac":"02:00:00:00:00:01",
                                  "addresses":["10.200.0.9/24","fd00::5/64"])"},
                          Wish{"Macvlan", R"("macvlan","master":"eth0","mtu":1300,"mac":"02:00:00:00:00:02",
                            "addresses":["198.51.100.7/24","203.0.113.77/32","fd00::5/64"],
                            "routes":[{"dst":"0.0.0.0/0","gw":"198.51.100.254"}])"},
                          Wish{"MacvlanOnANic", R"("macvlan","mode":"passthru")", "nic2", "nic2"},
                          Wish{"HostDevice", R"("host-device","mtu":1300,"addresses":["198.51.100.7/24"])",
                               "nic1", "nic1", "net1"})),
    [](const auto& param_info) {
      return std::string(std::get<1>(param_info.param).name) +
             (std::get<0>(param_info.param) == devices::AttachMode::kGuard ? "_Guard" : "_Netdevices");
    });

}  // namespace
}  // namespace fairlead::agent
