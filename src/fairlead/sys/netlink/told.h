// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

namespace fairlead::netlink {

/// An address or a route as the kernel reported it: the payload of its message, so that it can be restored
/// with every attribute that it had, including those that this code does not know. Attributes that only the
/// kernel can set are left out: the index, times, the state of the link.
using Told = std::vector<std::uint8_t>;

}  // namespace fairlead::netlink
