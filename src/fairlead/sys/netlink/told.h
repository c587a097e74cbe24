// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace fairlead::netlink {

/// An address or a route as the kernel reported it: the payload of its message, so that it can be put back with every
/// attribute that it had, including those that this code does not know. Left out is what only the kernel can set: the
/// index, times, the state of the link.
using Told = std::vector<std::uint8_t>;

}  // namespace fairlead::netlink
