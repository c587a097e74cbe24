// SPDX-License-Identifier: Apache-2.0
// Does a list or watch take an object? Inside drydock_cluster only; the parsers are in store.h.
#pragma once

#include "drydock/cluster/store.h"

namespace drydock {

bool selects(const ListQuery& query, const Json& object);

}  // namespace drydock
