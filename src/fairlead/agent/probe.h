// SPDX-License-Identifier: Apache-2.0
// Which kinds of device this node supports, tried once at start in a network namespace of our own.
#pragma once

#include <set>
#include <string>

#include "fairlead/core/result.h"
#include "fairlead/devices/registry.h"

namespace fairlead::agent {

/// The names (KindName::kind) of the kinds that Kind::probe() finds possible; the reasons for the others are
/// logged.
Result<std::set<std::string>> probe_kinds(const devices::Registry& kinds);

}  // namespace fairlead::agent
