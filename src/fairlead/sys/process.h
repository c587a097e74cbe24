// SPDX-License-Identifier: Apache-2.0
// What a long-running process asks of the kernel for itself, once, at its start.
#pragma once

#include <cstddef>

namespace fairlead::sys {

/// Raises the limit of open descriptors to what this process may have (RLIMIT_NOFILE: soft to hard). Answers
/// the limit that holds then.
std::size_t raise_descriptor_limit();

/// A write to a pipe or socket whose reader has gone is an error (EPIPE) and no longer the end of the
/// process. Whoever handles SIGPIPE already keeps doing so.
void ignore_broken_pipes();

}  // namespace fairlead::sys
