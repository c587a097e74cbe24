// SPDX-License-Identifier: Apache-2.0
// What the kinds of type "rdma" offer, and what that means for the network interfaces of the same hardware: a function
// is offered as its interface or as its RDMA device (NodeOptions::rdma_view), never as both.
//
// Views in which one function is offered in several ways that exclude each other need counters that these devices
// share (KEP-4815): then rdma_links() is what changes, and each offer consumes its function's counter.
#pragma once

#include <optional>
#include <span>

#include "fairlead/devices/kind.h"
#include "fairlead/devices/node.h"
#include "fairlead/devices/rdma/hca.h"

namespace fairlead::devices::rdma {

Offers rdma_offers(const OfferInput& input);
/// Why it cannot be given to a claim now. A claim that has its interface is seen in `held`.
std::optional<NotOffered> why_withheld(const NodeView& node, const Hca& hca,
                                       std::span<const HeldDevice> held);
/// The interfaces that are not offered because of their RDMA device.
RdmaLinks rdma_links(const sys::NodeFacts& facts, RdmaView view, std::span<const HeldDevice> held);

}  // namespace fairlead::devices::rdma
