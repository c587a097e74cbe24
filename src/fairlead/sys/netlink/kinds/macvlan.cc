// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/kinds/macvlan.h"

#include <linux/if_link.h>

#include <limits>

#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink {

std::string_view to_string(MacvlanMode mode) {
  switch (mode) {
    case MacvlanMode::kPrivate:
      return "private";
    case MacvlanMode::kVepa:
      return "vepa";
    case MacvlanMode::kBridge:
      return "bridge";
    case MacvlanMode::kPassthru:
      return "passthru";
    case MacvlanMode::kSource:
      return "source";
  }
  return "unknown";
}

std::optional<MacvlanMode> parse_macvlan_mode(std::string_view word) {
  for (const MacvlanMode mode : {MacvlanMode::kPrivate, MacvlanMode::kVepa, MacvlanMode::kBridge,
                                 MacvlanMode::kPassthru, MacvlanMode::kSource}) {
    if (word == to_string(mode)) {
      return mode;
    }
  }
  return std::nullopt;
}

Result<> Macvlan::check() const {
  FL_TRY(codec::check_index(parent), "macvlan parent");
  return {};
}

void Macvlan::put(codec::Writer& writer) const {
  writer.nest(IFLA_INFO_DATA, [&] { writer.u32(IFLA_MACVLAN_MODE, static_cast<std::uint32_t>(mode)); });
}

std::optional<Macvlan> Macvlan::read(IfIndex parent, codec::View data) {
  std::optional<Macvlan> link;
  codec::for_each_attribute(data, [&](std::uint16_t type, codec::View value) {
    const auto mode = codec::read_fixed<std::uint32_t>(value);
    if (type == IFLA_MACVLAN_MODE && mode && *mode <= std::numeric_limits<std::uint8_t>::max()) {
      link = Macvlan{.parent = parent, .mode = static_cast<MacvlanMode>(*mode)};
    }
  });
  return link;
}

}  // namespace fairlead::netlink
