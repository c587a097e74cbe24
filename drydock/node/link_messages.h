// SPDX-License-Identifier: Apache-2.0
// Addresses and routes kept as the kernel wrote them, so that they can be put back with every attribute that
// they had (peer, label, broadcast, lifetimes, preferred source, metrics), also those we know nothing about.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/types.h"

namespace drydock {

/// One whole RTM_NEWADDR or RTM_NEWROUTE message, its header included.
using LinkMessage = std::vector<std::uint8_t>;

/// What makes an address or a route the same one on another index and at another time: no index, no
/// lifetimes, no state of duplicate address detection. Comparable, printable as "192.0.2.1/24".
std::string identity(const LinkMessage& message);
/// For sentences: "192.0.2.1/24", "198.51.100.0/24".
std::string destination(const LinkMessage& message);

/// A route that only one link of ours makes up can be put back alone; why this one cannot, or empty.
std::string why_not_alone(const LinkMessage& route);

/// rtnetlink requests beyond those of netlink::Socket. It belongs to the namespace it was opened in; one
/// thread at a time.
class LinkMessages {
 public:
  static fairlead::Result<LinkMessages> open_in(int netns);

  /// Of one link, in the kernel's order: a primary address comes before its secondaries.
  fairlead::Result<std::vector<LinkMessage>> addresses(fairlead::netlink::IfIndex link);
  /// Configured addresses: not the kernel's own, not those of router advertisements.
  fairlead::Result<std::vector<LinkMessage>> routes(fairlead::netlink::IfIndex link);

  /// What is there already counts as added. `at_once`: an IPv6 address skips duplicate address detection.
  fairlead::Result<> add(const LinkMessage& message, fairlead::netlink::IfIndex link, bool at_once);
  /// IFF_* bits: those of `mask` become as they are in `flags`.
  fairlead::Result<> set_flags(fairlead::netlink::IfIndex link, std::uint32_t mask, std::uint32_t flags);
  /// False for a link that the kernel binds to its namespace (bridge, loopback, ...).
  fairlead::Result<bool> can_leave(fairlead::netlink::IfIndex link);

 private:
  LinkMessages(fairlead::UniqueFd fd, fairlead::UniqueFd netns)
      : fd_(std::move(fd)), netns_(std::move(netns)) {}
  fairlead::Result<std::span<const std::uint8_t>> receive(LinkMessage& buffer) const;
  fairlead::Result<std::vector<LinkMessage>> exchange(LinkMessage request, const std::string& what);
  fairlead::Result<std::vector<LinkMessage>> dump(const fairlead::Result<LinkMessage>& request,
                                                  const std::string& what);
  fairlead::Result<> ask(LinkMessage request, const std::string& what);

  fairlead::UniqueFd fd_;
  fairlead::UniqueFd netns_;
  std::uint32_t sequence_ = 0;
};

}  // namespace drydock
