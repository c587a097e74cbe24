// SPDX-License-Identifier: Apache-2.0
// Attributes of a device in a ResourceSlice that kinds of several types have.
#pragma once

#include <string>
#include <string_view>

#include "fairlead/devices/kind.h"
#include "fairlead/devices/node.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/sys/pci.h"

namespace fairlead::devices {

/// Left out if the text is empty, or longer than an attribute may be.
void put_attribute(dra::Device& device, const std::string& key, std::string_view text);
/// Address, root, NUMA node, driver, vendor and product.
void put_pci_attributes(dra::Device& device, const sys::PciDevice& pci);

NotOffered not_offered(const Withheld& withheld);

}  // namespace fairlead::devices
