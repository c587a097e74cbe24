// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/common.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <ranges>
#include <utility>

#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/check.h"
#include "fairlead/devices/netdev/routes.h"
#include "fairlead/devices/node.h"
#include "fairlead/dra/reports/pod_events.h"
#include "fairlead/sys/sysctl.h"

namespace fairlead::devices::netdev {

namespace {

/// What waits in the node's namespace for the container runtime may have no address there: it would be the
/// node's own (net/ipv4/fib_frontend.c fib_add_ifaddr makes the local route even on a link that is down).
/// And OCI runtime-spec 1.3.0, linux.netDevices, carries no routes. So both are the guard's work.
template <class T>
Result<> check_addressing(const NodeView& node, const fields::Sourced<std::vector<T>>& field) {
  const NodeOptions& options = node.options();
  if (field.value.empty() || options.mode != AttachMode::kNetdevices || options.has_guard) {
    return {};
  }
  return Error(Code::kUnsupported,
               field.path +
                   ": this node attaches with --attach=netdevices and has no fairlead-guard, which sets "
                   "addresses and routes after the container runtime moved the interface; leave them out, or "
                   "install the guard on the node (--install-guard, --guard-path)");
}

}  // namespace

Result<NetdevPlan> common_plan(const PlanInput& input, const CommonValues& common) {
  FL_TRY(check_mtu(common));
  FL_TRY(check_routes(common));
  NetdevPlan plan;
  if (common.mtu) {
    plan.mtu = common.mtu->value;
  }
  if (common.mac) {
    plan.mac = common.mac->value;
  }
  if (common.addresses) {
    FL_TRY(check_addressing(*input.node, *common.addresses));
    plan.addresses = common.addresses->value;
  }
  if (common.routes) {
    FL_TRY(check_addressing(*input.node, *common.routes));
    plan.routes = common.routes->value;
  }
  return plan;
}

DevicePlan device_plan(const CommonValues& common, NetdevPlan plan) {
  if (common.interface_name) {
    plan.interface_name = common.interface_name->value;
    plan.interface_name_path = common.interface_name->path;
  }
  DevicePlan out;
  out.body = std::make_shared<const NetdevBody>(std::move(plan));
  return out;
}

std::vector<std::string> texts(const std::vector<netlink::IpPrefix>& prefixes) {
  std::vector<std::string> out;
  for (const netlink::IpPrefix& prefix : prefixes) {
    out.push_back(prefix.to_string());
  }
  return out;
}

Result<const sys::InventoryLink*> find_link(const NodeView& node, const fields::Sourced<std::string>& name,
                                            std::string_view what) {
  const sys::InventoryLink* link = node.find(name.value);
  if (link != nullptr) {
    return link;
  }
  std::string links;
  for (const sys::InventoryLink& other : node.inventory().links()) {
    const bool ours = Marker::parse(other.link.alias).has_value();
    if (!ours && !other.link.is_loopback() && links.size() < 80) {
      links += (links.empty() ? "" : ", ") + other.link.name;
    }
  }
  return Error(Code::kNotFound, name.path + ": this node has no " + std::string(what) + " " +
                                    quoted(name.value) + " (it has " + (links.empty() ? "no links" : links) +
                                    ")");
}

Error name_taken(std::string_view interface_name) {
  return {Code::kExists, "the name " + quoted(interface_name) +
                             " is already taken in the container's network namespace; choose another "
                             "interfaceName"};
}

Result<std::optional<netlink::Link>> find_marked(netlink::Socket& socket, const Marker& marker) {
  FL_ASSIGN(auto links, socket.links());
  const auto it =
      std::ranges::find_if(links, [&](const netlink::Link& link) { return marker.marks(link.alias); });
  return it == links.end() ? std::nullopt : std::optional(std::move(*it));
}

Error refused_by_kernel(Error error, const std::string& what) {
  const int e = error.sys_errno();
  if (e == 0) {
    return error;  // not reported by the kernel
  }
  Code code = dra::is_for_the_author(error.code()) ? error.code() : Code::kInvalid;
  if (e == ENOMEM || e == ENOBUFS || e == EAGAIN || e == EINTR) {
    code = Code::kBusy;  // another time it may
  } else if (e == EIO || e == EREMOTEIO || e == ETIMEDOUT || e == ENODEV || e == ENXIO) {
    code = Code::kUnavailable;  // the device, not what the claim asks for
  }
  return {code, "the kernel does not " + what + ": " + error.what(), e};
}

namespace {

/// switch_ipv6_on() could not read the setting, or the pod has changed it since.
Error ipv6_is_off(const std::string& what, const std::string& interface) {
  return {Code::kUnsupported,
          what +
              " cannot be set: IPv6 is switched off for the interface in the pod's network namespace "
              "(net.ipv6.conf." +
              interface +
              ".disable_ipv6 is 1 there), and the agent could not switch it "
              "on; leave IPv6 out of the claim, or switch it on in the pod's namespace",
          EACCES};
}

/// The kernel's text for what only it can know, as a sentence with a code that says whose it is.
Error address_refused(Error error, const netlink::IpPrefix& address, const std::string& interface) {
  if (error.sys_errno() == EEXIST) {
    return {Code::kExists,
            "the address " + address.address().to_string() +
                " is there already with another prefix length than " + std::to_string(address.length()),
            EEXIST};
  }
  if (error.sys_errno() == EACCES && address.is_v6()) {  // net/ipv6/addrconf.c: disable_ipv6 is set
    return ipv6_is_off("the address " + address.address().to_string(), interface);
  }
  return refused_by_kernel(std::move(error), "take the address " + address.to_string());
}

Error up_refused(Error error, netlink::Socket& pod, const Interface& interface, const NetdevPlan& plan) {
  if (error.sys_errno() != EADDRINUSE) {
    return refused_by_kernel(std::move(error), "set the interface up");
  }
  // drivers/net/macvlan.c macvlan_open: the master's own, or that of another macvlan on it.
  const auto link = pod.link(interface.index);
  const std::string mac = link && *link ? " " + (*link)->mac.to_string() : "";
  return {
      Code::kExists,
      "the MAC address" + mac + " is taken on " + (plan.master.empty() ? "its master" : plan.master) +
          ", by that link itself or by another interface on it; take another, or leave mac out to get one",
      EADDRINUSE};
}

/// "through eth0", of the route that is in the way; of a default route that makes no room (Socket::
/// change_metric) also why.
std::string holder_of(netlink::Socket& pod, const netlink::NewRoute& wanted) {
  const auto routes = pod.routes(wanted.table);
  if (!routes) {
    return "";
  }
  for (const netlink::Route& route : *routes) {
    if (route.destination == wanted.destination && route.metric == wanted.metric && !route.hops.empty()) {
      const auto link = pod.link(route.hops.front().link);
      const std::string through = link && *link ? " through " + (*link)->name : "";
      if (!route.destination.is_default() ||
          (route.protocol != RTPROT_RA && route.protocol != RTPROT_KERNEL)) {
        return through;
      }
      return through + (route.protocol == RTPROT_RA ? ", by a router advertisement," : ", by the kernel,") +
             " and keeps its metric";
    }
  }
  return "";
}

Error route_refused(Error error, netlink::Socket& pod, const netlink::NewRoute& route,
                    const std::string& interface) {
  const std::string to = "the route to " + route.destination.to_string();
  if (error.sys_errno() == EACCES && route.destination.is_v6()) {  // net/ipv6/route.c: likewise
    return ipv6_is_off(to, interface);
  }
  if (error.sys_errno() == EEXIST) {
    return {Code::kExists,
            to + " with the metric " + std::to_string(route.metric) + " is in the pod already" +
                holder_of(pod, route) + "; give the one of the claim another metric",
            EEXIST};
  }
  return refused_by_kernel(std::move(error), "take " + to);
}

bool needs_ipv6(const NetdevPlan& plan) {
  return std::ranges::any_of(plan.addresses, &netlink::IpPrefix::is_v6) ||
         std::ranges::any_of(plan.routes, [](const RouteConfig& route) { return route.destination.is_v6(); });
}

/// A cluster network without IPv6 leaves it switched off in a pod's namespace for every interface to come.
Result<> switch_ipv6_on(const Place& pod, const std::string& interface) {
  const std::string setting = "ipv6/conf/" + interface + "/disable_ipv6";
  const auto disabled = sys::read_net_sysctl(pod.netns, setting);
  if (!disabled && disabled.error().code() == Code::kNotFound) {
    return Error(Code::kUnsupported,
                 "the claim asks for IPv6, and there is none for this interface: the node's kernel "
                 "runs without it, or the MTU is below 1280");
  }
  if (!disabled || *disabled == "0") {
    return {};  // what cannot be read need not be wrong: the kernel says it with the first address
  }
  if (const auto written = sys::write_net_sysctl(pod.netns, setting, "0"); !written) {
    return Error(Code::kUnsupported,
                 "IPv6 is switched off in the pod's network namespace (net.ipv6.conf." + interface +
                     ".disable_ipv6), and the agent cannot switch it on for the claim's interface: " +
                     written.error().what());
  }
  return {};
}

/// Makes the kernel announce the addresses to neighbours when the interface is set up: a neighbour may still
/// have the address cached with the MAC of an earlier pod. ndisc_notify cannot be set by netlink.
void announce_ipv6(const Place& pod, const std::string& interface) {
  const auto written = sys::write_net_sysctl(pod.netns, "ipv6/conf/" + interface + "/ndisc_notify", "1");
  if (!written) {
    log::warn("cannot announce a pod's IPv6 addresses to neighbours",
              {{"interface", interface}, {"error", written.error().what()}});
  }
}

/// One exchange for interfaces; after it, who is to blame for what failed.
class Setup {
 public:
  explicit Setup(const Place& pod) : pod_(pod) {}

  /// All must outlive it. `position`: see run().
  void add(std::size_t position, const Configuration& wanted, const std::vector<netlink::NewRoute>& routes) {
    const Interface& interface = wanted.interface;
    const NetdevPlan& plan = *wanted.plan;
    const auto blame = [&](Refused refused) {
      blame_.push_back({.position = position, .refused = std::move(refused)});
    };
    netlink::LinkChange first;
    if (!interface.alias.empty()) {
      first.alias = interface.alias;
      first.group = 0;
    }
    if (!std::ranges::all_of(plan.addresses, &netlink::IpPrefix::is_v6)) {
      first.arp_notify = true;
    }
    if (first.alias || first.arp_notify) {
      batch_.change_link(interface.index, first);
      blame({});
    }
    for (const netlink::IpPrefix& prefix : plan.addresses) {
      batch_.add_address({.link = interface.index, .prefix = prefix});
      blame([&](Error error) { return address_refused(std::move(error), prefix, interface.name); });
    }
    batch_.change_link(interface.index, {.up = true});
    blame([&](Error error) { return up_refused(std::move(error), *pod_.socket, interface, plan); });
    for (const netlink::NewRoute& route : routes) {
      batch_.add_route(route);
      blame(
          [&](Error error) { return route_refused(std::move(error), *pod_.socket, route, interface.name); });
    }
  }

  /// On failure `failed` is the position of the interface whose error it is.
  Result<> run(std::size_t& failed) {
    if (batch_.empty()) {
      return {};
    }
    failed = blame_.front().position;
    FL_ASSIGN(const auto failures, pod_.socket->run_each(std::move(batch_)));
    if (failures.empty()) {
      return {};
    }
    const auto& [at, error] = failures.front();
    failed = blame_[at].position;
    return blame_[at].refused ? blame_[at].refused(error) : error;
  }

 private:
  using Refused = std::function<Error(Error)>;
  struct Blame {
    std::size_t position = 0;
    Refused refused;  // empty: as the kernel says it
  };
  const Place& pod_;
  netlink::Batch batch_;
  std::vector<Blame> blame_;  // one per request
};

}  // namespace

Result<std::vector<std::function<void()>>> configure_all(const Place& pod,
                                                         std::span<const Configuration> wanted,
                                                         std::size_t& failed) {
  struct Routes {
    MovedRoutes moved;
    std::vector<netlink::NewRoute> routes;
  };
  std::vector<Routes> routes(wanted.size());
  ScopeExit undo([&] {
    for (Routes& each : std::views::reverse(routes)) {
      each.moved.undo(*pod.socket, each.routes);
    }
  });
  std::size_t sent = 0;
  const auto send_until = [&](std::size_t end) {
    Setup setup(pod);
    for (; sent < end; ++sent) {
      setup.add(sent, wanted[sent], routes[sent].routes);
    }
    return setup.run(failed);
  };
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const auto& [interface, plan] = wanted[i];
    if (std::ranges::any_of(plan->routes, &RouteConfig::is_main_default)) {
      FL_TRY(send_until(i));  // arrange_routes() must see the routes of those before
    }
    failed = i;
    if (needs_ipv6(*plan)) {
      FL_TRY(switch_ipv6_on(pod, interface.name));
      announce_ipv6(pod, interface.name);
    }
    FL_ASSIGN(routes[i].routes, arrange_routes(*pod.socket, interface.index, plan->routes, routes[i].moved));
  }
  FL_TRY(send_until(wanted.size()));
  undo.release();
  std::vector<std::function<void()>> undo_in_pod(wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!routes[i].moved.empty()) {
      undo_in_pod[i] = [each = std::move(routes[i]), socket = pod.socket]() mutable {
        each.moved.undo(*socket, each.routes);
      };
    }
  }
  return undo_in_pod;
}

Result<std::function<void()>> configure(const Place& pod, const Interface& interface,
                                        const NetdevPlan& plan) {
  const Configuration wanted{.interface = interface, .plan = &plan};
  std::size_t failed = 0;
  FL_ASSIGN(auto undo_in_pod, configure_all(pod, std::span(&wanted, 1), failed));
  return std::move(undo_in_pod.front());
}

}  // namespace fairlead::devices::netdev
