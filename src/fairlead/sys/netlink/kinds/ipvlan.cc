// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/kinds/ipvlan.h"

#include <linux/if_link.h>

#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink {

std::string_view to_string(IpvlanMode mode) {
  switch (mode) {
    case IpvlanMode::kL2:
      return "l2";
    case IpvlanMode::kL3:
      return "l3";
    case IpvlanMode::kL3s:
      return "l3s";
  }
  return "unknown";
}

std::optional<IpvlanMode> parse_ipvlan_mode(std::string_view word) {
  for (const IpvlanMode mode : {IpvlanMode::kL2, IpvlanMode::kL3, IpvlanMode::kL3s}) {
    if (word == to_string(mode)) {
      return mode;
    }
  }
  return std::nullopt;
}

std::string_view to_string(IpvlanFlag flag) {
  switch (flag) {
    case IpvlanFlag::kBridge:
      return "bridge";
    case IpvlanFlag::kPrivate:
      return "private";
    case IpvlanFlag::kVepa:
      return "vepa";
  }
  return "unknown";
}

std::optional<IpvlanFlag> parse_ipvlan_flag(std::string_view word) {
  for (const IpvlanFlag flag : {IpvlanFlag::kBridge, IpvlanFlag::kPrivate, IpvlanFlag::kVepa}) {
    if (word == to_string(flag)) {
      return flag;
    }
  }
  return std::nullopt;
}

Result<> Ipvlan::check() const {
  FL_TRY(codec::check_index(parent), "ipvlan parent");
  return {};
}

void Ipvlan::put(codec::Writer& writer) const {
  writer.nest(IFLA_INFO_DATA, [&] {
    writer.value(IFLA_IPVLAN_MODE, static_cast<std::uint16_t>(mode));
    writer.value(IFLA_IPVLAN_FLAGS, static_cast<std::uint16_t>(flag));
  });
}

std::optional<Ipvlan> Ipvlan::read(IfIndex parent, codec::View data) {
  std::optional<std::uint16_t> mode;
  std::uint16_t flags = 0;
  codec::for_each_attribute(data, [&](std::uint16_t type, codec::View value) {
    if (type == IFLA_IPVLAN_MODE) {
      mode = codec::read_fixed<std::uint16_t>(value);
    } else if (type == IFLA_IPVLAN_FLAGS) {  // Linux 4.15
      codec::read_into(flags, value);
    }
  });
  if (!mode || *mode >= IPVLAN_MODE_MAX) {
    return std::nullopt;
  }
  Ipvlan link{.parent = parent, .mode = static_cast<IpvlanMode>(*mode)};
  if ((flags & IPVLAN_F_PRIVATE) != 0) {
    link.flag = IpvlanFlag::kPrivate;
  } else if ((flags & IPVLAN_F_VEPA) != 0) {
    link.flag = IpvlanFlag::kVepa;
  }
  return link;
}

}  // namespace fairlead::netlink
