// SPDX-License-Identifier: Apache-2.0
// The numbers by which a network namespace refers to others (net/core/net_namespace.c, "nsid"). The kernel takes a
// number back when the namespace that has it ends, and may give it to another later. So a number that is not in use
// says that the namespace is gone, also if no path led to it; one that is in use says nothing.
//
// The calling thread's namespace is the one that refers. Any thread.
#pragma once

#include <cstdint>

#include "fairlead/core/result.h"

namespace fairlead::netlink {

/// The number of `netns`, which gets one if it has none.
Result<std::int32_t> number_netns(int netns);

/// kUnsupported: the kernel cannot be asked for a number (before Linux 4.20).
Result<bool> is_netns_number_in_use(std::int32_t number);

}  // namespace fairlead::netlink
