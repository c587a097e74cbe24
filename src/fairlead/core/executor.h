// SPDX-License-Identifier: Apache-2.0
// Executor: a bounded pool of worker threads that preserves order where it matters.
//
// A task names its exclusive resources as keys ("claim/<uid>", "device/<pool>/<name>"). Tasks that have a key
// in common run one after another, in the order they were submitted; all others in parallel. A running task
// may ask for more keys and a second part (Turn::then): it keeps its keys while it waits. That cannot
// deadlock as long as keys of the first part and keys of the second are of different kinds, for all tasks
// alike: first "claim/", then "device/".
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace fairlead {

/// Any thread may call any function here, except that a task must not call acquire() or stop().
class Executor : private Pinned {
 public:
  struct Options {
    /// How many tasks of each lane run at the same time. Lanes keep slow waits (lane 1: requests to a server) from
    /// holding up other work. There are at most as many threads as all lanes together allow tasks; they are started
    /// when tasks wait.
    std::vector<unsigned> lanes = {4};
    /// Tasks that were accepted and have not started.
    std::size_t queue_limit = 1024;
  };
  using Keys = std::vector<std::string>;
  class Turn;
  /// Must not throw.
  using Task = std::move_only_function<void(Turn&)>;

  /// Given to a running task.
  class Turn {
   public:
    /// After this task returns, `next` runs as soon as `more` keys are free too, on the same thread if that is at
    /// once; the keys of this task stay held. The queue bound does not apply. The last call counts.
    void then(Keys more, Task next, std::size_t lane = 0);

   private:
    friend class Executor;
    struct Next;
    std::shared_ptr<Next> next_;
  };

  /// Keys held by the caller's own thread; released on destruction.
  class Hold {
   public:
    Hold(Hold&&) noexcept;
    Hold& operator=(Hold&&) noexcept;
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold();

   private:
    friend class Executor;
    struct State;
    explicit Hold(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
  };

  Executor() : Executor(Options{}) {}
  explicit Executor(Options options);
  /// stop().
  ~Executor();

  /// kBusy if the queue is full, kCancelled after stop(): then the task was not accepted and is destroyed.
  Result<> submit(Keys keys, Task task, std::size_t lane = 0);
  /// Waits in the same order as tasks. kTimeout when `deadline` came first, kCancelled after stop().
  Result<Hold> acquire(Keys keys, std::chrono::steady_clock::time_point deadline);
  /// Accepts no more tasks, runs all accepted ones (with their second parts), ends the threads. Idempotent.
  void stop();

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace fairlead
