// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/link_codec.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/ip.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <string>

#include "fairlead/sys/netlink/link_identity.h"
#include "fairlead/sys/netlink/link_name.h"
#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink::codec {
namespace {

constexpr std::size_t kMaxAltName = 127;  // ALTIFNAMSIZ - 1
constexpr std::size_t kMaxAlias = 255;    // IFALIASZ - 1
// Linux 6.3: newer than the headers that this is built with.
constexpr std::uint16_t kGsoIpv4MaxSize = 63;  // IFLA_GSO_IPV4_MAX_SIZE
constexpr std::uint16_t kGroIpv4MaxSize = 64;  // IFLA_GRO_IPV4_MAX_SIZE

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

}  // namespace

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
  FL_TRY(check_index(link));
  if (altname.empty() || altname.size() > kMaxAltName || altname.find('\0') != std::string_view::npos) {
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

Result<Bytes> give_netnsid(int netns) {
  constexpr std::int32_t kAny = -1;
  Writer writer(RTM_NEWNSID, kRequest);
  writer.fixed<rtgenmsg>().rtgen_family = AF_UNSPEC;
  writer.value(NETNSA_NSID, kAny);
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

}  // namespace fairlead::netlink::codec
