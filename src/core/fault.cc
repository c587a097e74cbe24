// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/fault.h"

#include <csignal>
#include <cstdlib>
#include <string>

namespace fairlead {

#ifdef FAIRLEAD_FAULTS

void fault_point(std::string_view name) {
  static const std::string wanted = [] {
    const char* value = std::getenv("FAIRLEAD_FAULT");  // NOLINT(concurrency-mt-unsafe): nobody sets it
    return std::string(value != nullptr ? value : "");
  }();
  if (!wanted.empty() && wanted == std::string(name) + ":kill") {
    (void)std::raise(SIGKILL);
  }
}

bool fault_points_enabled() { return true; }

#else

void fault_point(std::string_view /*name*/) {}

bool fault_points_enabled() { return false; }

#endif

}  // namespace fairlead
