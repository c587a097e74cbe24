// SPDX-License-Identifier: Apache-2.0
// A thread that reads the Node object: which addresses are the node's own.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/core/worker.h"
#include "fairlead/devices/node_memory.h"

namespace fairlead::agent {

struct NodeReaderOptions {
  /// The Node's internal addresses as in the Node object. Blocks; called on the reader's thread only.
  std::function<Result<std::vector<std::string>>(std::stop_token)> read;
  std::shared_ptr<devices::NodeMemory> memory;
  /// The known addresses changed; called on the reader's thread, must not block.
  std::function<void()> changed;
  /// After a success; Nodes seldom change their addresses.
  std::chrono::milliseconds again{300'000};
  /// After a failure, doubled up to the second.
  std::chrono::milliseconds retry_min{500};
  std::chrono::milliseconds retry_max{30'000};
};

class NodeReader : private Pinned {
 public:
  explicit NodeReader(NodeReaderOptions options);
  /// Ends the thread, and the call that it is in.
  ~NodeReader() = default;

  /// Waits for the first response, good or bad, or that long.
  void wait_first(std::chrono::milliseconds at_most);

 private:
  /// Returns when to read again.
  std::optional<Worker::TimePoint> read(const std::stop_token& stop);
  Result<> read_once(const std::stop_token& stop) const;

  const NodeReaderOptions options_;
  Mutex mutex_;
  ConditionVariable answered_;
  bool has_answer_ FL_GUARDED_BY(mutex_) = false;
  std::chrono::milliseconds retry_;  // of the worker's thread: the pause after the next failure
  Worker worker_;                    // last: it uses the others
};

}  // namespace fairlead::agent
