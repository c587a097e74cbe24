// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/address_codec.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <limits>

#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink::codec {
namespace {

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
  // RFC 3021: a /31 has no broadcast address; a /32 has no neighbours.
  if (type == RTM_NEWADDR && !prefix.is_v6() && prefix.length() < 31 && !loopback) {
    writer.raw(IFA_BROADCAST, broadcast_of(prefix).octets());
  }
  return writer.finish();
}

}  // namespace

Result<Bytes> add_address(const NewAddress& address) {
  return address_request(RTM_NEWADDR, kCreate, address);
}

Result<Bytes> delete_address(const NewAddress& address) {
  return address_request(RTM_DELADDR, kRequest, address);
}

namespace {

/// The flags of an address that has not passed duplicate address detection.
constexpr std::uint32_t kNotInUse = IFA_F_TENTATIVE | IFA_F_DADFAILED;
/// The flags that may be requested (net/ipv6/addrconf.c inet6_rtm_newaddr).
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

/// A permanent address that is not to be preferred (preferred_lft 0) was configured that way.
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

}  // namespace fairlead::netlink::codec
