// SPDX-License-Identifier: Apache-2.0
// What version 0.1 cannot read when it takes over after a roll-back, written so that it can.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "fairlead/devices/registry.h"
#include "fairlead/dra/base/driver.h"

namespace fairlead::agent {

/// Version 0.1 knows the links of a claim by an alias that does not say whether a link was made or lent, and
/// takes those with a newer alias for another's. Gives the links of all attached claims, and those that wait on
/// the node for the OCI runtime, the alias of 0.1; this version knows that too. Logs what cannot be changed and
/// goes on. Returns how many claims it changed without an error. For a process that has stopped serving, in the
/// node's network namespace.
std::size_t mark_for_previous(const std::string& driver, const std::vector<dra::ClaimRecord>& records,
                              const devices::Registry& kinds);

}  // namespace fairlead::agent
