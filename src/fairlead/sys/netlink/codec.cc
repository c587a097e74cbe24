// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/codec.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/net_namespace.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "fairlead/sys/netlink/link_identity.h"
#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink::codec {
namespace {

constexpr std::size_t kMaxAltName = 127;  // ALTIFNAMSIZ - 1
constexpr std::size_t kMaxAlias = 255;    // IFALIASZ - 1
// Linux 6.3: newer than the headers that this is built with.
constexpr std::uint16_t kGsoIpv4MaxSize = 63;  // IFLA_GSO_IPV4_MAX_SIZE
constexpr std::uint16_t kGroIpv4MaxSize = 64;  // IFLA_GRO_IPV4_MAX_SIZE
// ---------------------------------------------------------------------------------------------- writing

Result<> check_alias(std::string_view alias) {
  if (alias.size() > kMaxAlias || alias.contains('\0')) {
    return Error(Code::kInvalid, "an interface alias has at most 255 bytes and no NUL");
  }
  return {};
}

Result<> check_new_link(const NewLink& link) {
  FL_TRY(check_link_name(link.name));
  FL_TRY(check_alias(link.alias));
  FL_TRY(kinds::check(link.kind));
  return {};
}

void set_up_flag(ifinfomsg& info, bool up) {
  info.ifi_change |= IFF_UP;
  info.ifi_flags |= up ? unsigned{IFF_UP} : 0U;
}

void put_change(Writer& writer, ifinfomsg& info, const LinkChange& change) {
  if (change.up) {
    set_up_flag(info, *change.up);
  }
  if (change.name) {
    writer.text(IFLA_IFNAME, *change.name);
  }
  if (change.mac) {
    writer.raw(IFLA_ADDRESS, change.mac->octets());
  }
  if (change.mtu) {
    writer.u32(IFLA_MTU, *change.mtu);
  }
  if (change.alias && !change.alias->empty()) {
    writer.text(IFLA_IFALIAS, *change.alias);
  }
  if (change.alias && change.alias->empty()) {
    writer.raw(IFLA_IFALIAS, {});  // dev_set_alias: no bytes at all removes it
  }
  if (change.master) {
    writer.index(IFLA_MASTER, *change.master);
  }
  if (change.group) {
    writer.u32(IFLA_GROUP, *change.group);
  }
  for (const auto& [attribute, limit] : change.limits) {
    writer.u32(attribute, limit);
  }
  if (change.mode) {
    writer.raw(IFLA_LINKMODE, View(&*change.mode, 1));
  }
  if (change.tx_queue_len) {
    writer.u32(IFLA_TXQLEN, *change.tx_queue_len);
  }
  if (change.flags) {
    info.ifi_change |= change.flags->mask;
    info.ifi_flags |= change.flags->flags & change.flags->mask;
  }
  if (change.arp_notify) {
    writer.nest(IFLA_AF_SPEC, [&] {
      writer.nest(AF_INET, [&] {
        writer.nest(IFLA_INET_CONF, [&] { writer.u32(IPV4_DEVCONF_ARP_NOTIFY, *change.arp_notify ? 1 : 0); });
      });
    });
  }
}

Result<> check_change(const LinkChange& change) {
  if (change.name) {
    FL_TRY(check_link_name(*change.name));
  }
  if (change.alias) {
    FL_TRY(check_alias(*change.alias));
  }
  return {};
}

IpAddress broadcast_of(const IpPrefix& prefix) {
  std::array<std::uint8_t, 4> octets = {};
  std::ranges::copy(prefix.address().octets().first<4>(), octets.begin());
  for (std::size_t i = 0; i < octets.size(); ++i) {
    const std::size_t kept = std::clamp<std::size_t>(prefix.length(), i * 8, (i + 1) * 8) - (i * 8);
    octets.at(i) |= static_cast<std::uint8_t>(0xFFU >> kept);
  }
  return IpAddress::from_octets(octets).value_or(IpAddress());
}

Result<Bytes> address_request(std::uint16_t type, std::uint16_t flags, const NewAddress& address) {
  FL_TRY(check_index(address.link));
  Writer writer(type, flags);
  const IpPrefix& prefix = address.prefix;
  const bool loopback = !prefix.is_v6() && prefix.address().octets()[0] == 127;
  auto& info = writer.fixed<ifaddrmsg>();
  info.ifa_family = prefix.address().family();
  info.ifa_prefixlen = prefix.length();
  info.ifa_scope = loopback ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
  info.ifa_index = static_cast<std::uint32_t>(address.link.value());
  if (prefix.is_v6() && address.no_dad) {
    info.ifa_flags = IFA_F_NODAD;
  }
  writer.raw(IFA_LOCAL, prefix.address().octets());
  writer.raw(IFA_ADDRESS, prefix.address().octets());
  // RFC 3021: a /31 has no broadcast address; a /32 has nobody to talk to.
  if (type == RTM_NEWADDR && !prefix.is_v6() && prefix.length() < 31 && !loopback) {
    writer.raw(IFA_BROADCAST, broadcast_of(prefix).octets());
  }
  return writer.finish();
}

void put_gateway(Writer& writer, const IpAddress& gateway, bool route_is_v6) {
  if (gateway.is_v6() == route_is_v6) {
    writer.raw(RTA_GATEWAY, gateway.octets());
    return;
  }
  // struct rtvia: the family in host order, then the address.
  Bytes via(sizeof(std::uint16_t));
  const std::uint16_t family = gateway.family();
  std::memcpy(via.data(), &family, sizeof family);
  via.insert(via.end(), gateway.octets().begin(), gateway.octets().end());
  writer.raw(RTA_VIA, via);
}

void put_table(Writer& writer, rtmsg& info, std::uint32_t table) {
  info.rtm_table = table < 256 ? static_cast<std::uint8_t>(table) : std::uint8_t{RT_TABLE_UNSPEC};
  if (table >= 256) {
    writer.u32(RTA_TABLE, table);
  }
}

// ---------------------------------------------------------------------------------------------- reading

void read_link_info(Link& link, View info, View& data) {
  for_each_attribute(info, [&](std::uint16_t type, View value) {
    if (type == IFLA_INFO_KIND) {
      link.kind = read_text(value);
    } else if (type == IFLA_INFO_SLAVE_KIND) {
      link.slave_kind = read_text(value);
    } else if (type == IFLA_INFO_DATA) {
      data = value;
    }
  });
}

/// IFLA_INFO_DATA means something else for each kind.
void read_details(Link& link, View data) {
  link.details = kinds::read(link.kind, link.local_parent(), data);
  link.tunnel = kinds::read_tunnel(link.kind, data);
  if (link.kind == Macvlan::kName || link.kind == "macvtap") {
    const auto macvlan = Macvlan::read(link.local_parent(), data);
    link.macvlan_mode = macvlan ? std::optional(macvlan->mode) : std::nullopt;
  }
}

void read_alt_names(Link& link, View list) {
  for_each_attribute(list, [&](std::uint16_t type, View value) {
    if (type == IFLA_ALT_IFNAME) {
      link.altnames.push_back(read_text(value));
    }
  });
}

void read_operstate(Link& link, View value) {
  const auto state = read_fixed<std::uint8_t>(value);
  if (state && *state <= static_cast<std::uint8_t>(OperState::kUp)) {
    link.operstate = static_cast<OperState>(*state);
  }
}

std::string read_hex(View value) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : value) {
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 0xfU];
  }
  return text;
}

/// `details` becomes the content of IFLA_INFO_DATA.
void read_link_attribute(Link& link, std::uint16_t type, View value, View& details) {
  switch (type) {
    case IFLA_IFNAME:
      link.name = read_text(value);
      break;
    case IFLA_ADDRESS:
      link.mac = MacAddress(value);
      break;
    case IFLA_PERM_ADDRESS:
      link.permanent_mac = MacAddress(value);
      break;
    case IFLA_MTU:
      read_into(link.mtu, value);
      break;
    case IFLA_MIN_MTU:
      read_into(link.min_mtu, value);
      break;
    case IFLA_MAX_MTU:
      read_into(link.max_mtu, value);
      break;
    case IFLA_LINK:
      read_index(link.parent, value);
      break;
    case IFLA_LINK_NETNSID:
      link.parent_netnsid = read_fixed<std::int32_t>(value);
      break;
    case IFLA_MASTER:
      read_index(link.master, value);
      break;
    case IFLA_GROUP:
      read_into(link.group, value);
      break;
    case IFLA_TXQLEN:
      read_into(link.tx_queue_len, value);
      break;
    case IFLA_LINKMODE:
      read_into(link.mode, value);
      break;
    case IFLA_GSO_MAX_SEGS:
    case IFLA_GSO_MAX_SIZE:
    case IFLA_GRO_MAX_SIZE:
    case kGsoIpv4MaxSize:
    case kGroIpv4MaxSize:
      read_into(link.limits[type], value);
      break;
    case IFLA_IFALIAS:
      link.alias = read_text(value);
      break;
    case IFLA_OPERSTATE:
      read_operstate(link, value);
      break;
    case IFLA_LINKINFO:
      read_link_info(link, value, details);
      break;
    case IFLA_PROP_LIST:
      read_alt_names(link, value);
      break;
    case IFLA_PARENT_DEV_NAME:
      link.parent_dev = read_text(value);
      break;
    case IFLA_PARENT_DEV_BUS_NAME:
      link.parent_bus = read_text(value);
      break;
    case IFLA_PHYS_PORT_NAME:
      link.phys_port_name = read_text(value);
      break;
    case IFLA_PHYS_PORT_ID:
      link.phys_port_id = read_hex(value);
      break;
    case IFLA_PHYS_SWITCH_ID:
      link.phys_switch_id = read_hex(value);
      break;
    default:
      break;
  }
}

std::optional<IpAddress> read_via(View value) {
  return value.size() < sizeof(std::uint16_t) ? std::nullopt
                                              : IpAddress::from_octets(value.subspan(sizeof(std::uint16_t)));
}

void read_hop_attribute(NextHop& hop, std::uint16_t type, View value) {
  if (type == RTA_OIF) {
    read_index(hop.link, value);
  } else if (type == RTA_GATEWAY) {
    hop.gateway = IpAddress::from_octets(value);
  } else if (type == RTA_VIA) {
    hop.gateway = read_via(value);
  }
}

std::vector<NextHop> read_multipath(View list) {
  std::vector<NextHop> hops;
  while (const auto entry = read_fixed<rtnexthop>(list)) {
    if (entry->rtnh_len < sizeof(rtnexthop) || entry->rtnh_len > list.size()) {
      break;
    }
    NextHop hop{.link = IfIndex(entry->rtnh_ifindex)};
    for_each_attribute(behind(list.first(entry->rtnh_len), sizeof(rtnexthop)),
                       [&](std::uint16_t type, View value) { read_hop_attribute(hop, type, value); });
    hops.push_back(hop);
    list = behind(list, entry->rtnh_len);
  }
  return hops;
}

std::optional<IpAddress> unspecified(std::uint8_t family) {
  constexpr std::array<std::uint8_t, 16> kZero = {};
  return IpAddress::from_octets(View(kZero).first(family == AF_INET6 ? 16 : 4));
}

bool is_ip(std::uint8_t family) { return family == AF_INET || family == AF_INET6; }

}  // namespace

// ---------------------------------------------------------------------------------------------- requests

Result<Bytes> create_link(const NewLink& link) {
  FL_TRY(check_new_link(link));
  Writer writer(RTM_NEWLINK, kCreate);
  auto& info = writer.fixed<ifinfomsg>();
  info.ifi_index = link.index.value();
  if (link.up) {
    set_up_flag(info, true);
  }
  put_identity(writer, link);
  if (const IfIndex lower = kinds::lower_link(link.kind); lower.valid()) {
    writer.index(IFLA_LINK, lower);
  }
  if (link.master.valid()) {
    writer.index(IFLA_MASTER, link.master);
  }
  if (link.group != 0) {
    writer.u32(IFLA_GROUP, link.group);
  }
  writer.nest(IFLA_LINKINFO, [&] {
    writer.text(IFLA_INFO_KIND, kinds::name(link.kind));
    kinds::put(writer, link.kind);
  });
  return writer.finish();
}

Result<Bytes> change_link(IfIndex link, const LinkChange& change) {
  FL_TRY(check_index(link));
  FL_TRY(check_change(change));
  Writer writer(RTM_SETLINK, kRequest);
  auto& info = writer.fixed<ifinfomsg>();
  info.ifi_index = link.value();
  put_change(writer, info, change);
  return writer.finish();
}

Result<Bytes> change_link(std::string_view name, const LinkChange& change) {
  FL_TRY(check_link_name(name));
  FL_TRY(check_change(change));
  if (change.name) {
    return Error(Code::kInvalid, "a link that is addressed by name cannot be renamed in the same request");
  }
  Writer writer(RTM_SETLINK, kRequest);
  auto& info = writer.fixed<ifinfomsg>();
  writer.text(IFLA_IFNAME, name);
  put_change(writer, info, change);
  return writer.finish();
}

namespace {

Result<Bytes> altname_request(std::uint16_t type, std::uint16_t flags, IfIndex link,
                              std::string_view altname) {
  constexpr std::size_t kLongest = 127;  // ALTIFNAMSIZ - 1
  FL_TRY(check_index(link));
  if (altname.empty() || altname.size() > kLongest || altname.find('\0') != std::string_view::npos) {
    return Error(Code::kInvalid, "\"" + std::string(altname) + "\" is no altname (1 to 127 bytes)");
  }
  Writer writer(type, flags);
  writer.fixed<ifinfomsg>().ifi_index = link.value();
  writer.nest(IFLA_PROP_LIST, [&] { writer.text(IFLA_ALT_IFNAME, altname); });
  return writer.finish();
}

}  // namespace

Result<Bytes> add_altname(IfIndex link, std::string_view altname) {
  return altname_request(RTM_NEWLINKPROP, kCreate | NLM_F_APPEND, link, altname);
}

Result<Bytes> delete_altname(IfIndex link, std::string_view altname) {
  return altname_request(RTM_DELLINKPROP, kRequest, link, altname);
}

Result<Bytes> move_link(const MoveLink& move) {
  FL_TRY(check_index(move.link));
  Writer writer(RTM_SETLINK, kRequest);
  writer.fixed<ifinfomsg>().ifi_index = move.link.value();
  writer.descriptor(IFLA_NET_NS_FD, move.netns);
  if (!move.new_name.empty()) {
    FL_TRY(check_link_name(move.new_name));
    writer.text(IFLA_IFNAME, move.new_name);
  }
  return writer.finish();
}

Result<Bytes> get_netnsid(int netns) {
  Writer writer(RTM_GETNSID, NLM_F_REQUEST);
  writer.fixed<rtgenmsg>().rtgen_family = AF_UNSPEC;
  writer.descriptor(NETNSA_FD, netns);
  return writer.finish();
}

Result<Bytes> delete_link(IfIndex link) {
  FL_TRY(check_index(link));
  Writer writer(RTM_DELLINK, kRequest);
  writer.fixed<ifinfomsg>().ifi_index = link.value();
  return writer.finish();
}

Result<Bytes> get_link(IfIndex link) {
  FL_TRY(check_index(link));
  Writer writer(RTM_GETLINK, NLM_F_REQUEST);
  writer.fixed<ifinfomsg>().ifi_index = link.value();
  writer.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return writer.finish();
}

Result<Bytes> get_link(std::string_view name) {
  if (name.empty() || name.size() > kMaxAltName || name.contains('\0')) {
    return Error(Code::kInvalid, "an interface name has 1 to 127 bytes and no NUL");
  }
  Writer writer(RTM_GETLINK, NLM_F_REQUEST);
  (void)writer.fixed<ifinfomsg>();
  // The kernel looks both attributes up among names and altnames alike (rtnl_dev_get); only the room differs.
  writer.text(name.size() < IFNAMSIZ ? IFLA_IFNAME : IFLA_ALT_IFNAME, name);
  writer.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return writer.finish();
}

Result<Bytes> dump_links() {
  Writer writer(RTM_GETLINK, kDump);
  (void)writer.fixed<ifinfomsg>();
  writer.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return writer.finish();
}

Result<Bytes> add_address(const NewAddress& address) {
  return address_request(RTM_NEWADDR, kCreate, address);
}

Result<Bytes> delete_address(const NewAddress& address) {
  return address_request(RTM_DELADDR, kRequest, address);
}

namespace {

/// Of one that duplicate address detection has not found good.
constexpr std::uint32_t kNotInUse = IFA_F_TENTATIVE | IFA_F_DADFAILED;
/// What somebody may ask for (net/ipv6/addrconf.c inet6_rtm_newaddr).
constexpr std::uint32_t kAskedFlags =
    IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN;

std::uint32_t flags_of(View told) {
  const auto info = read_fixed<ifaddrmsg>(told);
  std::uint32_t flags = info ? info->ifa_flags : 0U;
  for_each_attribute(behind(told, sizeof(ifaddrmsg)), [&](std::uint16_t type, View value) {
    if (type == IFA_FLAGS) {
      read_into(flags, value);
    }
  });
  return flags;
}

Result<Bytes> told_address_request(std::uint16_t type, std::uint16_t request_flags, IfIndex link, View told,
                                   std::uint32_t flags) {
  FL_TRY(check_index(link));
  const auto info = read_fixed<ifaddrmsg>(told);
  if (!info || !is_ip(info->ifa_family)) {
    return Error(Code::kInvalid, "what is known of an address is damaged");
  }
  Writer writer(type, request_flags);
  auto& out = writer.fixed<ifaddrmsg>();
  out = *info;
  out.ifa_index = static_cast<std::uint32_t>(link.value());
  out.ifa_flags = static_cast<std::uint8_t>(flags);
  for_each_attribute(behind(told, sizeof(ifaddrmsg)), [&](std::uint16_t attribute, View value) {
    if (attribute != IFA_FLAGS) {
      writer.raw(attribute, value);
    }
  });
  writer.u32(IFA_FLAGS, flags);
  return writer.finish();
}

}  // namespace

bool is_ipv6(View told) { return !told.empty() && told.front() == AF_INET6; }  // ifa_family, rtm_family

bool needs_finish(View told) { return is_ipv6(told) && (flags_of(told) & (kNotInUse | IFA_F_NODAD)) == 0; }

Result<Bytes> put_address(IfIndex link, View told, PutStep step) {
  const std::uint32_t asked = flags_of(told) & kAskedFlags;
  if (step == PutStep::kFinish) {
    constexpr std::uint16_t kReplace = kRequest | NLM_F_CREATE | NLM_F_REPLACE;
    return told_address_request(RTM_NEWADDR, kReplace, link, told, asked);
  }
  return told_address_request(RTM_NEWADDR, kCreate, link, told,
                              asked | (needs_finish(told) ? unsigned{IFA_F_NODAD} : 0U));
}

Result<Bytes> delete_told_address(IfIndex link, View told) {
  return told_address_request(RTM_DELADDR, kRequest, link, told, 0);
}

Result<Bytes> dump_addresses(IfIndex link) {
  Writer writer(RTM_GETADDR, kDump);
  writer.fixed<ifaddrmsg>().ifa_index = static_cast<std::uint32_t>(link.value());
  return writer.finish();
}

namespace {

bool describes_state(std::uint16_t type) { return type == RTA_CACHEINFO || type == RTA_EXPIRES; }

/// What a nexthop object says, and the kernel repeats for readers that do not know such objects
/// (net/ipv4/fib_semantics.c fib_dump_info, sysctl nexthop_compat_mode).
bool belongs_to_nexthop(std::uint16_t type) {
  return type == RTA_OIF || type == RTA_GATEWAY || type == RTA_VIA || type == RTA_MULTIPATH ||
         type == RTA_ENCAP || type == RTA_ENCAP_TYPE;
}

/// A request about a route as it was told, with another metric if there is one.
Result<Bytes> told_route(std::uint16_t type, std::uint16_t flags, const Message& told,
                         std::optional<std::uint32_t> metric) {
  const auto info = read_fixed<rtmsg>(told.payload);
  if (!info) {
    return Error(Code::kInvalid, "a route's message is too short");
  }
  const View attributes = behind(told.payload, sizeof(rtmsg));
  bool has_nexthop = false;
  for_each_attribute(attributes, [&](std::uint16_t attribute, View) {
    has_nexthop = has_nexthop || attribute == RTA_NH_ID;
  });
  Writer writer(type, flags);
  auto& out = writer.fixed<rtmsg>();
  out = *info;
  out.rtm_flags &= RTNH_F_ONLINK;
  for_each_attribute(attributes, [&](std::uint16_t attribute, View value) {
    const bool replaced = metric && attribute == RTA_PRIORITY;
    if (!replaced && !describes_state(attribute) && !(has_nexthop && belongs_to_nexthop(attribute))) {
      writer.raw(attribute, value);
    }
  });
  if (metric && *metric != 0) {
    writer.u32(RTA_PRIORITY, *metric);
  }
  return writer.finish();
}

}  // namespace

Result<Bytes> add_route(const NewRoute& route) {
  FL_TRY(check_index(route.link));
  if (route.gateway && route.gateway->is_v6() != route.destination.is_v6() && route.destination.is_v6()) {
    return Error(Code::kInvalid,
                 "an IPv6 destination cannot have the IPv4 gateway " + route.gateway->to_string());
  }
  Writer writer(RTM_NEWROUTE, kCreate);
  const IpPrefix destination = route.destination.network();
  auto& info = writer.fixed<rtmsg>();
  info.rtm_family = destination.address().family();
  info.rtm_dst_len = destination.length();
  info.rtm_protocol = RTPROT_STATIC;
  // Without a gateway the destination is on the link itself (ip-route(8)); IPv6 has no scopes.
  const std::uint8_t usual = route.gateway || destination.is_v6() ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  info.rtm_scope = destination.is_v6() ? usual : route.scope.value_or(usual);
  info.rtm_type = RTN_UNICAST;
  info.rtm_flags = route.onlink ? RTNH_F_ONLINK : 0;
  put_table(writer, info, route.table);
  if (!destination.is_default()) {
    writer.raw(RTA_DST, destination.address().octets());
  }
  if (route.gateway) {
    put_gateway(writer, *route.gateway, destination.is_v6());
  }
  writer.index(RTA_OIF, route.link);
  if (route.metric != 0) {
    writer.u32(RTA_PRIORITY, route.metric);
  }
  if (route.source) {
    writer.raw(RTA_PREFSRC, route.source->octets());
  }
  return writer.finish();
}

Result<Bytes> copy_route(const Message& route, std::uint32_t metric) {
  return told_route(RTM_NEWROUTE, kCreate, route, metric);
}

Result<Bytes> delete_route(const Message& route) {
  return told_route(RTM_DELROUTE, kRequest, route, std::nullopt);
}

namespace {

/// A list of next hops (RTA_MULTIPATH) that all go over `link`.
Bytes hops_over(IfIndex link, View list) {
  Bytes out(list.begin(), list.end());
  std::size_t at = 0;
  while (auto entry = read_fixed<rtnexthop>(View(out).subspan(at))) {
    if (entry->rtnh_len < sizeof(rtnexthop) || entry->rtnh_len > out.size() - at) {
      break;
    }
    entry->rtnh_ifindex = link.value();
    entry->rtnh_flags &= RTNH_F_ONLINK;
    std::memcpy(out.data() + at, &*entry, sizeof(rtnexthop));
    at = out.size() - behind(View(out).subspan(at), entry->rtnh_len).size();
  }
  return out;
}

/// Copies one attribute of a route that goes over `link`.
void put_route_attribute(Writer& writer, IfIndex link, std::uint16_t type, View value) {
  if (type == RTA_OIF) {
    writer.index(RTA_OIF, link);
  } else if (type == RTA_MULTIPATH) {
    writer.raw(RTA_MULTIPATH, hops_over(link, value));
  } else {
    writer.raw(type, value);
  }
}

}  // namespace

Result<Bytes> put_route(IfIndex link, View told) {
  FL_TRY(check_index(link));
  const auto info = read_fixed<rtmsg>(told);
  if (!info || !is_ip(info->rtm_family)) {
    return Error(Code::kInvalid, "what is known of a route is damaged");
  }
  // IPv4 has several routes that differ in their next hop only, in the order in which they came.
  const bool v6 = info->rtm_family == AF_INET6;
  Writer writer(RTM_NEWROUTE, v6 ? kCreate : kRequest | NLM_F_CREATE | NLM_F_APPEND);
  writer.fixed<rtmsg>() = *info;
  for_each_attribute(behind(told, sizeof(rtmsg)),
                     [&](std::uint16_t type, View value) { put_route_attribute(writer, link, type, value); });
  return writer.finish();
}

Result<Bytes> dump_routes(std::uint8_t family, std::optional<std::uint32_t> table) {
  Writer writer(RTM_GETROUTE, kDump);
  auto& info = writer.fixed<rtmsg>();
  info.rtm_family = family;
  if (table) {
    put_table(writer, info, *table);
  }
  return writer.finish();
}

Result<Bytes> dump_nexthops() {
  Writer writer(RTM_GETNEXTHOP, kDump);
  writer.fixed<nhmsg>();
  return writer.finish();
}

// ---------------------------------------------------------------------------------------------- answers

std::optional<std::int32_t> read_netnsid(const Message& message) {
  if (message.type != RTM_NEWNSID || message.payload.size() < MNL_ALIGN(sizeof(rtgenmsg))) {
    return std::nullopt;
  }
  std::optional<std::int32_t> number;
  for_each_attribute(behind(message.payload, MNL_ALIGN(sizeof(rtgenmsg))),
                     [&](std::uint16_t type, View value) {
                       if (type == NETNSA_NSID) {
                         number = read_fixed<std::int32_t>(value);
                       }
                     });
  return number;
}

std::optional<Link> read_link(const Message& message) {
  const auto info = read_fixed<ifinfomsg>(message.payload);
  if (!info || info->ifi_family != AF_UNSPEC || info->ifi_index <= 0) {
    return std::nullopt;
  }
  Link link{.index = IfIndex(info->ifi_index), .flags = info->ifi_flags, .arphrd = info->ifi_type};
  View details;
  for_each_attribute(behind(message.payload, sizeof(ifinfomsg)), [&](std::uint16_t type, View value) {
    read_link_attribute(link, type, value, details);
  });
  read_details(link, details);  // last: the parent's namespace may be named behind IFLA_LINKINFO
  return link;
}

std::optional<Address> read_address(const Message& message) {
  const auto info = read_fixed<ifaddrmsg>(message.payload);
  if (!info || !is_ip(info->ifa_family)) {
    return std::nullopt;
  }
  Address address{.link = IfIndex(static_cast<std::int32_t>(info->ifa_index)),
                  .scope = info->ifa_scope,
                  .flags = info->ifa_flags};
  std::optional<IpAddress> local;
  std::optional<IpAddress> other;
  for_each_attribute(behind(message.payload, sizeof(ifaddrmsg)), [&](std::uint16_t type, View value) {
    if (type == IFA_LOCAL) {
      local = IpAddress::from_octets(value);
    } else if (type == IFA_ADDRESS) {
      other = IpAddress::from_octets(value);  // the peer's when there is a local one, else our own
    } else if (type == IFA_FLAGS) {
      read_into(address.flags, value);
    } else if (type == IFA_PROTO) {
      read_into(address.protocol, value);
    } else if (type == IFA_RT_PRIORITY) {
      read_into(address.metric, value);
    }
  });
  const auto own = local ? local : other;
  if (!own || own->family() != info->ifa_family) {
    return std::nullopt;
  }
  address.prefix = IpPrefix(*own, info->ifa_prefixlen);
  if (local && other && *local != *other) {
    address.peer = other;
  }
  return address;
}

namespace {

/// A payload: what a request would have behind its header.
Told payload_of(const Writer& writer) {
  const auto bytes = writer.finish();
  return bytes ? Told(bytes->begin() + sizeof(nlmsghdr), bytes->end()) : Told();
}

/// One that is there for ever, but not to be preferred (preferred_lft 0), is what somebody asked for.
bool is_never_preferred(View value) {
  const auto times = read_fixed<ifa_cacheinfo>(value);
  return times && times->ifa_prefered == 0;
}

}  // namespace

Told told_address(const Message& message) {
  const auto info = read_fixed<ifaddrmsg>(message.payload);
  if (!info || !is_ip(info->ifa_family)) {
    return {};
  }
  Writer writer(RTM_NEWADDR, 0);
  auto& out = writer.fixed<ifaddrmsg>();
  out = *info;
  out.ifa_index = 0;
  out.ifa_flags = 0;
  for_each_attribute(behind(message.payload, sizeof(ifaddrmsg)), [&](std::uint16_t type, View value) {
    if (type == IFA_CACHEINFO && is_never_preferred(value)) {
      const ifa_cacheinfo times{.ifa_prefered = 0,
                                .ifa_valid = std::numeric_limits<std::uint32_t>::max(),
                                .cstamp = 0,
                                .tstamp = 0};
      writer.raw(type, View(reinterpret_cast<const std::uint8_t*>(&times), sizeof times));
    } else if (type != IFA_CACHEINFO && type != IFA_FLAGS && type != IFA_TARGET_NETNSID) {
      writer.raw(type, value);
    }
  });
  const std::uint32_t kept = flags_of(message.payload) & (kAskedFlags | kNotInUse);
  writer.u32(IFA_FLAGS, kept);
  return payload_of(writer);
}

bool same_address(View one, View other) {
  const auto in_use = [](View told) {
    return told_address_request(RTM_NEWADDR, 0, IfIndex(1), told, flags_of(told) & kAskedFlags);
  };
  const auto a = in_use(one);
  const auto b = in_use(other);
  return a && b && *a == *b;
}

std::optional<Route> read_route(const Message& message) {
  const auto info = read_fixed<rtmsg>(message.payload);
  if (!info || !is_ip(info->rtm_family) || (info->rtm_flags & RTM_F_CLONED) != 0) {
    return std::nullopt;
  }
  Route route{.table = info->rtm_table,
              .type = info->rtm_type,
              .scope = info->rtm_scope,
              .protocol = info->rtm_protocol};
  auto destination = unspecified(info->rtm_family);
  NextHop hop;
  for_each_attribute(behind(message.payload, sizeof(rtmsg)), [&](std::uint16_t type, View value) {
    if (type == RTA_DST) {
      destination = IpAddress::from_octets(value);
    } else if (type == RTA_PRIORITY) {
      read_into(route.metric, value);
    } else if (type == RTA_TABLE) {
      read_into(route.table, value);
    } else if (type == RTA_PREFSRC) {
      route.source = IpAddress::from_octets(value);
    } else if (type == RTA_NH_ID) {
      read_into(route.nexthop_id, value);
    } else if (type == RTA_MULTIPATH) {
      route.hops = read_multipath(value);
    } else {
      read_hop_attribute(hop, type, value);
    }
  });
  if (!destination || destination->family() != info->rtm_family) {
    return std::nullopt;
  }
  route.destination = IpPrefix(*destination, info->rtm_dst_len);
  if (route.hops.empty() && (hop.link.valid() || hop.gateway)) {
    route.hops.push_back(hop);
  }
  return route;
}

Told told_route(const Message& message, const Route& route) {
  const auto info = read_fixed<rtmsg>(message.payload);
  const bool by_object = route.nexthop_id != 0;
  if (!info || !is_ip(info->rtm_family) || (by_object && route.hops.size() != 1)) {
    return {};
  }
  Writer writer(RTM_NEWROUTE, 0);
  auto& out = writer.fixed<rtmsg>();
  out = *info;
  out.rtm_flags &= RTNH_F_ONLINK;
  for_each_attribute(behind(message.payload, sizeof(rtmsg)), [&](std::uint16_t type, View value) {
    if (!describes_state(type) && !(by_object && (type == RTA_NH_ID || belongs_to_nexthop(type)))) {
      put_route_attribute(writer, IfIndex(), type, value);
    }
  });
  if (by_object) {
    writer.index(RTA_OIF, IfIndex());
    if (const auto& gateway = route.hops.front().gateway) {
      put_gateway(writer, *gateway, info->rtm_family == AF_INET6);
    }
  }
  return payload_of(writer);
}

bool expires(const Message& message) {
  bool found = false;
  for_each_attribute(behind(message.payload, sizeof(rtmsg)), [&](std::uint16_t type, View value) {
    const auto times = type == RTA_CACHEINFO ? read_fixed<rta_cacheinfo>(value) : std::nullopt;
    found = found || type == RTA_EXPIRES || (times && times->rta_expires != 0);
  });
  return found;
}

std::optional<NextHopObject> read_nexthop(const Message& message) {
  if (message.type != RTM_NEWNEXTHOP || !read_fixed<nhmsg>(message.payload)) {
    return std::nullopt;
  }
  NextHopObject object;
  for_each_attribute(behind(message.payload, sizeof(nhmsg)), [&](std::uint16_t type, View value) {
    if (type == NHA_ID) {
      read_into(object.id, value);
    } else if (type == NHA_OIF) {
      read_index(object.hop.link, value);
    } else if (type == NHA_GATEWAY) {
      object.hop.gateway = IpAddress::from_octets(value);
    } else if (type == NHA_GROUP) {
      for (; value.size() >= sizeof(nexthop_grp); value = value.subspan(sizeof(nexthop_grp))) {
        object.group.push_back(read_fixed<nexthop_grp>(value)->id);
      }
    }
  });
  return object.id == 0 ? std::nullopt : std::optional(std::move(object));
}

}  // namespace fairlead::netlink::codec
