// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/place.h"

#include <optional>

namespace fairlead::devices::netdev {
namespace {

struct Opened {
  std::optional<netlink::Socket> socket;
  std::optional<std::vector<netlink::Link>> links;
};

}  // namespace

Result<Place> place_of(const Side& side) {
  auto& opened = side.scope->get<Opened>();
  if (!opened.socket) {
    FL_ASSIGN(opened.socket,
              side.is_callers ? netlink::Socket::open() : netlink::Socket::open_in(side.netns));
  }
  return Place{.netns = side.netns, .socket = &*opened.socket};
}

Result<const std::vector<netlink::Link>*> links_at_first(const Side& side) {
  FL_ASSIGN(const Place place, place_of(side));
  auto& opened = side.scope->get<Opened>();
  if (!opened.links) {
    FL_ASSIGN(opened.links, place.socket->links());
  }
  return &*opened.links;
}

}  // namespace fairlead::devices::netdev
