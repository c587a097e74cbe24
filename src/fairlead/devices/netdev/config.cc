// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/config.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/check.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::IpAddress;
using netlink::IpPrefix;
using netlink::MacAddress;
using strict_json::Object;

constexpr std::size_t kMaxAddresses = 32;
constexpr std::size_t kMaxRoutes = 64;
constexpr std::size_t kEthernetMac = 6;
// IPv4's smallest (RFC 791) and the largest an interface of ours can have.
constexpr std::int64_t kMinMtu = 68;
constexpr std::int64_t kMaxMtu = 65535;

struct Owned {
  std::string_view field;
  std::string_view kind;
};
/// Fields that only one kind has.
constexpr std::array<Owned, 5> kOwned = {{{"master", "macvlan"},
                                          {"mode", "macvlan"},
                                          {"bridge", "veth"},
                                          {"device", "host-device"},
                                          {"pciBusID", "host-device"}}};

/// Reads one section into a config, overriding what is there.
class Reader {
 public:
  Reader(const Section& section, Config& config) : section_(section), in_(section.fields), config_(config) {}

  void read(std::string_view kind) {
    refuse_foreign(kind);
    read_interface_name();
    read_mtu();
    read_mac();
    read_addresses();
    read_routes();
    if (kind == "macvlan") {
      read_link_name("master", config_.master);
      read_mode();
    } else if (kind == "veth") {
      read_link_name("bridge", config_.bridge);
    } else if (kind == "host-device") {
      read_link_name("device", config_.device);
      read_pci_bus_id();
    }
  }

 private:
  template <class T>
  void set(std::optional<Field<T>>& field, std::string_view key, T value) {
    field = Field<T>{.value = std::move(value), .path = in_.path_of(key), .from_class = section_.from_class};
  }

  void refuse_foreign(std::string_view kind) {
    for (const Owned& owned : kOwned) {
      if (owned.kind != kind && in_.has(owned.field)) {
        in_.fail(owned.field, "belongs to kind " + quoted(owned.kind) + ", not to " + quoted(kind));
      }
    }
  }

  void read_interface_name() {
    const auto name = in_.optional_string("interfaceName");
    if (!name) {
      return;
    }
    if (const auto valid = netlink::check_link_name(*name); !valid) {
      in_.fail("interfaceName", valid.error().what());
    } else if (*name == "lo") {
      in_.fail("interfaceName", "\"lo\" is the loopback interface that every pod has");
    } else if (*name == "all" || *name == "default") {
      // net/ipv4/devinet.c devinet_sysctl_register: EINVAL at the link's birth.
      in_.fail("interfaceName", quoted(*name) +
                                    " stands for all interfaces in the kernel's settings "
                                    "(net.ipv4.conf." +
                                    *name + "); take another name");
    } else {
      set(config_.interface_name, "interfaceName", *name);
    }
  }

  void read_mtu() {
    if (const auto mtu = in_.optional_integer("mtu", kMinMtu, kMaxMtu)) {
      set(config_.mtu, "mtu", static_cast<std::uint32_t>(*mtu));
    }
  }

  void read_mac() {
    const auto text = in_.optional_string("mac");
    if (!text) {
      return;
    }
    const auto mac = MacAddress::parse(*text);
    if (!mac || mac->octets().size() != kEthernetMac) {
      in_.fail("mac", quoted(*text) + " is not a MAC address (six bytes such as 02:00:00:00:00:01)");
    } else if (mac->is_multicast()) {
      in_.fail("mac",
               quoted(*text) + " is a group address, an interface needs a unicast one (the first byte even)");
    } else if (mac->is_zero()) {
      in_.fail("mac", "an interface cannot have the address " + quoted(*text));
    } else {
      set(config_.mac, "mac", *mac);
    }
  }

  void read_addresses() {
    if (!in_.has("addresses")) {
      return;
    }
    std::vector<IpPrefix> prefixes;
    const auto texts = in_.optional_strings("addresses", kMaxAddresses);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const auto prefix = IpPrefix::parse(texts[i]);
      if (!prefix) {
        in_.fail_item("addresses", i,
                      quoted(texts[i]) + " is not an address with its prefix length (such as 192.0.2.10/24)");
      } else if (!is_host_address(prefix->address())) {
        in_.fail_item("addresses", i, quoted(texts[i]) + " is not an address that an interface can have");
      } else if (!has_host_part(*prefix)) {
        in_.fail_item("addresses", i, quoted(texts[i]) + why_no_host(*prefix));
      } else if (std::ranges::find(prefixes, prefix->address(), &IpPrefix::address) != prefixes.end()) {
        in_.fail_item("addresses", i, quoted(texts[i]) + " stands here twice");
      } else {
        prefixes.push_back(*prefix);
      }
    }
    set(config_.addresses, "addresses", std::move(prefixes));
  }

  /// Not a group, not the loopback's, not "this network" (RFC 6890), not IPv4 in IPv6's clothes (RFC 4291,
  /// 2.5.5.2): no host of a network has such an address, although the kernel takes some of them.
  static bool is_host_address(const IpAddress& address) {
    const auto is_in = [&](std::string_view network, std::size_t length) {
      const auto other = IpAddress::parse(network);
      return other && address.is_v6() == other->is_v6() && address.masked(length) == *other;
    };
    return !is_in("0.0.0.0", 8) && !is_in("127.0.0.0", 8) && !is_in("224.0.0.0", 4) &&
           !is_in("255.255.255.255", 32) && !is_in("::", 128) && !is_in("::1", 128) &&
           !is_in("::ffff:0:0", 96) && !is_in("ff00::", 8);
  }

  /// Networks of one or two addresses have no others (RFC 3021, RFC 6164).
  static bool has_host_part(const IpPrefix& prefix) {
    return prefix.length() + 2U > prefix.address().bits() ||
           (prefix.network().address() != prefix.address() && !is_broadcast(prefix));
  }

  static std::string why_no_host(const IpPrefix& prefix) {
    const std::string of = " of " + prefix.network().to_string() + " itself; an interface needs one in it";
    if (is_broadcast(prefix)) {
      return " is the broadcast address" + of;
    }
    // RFC 4291, 2.6.1: every router of the network has it.
    return (prefix.is_v6() ? " is the routers' anycast address" : " is the address") + of;
  }

  void read_routes() {
    if (!in_.has("routes")) {
      return;
    }
    std::vector<RouteConfig> routes;
    for (const Object& route : in_.optional_objects("routes", kMaxRoutes)) {
      read_route(route, routes);
    }
    set(config_.routes, "routes", std::move(routes));
  }

  static void read_route(const Object& in, std::vector<RouteConfig>& routes) {
    const std::string dst = in.required_string("dst");
    const auto gw = in.optional_string("gw");
    constexpr std::int64_t kMax = std::numeric_limits<std::uint32_t>::max();
    const auto metric = in.optional_integer("metric", 0, kMax);
    const auto table = in.optional_integer("table", 1, kMax);
    const bool onlink = in.optional_bool("onlink").value_or(false);
    const auto scope = in.optional_word("scope", {"global", "host", "link", "site"});
    const auto src = in.optional_string("src");
    if (dst.empty()) {
      return in.fail("dst", "must be a destination such as 10.0.0.0/8, not an empty string");
    }
    const auto destination = IpPrefix::parse(dst);
    if (!destination) {
      return in.fail("dst",
                     quoted(dst) + " is not a destination with its prefix length (such as 10.0.0.0/8)");
    }
    if (destination->network() != *destination) {
      return in.fail("dst", quoted(dst) + " has bits behind its prefix length; the network is " +
                                destination->network().to_string());
    }
    RouteConfig route{.destination = *destination};
    if (gw) {
      const auto gateway = IpAddress::parse(*gw);
      if (!gateway || !is_host_address(*gateway)) {
        return in.fail("gw", quoted(*gw) + " is not a gateway's address (such as 192.0.2.1)");
      }
      if (gateway->is_v6() != destination->is_v6()) {
        return in.fail("gw", quoted(*gw) + " is not of the same family as the destination " + dst);
      }
      route.gateway = *gateway;
    }
    if (metric) {
      route.metric = static_cast<std::uint32_t>(*metric);
    }
    if (table == RT_TABLE_LOCAL) {
      return in.fail("table", "255 is the table of the kernel's own (local)");
    }
    route.table = table ? static_cast<std::uint32_t>(*table) : netlink::kMainTable;
    if (onlink && !gw) {
      return in.fail("onlink", "says that the gateway is on the link, but this route has no gw");
    }
    route.onlink = onlink;
    if (scope && !read_scope(in, *scope, route)) {
      return;
    }
    if (src) {
      const auto source = IpAddress::parse(*src);
      if (!source || source->is_v6() != destination->is_v6()) {
        return in.fail("src", quoted(*src) + " is not an address of the destination's family (such as " +
                                  (destination->is_v6() ? "2001:db8::10" : "192.0.2.10") +
                                  ", without a prefix length)");
      }
      route.source = *source;
    }
    routes.push_back(route);
  }

  /// False: it was refused.
  static bool read_scope(const Object& in, std::string_view word, RouteConfig& route) {
    constexpr std::array<std::pair<std::string_view, std::uint8_t>, 4> kScopes = {
        {{"global", RT_SCOPE_UNIVERSE},
         {"site", RT_SCOPE_SITE},
         {"link", RT_SCOPE_LINK},
         {"host", RT_SCOPE_HOST}}};
    if (route.destination.is_v6()) {
      in.fail("scope", "IPv6 routes have no scope; leave it out");
      return false;
    }
    for (const auto& [name, scope] : kScopes) {
      if (name == word) {
        route.scope = scope;
      }
    }
    if (route.gateway && route.scope >= RT_SCOPE_LINK) {
      in.fail("scope", quoted(word) + " is of routes without a gateway; with gw it is global or site");
      return false;
    }
    return true;
  }

  void read_mode() {
    const auto word = in_.optional_word("mode", {"bridge", "passthru", "private", "source", "vepa"});
    if (const auto mode = word ? netlink::parse_macvlan_mode(*word) : std::nullopt) {
      set(config_.mode, "mode", *mode);
    }
  }

  /// A link of the node: names and altnames. It is only ever compared with links that are there.
  void read_link_name(std::string_view key, std::optional<Field<std::string>>& field) {
    const auto name = in_.optional_string(key);
    if (!name) {
      return;
    }
    constexpr std::size_t kAltnameMax = 127;  // ALTIFNAMSIZ - 1
    if (name->empty() || name->size() > kAltnameMax || name->find('/') != std::string::npos) {
      return in_.fail(key, quoted(*name) + " cannot be the name of a link");
    }
    set(field, key, *name);
  }

  void read_pci_bus_id() {
    const auto text = in_.optional_string("pciBusID");
    if (!text) {
      return;
    }
    std::string bdf = *text;
    std::ranges::transform(
        bdf, bdf.begin(), [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
    if (!sys::is_bdf(bdf)) {
      return in_.fail("pciBusID", quoted(*text) + " is not a PCI address (such as 0000:03:00.1)");
    }
    set(config_.pci_bus_id, "pciBusID", std::move(bdf));
  }

  const Section& section_;
  const Object& in_;
  Config& config_;
};

}  // namespace

Result<Config> decode(std::string_view kind, std::vector<Section> sections) {
  Config config;
  for (const Section& section : sections) {
    Reader(section, config).read(kind);
    FL_TRY(section.document.finish());
    config.path = section.path;
  }
  return config;
}

}  // namespace fairlead::devices::netdev
