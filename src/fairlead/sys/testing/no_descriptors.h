// SPDX-License-Identifier: Apache-2.0
// A process that has as many descriptors open as it may.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>

#include "fairlead/core/fd.h"
#include "fairlead/core/pinned.h"

namespace fairlead::sys::testing_support {

/// UndefinedBehaviorSanitizer opens a pipe to check the type of an object before a virtual call; without a
/// descriptor it reports a fault where there is none. A test that uses NoDescriptors skips where this is false.
#ifdef FAIRLEAD_UBSAN
inline constexpr bool kRunsWithoutDescriptors = false;
#else
inline constexpr bool kRunsWithoutDescriptors = true;
#endif

/// While it lives, this process cannot open a descriptor (EMFILE). The soft limit is restored at the end.
class NoDescriptors : private Pinned {
 public:
  NoDescriptors() {
    const UniqueFd free(::fcntl(0, F_DUPFD_CLOEXEC, 0));
    (void)::getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit none = {.rlim_cur = static_cast<rlim_t>(free.get()), .rlim_max = before_.rlim_max};
    (void)::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoDescriptors() { (void)::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_ = {};
};

}  // namespace fairlead::sys::testing_support
