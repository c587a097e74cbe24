// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/process.h"

#include <sys/resource.h>

#include <csignal>

namespace fairlead::sys {

std::size_t raise_descriptor_limit() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return 0;
  }
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    limit = ::setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised : limit;
  }
  return limit.rlim_cur;
}

void ignore_broken_pipes() {
  struct sigaction now = {};
  if (::sigaction(SIGPIPE, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) {
    (void)::signal(SIGPIPE, SIG_IGN);
  }
}

}  // namespace fairlead::sys
