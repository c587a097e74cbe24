// SPDX-License-Identifier: Apache-2.0
// What the netdev kinds share.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/fields.h"
#include "fairlead/devices/netdev/place.h"
#include "fairlead/devices/netdev/plan.h"

namespace fairlead::devices::netdev {

/// mtu, mac, addresses and routes, and the rules that hold for every kind.
Result<NetdevPlan> common_plan(const PlanInput& input, const CommonValues& common);
/// A DevicePlan with the body filled in, and in that the interface's name, if the claim asks for one.
DevicePlan device_plan(const CommonValues& common, NetdevPlan plan);
/// What a field names in the node, or a sentence that starts with the field's path.
Result<const sys::InventoryLink*> find_link(const NodeView& node, const fields::Sourced<std::string>& name,
                                            std::string_view what);

/// What the kernel says to a request that carries a claim's wish, so that it ends in the pod's events whatever
/// it is: "the kernel does not take the address ::1/128: ...". An error without errno stays as it is.
Error refused_by_kernel(Error error, const std::string& what);
/// kExists, in the words of whoever wrote the claim.
Error name_taken(std::string_view interface_name);
/// The link that says it is this device's; nothing when there is none.
Result<std::optional<netlink::Link>> find_marked(netlink::Socket& socket, const Marker& marker);

/// With their prefix lengths.
std::vector<std::string> texts(const std::vector<netlink::IpPrefix>& prefixes);

/// An interface in a pod.
struct Interface {
  netlink::IfIndex index;
  std::string name;
  std::string alias;  // to be given; empty: it stays
};
/// IPv6 if anything needs it, alias, addresses (which neighbours are told of), up, routes. What is there
/// already stays. What the kernel refuses is told in the words of whoever wrote the claim. Answers how to
/// undo what was done to routes of the cluster's network (Attached::undo_in_pod); after a failure that is
/// undone. The rest goes with the interface.
Result<std::function<void()>> configure(const Place& pod, const Interface& interface, const NetdevPlan& plan);

}  // namespace fairlead::devices::netdev
