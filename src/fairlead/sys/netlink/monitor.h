// SPDX-License-Identifier: Apache-2.0
// Changes in a network namespace, as the kernel announces them.
//
// Events are reliable only until the first overrun: if the reader is too slow the kernel drops some and
// reports ENOBUFS; the callback then gets Overrun and must read everything again through a Socket. The order
// that never misses a change: open the monitor, read everything, then run().
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <variant>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/types.h"

namespace fairlead::netlink {

/// A link is new or has changed.
struct LinkChanged {
  Link link;
};
/// A link was deleted or moved to another namespace.
struct LinkGone {
  Link link;
};
struct AddressChanged {
  Address address;
};
struct AddressGone {
  Address address;
};
struct RouteChanged {
  Route route;
};
struct RouteGone {
  Route route;
};
/// Events were lost: read everything again.
struct Overrun {};

using Event =
    std::variant<LinkChanged, LinkGone, AddressChanged, AddressGone, RouteChanged, RouteGone, Overrun>;

struct MonitorOptions {
  bool links = true;
  bool addresses = false;
  bool routes = false;
  /// The size to request with SO_RCVBUFFORCE; without CAP_NET_ADMIN the system's limit applies.
  int receive_buffer = 8 << 20;
};

/// One event socket. One thread uses it; that thread calls the callbacks.
class Monitor {
 public:
  using Callback = std::function<void(const Event&)>;
  /// In the calling thread's namespace.
  static Result<Monitor> open(const MonitorOptions& options);
  static Result<Monitor> open_in(int netns, const MonitorOptions& options);

  /// Readable when there are events: for a poll loop of the caller's own, which then calls drain().
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Delivers all pending events, without waiting.
  Result<> drain(const Callback& callback);
  /// Delivers events until `stop_fd` is readable (an eventfd, a pipe's read end). Blocks.
  Result<> run(int stop_fd, const Callback& callback);

 private:
  explicit Monitor(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  std::vector<std::uint8_t> buffer_;
};

}  // namespace fairlead::netlink
