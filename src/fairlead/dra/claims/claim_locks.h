// SPDX-License-Identifier: Apache-2.0
// Locks between the instances of one driver on a node (two during a rolling update): one byte of a lock file per key.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace fairlead::dra {

/// Any thread.
class ClaimLocks : private Pinned {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  /// Keys locked against other instances (not against threads of this process: the Executor does that).
  /// Released when the object is destroyed, or when the process dies.
  class Keys {
   public:
    /// Locks more keys. Callers in all instances must lock them in one order: the claim's, then devices'.
    Result<> add(std::vector<std::string> keys, Deadline deadline, const std::stop_token& stop);

   private:
    friend class ClaimLocks;
    explicit Keys(UniqueFd fd) : fd_(std::move(fd)) {}
    UniqueFd fd_;
  };

  /// `path`: the lock file, made when it is first needed.
  explicit ClaimLocks(std::string path) : path_(std::move(path)) {}

  /// Waits until `deadline` (kTimeout) or `stop` (kCancelled) while another instance holds one of the keys.
  [[nodiscard]] Result<Keys> lock(std::vector<std::string> keys, Deadline deadline,
                                  const std::stop_token& stop = {}) const;

 private:
  const std::string path_;
};

}  // namespace fairlead::dra
