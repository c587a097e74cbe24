// SPDX-License-Identifier: Apache-2.0
// Finds the sockets of a network namespace that are connected over an interface (NETLINK_SOCK_DIAG,
// sock_diag(7)). The kernel filters: on a node with many connections only the matching ones are copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/types.h"

namespace fairlead::netlink {

/// An established TCP or a connected UDP socket.
struct ConnectedSocket {
  enum class Protocol : std::uint8_t { kTcp, kUdp };
  Protocol protocol = Protocol::kTcp;
  IpAddress local, remote;  // IPv4 also for an IPv6 socket (v4-mapped)
  std::uint16_t local_port = 0, remote_port = 0;
  IfIndex device;  // it is bound to (SO_BINDTODEVICE); invalid: none
  friend bool operator==(const ConnectedSocket&, const ConnectedSocket&) = default;
};
/// "TCP 192.0.2.5:22 to 192.0.2.1:40112"
std::string to_string(const ConnectedSocket& socket);

/// A socket matches if its local address is one of these, or if it is bound to the device.
struct SocketQuery {
  std::vector<IpAddress> local;
  IfIndex device;  // invalid: any
};
struct ConnectedSockets {
  static constexpr std::size_t kExamples = 8;
  std::size_t count = 0;
  std::vector<ConnectedSocket> examples;  // the first ones
};

/// In the calling thread's namespace, or in another one. kUnsupported: this kernel cannot list sockets
/// (modules inet_diag, tcp_diag, udp_diag).
Result<ConnectedSockets> connected_sockets(const SocketQuery& query, std::optional<int> netns = std::nullopt);

}  // namespace fairlead::netlink
