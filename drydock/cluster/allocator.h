// SPDX-License-Identifier: Apache-2.0
// The scheduler's allocation of devices for one node: which devices of which slices serve the claims of a pod
// (KEP-4381, and KEP-5075 for devices that serve several claims). First fit with backtracking: pools and
// slices by name, devices in their order. Pure: reads a picture of the cluster, changes nothing.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "drydock/cluster/api_error.h"
#include "fairlead/core/result.h"

namespace drydock {

struct AllocationInput {
  Json node;                  // the Node object: name and labels
  std::vector<Json> slices;   // all ResourceSlices
  std::vector<Json> classes;  // all DeviceClasses
  std::vector<Json> claims;   // all ResourceClaims: their allocations are in use
};

/// One status.allocation for each of `wanted` (claims without an allocation), or the reason in the
/// scheduler's words: `0/1 nodes are available: 1 cannot allocate all claims: claim default/x, request "nic":
/// ...`. The devices of all wanted claims are chosen together.
fairlead::Result<std::vector<Json>> allocate(const AllocationInput& input, std::span<const Json> wanted);

}  // namespace drydock
