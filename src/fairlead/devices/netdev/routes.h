// SPDX-License-Identifier: Apache-2.0
// A plan's routes as the kernel is asked for them, in a pod that has routes of its own.
#pragma once

#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/netdev/route_config.h"
#include "fairlead/sys/netlink/socket.h"

namespace fairlead::devices::netdev {

/// Default routes of the cluster network that had to make room, and the way back.
class MovedRoutes {
 public:
  Result<> move(netlink::Socket& socket, const netlink::MetricChange& change);
  [[nodiscard]] bool empty() const { return done_.empty(); }
  /// Ours, which are `routes`, make room in turn, and everything has its old metric again; what cannot be
  /// moved back is logged.
  void undo(netlink::Socket& socket, const std::vector<netlink::NewRoute>& routes);

 private:
  std::vector<netlink::MetricChange> done_;
};

/// The plan's routes through `link`, those without a gateway first, since gateways of others may be behind
/// them. A default route without a metric gets default_route_metric() or the next one that is free; for one
/// with the metric that the cluster's has, the cluster's is moved there. Routes that an earlier call added
/// keep what they got.
Result<std::vector<netlink::NewRoute>> arrange_routes(netlink::Socket& pod, netlink::IfIndex link,
                                                      const std::vector<RouteConfig>& routes,
                                                      MovedRoutes& moved);

}  // namespace fairlead::devices::netdev
