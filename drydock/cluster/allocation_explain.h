// SPDX-License-Identifier: Apache-2.0
// Why the devices of claims cannot be had, for the event of the pod. Only for the files of the allocator.
#pragma once

#include <string>
#include <vector>

#include "drydock/cluster/allocation_plan.h"
#include "drydock/cluster/device_pool.h"
#include "fairlead/core/result.h"

namespace drydock::allocation {

/// The first request that cannot be served by itself, else that they cannot be served together.
fairlead::Error explain_all(const std::vector<ClaimPlan>& plans, const DevicePools& pools,
                            const DeviceUsage& usage, const std::string& node);

}  // namespace drydock::allocation
