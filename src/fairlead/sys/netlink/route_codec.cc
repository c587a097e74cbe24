// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/route_codec.h"

#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink::codec {
namespace {

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

}  // namespace

namespace {

bool describes_state(std::uint16_t type) { return type == RTA_CACHEINFO || type == RTA_EXPIRES; }

/// What a nexthop object says, and the kernel repeats for readers that do not know such objects
/// (net/ipv4/fib_semantics.c fib_dump_info, sysctl nexthop_compat_mode).
bool belongs_to_nexthop(std::uint16_t type) {
  return type == RTA_OIF || type == RTA_GATEWAY || type == RTA_VIA || type == RTA_MULTIPATH ||
         type == RTA_ENCAP || type == RTA_ENCAP_TYPE;
}

/// A request for a route as the kernel reported it, with another metric if there is one.
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
