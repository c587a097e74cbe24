// SPDX-License-Identifier: Apache-2.0
// What a claim's interfaces are, read from the kernel, for the claim's status.
#pragma once

#include <cstdint>
#include <vector>

#include "fairlead/agent/record.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/marker.h"
#include "fairlead/dra/driver.h"

namespace fairlead::agent {

/// Whether a namespace is the one that a claim's record means.
enum class Namespace : std::uint8_t {
  kTheClaims,  // for certain
  kByNumber,   // it has the number; the kernel gives that of one that ended to another
};

/// One report per device: "Attached" with the name, MAC and addresses that it was given, or "InterfaceGone".
/// In the claim's own namespace a link is the claim's by its index, since a pod with NET_ADMIN can change the
/// marker; in one that has the number only, by the marker, and if any link has that, by the index as well.
/// What a pod made of its interface is not told: who reads the status trusts the driver, not the pod.
Result<std::vector<dra::DeviceReport>> read_facts(const ClaimPlan& plan, const ClaimState& state,
                                                  const devices::Marker& of_claim, int netns,
                                                  Namespace which);

/// Netdevices mode: what waits in the calling thread's namespace. Whether the runtime moved it nobody tells,
/// so it is neither ready nor not ("Staged"); a runtime that cannot move it fails the container.
Result<std::vector<dra::DeviceReport>> read_staged_facts(const ClaimPlan& plan,
                                                         const dra::ClaimRecord& record);

}  // namespace fairlead::agent
