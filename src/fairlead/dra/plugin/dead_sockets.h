// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace fairlead::dra {

/// Removes the sockets of instances that were killed: their names carry uids of pods that never come back, and the
/// kubelet would dial them at each of its starts.
void remove_dead_sockets(const std::string& driver_name, const std::string& registry_dir,
                         const std::string& plugin_dir);

}  // namespace fairlead::dra
