// SPDX-License-Identifier: Apache-2.0
// Every kind of device that fairlead has.
#pragma once

#include "fairlead/devices/registry.h"

namespace fairlead::devices {

Registry all_kinds();

}  // namespace fairlead::devices
