// SPDX-License-Identifier: Apache-2.0
// Finds a network namespace again by its id, among those that this process can see: of processes (/proc) and
// bind mounts (/run/netns, where runtimes keep the pods' namespaces). A namespace that only descriptors keep
// alive is not found.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

/// Where namespaces are looked for.
struct NetnsPlaces {
  std::vector<std::string> folders = {"/run/netns", "/var/run/netns"};
  std::string proc = "/proc";
  /// Between the two looks at a process that may not be looked at.
  std::function<void()> pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); };
};

struct FoundNetns {
  UniqueFd fd;
  /// Which folder, or which processes, as is_looked_through() takes it: another process may have another
  /// folder mounted there, or see other processes.
  std::string seen_in;
};

/// Nothing: it is in none of the places. An error: something could not be looked at (no descriptor left, no
/// permission), and it may be there. `seen_in`, if it is known, is where it was before: when that is a folder
/// of which all can be looked at, processes that may not be looked at say nothing against its end.
Result<std::optional<FoundNetns>> find_netns(sys::NetnsId id, const NetnsPlaces& places = {},
                                             const std::string& seen_in = {});

/// Whether find_netns() of this process looks where the namespace was seen, perhaps by another process. Else
/// that it is not found says nothing.
Result<bool> is_looked_through(const std::string& seen_in, const NetnsPlaces& places = {});

}  // namespace fairlead::agent
