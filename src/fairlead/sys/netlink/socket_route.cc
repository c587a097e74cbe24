// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/socket.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <map>

#include "fairlead/sys/netlink/request_text.h"

namespace fairlead::netlink {
namespace {

std::string text_of_route(const Told& told) {
  const auto route = codec::read_route({.type = RTM_NEWROUTE, .payload = told});
  return route ? route->destination.to_string() : "that cannot be read";
}

}  // namespace

Result<std::vector<ToldRoute>> Socket::told_routes(IfIndex link) {
  std::vector<ToldRoute> out;
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    std::vector<Route> all;
    std::vector<Bytes> payloads;
    const auto done = dump(
        Batch::make("list routes", codec::dump_routes(family, std::nullopt)),
        [&] {
          all.clear();
          payloads.clear();
        },
        [&](const codec::Message& message) {
          auto route = codec::read_route(message);
          // A router has a million of them. The hops of a nexthop object are looked up below.
          if (route && (route->nexthop_id != 0 ||
                        std::ranges::find(route->hops, link, &NextHop::link) != route->hops.end())) {
            all.push_back(std::move(*route));
            payloads.emplace_back(message.payload.begin(), message.payload.end());
          }
        });
    if (!done && done.error().sys_errno() != EOPNOTSUPP) {  // IPv6 is switched off
      return done.error();
    }
    FL_TRY(look_up_hops(all));
    for (std::size_t at = 0; at < all.size(); ++at) {
      if (std::ranges::find(all[at].hops, link, &NextHop::link) == all[at].hops.end()) {
        continue;
      }
      const codec::Message message{.type = RTM_NEWROUTE, .payload = payloads[at]};
      out.push_back({.route = all[at],
                     .told = codec::told_route(message, all[at]),
                     .expires = codec::expires(message)});
    }
  }
  return out;
}

Result<> Socket::put_route(IfIndex link, const Told& told) {
  Batch batch;
  batch.requests_.push_back(Batch::make("add route " + text_of_route(told) + " on " + text_of(link),
                                        codec::put_route(link, told), link));
  const auto added = run(std::move(batch));
  if (added || added.error().sys_errno() != EEXIST) {
    return added;
  }
  FL_ASSIGN(const auto there, told_routes(link));
  return std::ranges::find(there, told, &ToldRoute::told) == there.end() ? added : Result<>();
}

Result<std::vector<Route>> Socket::routes(std::optional<std::uint32_t> table) {
  std::vector<Route> all;
  for (const std::uint8_t family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
    std::vector<Route> some;
    const auto done = dump(
        Batch::make("list routes", codec::dump_routes(family, table)), [&] { some.clear(); },
        [&](const codec::Message& message) {
          auto route = codec::read_route(message);
          if (route && (table ? route->table == *table : route->table != RT_TABLE_LOCAL)) {
            some.push_back(std::move(*route));
          }
        });
    // ENOENT: no such table yet (net/ipv4/fib_frontend.c inet_dump_fib); EOPNOTSUPP: IPv6 is switched off.
    if (!done && done.error().sys_errno() != ENOENT && done.error().sys_errno() != EOPNOTSUPP) {
      return done.error();
    }
    all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
  }
  FL_TRY(look_up_hops(all));
  return all;
}

Result<> Socket::visit_routes(std::uint8_t family, std::uint32_t table, const std::function<void()>& restart,
                              const std::function<void(const codec::Message&, const Route&)>& visit) {
  const auto done = dump(Batch::make("list routes", codec::dump_routes(family, table)), restart,
                         [&](const codec::Message& message) {
                           const auto route = codec::read_route(message);
                           if (route && route->table == table) {
                             visit(message, *route);
                           }
                         });
  // As in routes().
  const bool has_none =
      !done && (done.error().sys_errno() == ENOENT || done.error().sys_errno() == EOPNOTSUPP);
  return has_none ? Result<>() : done;
}

Result<> Socket::change_metric(const MetricChange& change) {
  const IpPrefix destination = change.destination.network();
  const std::string what = "give the route to " + destination.to_string() + " with metric " +
                           std::to_string(change.from) + " the metric " + std::to_string(change.to);
  Batch copies;
  Batch originals;
  const auto restart = [&] {
    copies.requests_.clear();
    originals.requests_.clear();
  };
  FL_TRY(
      visit_routes(destination.address().family(), change.table, restart,
                   [&](const codec::Message& message, const Route& route) {
                     const bool is_kept = route.protocol == RTPROT_KERNEL || route.protocol == RTPROT_RA;
                     if (!is_kept && route.destination == destination && route.metric == change.from) {
                       copies.requests_.push_back(Batch::make(what, codec::copy_route(message, change.to)));
                       originals.requests_.push_back(Batch::make(what, codec::delete_route(message)));
                     }
                   }),
      what);
  if (copies.empty()) {
    return {};
  }
  FL_TRY(run(std::move(copies)));
  return run(std::move(originals));
}

Result<> Socket::delete_route(const NewRoute& route) {
  const std::string what = "delete route " + text_of(route);
  Batch batch;
  FL_TRY(visit_routes(
             route.destination.address().family(), route.table, [&] { batch.requests_.clear(); },
             [&](const codec::Message& message, const Route& there) {
               if (is_what_was_asked_for(there, route)) {
                 batch.requests_.push_back(Batch::make(what, codec::delete_route(message), route.link));
                 batch.requests_.back().fine = {ESRCH};
               }
             }),
         what);
  return batch.empty() ? Result<>() : run(std::move(batch));
}

/// Of routes that name a nexthop object and say no more.
Result<> Socket::look_up_hops(std::vector<Route>& routes) {
  const auto is_open = [](const Route& route) { return route.nexthop_id != 0 && route.hops.empty(); };
  if (std::ranges::none_of(routes, is_open)) {
    return {};
  }
  std::map<std::uint32_t, NextHopObject> objects;
  FL_TRY(dump(
      Batch::make("list nexthops", codec::dump_nexthops()), [&] { objects.clear(); },
      [&](const codec::Message& message) {
        if (auto object = codec::read_nexthop(message)) {
          objects[object->id] = std::move(*object);
        }
      }));
  for (Route& route : routes) {
    if (!is_open(route)) {
      continue;
    }
    const NextHopObject& object = objects[route.nexthop_id];
    const std::vector<std::uint32_t> ids =
        object.group.empty() ? std::vector{route.nexthop_id} : object.group;  // groups do not nest
    for (const std::uint32_t id : ids) {
      if (const NextHop& hop = objects[id].hop; hop.link.valid()) {
        route.hops.push_back(hop);
      }
    }
  }
  return {};
}

Result<> Socket::add_route(const NewRoute& route) {
  Batch batch;
  return run(std::move(batch.add_route(route)));
}

}  // namespace fairlead::netlink
