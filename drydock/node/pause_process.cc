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

/// What the process says of its first step.
Result<> entered(int report) {
  int failed = 0;
  ssize_t got = ::read(report, &failed, sizeof failed);
  while (got < 0 && errno == EINTR) {
    got = ::read(report, &failed, sizeof failed);
  }
  if (got != sizeof failed) {
    return Error(Code::kInternal, "the sandbox's process ended at once");
  }
  return failed == 0 ? Result<>() : Error::from_errno(failed, "enter the pod's network namespace");
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
  fairlead::ScopeExit undo([pid] { (void)reap(pid); });
  FL_TRY(entered(reader.get()));
  FL_ASSIGN(auto ended, open_pidfd(pid));
  undo.release();
  return PauseProcess(pid, std::move(ended));
}

void PauseProcess::kill() const { (void)::kill(pid_, SIGKILL); }

PauseProcess& PauseProcess::operator=(PauseProcess&& other) noexcept {
  std::swap(pid_, other.pid_);
  std::swap(ended_, other.ended_);
  return *this;
}

PauseProcess::~PauseProcess() {
  if (pid_ > 0) {
    (void)reap(pid_);
  }
}

}  // namespace drydock
