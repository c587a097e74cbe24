// SPDX-License-Identifier: Apache-2.0
// Server-side apply of a claim's status.devices: which field manager owns which entry. Pure: for store_apply.cc.
// Inside drydock_cluster only.
#pragma once

#include <map>
#include <set>
#include <string>

#include "drydock/cluster/api_error.h"
#include "drydock/cluster/store.h"

namespace drydock {

using Managers = std::set<std::string>;
using EntryOwners = std::map<std::string, Managers>;  // by driver, device, pool and shareID

struct MergedDevices {
  Json entries = Json::array();
  EntryOwners owners;
};

/// As a list map: ownership is kept by entry, not by field inside one. 409: an entry of another manager would change.
ApiResult<MergedDevices> merge_devices(const Json& stored, const Json& applied, EntryOwners owners,
                                       const Store::Apply& how);

}  // namespace drydock
