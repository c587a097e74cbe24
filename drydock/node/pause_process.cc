// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/pause_process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

namespace drydock {
namespace {

/// Between fork and the end of the process nothing but system calls: other threads may have held locks.
[[noreturn]] void be_pause(int netns, int report) {
  int failed = 0;
  if (netns >= 0 && ::setns(netns, CLONE_NEWNET) != 0) {
    failed = errno;
  }
  (void)::prctl(PR_SET_NAME, "pause");
  (void)!::write(report, &failed, sizeof failed);
  // Whoever waits for the end of one of our pipes must not wait for this process.
  (void)::close_range(0, ~0U, 0);
  if (failed != 0) {
    ::_exit(1);
  }
  while (true) {
    (void)::pause();
  }
}

Result<> reap(pid_t pid) {
  (void)::kill(pid, SIGKILL);
  FL_TRY(wait_for_exit(pid), "wait for the sandbox's process");
  return {};
}

}  // namespace

Result<PauseProcess> PauseProcess::start(int netns) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return Error::from_errno(errno, "pipe");
  }
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t pid = ::fork();
  if (pid < 0) {
    return Error::from_errno(errno, "start the sandbox's process");
  }
  if (pid == 0) {
    be_pause(netns, writer.get());
  }
  writer.reset();
  int failed = 0;
  ssize_t got = 0;
  do {
    got = ::read(reader.get(), &failed, sizeof failed);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof failed && failed == 0) {
    return PauseProcess(pid);
  }
  (void)reap(pid);
  return got == sizeof failed ? Error::from_errno(failed, "enter the pod's network namespace")
                              : Error(Code::kInternal, "the sandbox's process ended at once");
}

PauseProcess& PauseProcess::operator=(PauseProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  return *this;
}

PauseProcess::~PauseProcess() {
  if (pid_ > 0) {
    (void)reap(pid_);
  }
}

}  // namespace drydock
