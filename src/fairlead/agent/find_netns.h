// SPDX-License-Identifier: Apache-2.0
// Finds a network namespace again by its id, among those that this process can see: of processes (/proc) and
// bind mounts (/run/netns, where runtimes keep the pods' namespaces). A namespace that only descriptors keep
// alive is not found.
#pragma once

#include <optional>

#include "fairlead/core/fd.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

std::optional<UniqueFd> find_netns(sys::NetnsId id);

}  // namespace fairlead::agent
