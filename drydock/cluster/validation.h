// SPDX-License-Identifier: Apache-2.0
// What the API server does to an object before it stores it: types, defaults, and the rules whose breach is
// 422 Invalid, in kubectl's words. Rules: pkg/apis/{resource,core}/validation of Kubernetes 1.36.
#pragma once

#include "drydock/cluster/api_error.h"
#include "drydock/cluster/kinds.h"
#include "drydock/cluster/store.h"

namespace drydock {

/// Changes `object` in place: drops unknown fields, sets defaults, writes quantities canonically. 400 for a
/// value of a wrong type, 422 for a broken rule.
ApiResult<> admit_create(const Kind& kind, Json& object);
/// As admit_create, and the rules about what may change. `after` already carries the metadata and the half
/// that this write does not touch.
ApiResult<> admit_update(const Kind& kind, const Json& before, Json& after, Part part);

}  // namespace drydock
