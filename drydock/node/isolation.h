// SPDX-License-Identifier: Apache-2.0
// The walls between the machine and the stand-in node.
//
//   drydock (supervisor, stays on the machine)
//     └─ init      pid 1 of the node: new pid, mount, network, IPC and UTS namespaces; only reaps
//          └─ node pid 2: everything else; drivers, runtimes and containers are its children
//
// However the supervisor ends, kill -9 included, init dies with it (PR_SET_PDEATHSIG) and the kernel then
// kills everything in the pid namespace; with the last process go the mounts and the links.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "fairlead/core/result.h"

namespace drydock {

/// Needs root (CAP_SYS_ADMIN). `body` runs in the node with private mounts (see node_fs.h for what it sets
/// up), its own /proc and the given host name. SIGINT, SIGTERM and SIGHUP to the supervisor reach the node as
/// SIGTERM, blocked there, so that it can read them with sigwait(3) and leave in good order; a second one
/// kills the node. Returns what body returned, 137 when the node was killed. Call it from a process that has
/// one thread.
///
/// `prepare`, if there is one, runs in the supervisor when the namespaces of the node are there (those of the
/// process it is given) and nothing runs in them yet; its error ends the node and is returned.
fairlead::Result<int> run_isolated(const std::string& host_name, const std::function<int()>& body,
                                   const std::function<fairlead::Result<>(pid_t)>& prepare = {});

}  // namespace drydock
