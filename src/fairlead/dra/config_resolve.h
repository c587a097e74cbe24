// SPDX-License-Identifier: Apache-2.0
// From the claim as the API server has it to what a driver sees of it. Pure.
#pragma once

#include <cstddef>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/dra/driver.h"
#include "fairlead/kube/resources/claim.h"

namespace fairlead::dra {

/// What a claim may have of parameters for one driver, each text counted once. The API server allows 64
/// entries of 10 KiB (resource.k8s.io/v1, types.go), so that only something else than it gets beyond this.
inline constexpr std::size_t kMaxParameters = std::size_t{1} << 20;

/// The devices of `claim` that are allocated from `driver_name`, in the order of the allocation result, each
/// with the opaque parameters meant for it: own driver only; class entries first, then claim entries, so that
/// a later one wins; an entry without requests is for all, "main" is for all sub-requests of main, "main/sub"
/// for that one only (KEP-4381, KEP-4816). Each says where its author finds it: the allocation has the
/// class's and the claim's in one list, and leaves out what is for sub-requests that were not taken.
/// Consumers that are not pods are left out of reserved_for. Devices share the texts of the parameters.
/// kInvalid: the claim is not allocated, nothing of it is ours, its parameters are more than kMaxParameters,
/// or a config entry names a request that the claim does not have (the error starts with
/// "status.allocation.devices.config[i].requests[j]"). Whether the claim is the one asked for (UID) and is
/// for this node is the caller's to check.
Result<Claim> resolve_config(const kube::ResourceClaim& claim, std::string_view driver_name);

/// status.reservedFor without the consumers that are not pods.
std::vector<Pod> pods_of(const kube::ResourceClaim& claim);

}  // namespace fairlead::dra
