// SPDX-License-Identifier: Apache-2.0
// Internal to netlink/: the kernel end of a socket, for requests and events alike.
#pragma once

#include <linux/netlink.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace fairlead::netlink {

struct Endpoint {
  UniqueFd fd;
  std::uint32_t port = 0;
};

/// A bound netlink socket of namespace `netns`, or of the calling thread's, with extended acks, capped acks
/// and strict checking if the kernel has them, and a receive buffer of `receive_buffer` bytes if permitted.
Result<Endpoint> open_endpoint(std::optional<int> netns, int receive_buffer, int protocol = NETLINK_ROUTE);

/// Reads one datagram from the kernel into `buffer` (grown as needed), without waiting; nullopt if there is
/// none. Datagrams from other processes are dropped. kOverflow (ENOBUFS): the kernel had to drop some.
Result<std::optional<std::span<const std::uint8_t>>> receive_datagram(int fd,
                                                                      std::vector<std::uint8_t>& buffer);

/// The messages of the errors of receive_datagram_by().
struct WaitWords {
  const char* late = "no answer from netlink in time";  // kTimeout (ETIMEDOUT)
  const char* wait = "wait for netlink";                // poll(2) failed
};
/// As receive_datagram(), but waits for one until `deadline`.
Result<std::span<const std::uint8_t>> receive_datagram_by(int fd, std::vector<std::uint8_t>& buffer,
                                                          std::chrono::steady_clock::time_point deadline,
                                                          const WaitWords& words = {});

}  // namespace fairlead::netlink
