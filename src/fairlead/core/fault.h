// SPDX-License-Identifier: Apache-2.0
// Named points at which a test can kill or freeze the process, in builds with the CMake option
// FAIRLEAD_FAULTS. The points are in an environment variable, a list separated by commas:
//
//   FAIRLEAD_FAULT=<point>:kill                    SIGKILL each time the process gets there
//   FAIRLEAD_FAULT=<point>:freeze                  SIGSTOP instead; the test sends SIGCONT
//   FAIRLEAD_FAULT=<point>:kill:once=/path         only if the file does not exist; it is made first, so that
//                                                  the process that is started next gets past the point
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"

namespace fairlead {

/// Does nothing in a build without faults, or when the environment names other points. Any thread.
void fault_point(std::string_view name);
/// Whether this build honours FAIRLEAD_FAULT.
bool fault_points_enabled();

/// One entry of FAIRLEAD_FAULT.
struct Fault {
  std::string point;
  int signal = 0;
  std::string once;  // path; empty: every time
  bool operator==(const Fault&) const = default;
};
/// kInvalid names the malformed entry.
Result<std::vector<Fault>> parse_faults(std::string_view list);

}  // namespace fairlead
