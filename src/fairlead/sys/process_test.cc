// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/process.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

namespace fairlead::sys {
namespace {

/// The exit status of a child that does this; -1 when a signal ended it.
int in_child(const std::function<bool()>& test) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(test() ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Process, DescriptorLimit_IsRaisedToWhatIsAllowed) {
  EXPECT_EQ(in_child([] {
              const rlimit low = {.rlim_cur = 64, .rlim_max = 512};
              rlimit after = {};
              return ::setrlimit(RLIMIT_NOFILE, &low) == 0 && raise_descriptor_limit() == 512 &&
                     raise_descriptor_limit() == 512 && ::getrlimit(RLIMIT_NOFILE, &after) == 0 &&
                     after.rlim_cur == 512 && after.rlim_max == 512;
            }),
            0);
}

bool write_to_nobody() {
  int ends[2] = {-1, -1};
  if (::pipe(ends) != 0) {
    return false;
  }
  (void)::close(ends[0]);
  return ::write(ends[1], "x", 1) == -1 && errno == EPIPE;
}

TEST(Process, BrokenPipe_IsAnErrorAndNotTheEnd) {
  EXPECT_EQ(in_child([] {
              (void)::signal(SIGPIPE, SIG_DFL);
              return write_to_nobody();
            }),
            -1)
      << "what is to be kept from happening";
  EXPECT_EQ(in_child([] {
              (void)::signal(SIGPIPE, SIG_DFL);
              ignore_broken_pipes();
              return write_to_nobody();
            }),
            0);
}

TEST(Process, BrokenPipe_HandlerThatIsThereStays) {
  EXPECT_EQ(in_child([] {
              static volatile std::sig_atomic_t called = 0;
              (void)::signal(SIGPIPE, [](int) { called = 1; });
              ignore_broken_pipes();
              return write_to_nobody() && called == 1;
            }),
            0);
}

}  // namespace
}  // namespace fairlead::sys
