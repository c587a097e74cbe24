// SPDX-License-Identifier: Apache-2.0
// A pod sandbox's own process: does nothing, in the pod's network namespace, for as long as the sandbox is
// there. Runtimes tell its pid to those who want to reach the namespace through /proc.
#pragma once

#include <sys/types.h>

#include <utility>

#include "drydock/node/processes.h"

namespace drydock {

/// Used by one thread.
class PauseProcess {
 public:
  /// In the network namespace behind the descriptor; -1: the caller's.
  static Result<PauseProcess> start(int netns);
  PauseProcess(PauseProcess&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  PauseProcess& operator=(PauseProcess&& other) noexcept;
  PauseProcess(const PauseProcess&) = delete;
  PauseProcess& operator=(const PauseProcess&) = delete;
  /// Ends it.
  ~PauseProcess();

  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  explicit PauseProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_;
};

}  // namespace drydock
