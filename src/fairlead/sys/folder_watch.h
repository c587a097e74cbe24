// SPDX-License-Identifier: Apache-2.0
// FolderWatch: which entries of a folder changed since it was asked last, by inotify. Never blocks.
#pragma once

#include <set>
#include <string>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace fairlead::sys {

/// One thread at a time. A change is reported once the call that made it has returned, whichever process made it, so
/// whoever asks after that call sees it. It does not say what changed: look at the entry.
class FolderWatch {
 public:
  /// Begins before it returns: list the folder after that. An error: not a folder, or no inotify instance is left.
  static Result<FolderWatch> open(const std::string& path);

  struct Changes {
    /// Anything may have changed (too many events came, or the folder itself was moved, removed or changed): open
    /// another watch and list the folder.
    bool all = false;
    std::set<std::string> names;
  };
  Changes take();

 private:
  explicit FolderWatch(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace fairlead::sys
