// SPDX-License-Identifier: Apache-2.0
// Finds a network namespace by its id among those visible to this process: of processes (/proc) and bind
// mounts (/run/netns, where runtimes keep the pods' namespaces). A namespace that only descriptors keep alive
// is not found.
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

/// Where to look for namespaces.
struct NetnsPlaces {
  std::vector<std::string> folders = {"/run/netns", "/var/run/netns"};
  std::string proc = "/proc";
  /// Waits between the two attempts to inspect a process that denies it.
  std::function<void()> pause = [] { std::this_thread::sleep_for(std::chrono::milliseconds(20)); };
};

struct FoundNetns {
  UniqueFd fd;
  /// Identifies the folder, or the set of processes, for is_looked_through(): another process may have
  /// another folder mounted there, or see other processes.
  std::string seen_in;
};

/// nullopt: it is in none of the places. An error: some place could not be inspected (no descriptor left, no
/// permission), so it may still exist. `seen_in`, if known, is where it was before: if that is a folder that
/// can be inspected completely, inaccessible processes are not an error.
Result<std::optional<FoundNetns>> find_netns(sys::NetnsId id, const NetnsPlaces& places = {},
                                             const std::string& seen_in = {});

/// FoundNetns::seen_in of an open namespace: first looks at the path by which the descriptor was opened. nullopt: it
/// is in none of the places.
Result<std::optional<std::string>> where_seen(int netns, sys::NetnsId id, const NetnsPlaces& places = {});

/// Whether find_netns() of this process covers the place where the namespace was seen, perhaps by another
/// process. If not, failing to find it does not mean that it is gone.
Result<bool> is_looked_through(const std::string& seen_in, const NetnsPlaces& places = {});

}  // namespace fairlead::agent
