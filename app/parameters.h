// SPDX-License-Identifier: Apache-2.0
// `fairlead parameters`: prints what may be written in the opaque parameters of a claim.
#pragma once

#include <string_view>

#include "fairlead/devices/registry.h"

namespace fairlead::app {

inline constexpr std::string_view kParametersCommand = "parameters";

/// `argv` begins with the command's name. Returns the exit status.
int print_parameters(const devices::Registry& registry, int argc, const char* const* argv);

}  // namespace fairlead::app
