// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/link.h"

#include <linux/if.h>

#include <algorithm>

namespace fairlead::netlink {
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

std::string_view kind_name(const NewLink& link) { return kinds::name(link.kind); }

}  // namespace fairlead::netlink
