// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/link.h"

#include <linux/if.h>

#include <algorithm>

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

std::string_view to_string(OperState state) {
  switch (state) {
    case OperState::kUnknown:
      return "unknown";
    case OperState::kNotPresent:
      return "notpresent";
    case OperState::kDown:
      return "down";
    case OperState::kLowerLayerDown:
      return "lowerlayerdown";
    case OperState::kTesting:
      return "testing";
    case OperState::kDormant:
      return "dormant";
    case OperState::kUp:
      return "up";
  }
  return "unknown";
}

const std::uint32_t kSettableFlags = IFF_DEBUG | IFF_NOTRAILERS | IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI |
                                     IFF_MULTICAST | IFF_PORTSEL | IFF_AUTOMEDIA | IFF_DYNAMIC;

bool Link::is_up() const { return (flags & IFF_UP) != 0; }
bool Link::is_running() const { return (flags & IFF_RUNNING) != 0; }
bool Link::is_loopback() const { return (flags & IFF_LOOPBACK) != 0; }
bool Link::has_name(std::string_view text) const {
  return name == text || std::ranges::find(altnames, text) != altnames.end();
}

std::string_view kind_name(const NewLink& link) {
  struct Namer {
    std::string_view operator()(const Macvlan& /*kind*/) const { return "macvlan"; }
    std::string_view operator()(const Veth& /*kind*/) const { return "veth"; }
    std::string_view operator()(const Dummy& /*kind*/) const { return "dummy"; }
    std::string_view operator()(const Bridge& /*kind*/) const { return "bridge"; }
    std::string_view operator()(const Ipvlan& /*kind*/) const { return Ipvlan::kName; }
    std::string_view operator()(const Vlan& /*kind*/) const { return Vlan::kName; }
  };
  return std::visit(Namer{}, link.kind);
}

}  // namespace fairlead::netlink
