// SPDX-License-Identifier: Apache-2.0
// A pod sandbox's own process: does nothing, in the pod's network namespace, for as long as the sandbox
// exists. Runtimes report its pid to clients that want to reach the namespace through /proc.
#pragma once

#include <sys/types.h>

#include <utility>

#include "drydock/node/processes.h"

namespace drydock {

/// Used by one thread.
class PauseProcess {
 public:
  /// In the network namespace of the descriptor; -1: the caller's.
  static Result<PauseProcess> start(int netns);
  PauseProcess(PauseProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), ended_(std::move(other.ended_)) {}
  PauseProcess& operator=(PauseProcess&& other) noexcept;
  PauseProcess(const PauseProcess&) = delete;
  PauseProcess& operator=(const PauseProcess&) = delete;
  /// Ends it.
  ~PauseProcess();

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// A descriptor that becomes readable when it has ended.
  [[nodiscard]] int ended() const { return ended_.get(); }
  /// Whatever happens to such processes: out of memory, an operator's hand.
  void kill() const;

 private:
  PauseProcess(pid_t pid, UniqueFd ended) : pid_(pid), ended_(std::move(ended)) {}
  pid_t pid_;
  UniqueFd ended_;
};

}  // namespace drydock
