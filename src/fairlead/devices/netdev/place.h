// SPDX-License-Identifier: Apache-2.0
// A network namespace as the netdev kinds work with it: one socket and one list of links for all devices of a
// claim during one call.
#pragma once

#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/sys/netlink/socket.h"

namespace fairlead::devices::netdev {

/// Borrowed.
struct Place {
  int netns = -1;
  netlink::Socket* socket = nullptr;
  /// Links that were read for an effect that follows at once: find_parent() takes them from here, or adds them. So
  /// several links that are made together read a parent once. nullptr: it always reads.
  std::vector<netlink::Link>* just_read = nullptr;
};

/// The socket is opened by the first device that asks, and is the scope's.
Result<Place> place_of(const Side& side);
/// The namespace's links as they were when the first device of the call asked. The list is the scope's.
Result<const std::vector<netlink::Link>*> links_at_first(const Side& side);

}  // namespace fairlead::devices::netdev
