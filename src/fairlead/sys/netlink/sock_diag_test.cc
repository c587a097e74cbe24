// SPDX-License-Identifier: Apache-2.0
// Real sockets in a network namespace of the test's own.
#include "fairlead/sys/netlink/sock_diag.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <utility>

#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netns.h"

namespace fairlead::netlink {
namespace {

using ::testing::HasSubstr;

struct End {
  sockaddr_storage address = {};
  socklen_t size = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&address); }
};

End end(const std::string& address, std::uint16_t port) {
  End out;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&out.address);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.address);
  if (::inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    out.size = sizeof *v4;
  } else {
    EXPECT_EQ(::inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr), 1) << address;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    out.size = sizeof *v6;
  }
  return out;
}

class SockDiag : public ::testing::Test {
 protected:
  void SetUp() override {
    auto netns = sys::create_netns();
    if (!netns) {
      GTEST_SKIP() << "cannot make network namespaces: " << netns.error().what();
    }
    netns_ = std::move(*netns);
    auto scope = sys::NetnsScope::enter(netns_.get());
    ASSERT_TRUE(scope) << scope.error().what();
    scope_.emplace(std::move(*scope));
    auto links = Socket::open();
    ASSERT_TRUE(links) << links.error().what();
    ASSERT_TRUE(
        links->create_link({.name = "nic1", .kind = Veth{.peer = {.name = "wire", .up = true}}, .up = true}));
    nic_ = (**links->link("nic1")).index;
    ASSERT_TRUE(links->set_up((**links->link("lo")).index));
    for (const char* prefix : {"192.0.2.5/24", "198.51.100.5/24", "2001:db8::5/64"}) {
      ASSERT_TRUE(links->add_address({.link = nic_, .prefix = *IpPrefix::parse(prefix)}));
    }
  }

  /// A TCP connection of this namespace with itself, both ends at that address.
  struct Connection {
    UniqueFd listener, client, server;
  };
  static Connection connect_tcp(const std::string& address, const std::string& client_address) {
    Connection out;
    End server = end(address, 0);
    out.listener = UniqueFd(::socket(server.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(out.listener.get(), server.get(), server.size), 0);
    EXPECT_EQ(::listen(out.listener.get(), 1), 0);
    EXPECT_EQ(::getsockname(out.listener.get(), server.get(), &server.size), 0);
    const std::uint16_t port = ntohs(reinterpret_cast<sockaddr_in*>(&server.address)->sin_port);
    End to = end(client_address, port);
    out.client = UniqueFd(::socket(to.get()->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(out.client.get(), to.get(), to.size), 0);
    out.server = UniqueFd(::accept4(out.listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return out;
  }
  static UniqueFd udp(const std::string& local, const std::string& remote, const char* device = nullptr) {
    End from = end(local, 0);
    UniqueFd fd(::socket(from.get()->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (device != nullptr) {
      EXPECT_EQ(::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, device, 5), 0);
    }
    EXPECT_EQ(::bind(fd.get(), from.get(), from.size), 0);
    if (!remote.empty()) {
      End to = end(remote, 53);
      EXPECT_EQ(::connect(fd.get(), to.get(), to.size), 0);
    }
    return fd;
  }

  ConnectedSockets ask(const SocketQuery& query, std::optional<int> netns = std::nullopt) {
    auto found = connected_sockets(query, netns);
    if (!found && found.error().code() == Code::kUnsupported) {
      unsupported_ = found.error().what();
      return {};
    }
    EXPECT_TRUE(found) << found.error().what();
    return found ? *found : ConnectedSockets();
  }
  std::size_t count(const std::string& local) { return ask({.local = {*IpAddress::parse(local)}}).count; }
  void TearDown() override {
    if (!unsupported_.empty()) {
      GTEST_SKIP() << unsupported_;
    }
  }

  UniqueFd netns_;
  std::optional<sys::NetnsScope> scope_;
  IfIndex nic_;
  std::string unsupported_;
};

TEST_F(SockDiag, BothEndsOfATcpConnectionOverTheAddress_NotListeners_NotOtherAddresses) {
  const auto connection = connect_tcp("192.0.2.5", "192.0.2.5");
  const auto found = ask({.local = {*IpAddress::parse("192.0.2.5")}});
  ASSERT_EQ(found.count, 2U);
  EXPECT_THAT(to_string(found.examples[0]), HasSubstr("TCP 192.0.2.5:"));
  EXPECT_EQ(found.examples[0].remote, *IpAddress::parse("192.0.2.5"));
  EXPECT_EQ(count("198.51.100.5"), 0U);
  EXPECT_EQ(count("192.0.2.6"), 0U);
}

TEST_F(SockDiag, EndedConnection_IsNoneAnyMore) {
  {
    const auto connection = connect_tcp("192.0.2.5", "192.0.2.5");
    EXPECT_EQ(count("192.0.2.5"), 2U);
  }
  EXPECT_EQ(count("192.0.2.5"), 0U);
}

TEST_F(SockDiag, UdpSocket_OnceItIsConnected) {
  const auto open = udp("192.0.2.5", "");
  EXPECT_EQ(count("192.0.2.5"), 0U);
  const auto connected = udp("192.0.2.5", "192.0.2.1");
  const auto found = ask({.local = {*IpAddress::parse("192.0.2.5")}});
  ASSERT_EQ(found.count, 1U);
  EXPECT_THAT(to_string(found.examples[0]), HasSubstr(" to 192.0.2.1:53"));
  EXPECT_EQ(found.examples[0].protocol, ConnectedSocket::Protocol::kUdp);
}

TEST_F(SockDiag, Ipv6_AndIpv4ThroughASocketOfIpv6) {
  const auto v6 = udp("2001:db8::5", "2001:db8::1");
  const auto found = ask({.local = {*IpAddress::parse("2001:db8::5")}});
  ASSERT_EQ(found.count, 1U);
  EXPECT_THAT(to_string(found.examples[0]), HasSubstr("to [2001:db8::1]:53"));
  const auto connection = connect_tcp("::", "198.51.100.5");
  const auto mapped = ask({.local = {*IpAddress::parse("198.51.100.5")}});
  ASSERT_EQ(mapped.count, 2U);
  for (const auto& socket : mapped.examples) {
    EXPECT_EQ(socket.local, *IpAddress::parse("198.51.100.5"));
  }
}

TEST_F(SockDiag, BoundToTheDevice_WhateverItsAddress) {
  const auto bound = udp("0.0.0.0", "203.0.113.1", "nic1");
  const auto found = ask({.local = {}, .device = nic_});
  ASSERT_EQ(found.count, 1U);
  EXPECT_EQ(found.examples[0].device, nic_);
  EXPECT_EQ(ask({.local = {}, .device = IfIndex(nic_.value() + 100)}).count, 0U);
  EXPECT_EQ(ask({}).count, 0U) << "nothing asked, nothing found";
}

TEST_F(SockDiag, ManyAddresses_AnyOfThem) {
  const auto connected = udp("192.0.2.5", "192.0.2.1");
  SocketQuery query{.local = {}, .device = IfIndex(nic_.value() + 100)};
  for (int i = 0; i < 2'500; ++i) {
    query.local.push_back(
        *IpAddress::parse("10.9." + std::to_string(i / 250) + "." + std::to_string(i % 250)));
  }
  EXPECT_EQ(ask(query).count, 0U);
  for (const std::size_t at : {std::size_t{0}, std::size_t{999}, std::size_t{1'700}, std::size_t{2'499}}) {
    SocketQuery with = query;
    with.local[at] = *IpAddress::parse("192.0.2.5");
    EXPECT_EQ(ask(with).count, 1U) << at;
  }
}

TEST_F(SockDiag, EveryNamespaceHasItsOwn) {
  const auto connected = udp("192.0.2.5", "192.0.2.1");
  const auto other = sys::create_netns();
  ASSERT_TRUE(other);
  const SocketQuery query{.local = {*IpAddress::parse("192.0.2.5")}};
  EXPECT_EQ(ask(query, other->get()).count, 0U);
  EXPECT_EQ(ask(query, netns_.get()).count, 1U);
}

}  // namespace
}  // namespace fairlead::netlink
