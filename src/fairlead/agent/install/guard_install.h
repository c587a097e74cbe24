// SPDX-License-Identifier: Apache-2.0
// fairlead-guard runs on the host, started by the container runtime; the agent runs in a container. So the
// agent puts the guard on the host, into the plugin's own folder under the kubelet's, and takes it away when
// fairlead is uninstalled, and only then: without it no container of a prepared claim could start.
#pragma once

#include <memory>
#include <string>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/kube/client.h"

namespace fairlead::agent {

struct InstalledGuard {
  std::string path;
  /// While this is open, no instance removes the file (a shared lock on it).
  UniqueFd hold;
};
/// Copies the program to `dir`/fairlead-guard in one step, unless the same is there. A guard that runs keeps
/// its old file.
Result<InstalledGuard> install_guard(const std::string& program, const std::string& dir);

struct GuardRemoval {
  std::string path;        // as install_guard() returned
  std::string plugin_dir;  // where instances have their sockets (dra*.sock)
  std::size_t claims = 0;  // known claims with a record; the records on disk are counted too
  std::string state_dir;   // its lock, sockets and empty folders are removed too; empty: kept
};
/// Removes the guard and the folders that are then empty, unless another instance or claim needs it: kBusy
/// says which. Our own hold must have been released; an instance that has, or just takes, a hold keeps it.
Result<> remove_guard(const GuardRemoval& removal);

}  // namespace fairlead::agent
