// SPDX-License-Identifier: Apache-2.0
// Announces changes of the entries of other drivers (nic_holders.h).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "fairlead/core/fd.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace fairlead::agent {

/// Calls `changed` when entries of drivers other than `driver` change, or all are lost with the folder, which
/// is then made again; from a thread of its own.
class HoldersWatch : private Pinned {
 public:
  /// Makes the folder.
  static Result<std::unique_ptr<HoldersWatch>> start(const std::string& dir, std::string driver,
                                                     std::function<void()> changed);
  ~HoldersWatch();

 private:
  struct Seen {
    bool any = false, folder_gone = false;
  };
  HoldersWatch(std::string folder, UniqueFd events, UniqueFd stop, std::string driver,
               std::function<void()> changed);
  void run() const;
  [[nodiscard]] Seen read_events() const;
  std::string folder_;
  UniqueFd events_, stop_;
  std::string driver_;
  std::function<void()> changed_;
  std::thread thread_;
};

}  // namespace fairlead::agent
