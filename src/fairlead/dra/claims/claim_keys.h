// SPDX-License-Identifier: Apache-2.0
// The keys that put work on claims in order: of the threads of this process (Executor) and of the instances of the driver
// (ClaimLocks). A claim's key is taken first, then those of its devices.
#pragma once

#include <string>
#include <vector>

#include "fairlead/dra/base/driver.h"

namespace fairlead::dra {

inline std::string claim_key(const std::string& uid) { return "claim/" + uid; }

/// No other claim may have the device at the same time, except to monitor it.
inline bool is_exclusive(const AllocatedDevice& device) {
  return device.share_id.empty() && !device.admin_access;
}

/// Appends the keys of the devices that the claim has for itself.
inline void add_device_keys(const Claim& claim, std::vector<std::string>& keys) {
  for (const AllocatedDevice& device : claim.devices) {
    if (is_exclusive(device)) {
      keys.push_back("device/" + device.pool + "/" + device.device);
    }
  }
}

}  // namespace fairlead::dra
