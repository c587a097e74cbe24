// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/monitor.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "fairlead/sys/netlink/codec.h"
#include "fairlead/sys/netlink/endpoint.h"

namespace fairlead::netlink {
namespace {

Result<> join(int fd, std::initializer_list<int> groups) {
  for (const int group : groups) {
    if (::setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
      return Error::from_errno(errno, "join netlink group " + std::to_string(group));
    }
  }
  return {};
}

Result<UniqueFd> open_joined(std::optional<int> netns, const MonitorOptions& options) {
  FL_ASSIGN(Endpoint endpoint, open_endpoint(netns, options.receive_buffer));
  if (options.links) {
    FL_TRY(join(endpoint.fd.get(), {RTNLGRP_LINK}));
  }
  if (options.addresses) {
    FL_TRY(join(endpoint.fd.get(), {RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR}));
  }
  if (options.routes) {
    FL_TRY(join(endpoint.fd.get(), {RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE}));
  }
  return std::move(endpoint.fd);
}

template <class EventType, class Value>
std::optional<Event> wrap(std::optional<Value> value) {
  return value ? std::optional<Event>(EventType{std::move(*value)}) : std::nullopt;
}

std::optional<Event> read_event(const codec::Message& message) {
  switch (message.type) {
    case RTM_NEWLINK:
      return wrap<LinkChanged>(codec::read_link(message));
    case RTM_DELLINK:
      return wrap<LinkGone>(codec::read_link(message));
    case RTM_NEWADDR:
      return wrap<AddressChanged>(codec::read_address(message));
    case RTM_DELADDR:
      return wrap<AddressGone>(codec::read_address(message));
    case RTM_NEWROUTE:
      return wrap<RouteChanged>(codec::read_route(message));
    case RTM_DELROUTE:
      return wrap<RouteGone>(codec::read_route(message));
    default:
      return std::nullopt;
  }
}

}  // namespace

Result<Monitor> Monitor::open(const MonitorOptions& options) {
  FL_ASSIGN(UniqueFd fd, open_joined(std::nullopt, options));
  return Monitor(std::move(fd));
}

Result<Monitor> Monitor::open_in(int netns, const MonitorOptions& options) {
  FL_ASSIGN(UniqueFd fd, open_joined(netns, options));
  return Monitor(std::move(fd));
}

Result<> Monitor::drain(const Callback& callback) {
  bool lost = false;
  for (;;) {
    auto datagram = receive_datagram(fd_.get(), buffer_);
    if (!datagram && datagram.error().code() == Code::kOverflow) {
      lost = true;  // what is still queued is older than what will be read again: drop it
      continue;
    }
    if (!datagram) {
      return std::move(datagram).error();
    }
    if (!*datagram) {
      break;
    }
    while (const auto message = lost ? std::nullopt : codec::next_message(**datagram)) {
      if (const auto event = read_event(*message)) {
        callback(*event);
      }
    }
  }
  if (lost) {
    callback(Overrun{});
  }
  return {};
}

Result<> Monitor::run(int stop_fd, const Callback& callback) {
  std::array<pollfd, 2> ready = {
      {{.fd = stop_fd, .events = POLLIN, .revents = 0}, {.fd = fd_.get(), .events = POLLIN, .revents = 0}}};
  for (;;) {
    if (::poll(ready.data(), ready.size(), -1) < 0 && errno != EINTR) {
      return Error::from_errno(errno, "wait for netlink events");
    }
    if (ready[0].revents != 0) {
      return {};
    }
    FL_TRY(drain(callback));
  }
}

}  // namespace fairlead::netlink
