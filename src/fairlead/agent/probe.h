// SPDX-License-Identifier: Apache-2.0
// Which kinds of links this kernel can make, tried once at start in a namespace of our own.
#pragma once

#include <set>
#include <string>

#include "fairlead/core/result.h"

namespace fairlead::agent {

/// Of "macvlan", "veth", "dummy".
Result<std::set<std::string>> probe_link_kinds();

}  // namespace fairlead::agent
