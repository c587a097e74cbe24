// SPDX-License-Identifier: Apache-2.0
// What the devices of a pod's claims are called: the variables in its containers, and the interfaces.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/interface_names.h"
#include "fairlead/dra/base/driver.h"

namespace fairlead::agent {

using PlannedClaims = std::vector<std::shared_ptr<const devices::PlannedClaim>>;

/// "FAIRLEAD_FAST_DATA_NIC" for the only device of request "data-nic" of the claim that the pod calls "fast";
/// with several "FAIRLEAD_FAST_DATA_NIC_1" and so on.
std::vector<std::string> environment_names(const dra::Claim& claim);
/// The same, empty for a device that is only monitored: it has no interface that a variable could name.
std::vector<std::string> variables_of(const dra::Claim& claim);

/// Fails if two devices of one pod would have the names of their interfaces in the same variable. Which of
/// the pod's claims a container lists is not known yet.
Result<> check_variables(const dra::Claim& claim, const PlannedClaims& in_its_pods);
/// Interface names of the other claims that the claim's pods have.
devices::netdev::TakenNames names_of(const PlannedClaims& in_its_pods);

/// What two claims of one pod both have: "the interface name \"data0\""; empty: nothing.
std::string taken_in_pod(const devices::PlannedClaim& own, const devices::PlannedClaim& theirs);

}  // namespace fairlead::agent
