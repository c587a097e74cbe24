// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/sock_diag.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "fairlead/sys/netlink/codec.h"
#include "fairlead/sys/netlink/endpoint.h"

namespace fairlead::netlink {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Clock = std::chrono::steady_clock;

constexpr WaitWords kWords = {.late = "no answer from sock_diag in time", .wait = "wait for sock_diag"};

constexpr int kReceiveBuffer = 1 << 20;
constexpr std::chrono::seconds kTimeout{10};
/// The program's jumps are 16 bits wide.
constexpr std::size_t kConditionsAtOnce = 1'000;

template <class T>
void append(Bytes& out, const T& value) {
  const std::size_t at = out.size();
  out.resize(at + sizeof value);
  std::memcpy(out.data() + at, &value, sizeof value);
}

// ---- the filter: a program that the kernel runs for each socket (net/ipv4/inet_diag.c inet_diag_bc_run). An
// operation advances by `yes` or `no` bytes; a socket that arrives exactly at the end passes, one that jumps
// beyond it does not. The checker (inet_diag_bc_audit) requires every jump to land at an offset that is
// reached by advancing by `yes` alone.

inet_diag_bc_op operation(std::uint8_t code, std::size_t yes, std::size_t no) {
  return {.code = code, .yes = static_cast<std::uint8_t>(yes), .no = static_cast<std::uint16_t>(no)};
}

struct Condition {
  std::uint8_t code = 0;
  Bytes argument;
};

Condition has_local(const IpAddress& address) {
  Condition condition{.code = INET_DIAG_BC_S_COND, .argument = {}};
  append(condition.argument, inet_diag_hostcond{.family = address.family(),
                                                .prefix_len = static_cast<std::uint8_t>(address.bits()),
                                                .port = -1});
  condition.argument.insert(condition.argument.end(), address.octets().begin(), address.octets().end());
  return condition;
}

Condition is_bound_to(IfIndex device) {
  Condition condition{.code = INET_DIAG_BC_DEV_COND, .argument = {}};
  append(condition.argument, device.value());
  return condition;
}

/// Passes sockets that satisfy any condition: each but the last is followed by a jump to the end for sockets
/// that pass.
Bytes any_of(std::span<const Condition> conditions) {
  constexpr std::size_t kOperation = sizeof(inet_diag_bc_op);
  std::size_t left = (conditions.size() - 1) * kOperation;
  for (const Condition& condition : conditions) {
    left += kOperation + condition.argument.size();
  }
  Bytes program;
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const std::size_t size = kOperation + conditions[i].argument.size();
    append(program, operation(conditions[i].code, size, size + kOperation));
    program.insert(program.end(), conditions[i].argument.begin(), conditions[i].argument.end());
    left -= size;
    if (i + 1 < conditions.size()) {
      append(program, operation(INET_DIAG_BC_JMP, kOperation, left));
      left -= kOperation;
    }
  }
  return program;
}

// ---- one dump

Bytes request(std::uint8_t family, std::uint8_t protocol, const Bytes& program, std::uint32_t sequence) {
  const std::size_t size = sizeof(nlmsghdr) + sizeof(inet_diag_req_v2) + sizeof(nlattr) + program.size();
  Bytes out;
  append(out, nlmsghdr{.nlmsg_len = static_cast<std::uint32_t>(size),
                       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
                       .nlmsg_seq = sequence,
                       .nlmsg_pid = 0});
  inet_diag_req_v2 what = {};
  what.sdiag_family = family;
  what.sdiag_protocol = protocol;
  what.idiag_states = 1U << TCP_ESTABLISHED;  // a connected UDP socket has that state, too
  append(out, what);
  append(out, nlattr{.nla_len = static_cast<std::uint16_t>(sizeof(nlattr) + program.size()),
                     .nla_type = INET_DIAG_REQ_BYTECODE});
  out.insert(out.end(), program.begin(), program.end());
  return out;
}

IpAddress address_of(std::uint8_t family, std::span<const std::uint8_t> octets) {
  constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (family == AF_INET) {
    octets = octets.first(4);
  } else if (std::ranges::equal(octets.first(kMapped.size()), kMapped)) {
    octets = octets.subspan(kMapped.size());
  }
  return IpAddress::from_octets(octets).value_or(IpAddress());
}

std::optional<ConnectedSocket> read_socket(const codec::Message& message,
                                           ConnectedSocket::Protocol protocol) {
  inet_diag_msg in = {};
  if (message.type != SOCK_DIAG_BY_FAMILY || message.payload.size() < sizeof in) {
    return std::nullopt;
  }
  std::memcpy(&in, message.payload.data(), sizeof in);
  std::array<std::uint8_t, 16> local = {};
  std::array<std::uint8_t, 16> remote = {};
  std::memcpy(local.data(), &in.id.idiag_src, local.size());
  std::memcpy(remote.data(), &in.id.idiag_dst, remote.size());
  return ConnectedSocket{.protocol = protocol,
                         .local = address_of(in.idiag_family, local),
                         .remote = address_of(in.idiag_family, remote),
                         .local_port = ntohs(in.id.idiag_sport),
                         .remote_port = ntohs(in.id.idiag_dport),
                         .device = IfIndex(static_cast<std::int32_t>(in.id.idiag_if))};
}

Result<> send(int fd, const Bytes& message) {
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  while (::sendto(fd, message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&kernel),
                  sizeof kernel) < 0) {
    if (errno != EINTR) {
      return Error::from_errno(errno, "send to sock_diag");
    }
  }
  return {};
}

/// A socket that connects while this runs may be missed, like one that connects just after.
Result<> dump(const Endpoint& endpoint, std::uint8_t family, ConnectedSocket::Protocol protocol,
              const Bytes& program, std::uint32_t sequence, ConnectedSockets& found) {
  const bool tcp = protocol == ConnectedSocket::Protocol::kTcp;
  FL_TRY(send(endpoint.fd.get(), request(family, tcp ? IPPROTO_TCP : IPPROTO_UDP, program, sequence)));
  const auto deadline = Clock::now() + kTimeout;
  Bytes buffer;
  for (;;) {
    FL_ASSIGN(auto rest, receive_datagram_by(endpoint.fd.get(), buffer, deadline, kWords));
    while (const auto message = codec::next_message(rest)) {
      if (message->sequence != sequence || message->port != endpoint.port) {
        continue;
      }
      if (const auto end = codec::read_answer(*message)) {
        if (end->error == ENOENT) {
          return Error(Code::kUnsupported, std::string("this kernel cannot list the node's sockets (modules "
                                                       "inet_diag and ") +
                                               (tcp ? "tcp_diag)" : "udp_diag)"));
        }
        // IPv6 is switched off: there is no such socket.
        const bool fine = end->error == 0 || end->error == EAFNOSUPPORT;
        return fine ? Result<>() : Error::from_errno(end->error, "list connected sockets");
      }
      if (auto socket = read_socket(*message, protocol)) {
        ++found.count;
        if (found.examples.size() < ConnectedSockets::kExamples) {
          found.examples.push_back(*socket);
        }
      }
    }
  }
}

std::string end_of(const IpAddress& address, std::uint16_t port) {
  return (address.is_v6() ? "[" + address.to_string() + "]" : address.to_string()) + ":" +
         std::to_string(port);
}

}  // namespace

std::string to_string(const ConnectedSocket& socket) {
  return (socket.protocol == ConnectedSocket::Protocol::kTcp ? "TCP " : "UDP ") +
         end_of(socket.local, socket.local_port) + " to " + end_of(socket.remote, socket.remote_port);
}

Result<ConnectedSockets> connected_sockets(const SocketQuery& query, std::optional<int> netns) {
  FL_ASSIGN(const Endpoint endpoint, open_endpoint(netns, kReceiveBuffer, NETLINK_SOCK_DIAG));
  ConnectedSockets found;
  std::uint32_t sequence = 0;
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    std::vector<Condition> conditions;
    if (query.device.valid()) {
      conditions.push_back(is_bound_to(query.device));
    }
    for (const IpAddress& address : query.local) {
      // A socket of IPv6 may be connected over IPv4.
      if (address.family() == family || family == AF_INET6) {
        conditions.push_back(has_local(address));
      }
    }
    for (std::size_t at = 0; at < conditions.size(); at += kConditionsAtOnce) {
      const std::size_t count = std::min(kConditionsAtOnce, conditions.size() - at);
      const Bytes program = any_of(std::span(conditions).subspan(at, count));
      for (const auto protocol : {ConnectedSocket::Protocol::kTcp, ConnectedSocket::Protocol::kUdp}) {
        FL_TRY(dump(endpoint, family, protocol, program, ++sequence, found));
      }
    }
  }
  return found;
}

}  // namespace fairlead::netlink
