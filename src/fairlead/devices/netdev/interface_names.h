// SPDX-License-Identifier: Apache-2.0
// What a claim's interfaces are called in the pod. Devices of other types have no such name.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"

namespace fairlead::devices::netdev {

/// Interface names in a pod that are other claims', and whose.
using TakenNames = std::map<std::string, std::string>;

/// Gives a name to every interface that has none ("net1", "net2", ... in the devices' order, skipping names
/// that are taken or asked for) and refuses a name that is taken, or that two devices of the claim ask for.
Result<> assign_interface_names(std::vector<DevicePlan>& devices, const TakenNames& taken = {});

}  // namespace fairlead::devices::netdev
