// SPDX-License-Identifier: Apache-2.0
// State of the machine that a run could leave behind, read before and after: links, mounts, CDI files and
// cgroups.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "fairlead/core/result.h"

namespace drydock {

struct MachineState {
  std::set<std::string> links;      // "eth0 (index 4)" of the calling process's network namespace
  std::set<std::string> mounts;     // mount points with their file system, of its mount namespace
  std::set<std::string> cdi_files;  // in /etc/cdi and /var/run/cdi
  std::set<std::string> cgroups;    // those of one name

  /// `cgroup`: the name to look for at the top of every hierarchy; other runs have other names.
  static fairlead::Result<MachineState> read(const std::string& cgroup);
};

/// Of links that went away and came back only the name must be the same: their index may be another one.
void forget_indices(MachineState& state, const std::vector<std::string>& links);

/// One line for each thing that is new or gone: "link veth0 (index 7) is new". Empty: all as it was.
std::vector<std::string> differences(const MachineState& before, const MachineState& after);

}  // namespace drydock
