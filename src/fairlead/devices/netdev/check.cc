// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/check.h"

#include <net/if_arp.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/common.h"
#include "fairlead/devices/netdev/link_use.h"
#include "fairlead/devices/netdev/netdev_kind.h"
#include "fairlead/devices/netdev/sharing.h"
#include "fairlead/devices/node.h"
#include "fairlead/devices/other_claims.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::IpAddress;
using netlink::IpPrefix;

constexpr std::uint32_t kMinMtu6 = 1280;  // RFC 8200, section 5

bool contains(const IpPrefix& network, const IpAddress& address) {
  return network.is_v6() == address.is_v6() &&
         IpPrefix(address, network.length()).network() == network.network();
}

/// fe80::/10
bool is_link_local(const IpAddress& address) {
  return address.is_v6() && address.octets()[0] == 0xfe && (address.octets()[1] & 0xc0U) == 0x80;
}

std::string list_of(const std::vector<IpPrefix>& prefixes) {
  std::string out;
  for (const IpPrefix& prefix : prefixes) {
    out += (out.empty() ? "" : ", ") + prefix.to_string();
  }
  return out.empty() ? "there are none" : out;
}

std::string item(const std::string& path, std::size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

/// The kernel's number for a route's place among those to the same destination.
std::uint32_t metric_of(const RouteConfig& route) {
  const bool v6 = route.destination.is_v6();
  if (!route.metric && route.is_main_default()) {
    return default_route_metric(v6);
  }
  const std::uint32_t metric = route.metric.value_or(0);
  return v6 && metric == 0 ? kKernelMetric6 : metric;
}

bool is_same_place(const RouteConfig& a, const RouteConfig& b) {
  return a.destination == b.destination && a.table == b.table && metric_of(a) == metric_of(b);
}

/// A route of the claim that leads to the gateway without another gateway, where the kernel looks for one
/// (net/ipv4/fib_semantics.c fib_check_nh_v4_gw: the route's own table, then by the rules, so the main one).
bool is_covered(const RouteConfig& wanted, const std::vector<RouteConfig>& routes) {
  return std::ranges::any_of(routes, [&](const RouteConfig& other) {
    return !other.gateway && contains(other.destination, *wanted.gateway) &&
           (other.table == wanted.table || other.table == netlink::kMainTable);
  });
}

Result<> check_gateway(const RouteConfig& route, const std::string& path,
                       const std::vector<IpPrefix>& addresses, const std::vector<RouteConfig>& routes) {
  const IpAddress& gateway = *route.gateway;
  if (std::ranges::find(addresses, gateway, &IpPrefix::address) != addresses.end()) {
    return Error(Code::kInvalid, path + ": " + gateway.to_string() +
                                     " is the interface's own address; a gateway is another machine's");
  }
  const auto subnet =
      std::ranges::find_if(addresses, [&](const IpPrefix& prefix) { return contains(prefix, gateway); });
  if (subnet == addresses.end()) {
    if (route.onlink || is_link_local(gateway) || is_covered(route, routes)) {
      return {};
    }
    return Error(Code::kInvalid, path + ": " + gateway.to_string() +
                                     " is in no network of the interface's addresses (" + list_of(addresses) +
                                     "); add an address, or a route without gw that leads to it, or say "
                                     "onlink: true if it is on the link all the same");
  }
  const IpPrefix in_subnet(gateway, subnet->length());
  const bool is_network = !gateway.is_v6() && subnet->length() < 31 && in_subnet == in_subnet.network();
  if (is_network || is_broadcast(in_subnet)) {
    return Error(Code::kInvalid, path + ": " + gateway.to_string() + " is the " +
                                     (is_network ? "address" : "broadcast address") + " of " +
                                     in_subnet.network().to_string() + " itself, not a machine's");
  }
  return {};
}

Result<> check_route(const RouteConfig& route, const std::string& path,
                     const std::vector<IpPrefix>& addresses, const std::vector<RouteConfig>& routes) {
  if (route.gateway) {
    FL_TRY(check_gateway(route, path + ".gw", addresses, routes));
  }
  if (route.source && std::ranges::find(addresses, *route.source, &IpPrefix::address) == addresses.end()) {
    return Error(Code::kInvalid, path + ".src: " + route.source->to_string() +
                                     " is none of the interface's addresses (" + list_of(addresses) + ")");
  }
  // The kernel makes this one with the address; only that without gateway is the same.
  const bool makes_it =
      route.gateway && !route.destination.is_v6() && metric_of(route) == 0 &&
      route.table == netlink::kMainTable &&
      std::ranges::find(addresses, route.destination, &IpPrefix::network) != addresses.end();
  if (makes_it) {
    return Error(Code::kInvalid, path + ".dst: " + route.destination.to_string() +
                                     " is on the link, by the interface's address there; leave the route "
                                     "out, or give it a metric");
  }
  return {};
}

/// The first setting that needs IPv6; empty if there is none.
std::string ipv6_need(const CommonValues& common) {
  if (common.addresses) {
    const auto& all = common.addresses->value;
    const auto found = std::ranges::find_if(all, &IpPrefix::is_v6);
    if (found != all.end()) {
      return "the address " + found->to_string();
    }
  }
  if (common.routes) {
    for (const RouteConfig& route : common.routes->value) {
      if (route.destination.is_v6()) {
        return "the route to " + route.destination.to_string();
      }
    }
  }
  return "";
}

/// "request b of this claim", "claim data-net", or no name for one of another namespace: that is in the log.
std::string name_of(const PlanInput& input, const OtherDevice& other, const std::string& what) {
  const PlannedClaim& claim = *other.claim;
  if (input.claim != nullptr && claim.uid == input.claim->uid) {
    return "request " + other.plan().request + " of this claim";
  }
  if (input.claim != nullptr && claim.namespace_ == input.claim->namespace_) {
    return "claim " + claim.name;
  }
  log::info("a claim conflicts with a claim of another namespace",
            {{"claim", input.claim == nullptr ? "" : input.claim->namespace_ + "/" + input.claim->name},
             {"wants", what},
             {"of", claim.namespace_ + "/" + claim.name}});
  return "another claim";
}

/// Recognizes `ours`, whatever it was called when another claim was planned.
OtherClaims::IsLink is_link(const NodeView& node, const sys::InventoryLink& ours) {
  return [&](const sys::InventoryLink& was) {
    const auto is_it = [&](const sys::InventoryLink& link) { return is_same_link(was, link.link); };
    return is_it(ours) ||
           (is_made_anew(was, ours.link) && std::ranges::none_of(node.inventory().links(), is_it));
  };
}

/// The addresses and MACs that the node itself uses, where the planned interface could take them over.
class NodesOwn {
 public:
  /// `at`: the link of the node that the interface sits on, or the NIC that leaves the node with all it has
  /// (`leaves`). nullptr: the interface is on no network by itself (a dummy, a veth without bridge).
  NodesOwn(const NodeView& node, const sys::InventoryLink* at, bool leaves)
      : node_(node), at_(at), leaves_(leaves) {
    if (at != nullptr) {
      stack_ = node.inventory().stack_of(at->link.index);
    }
  }

  Result<> check_address(const std::string& path, const IpAddress& address) const {
    const auto refused = [&](const std::string& what) {
      return Error(Code::kExists, path + ": " + address.to_string() + " is " + what +
                                      " would go to the pod; choose one that is not in use");
    };
    for (const sys::InventoryLink& link : node_.inventory().links()) {
      if (!counts(link, address)) {
        continue;
      }
      if (std::ranges::find(link.addresses, address) != link.addresses.end()) {
        return refused("the node's own address, on " + link.link.name + ", and what is sent to it");
      }
      if (is_close(link) && std::ranges::find(link.gateways, address) != link.gateways.end()) {
        return refused("a gateway of the node, on " + link.link.name +
                       ", and what the node sends through it");
      }
    }
    const auto& nodes = node_.addresses();
    if (std::ranges::find(nodes, address) != nodes.end()) {
      return refused("an address of the Node object, and what is sent to the node");
    }
    return {};
  }

  Result<> check_mac(const std::string& path, const netlink::MacAddress& mac) const {
    const auto& links = node_.inventory().links();
    const auto owner = std::ranges::find_if(links, [&](const sys::InventoryLink& link) {
      // A link staged here for a container runtime belongs to a claim, whose plan is checked.
      const bool counts = !Marker::parse(link.link.alias) && !(leaves_ && mac == at_->link.mac);
      return counts && link.link.mac == mac;
    });
    if (owner == links.end()) {
      return {};
    }
    return Error(Code::kExists, path + ": " + mac.to_string() + " is the MAC address of the node's link " +
                                    owner->link.name + "; take another, or leave mac out");
  }

 private:
  /// What the interface sits on, and the uplink: a NIC may be plugged into the uplink's switch.
  [[nodiscard]] bool is_close(const sys::InventoryLink& link) const {
    return link.is_uplink || node_.is_uplink(link) ||
           std::ranges::any_of(stack_, [&](const auto& entry) { return entry.link == &link; });
  }
  /// The kernel does not report which links share a network: two NICs may be plugged into one switch. A link
  /// that is itself a switch of the node (docker0, cni0) or leads to a pod is a separate network unless the
  /// interface sits on it. Link-local addresses are valid in one network only, and many networks have the
  /// same (fe80::1).
  [[nodiscard]] bool counts(const sys::InventoryLink& link, const IpAddress& address) const {
    if (at_ == nullptr) {
      // Linux answers ARP for every address of the pod on all of its interfaces (arp_ignore 0), and it usually has one
      // on a bridge of the node.
      return is_close(link) || !is_link_local(address);
    }
    if (leaves_ && link.link.index == at_->link.index) {
      return false;
    }
    const bool is_apart =
        (link.link.kind == "bridge" || link.link.kind == "veth") && !node_.is_candidate(link);
    return is_close(link) || (!is_apart && !is_link_local(address));
  }

  const NodeView& node_;
  const sys::InventoryLink* at_;
  bool leaves_;
  std::vector<sys::Inventory::StackEntry> stack_;
};

}  // namespace

bool is_broadcast(const IpPrefix& prefix) {
  if (prefix.is_v6() || prefix.length() > 30) {
    return false;
  }
  std::uint32_t address = 0;
  for (const std::uint8_t octet : prefix.address().octets()) {
    address = address << 8U | octet;
  }
  const std::uint32_t host_bits = ~std::uint32_t{0} >> prefix.length();
  return (address & host_bits) == host_bits;
}

Result<> check_routes(const CommonValues& common) {
  if (!common.routes) {
    return {};
  }
  const std::vector<IpPrefix> none;
  const auto& addresses = common.addresses ? common.addresses->value : none;
  const auto& routes = common.routes->value;
  for (std::size_t i = 0; i < routes.size(); ++i) {
    const std::string path = item(common.routes->path, i);
    FL_TRY(check_route(routes[i], path, addresses, routes));
    const auto before =
        std::ranges::find_if(routes.begin(), routes.begin() + static_cast<std::ptrdiff_t>(i),
                             [&](const auto& other) { return is_same_place(other, routes[i]); });
    if (before != routes.begin() + static_cast<std::ptrdiff_t>(i)) {
      return Error(Code::kInvalid, path + ": the destination " + routes[i].destination.to_string() +
                                       " with this metric is " +
                                       item("routes", static_cast<std::size_t>(before - routes.begin())) +
                                       " already; give one of them another metric, or leave it out");
    }
  }
  return {};
}

Result<> check_mtu(const CommonValues& common) {
  const std::string need = ipv6_need(common);
  if (need.empty() || !common.mtu || common.mtu->value >= kMinMtu6) {
    return {};
  }
  return Error(Code::kInvalid, common.mtu->path + ": " + std::to_string(common.mtu->value) +
                                   " is too small for IPv6, which needs " + std::to_string(kMinMtu6) +
                                   ", and there is " + need);
}

Result<> check_inherited_mtu(const CommonValues& common, std::string_view parent, std::uint32_t mtu) {
  const std::string need = ipv6_need(common);
  if (need.empty() || common.mtu || mtu >= kMinMtu6) {
    return {};
  }
  return Error(Code::kInvalid, common.path + ": " + need + " needs IPv6, which needs an MTU of " +
                                   std::to_string(kMinMtu6) + ", and the interface gets the " +
                                   std::to_string(mtu) + " of " + std::string(parent));
}

Result<> check_nic_takes(const CommonValues& common, const netlink::Link& nic) {
  const std::size_t length = nic.mac.octets().size();
  if (common.mac && common.mac->value.octets().size() != length) {
    return Error(Code::kInvalid, common.mac->path + ": the hardware address of the NIC " + nic.name +
                                     " has " + std::to_string(length) + " bytes, not the " +
                                     std::to_string(common.mac->value.octets().size()) + " of " +
                                     common.mac->value.to_string() +
                                     (nic.arphrd == ARPHRD_INFINIBAND ? " (InfiniBand has its own)" : "") +
                                     "; leave mac out");
  }
  if (!common.mtu) {
    return {};
  }
  const std::uint32_t mtu = common.mtu->value;
  const bool is_too_large = nic.max_mtu != 0 && mtu > nic.max_mtu;
  if (mtu >= nic.min_mtu && !is_too_large) {
    return {};
  }
  return Error(Code::kInvalid,
               common.mtu->path + ": " + std::to_string(mtu) + " is " + (is_too_large ? "more" : "less") +
                   " than the NIC " + nic.name + " takes (" + std::to_string(nic.min_mtu) +
                   (nic.max_mtu != 0 ? " to " + std::to_string(nic.max_mtu) : " or more") + ")");
}

Result<> check_not_the_nodes(const PlanInput& input, const CommonValues& common, const NetdevPlan& plan) {
  const bool leaves = plan.original.has_value();
  const auto at = leaves ? std::optional(plan.original->link) : plan.parent;
  const NodesOwn own(*input.node, at ? &*at : nullptr, leaves);
  if (plan.mac && at) {  // without a parent only the node is at its other end
    FL_TRY(own.check_mac(common.mac->path, *plan.mac));
  }
  for (std::size_t i = 0; i < plan.addresses.size(); ++i) {
    FL_TRY(own.check_address(item(common.addresses->path, i), plan.addresses[i].address()));
  }
  return {};
}

Result<> check_taken(const PlanInput& input, const CommonValues& common, const NetdevPlan& plan) {
  if (input.others == nullptr || !plan.parent) {
    return {};
  }
  const std::string& link = plan.parent->link.name;
  const auto on_link = is_link(*input.node, *plan.parent);
  for (const auto& [what, value] : plan.must_agree) {
    if (const auto other = input.others->find_other_value(on_link, what, value)) {
      return Error(Code::kDenied,
                   common.path + ": " + link + " has " + with_article(other->value) + " on it, of " +
                       name_of(input, *other, "the " + what + " " + other->value) + ", which excludes " +
                       with_article(value) + "; take what is there, or another master");
    }
  }
  const auto taken = [&](const std::string& path, const std::string& want,
                         const std::string& advice) -> Result<> {
    const auto other = input.others->find_want(on_link, want);
    return other ? Error(Code::kExists, path + ": the " + want + " is taken on " + link + ", by " +
                                            name_of(input, *other, "the " + want) + "; take another" + advice)
                 : Result<>();
  };
  for (const std::string& want : plan.wants) {
    FL_TRY(taken(common.path, want, ""));
  }
  if (plan.mac) {
    FL_TRY(taken(common.mac->path, wanted_mac(*plan.mac), ", or leave mac out to get one"));
  }
  for (std::size_t i = 0; i < plan.addresses.size(); ++i) {
    FL_TRY(taken(item(common.addresses->path, i), wanted_address(plan.addresses[i].address()), ""));
  }
  return {};
}

}  // namespace fairlead::devices::netdev
