// SPDX-License-Identifier: Apache-2.0
// Finds parameters that are well-formed individually but wrong for this node. They are reported while the
// claim is planned, because the kernel would report them only in the pod's sandbox, and without naming a
// field.
#pragma once

#include <cstdint>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/fields.h"
#include "fairlead/devices/netdev/plan.h"

namespace fairlead::devices::netdev {

/// The broadcast address of an IPv4 network with more than two addresses.
bool is_broadcast(const netlink::IpPrefix& prefix);

/// Gateways that can be reached, sources that are ours, no route twice.
Result<> check_routes(const CommonValues& common);
/// An MTU that is asked for, against the address families.
Result<> check_mtu(const CommonValues& common);
/// The same for an interface that gets its MTU from a link of the node.
Result<> check_inherited_mtu(const CommonValues& common, std::string_view parent, std::uint32_t mtu);
/// The MTU and the MAC address that are asked for, against what the NIC can have.
Result<> check_nic_takes(const CommonValues& common, const netlink::Link& nic);
/// Neither the MAC address nor one of the addresses is one that the node itself has, or sends through: a pod
/// that announces it to a network that the node is on, too, cuts the node off. Without a parent that holds for the
/// addresses only, which the pod answers for on its other interfaces. kExists.
Result<> check_not_the_nodes(const PlanInput& input, const CommonValues& common, const NetdevPlan& plan);
/// No other claim has the MAC address or one of the addresses on the same link of the node. Without a parent nothing is
/// compared: two pods may each have a dummy with one address.
Result<> check_taken(const PlanInput& input, const CommonValues& common, const NetdevPlan& plan);

}  // namespace fairlead::devices::netdev
