// SPDX-License-Identifier: Apache-2.0
// A route that a claim asks for.
#pragma once

#include <cstdint>
#include <optional>

#include "fairlead/sys/netlink/types.h"

namespace fairlead::devices::netdev {

/// The metric that the kernel uses for an IPv6 route with metric 0 (IP6_RT_PRIO_USER), so usually that of the
/// cluster's route.
inline constexpr std::uint32_t kKernelMetric6 = 1024;
/// The metric of a default route without one: less preferred than the cluster's, which has the kernel's
/// default.
constexpr std::uint32_t default_route_metric(bool is_v6) { return is_v6 ? 2 * kKernelMetric6 : 1024; }

struct RouteConfig {
  netlink::IpPrefix destination;
  std::optional<netlink::IpAddress> gateway;
  /// nullopt: the kernel's default; for a default route in the main table, less preferred than the cluster's.
  std::optional<std::uint32_t> metric = std::nullopt;
  std::uint32_t table = netlink::kMainTable;
  bool onlink = false;
  std::optional<std::uint8_t> scope = std::nullopt;  // RT_SCOPE_*, IPv4 only
  std::optional<netlink::IpAddress> source = std::nullopt;

  /// One of those that every packet of the pod is looked up in.
  [[nodiscard]] bool is_main_default() const {
    return destination.is_default() && table == netlink::kMainTable;
  }
  friend bool operator==(const RouteConfig&, const RouteConfig&) = default;
};

}  // namespace fairlead::devices::netdev
