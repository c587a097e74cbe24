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

/// An error of the kernel for a request with values from a claim, phrased so that it reaches the pod's
/// events: "the kernel does not take the address ::1/128: ...". An error without errno is returned unchanged.
Error refused_by_kernel(Error error, const std::string& what);
/// kExists, phrased for the author of the claim.
Error name_taken(std::string_view interface_name);
/// The link whose alias is this marker; nullopt if there is none.
Result<std::optional<netlink::Link>> find_marked(netlink::Socket& socket, const Marker& marker);

/// With their prefix lengths.
std::vector<std::string> texts(const std::vector<netlink::IpPrefix>& prefixes);

/// An interface in a pod.
struct Interface {
  netlink::IfIndex index;
  std::string name;
  std::string alias;  // to be set; empty: unchanged
};
/// Sets IPv6 if anything needs it, the alias, addresses (and announces them to neighbours), up, and routes.
/// Settings that are already in place are kept. Errors of the kernel are phrased for the author of the claim.
/// Returns how to revert the changes to routes of the cluster's network (Attached::undo_in_pod); after a
/// failure they are reverted. Everything else is removed with the interface.
Result<std::function<void()>> configure(const Place& pod, const Interface& interface, const NetdevPlan& plan);

/// An interface to be configured. The plan is borrowed.
struct Configuration {
  Interface interface;
  const NetdevPlan* plan = nullptr;
};
/// configure() of several interfaces in their order, in one exchange unless a default route of one depends on those
/// of others. On failure `failed` is the position of the one whose error it is.
Result<std::vector<std::function<void()>>> configure_all(const Place& pod,
                                                         std::span<const Configuration> wanted,
                                                         std::size_t& failed);

}  // namespace fairlead::devices::netdev
