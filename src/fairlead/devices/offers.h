// SPDX-License-Identifier: Apache-2.0
// From what the kinds offer to what a ResourceSlice has.
#pragma once

#include <span>
#include <vector>

#include "fairlead/devices/kind.h"
#include "fairlead/dra/base/driver.h"

namespace fairlead::devices {

/// The devices to publish: those that are not withheld, and those that claims hold, which keep the name under
/// which they were allocated: a claim holds a device by its key; a record without one, by the name. The scheduler takes the first that fits: first those that several claims can have,
/// so that a claim without a selector does not take a whole one away; then by name.
std::vector<dra::Device> published_devices(Offers offers, std::span<const HeldDevice> held);

}  // namespace fairlead::devices
