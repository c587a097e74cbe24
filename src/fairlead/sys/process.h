// SPDX-License-Identifier: Apache-2.0
// Process-wide settings of a long-running process, made once at its start.
#pragma once

#include <cstddef>

namespace fairlead::sys {

/// Raises the soft limit of open descriptors to the hard limit (RLIMIT_NOFILE). Returns the limit that is
/// then in effect.
std::size_t raise_descriptor_limit();

/// Makes a write to a pipe or socket without a reader an error (EPIPE) instead of ending the process. An
/// existing SIGPIPE handler is kept.
void ignore_broken_pipes();

}  // namespace fairlead::sys
