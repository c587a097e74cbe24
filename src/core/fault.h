// SPDX-License-Identifier: Apache-2.0
// Named points at which a test can kill the process: FAIRLEAD_FAULT=after-intent:kill in the environment
// sends SIGKILL to the process when it gets there. Only in builds with the CMake option FAIRLEAD_FAULTS.
#pragma once

#include <string_view>

namespace fairlead {

/// Does nothing in a build without faults, or when the environment names another point. Any thread.
void fault_point(std::string_view name);
/// Whether this build honours FAIRLEAD_FAULT.
bool fault_points_enabled();

}  // namespace fairlead
