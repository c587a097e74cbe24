// SPDX-License-Identifier: Apache-2.0
// The kubelet's view of its registration folder: which plugin sockets there are, with the quirks of its own
// watcher (pkg/kubelet/pluginmanager/pluginwatcher): names that begin with "." do not count, folders are
// watched too, what is not a socket when it appears never counts, and a socket that was moved away is not
// missed.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace drydock {

/// Used by one thread.
class RegistryWatcher {
 public:
  /// Existing sockets count as created.
  static fairlead::Result<RegistryWatcher> open(const std::string& folder);

  /// Readable when something happened; then call drain().
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// True when sockets() may have changed.
  fairlead::Result<bool> drain();

  /// Path -> a number that is new for each time it was created: a re-created socket is another plugin.
  [[nodiscard]] const std::map<std::string, std::uint64_t>& sockets() const { return sockets_; }

 private:
  explicit RegistryWatcher(fairlead::UniqueFd fd) : fd_(std::move(fd)) {}
  fairlead::Result<> watch_folder(const std::string& folder);
  void created(const std::string& folder, const std::string& name);

  fairlead::UniqueFd fd_;
  std::map<int, std::string> folders_;  // inotify watch -> folder
  std::map<std::string, std::uint64_t> sockets_;
  std::uint64_t next_ = 1;
};

}  // namespace drydock
