// SPDX-License-Identifier: Apache-2.0
// Which kinds of device this node can do, tried once at start in a network namespace of our own.
#pragma once

#include <set>
#include <string>

#include "fairlead/core/result.h"
#include "fairlead/devices/registry.h"

namespace fairlead::agent {

/// The words of the kinds (KindName::kind) that Kind::probe() finds possible; why the others are not is logged.
Result<std::set<std::string>> probe_kinds(const devices::Registry& kinds);

}  // namespace fairlead::agent
