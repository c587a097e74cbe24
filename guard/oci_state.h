// SPDX-License-Identifier: Apache-2.0
// Reads the two facts that the guard needs from the OCI state (runtime-spec, runtime.md "State"): the
// top-level members "pid" and "id". No allocation.
#pragma once

#include <string_view>

namespace guard {

struct OciState {
  bool valid = false;  // it is a JSON object with a positive "pid"
  long pid = 0;
  std::string_view id;  // raw text between the quotes; empty when absent or with escapes
};

/// Understands JSON only as far as it must to skip what it does not look for; nesting up to 64 levels.
OciState parse_oci_state(std::string_view json);

}  // namespace guard
