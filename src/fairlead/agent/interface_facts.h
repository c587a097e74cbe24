// SPDX-License-Identifier: Apache-2.0
// What a claim's interfaces are, read from the kernel, for the claim's status.
#pragma once

#include <vector>

#include "fairlead/agent/record.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/driver.h"

namespace fairlead::agent {

/// One report per device: "Attached" with the name, MAC and addresses that it was given, or "InterfaceGone".
/// A link is the claim's by its marker, not by its index: that means something only in the namespace where it
/// was given. What a pod made of its interface is not told: who reads the status trusts the driver, not the
/// pod.
Result<std::vector<dra::DeviceReport>> read_facts(const ClaimPlan& plan, const ClaimState& state,
                                                  const std::string& claim_uid,
                                                  const std::string& driver_name, int netns);

/// Netdevices mode: what waits in the calling thread's namespace. Whether the runtime moved it nobody tells,
/// so it is neither ready nor not ("Staged"); a runtime that cannot move it fails the container.
Result<std::vector<dra::DeviceReport>> read_staged_facts(const ClaimPlan& plan,
                                                         const dra::ClaimRecord& record);

}  // namespace fairlead::agent
