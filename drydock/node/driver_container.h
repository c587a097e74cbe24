// SPDX-License-Identifier: Apache-2.0
// The container of a confined driver (--confine).
//
// Its root is the machine's, so that a program that was built here runs: an overlay of the machine's root,
// which lets the runtime make the places where volumes are mounted, with the other file systems of the
// machine bound into it; all read-only. The node's own folders (/run, /var/lib/kubelet, /etc/cdi) are empty
// there but for what the manifest's volumes bring.
#pragma once

#include <sys/types.h>

#include <string>

#include "drydock/node/confinement.h"
#include "drydock/node/node_fs.h"
#include "drydock/node/runtime.h"
#include "fairlead/core/result.h"

namespace drydock {

struct DriverContainerSettings {
  const Confinement* confinement = nullptr;
  Runtime* runtime = nullptr;
  std::string id;      // unique among the runtime's containers
  std::string folder;  // for its bundle, root and emptyDir volumes; the volumes outlive remove()
  std::string node_name, pod_uid;
  NodePaths paths;
  std::vector<std::string> readable, writable;  // of drydock's: kubeconfig, state
};

/// Makes the volumes and the root, creates the container and starts it; what the driver prints goes to the
/// descriptor `log`. The process is its init. Nothing is left when it fails.
fairlead::Result<pid_t> start_driver_container(const DriverContainerSettings& settings,
                                               const std::string& command,
                                               const std::map<std::string, std::string>& env, int log);

/// When its init has ended. One that is not there counts as removed.
fairlead::Result<> remove_driver_container(const DriverContainerSettings& settings);

}  // namespace drydock
