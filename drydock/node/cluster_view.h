// SPDX-License-Identifier: Apache-2.0
// What the node and its report read from the API server's objects.
#pragma once

#include <string>
#include <vector>

#include "drydock/cluster/cluster.h"
#include "drydock/node/claim_manager.h"
#include "drydock/node/console.h"

namespace drydock {

/// The pods' claims with everything the kubelet checks before it calls a driver: the claim is there, is the
/// one the pod may use, and is allocated. The error is the kubelet's text.
Result<std::vector<AllocatedClaim>> allocated_claims(const Cluster& cluster, const Json& pod);

/// "data-nic → netdev-virtual (pool node-a, share 1b2c..., slots 1)" for each result of the claim's
/// allocation.
std::vector<std::string> describe_allocation(const Json& claim);

/// "data-nic: data0, 02:00:00:00:00:0a, 192.0.2.10/24, Ready (Attached: by NRI)" for each entry of
/// status.devices.
std::vector<std::string> describe_device_status(const Json& claim);
/// Every device of its allocation has an entry in status.devices. A claim without allocation has.
bool has_full_status(const Json& claim);

/// Pools of a driver with as many slices of their newest generation as those announce.
std::size_t complete_pools(const std::vector<Json>& slices, const std::string& driver);
/// One row per device, a few telling attributes.
Console::Table device_table(const std::vector<Json>& slices);
std::size_t device_count(const std::vector<Json>& slices, const std::string& driver);

/// As a field selector for the slices of one node, and of one driver when it is not empty.
ListQuery slices_of(const std::string& node, const std::string& driver);

}  // namespace drydock
