// SPDX-License-Identifier: Apache-2.0
// Routes and nexthop objects, as rtnetlink has them (include/uapi/linux/rtnetlink.h). Plain data; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/ip_address.h"
#include "fairlead/sys/netlink/told.h"

namespace fairlead::netlink {

struct NextHop {
  IfIndex link;
  std::optional<IpAddress> gateway;
  friend bool operator==(const NextHop&, const NextHop&) = default;
};
/// A nexthop object (ip-nexthop(8), Linux 5.3): routes refer to it instead of a link. A group has no hop of
/// its own.
struct NextHopObject {
  std::uint32_t id = 0;
  NextHop hop;
  std::vector<std::uint32_t> group;  // ids of others
  friend bool operator==(const NextHopObject&, const NextHopObject&) = default;
};
inline constexpr std::uint32_t kMainTable = 254;  // RT_TABLE_MAIN
/// A route of any table.
struct Route {
  IpPrefix destination;
  std::vector<NextHop> hops;  // none for blackhole and the like, several for multipath
  std::uint32_t metric = 0;
  std::uint32_t table = kMainTable;
  std::uint8_t type = 1;                           // RTN_UNICAST
  std::uint8_t scope = 0;                          // RT_SCOPE_UNIVERSE
  std::uint8_t protocol = 0;                       // RTPROT_*
  std::optional<IpAddress> source = std::nullopt;  // the source address of packets that have none
  /// Id of the nexthop object that it refers to; 0: none. With sysctl net.ipv4.nexthop_compat_mode=0 the
  /// kernel reports no hops of its own; Socket::routes() looks them up.
  std::uint32_t nexthop_id = 0;
  friend bool operator==(const Route&, const Route&) = default;
};
struct ToldRoute {
  Route route;
  Told told;             // with the hops of its nexthop object
  bool expires = false;  // it has a lifetime
};
struct NewRoute {
  IpPrefix destination;  // host bits are cleared; 0.0.0.0/0 or ::/0 for the default route
  std::optional<IpAddress> gateway;
  IfIndex link;
  std::uint32_t metric = 0;  // 0: the kernel's default (IPv6: 1024)
  std::uint32_t table = kMainTable;
  /// The gateway is on the link even if no address of ours covers it (RTNH_F_ONLINK).
  bool onlink = false;
  /// RT_SCOPE_*, IPv4 only; nullopt: universe with a gateway, link without.
  std::optional<std::uint8_t> scope = std::nullopt;
  std::optional<IpAddress> source = std::nullopt;  // an address of this namespace
};
/// Whether add_route(wanted) would make this route: no metric means the kernel's default.
bool is_what_was_asked_for(const Route& route, const NewRoute& wanted);
/// Changes the metric of the routes to a destination.
struct MetricChange {
  IpPrefix destination;
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint32_t table = kMainTable;
};

}  // namespace fairlead::netlink
