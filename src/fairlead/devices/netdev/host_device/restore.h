// SPDX-License-Identifier: Apache-2.0
// A NIC that was lent becomes what it was.
#pragma once

#include <string>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/place.h"
#include "fairlead/devices/netdev/plan.h"

namespace fairlead::devices::netdev {

/// A snapshot of the NIC with its permanent, manually configured addresses and routes, for restore().
Original remember(const sys::InventoryLink& nic, const std::vector<netlink::ToldAddress>& addresses,
                  const std::vector<netlink::ToldRoute>& routes, sys::LinkSettings settings);

/// What a NIC's alias says while a claim has it: Marker::lent_alias().
std::string lent_alias(const Original& original, const Marker& marker);

struct Restored {
  /// Another link has the NIC's name: the sentence that says so, and what the NIC is called meanwhile. It
  /// gets its name from give_names_back().
  std::string waits;
};

/// A NIC that is in the node's namespace gets everything back but what the kernel refuses: that is a line in
/// the log, except for its name and its alias. Another link with its name keeps that, unless
/// it is a NIC of ours that the kernel gave back under the name that a pod had for it: that one waits for its
/// own way back to the node, or two with each other's names would block each other for ever.
Result<Restored> restore(netlink::Socket& node, const netlink::Link& now, const Original& original,
                         const Marker& marker);

/// MAC, MTU, flags, group, queue length, mode and limits as they were: what the link keeps when it falls back from a pod.
/// What is refused is noted. The link is down.
void reset_link(netlink::Socket& socket, const netlink::Link& now, const Original& original);

/// From the pod's namespace to the node's, and restore().
Result<Restored> bring_home(const Place& pod, const Place& node, const netlink::Link& there,
                            const Original& original, const Marker& marker);

/// The permanent addresses of a NIC that waits on the node for the container runtime.
Result<> remove_addresses(netlink::Socket& node, netlink::IfIndex link);

/// NICs of this driver that returned when another link had their name get it now, if that link is gone.
/// Answers how many wait on.
Result<int> give_names_back(netlink::Socket& node, const std::string& driver_name);

}  // namespace fairlead::devices::netdev
