// SPDX-License-Identifier: Apache-2.0
// What pods could leave on the node, read before the first and after the last of them.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "drydock/cluster/cluster.h"
#include "drydock/node/claim_manager.h"
#include "drydock/node/pod_instance.h"

namespace drydock {

/// Kind of thing ("link", "mount", ...) -> its names.
using NodeState = std::map<std::string, std::set<std::string>>;

/// Links, network namespaces, CDI files, mounts, bundles, pod folders, claims in the API server and prepared
/// claims.
Result<NodeState> read_node_state(const NodeServices& services, Cluster& cluster, const ClaimManager& claims);

/// "link veth3 is left", "link nic0 is gone"; empty when both are equal.
std::vector<std::string> node_differences(const NodeState& before, const NodeState& after);

}  // namespace drydock
