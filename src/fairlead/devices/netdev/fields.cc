// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/fields.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <utility>

#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/check.h"

namespace fairlead::devices::netdev {
namespace {

using fields::Problem;
using fields::Sourced;
using netlink::IpAddress;
using netlink::IpPrefix;
using netlink::MacAddress;

constexpr std::size_t kEthernetMac = 6;

/// Not a group, not the loopback's, not "this network" (RFC 6890), not an IPv4-mapped IPv6 address (RFC 4291,
/// 2.5.5.2): no host of a network has such an address, although the kernel takes some of them.
bool is_host_address(const IpAddress& address) {
  const auto is_in = [&](std::string_view network, std::size_t length) {
    const auto other = IpAddress::parse(network);
    return other && address.is_v6() == other->is_v6() && address.masked(length) == *other;
  };
  return !is_in("0.0.0.0", 8) && !is_in("127.0.0.0", 8) && !is_in("224.0.0.0", 4) &&
         !is_in("255.255.255.255", 32) && !is_in("::", 128) && !is_in("::1", 128) &&
         !is_in("::ffff:0:0", 96) && !is_in("ff00::", 8);
}

/// Networks of one or two addresses have no others (RFC 3021, RFC 6164).
bool has_host_part(const IpPrefix& prefix) {
  return prefix.length() + 2U > prefix.address().bits() ||
         (prefix.network().address() != prefix.address() && !is_broadcast(prefix));
}

std::string why_no_host(const IpPrefix& prefix) {
  const std::string of = " of " + prefix.network().to_string() + " itself; an interface needs one in it";
  if (is_broadcast(prefix)) {
    return " is the broadcast address" + of;
  }
  // RFC 4291, 2.6.1: every router of the network has it.
  return (prefix.is_v6() ? " is the routers' anycast address" : " is the address") + of;
}

constexpr std::array<std::pair<std::string_view, std::uint8_t>, kRouteScopes.size()> kScopes = {
    {{"global", RT_SCOPE_UNIVERSE},
     {"site", RT_SCOPE_SITE},
     {"link", RT_SCOPE_LINK},
     {"host", RT_SCOPE_HOST}}};

std::uint8_t scope_of(std::string_view word) {
  const auto* const found = std::ranges::find(kScopes, word, [](const auto& scope) { return scope.first; });
  return found == kScopes.end() ? std::uint8_t{RT_SCOPE_UNIVERSE} : found->second;
}

/// Texts that Format::check has accepted.
RouteConfig to_route(const fields::Values& in) {
  RouteConfig route{.destination = *IpPrefix::parse(in.string("dst")->value)};
  if (const auto gw = in.string("gw")) {
    route.gateway = *IpAddress::parse(gw->value);
  }
  if (const auto metric = in.integer("metric")) {
    route.metric = static_cast<std::uint32_t>(metric->value);
  }
  if (const auto table = in.integer("table")) {
    route.table = static_cast<std::uint32_t>(table->value);
  }
  if (const auto onlink = in.boolean("onlink")) {
    route.onlink = onlink->value;
  }
  if (const auto scope = in.string("scope")) {
    route.scope = scope_of(scope->value);
  }
  if (const auto src = in.string("src")) {
    route.source = *IpAddress::parse(src->value);
  }
  return route;
}

/// What fits no route, whatever the interface's addresses are.
std::optional<Problem> check_route_by_itself(const fields::Values& in) {
  const auto gw = in.string("gw");
  const auto scope = in.string("scope");
  const auto src = in.string("src");
  const std::string dst = in.string("dst")->value;
  const bool is_v6 = IpPrefix::parse(dst)->is_v6();
  if (gw && IpAddress::parse(gw->value)->is_v6() != is_v6) {
    return Problem{".gw", quoted(gw->value) + " is not of the same family as the destination " + dst};
  }
  if (const auto onlink = in.boolean("onlink"); onlink && onlink->value && !gw) {
    return Problem{".onlink", "says that the gateway is on the link, but this route has no gw"};
  }
  if (scope && is_v6) {
    return Problem{".scope", "IPv6 routes have no scope; leave it out"};
  }
  if (scope && gw && scope_of(scope->value) >= RT_SCOPE_LINK) {
    return Problem{".scope",
                   quoted(scope->value) + " is of routes without a gateway; with gw it is global or site"};
  }
  const auto source = src ? IpAddress::parse(src->value) : IpAddress();
  if (src && (!source || source->is_v6() != is_v6)) {
    return Problem{".src", quoted(src->value) + " is not an address of the destination's family (such as " +
                               (is_v6 ? "2001:db8::10" : "192.0.2.10") + ", without a prefix length)"};
  }
  return std::nullopt;
}

std::string item(std::size_t index) { return "[" + std::to_string(index) + "]"; }

/// The same field with its value in another form.
template <class T, class From>
Sourced<T> sourced(const Sourced<From>& from, T value) {
  return {.value = std::move(value), .path = from.path, .from_class = from.from_class};
}

}  // namespace

std::optional<std::string> check_interface_name(std::string_view text) {
  if (const auto valid = netlink::check_link_name(text); !valid) {
    return valid.error().what();
  }
  if (text == "lo") {
    return "\"lo\" is the loopback interface that every pod has";
  }
  if (text == "all" || text == "default") {
    // net/ipv4/devinet.c devinet_sysctl_register: EINVAL at the link's birth.
    return quoted(text) + " means all interfaces in the kernel's settings (net.ipv4.conf." +
           std::string(text) + "); take another name";
  }
  return std::nullopt;
}

std::optional<std::string> check_mac(std::string_view text) {
  const auto mac = MacAddress::parse(text);
  if (!mac || mac->octets().size() != kEthernetMac) {
    return quoted(text) + " is not a MAC address (six bytes such as 02:00:00:00:00:01)";
  }
  if (mac->is_multicast()) {
    return quoted(text) + " is a group address, an interface needs a unicast one (the first byte even)";
  }
  if (mac->is_zero()) {
    return "an interface cannot have the address " + quoted(text);
  }
  return std::nullopt;
}

std::optional<std::string> check_interface_address(std::string_view text) {
  const auto prefix = IpPrefix::parse(text);
  if (!prefix) {
    return quoted(text) + " is not an address with its prefix length (such as 192.0.2.10/24)";
  }
  if (!is_host_address(prefix->address())) {
    return quoted(text) + " is not an address that an interface can have";
  }
  if (!has_host_part(*prefix)) {
    return quoted(text) + why_no_host(*prefix);
  }
  return std::nullopt;
}

std::optional<std::string> check_destination(std::string_view text) {
  if (text.empty()) {
    return "must be a destination such as 10.0.0.0/8, not an empty string";
  }
  const auto destination = IpPrefix::parse(text);
  if (!destination) {
    return quoted(text) + " is not a destination with its prefix length (such as 10.0.0.0/8)";
  }
  if (destination->network() != *destination) {
    return quoted(text) + " has bits behind its prefix length; the network is " +
           destination->network().to_string();
  }
  return std::nullopt;
}

std::optional<std::string> check_gateway_address(std::string_view text) {
  const auto gateway = IpAddress::parse(text);
  if (!gateway || !is_host_address(*gateway)) {
    return quoted(text) + " is not a gateway's address (such as 192.0.2.1)";
  }
  return std::nullopt;
}

std::optional<std::string> check_link_reference(std::string_view text) {
  constexpr std::size_t kAltnameMax = 127;  // ALTIFNAMSIZ - 1
  if (text.empty() || text.size() > kAltnameMax || text.find('/') != std::string_view::npos) {
    return quoted(text) + " cannot be the name of a link";
  }
  return std::nullopt;
}

std::optional<Problem> check_distinct_addresses(const fields::Value& value) {
  const auto& texts = std::get<std::vector<std::string>>(value.data);
  std::vector<IpAddress> addresses;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const IpAddress address = IpPrefix::parse(texts[i])->address();
    if (std::ranges::find(addresses, address) != addresses.end()) {
      return Problem{item(i), quoted(texts[i]) + " is listed twice"};
    }
    addresses.push_back(address);
  }
  return std::nullopt;
}

std::optional<Problem> check_table(const fields::Value& value) {
  if (std::get<std::int64_t>(value.data) == RT_TABLE_LOCAL) {
    return Problem{"", "255 is the table of the kernel's own (local)"};
  }
  return std::nullopt;
}

std::optional<Problem> check_routes_by_themselves(const fields::Value& value) {
  const auto& routes = std::get<std::vector<fields::Values>>(value.data);
  for (std::size_t i = 0; i < routes.size(); ++i) {
    if (auto problem = check_route_by_itself(routes[i])) {
      problem->at = item(i) + problem->at;
      return problem;
    }
  }
  return std::nullopt;
}

CommonValues common_values(const fields::Values& values) {
  CommonValues common{.interface_name = values.string("interfaceName"), .path = values.path()};
  if (const auto mtu = values.integer("mtu")) {
    common.mtu = sourced(*mtu, static_cast<std::uint32_t>(mtu->value));
  }
  if (const auto mac = values.string("mac")) {
    common.mac = sourced(*mac, *MacAddress::parse(mac->value));
  }
  if (const auto addresses = values.strings("addresses")) {
    std::vector<IpPrefix> prefixes;
    for (const std::string& text : addresses->value) {
      prefixes.push_back(*IpPrefix::parse(text));
    }
    common.addresses = sourced(*addresses, std::move(prefixes));
  }
  if (const auto routes = values.objects("routes")) {
    std::vector<RouteConfig> all;
    for (const fields::Values& route : routes->value) {
      all.push_back(to_route(route));
    }
    common.routes = sourced(*routes, std::move(all));
  }
  return common;
}

}  // namespace fairlead::devices::netdev
