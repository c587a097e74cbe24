// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::netlink {

/// A name that the kernel accepts for an interface (net/core/dev.c dev_valid_name): 1 to 15 bytes, not "." or
/// "..", no '/', ':', white space. Also refused: '%' (the kernel would insert a number) and control
/// characters. The error says why the name is invalid.
Result<> check_link_name(std::string_view name);

}  // namespace fairlead::netlink
