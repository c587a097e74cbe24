// SPDX-License-Identifier: Apache-2.0
// A listening unix socket that only its owner may connect to, and that removes sockets left by itself and by
// dead instances.
#pragma once

#include <sys/types.h>

#include <string>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace fairlead::rpc {

/// Not thread-safe; descriptor() may be polled and accepted from by one other thread.
class UnixListener {
 public:
  /// Binds and listens on `path` (absolute). The socket has mode 0600 from its first moment, whatever the
  /// umask; missing folders are made with mode 0750. A socket left behind by a dead process is replaced.
  /// kInvalid: the path is too long or not absolute; kExists: the name belongs to a file that is not a
  /// socket; kBusy: another process listens there. Instances that open one path at the same time are
  /// serialized (by a lock on the folder), so that none removes what another has just bound.
  static Result<UnixListener> open(const std::string& path);
  UnixListener(UnixListener&& other) noexcept;
  UnixListener& operator=(UnixListener&& other) noexcept;
  UnixListener(const UnixListener&) = delete;
  UnixListener& operator=(const UnixListener&) = delete;
  /// close().
  ~UnixListener();

  /// Non-blocking.
  [[nodiscard]] int descriptor() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Whether `path` still leads to this socket: it may have been removed or replaced.
  [[nodiscard]] bool is_in_place() const;
  /// Removes the name, unless it belongs to another socket by now; connections are still accepted.
  /// Idempotent.
  void unlink();
  /// unlink(), then stops listening. Idempotent.
  void close();

 private:
  UnixListener(UniqueFd fd, std::string path, dev_t device, ino_t inode)
      : fd_(std::move(fd)), path_(std::move(path)), device_(device), inode_(inode) {}

  UniqueFd fd_;
  std::string path_;  // empty: unlinked
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

/// Removes a socket whose process is gone: no process listens there, nor is about to. False: it does not
/// exist, or another process uses it.
Result<bool> remove_dead_socket(const std::string& path);

}  // namespace fairlead::rpc
