// SPDX-License-Identifier: Apache-2.0
// What the kinds of type "netdev" offer: the NICs, and the one device that all links made on demand come from.
#pragma once

#include <string>

#include "fairlead/devices/kind.h"
#include "fairlead/devices/node.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/sys/inventory.h"

namespace fairlead::devices::netdev {

/// netdev-virtual.
Offers virtual_offers(const OfferInput& input);
/// The NICs. One that a claim has taken off the node is offered as it was before, instead of the parts of it
/// that are visible now; that it is away changes no name of others.
Offers nic_offers(const OfferInput& input);

/// netdev-virtual.
dra::Device virtual_device(const NodeOptions& options);
/// One NIC with its attributes.
dra::Device nic_device(const sys::InventoryLink& link, const std::string& name);

}  // namespace fairlead::devices::netdev
