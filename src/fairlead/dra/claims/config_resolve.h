// SPDX-License-Identifier: Apache-2.0
// Converts the API server's claim to the claim that a driver gets. Pure.
#pragma once

#include <cstddef>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/kube/resources/claim.h"

namespace fairlead::dra {

/// The maximum size of a claim's parameters for one driver, each text counted once. The API server allows 64
/// entries of 10 KiB (resource.k8s.io/v1, types.go), so a real claim never exceeds this.
inline constexpr std::size_t kMaxParameters = std::size_t{1} << 20;

/// The devices of `claim` that are allocated from `driver_name`, in the order of the allocation result, each
/// with its opaque parameters: own driver only; class entries first, then claim entries, so that a later one
/// wins; an entry without requests applies to all, "main" to all sub-requests of main, "main/sub" to that one
/// only (KEP-4381, KEP-4816). Each parameter has its origin in the object that its author wrote: the
/// allocation has the entries of class and claim in one list, and omits those of sub-requests that were not
/// chosen. With a class's entry come the classes that it may be of: of the allocated requests, other drivers' too, that
/// it is for. Consumers that are not pods are left out of reserved_for. Devices share the texts of the
/// parameters. kInvalid: the claim is not allocated, none of its devices is ours, its parameters are larger
/// than kMaxParameters, or a config entry names a request that the claim does not have (the error starts with
/// "status.allocation.devices.config[i].requests[j]"). The caller must check that the claim has the requested
/// UID and is for this node.
Result<Claim> resolve_config(const kube::ResourceClaim& claim, std::string_view driver_name);

/// status.reservedFor without the consumers that are not pods.
std::vector<Pod> pods_of(const kube::ResourceClaim& claim);

}  // namespace fairlead::dra
