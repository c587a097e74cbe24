// SPDX-License-Identifier: Apache-2.0
// Where a NIC is that a claim has or had: found by what a pod cannot change. Its name, MAC and alias are the
// pod's to change while it has the NIC.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/place.h"
#include "fairlead/devices/netdev/plan.h"

namespace fairlead::devices::netdev {

/// What is known beside what the NIC is.
struct NicSearch {
  const Original* original = nullptr;
  Marker marker;
  bool in_pod = false;  // the links are those of a pod's namespace, not the node's
  /// In the pod: the index that the NIC got there; invalid when that is not known for certain.
  netlink::IfIndex index_in_pod;
  /// In the pod: the number that its namespace has for the node's.
  std::optional<std::int32_t> node_netnsid;
  /// In the pod: the other end of the veth that the NIC is lies in the node's namespace.
  bool peer_is_on_node = false;
};

/// The NIC among these links; nullptr when it is not there. In this order, and only among links that may be
/// it: its identity (permanent MAC, device, port); the other end of a veth, which stays where it is; its
/// index; our marker, which a pod could have moved to another link, so it decides only where nothing else
/// does.
const netlink::Link* pick_nic(const std::vector<netlink::Link>& links, const NicSearch& search);

Result<std::optional<netlink::Link>> find_on_node(netlink::Socket& node, const Original& original,
                                                  const Marker& marker);
Result<std::optional<netlink::Link>> find_in_pod(const Place& pod, const Place& node,
                                                 const Original& original, const Marker& marker,
                                                 netlink::IfIndex index_in_pod);

}  // namespace fairlead::devices::netdev
