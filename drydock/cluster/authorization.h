// SPDX-License-Identifier: Apache-2.0
// What the API server lets a node's driver write, as a 1.36 cluster with the recommended rules does:
//  - ResourceSlices of its own node only (the ValidatingAdmissionPolicy that drivers ship),
//  - in a claim's status only devices of its own driver, and only while the claim is allocated to its node
//    (granular status authorization: resourceclaims/driver with the verbs associated-node:patch and :update),
//  - never status.allocation and status.reservedFor (resourceclaims/binding: the scheduler's).
#pragma once

#include <set>
#include <string>

#include "drydock/cluster/api_error.h"
#include "drydock/cluster/kinds.h"
#include "drydock/cluster/store.h"

namespace drydock {

/// A service account with a token that is bound to a node.
struct Identity {
  std::string user;  // "system:serviceaccount:kube-system:driver-1"
  std::string node;
  std::set<std::string> drivers;  // whose devices it may report on; empty: not known yet, all
};

/// An error: what this user may not do. `before` is null for what is made, `after` for what is deleted.
ApiResult<> review_write(const Identity& who, const Kind& kind, const Json& before, const Json& after,
                         Part part);

}  // namespace drydock
