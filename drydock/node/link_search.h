// SPDX-License-Identifier: Apache-2.0
// Finding a lent link again in a network namespace, and moving it to another one.
#pragma once

#include <optional>
#include <string>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netlink/types.h"

namespace drydock {

inline constexpr int kSure = 100;  // likeness

/// Whether `seen`, in some namespace, is the link of the record. Hardware is known by its
/// bus address and its burnt-in MAC; a virtual link by its kind and its MAC, or index and name together.
/// Greater is surer; 0 is another link.
int likeness(const fairlead::netlink::Link& recorded, const fairlead::netlink::Link& seen);

bool is_on_bus(const fairlead::netlink::Link& link);
/// Those that the kernel hands back when their namespace dies (net/core/dev.c default_device_exit_net); the
/// others die with it.
bool outlives_namespace(const fairlead::netlink::Link& link);

struct Found {
  fairlead::netlink::Link link;
  int netns = -1;
};

/// The index that a lent veth has now, wherever it is: its other end, which stayed on the machine, knows it.
fairlead::Result<std::optional<fairlead::netlink::IfIndex>> told_by_peer(
    const fairlead::netlink::Link& recorded, fairlead::netlink::Socket& machine);
/// The surest likeness in a namespace.
fairlead::Result<std::optional<Found>> look_in(const fairlead::netlink::Link& recorded, int netns,
                                               std::optional<fairlead::netlink::IfIndex> told);

/// `wanted`, or when that is taken there the first free one of dev0, dev1, ..., as the kernel names links.
fairlead::Result<std::string> free_name(const std::string& wanted, fairlead::netlink::Socket& there);
/// The link moves to another namespace, under `name` if possible: altnames that are taken there are dropped
/// (with one of them the kernel refuses the move), and a name that is taken becomes "devN".
fairlead::Result<fairlead::netlink::Link> move_anyhow(const Found& found, int netns, const std::string& name);

}  // namespace drydock
