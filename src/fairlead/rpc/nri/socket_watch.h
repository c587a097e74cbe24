// SPDX-License-Identifier: Apache-2.0
// Waiting for a socket to appear in its folder.
#pragma once

#include <chrono>
#include <string>

#include "fairlead/core/fd.h"

namespace fairlead::rpc {

/// Waits between tries to connect, and notices when the runtime makes its socket: a pod that starts before we
/// are back would start without us. stop() from any thread, the rest from one.
class SocketWatch {
 public:
  explicit SocketWatch(const std::string& path);

  /// Before a try, so that a socket that appears just after it is noticed. Without a folder, or without
  /// inotify, the waits are all there is.
  void arm() const;
  /// True: the socket appeared. False: the time is over, or stop().
  [[nodiscard]] bool wait(std::chrono::steady_clock::duration duration) const;
  void stop() const;

 private:
  [[nodiscard]] bool appeared() const;

  const std::string folder_, name_;
  const UniqueFd events_, stop_;
};

}  // namespace fairlead::rpc
