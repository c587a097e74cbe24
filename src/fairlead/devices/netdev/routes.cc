// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/routes.h"

#include <algorithm>
#include <ranges>
#include <string>

#include "fairlead/core/log.h"
#include "fairlead/devices/marker.h"
#include "fairlead/devices/netdev/common.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::IpPrefix;
using netlink::Route;

/// The default routes of a pod's main table, while ours are added.
class DefaultRoutes {
 public:
  static Result<DefaultRoutes> read(netlink::Socket& pod, netlink::IfIndex link, MovedRoutes& moved) {
    FL_ASSIGN(auto routes, pod.routes(netlink::kMainTable), "look for the pod's default routes");
    std::erase_if(routes, [](const Route& route) { return !route.destination.is_default(); });
    return DefaultRoutes(pod, link, moved, std::move(routes));
  }

  /// The metric for one of ours.
  Result<std::uint32_t> metric_for(const RouteConfig& wanted) {
    const bool v6 = wanted.destination.is_v6();
    const std::vector<netlink::NextHop> hops = {{.link = link_, .gateway = wanted.gateway}};
    const auto ours = std::ranges::find_if(
        routes_, [&](const Route& route) { return route.destination.is_v6() == v6 && route.hops == hops; });
    if (!wanted.metric) {
      return ours != routes_.end() ? ours->metric : take_free(wanted.destination, default_route_metric(v6));
    }
    const std::uint32_t metric = v6 && *wanted.metric == 0 ? kKernelMetric6 : *wanted.metric;
    const auto other = std::ranges::find_if(routes_, [&](const Route& route) {
      return route.destination.is_v6() == v6 && route.metric == metric && route.hops != hops;
    });
    if (other != routes_.end()) {
      FL_ASSIGN(const bool theirs, is_of_another_claim(*other));
      if (!theirs) {
        const Route route = *other;
        routes_.erase(other);
        FL_TRY(make_room(route));
      }
    }
    return metric;
  }

 private:
  DefaultRoutes(netlink::Socket& pod, netlink::IfIndex link, MovedRoutes& moved, std::vector<Route> routes)
      : pod_(&pod), link_(link), moved_(&moved), routes_(std::move(routes)) {}

  Result<bool> is_of_another_claim(const Route& route) {
    for (const netlink::NextHop& hop : route.hops) {
      if (hop.link == link_) {
        return true;  // this claim's own: another gateway
      }
      FL_ASSIGN(const auto link, pod_->link(hop.link));
      if (link && Marker::parse(link->alias)) {
        return true;
      }
    }
    return false;
  }

  /// The first free one from `metric` on, which is then no longer free.
  std::uint32_t take_free(const IpPrefix& destination, std::uint32_t metric) {
    while (std::ranges::any_of(routes_, [&](const Route& route) {
      return route.destination == destination && route.metric == metric;
    })) {
      ++metric;
    }
    routes_.push_back({.destination = destination, .metric = metric});
    return metric;
  }

  Result<> make_room(const Route& route) {
    const std::uint32_t behind = std::max(default_route_metric(route.destination.is_v6()), route.metric + 1);
    const std::uint32_t metric = take_free(route.destination, behind);
    return moved_->move(*pod_, {.destination = route.destination, .from = route.metric, .to = metric});
  }

  netlink::Socket* pod_;
  netlink::IfIndex link_;
  MovedRoutes* moved_;
  std::vector<Route> routes_;
};

}  // namespace

Result<> MovedRoutes::move(netlink::Socket& socket, const netlink::MetricChange& change) {
  if (auto moved = socket.change_metric(change); !moved) {
    return refused_by_kernel(std::move(moved).error(), "move the pod's own default route behind the claim's");
  }
  done_.push_back(change);
  return {};
}

void MovedRoutes::undo(netlink::Socket& socket, const std::vector<netlink::NewRoute>& routes) {
  for (const netlink::MetricChange& change : std::views::reverse(done_)) {
    Result<> back;
    for (const netlink::NewRoute& route : routes) {
      if (route.destination == change.destination && route.metric == change.from && back) {
        back = socket.delete_route(route);
      }
    }
    if (back) {
      back = socket.change_metric(
          {.destination = change.destination, .from = change.to, .to = change.from, .table = change.table});
    }
    if (!back) {
      log::warn(
          "after a failed attach, a route of the pod's cluster network did not get its metric back, so the "
          "pod "
          "may prefer another; the kubelet makes the pod's sandbox anew when it tries again",
          {{"route", change.destination.to_string()},
           {"metric", std::to_string(change.to)},
           {"metric_before", std::to_string(change.from)},
           {"table", std::to_string(change.table)},
           {"error", back.error().what()}});
    }
  }
  done_.clear();
}

Result<std::vector<netlink::NewRoute>> arrange_routes(netlink::Socket& pod, netlink::IfIndex link,
                                                      const std::vector<RouteConfig>& routes,
                                                      MovedRoutes& moved) {
  std::optional<DefaultRoutes> defaults;
  if (std::ranges::any_of(routes, &RouteConfig::is_main_default)) {
    FL_ASSIGN(defaults, DefaultRoutes::read(pod, link, moved));
  }
  std::vector<netlink::NewRoute> out;
  for (const RouteConfig& route : routes) {
    std::uint32_t metric = route.metric.value_or(0);
    if (defaults && route.is_main_default()) {
      FL_ASSIGN(metric, defaults->metric_for(route));
    }
    out.push_back({.destination = route.destination,
                   .gateway = route.gateway,
                   .link = link,
                   .metric = metric,
                   .table = route.table,
                   .onlink = route.onlink,
                   .scope = route.scope,
                   .source = route.source});
  }
  std::ranges::stable_partition(out, [](const netlink::NewRoute& route) { return !route.gateway; });
  return out;
}

}  // namespace fairlead::devices::netdev
