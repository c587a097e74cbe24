// SPDX-License-Identifier: Apache-2.0
// The multiplexer of NRI (containerd/nri, pkg/net/multiplex): one unix connection carries two ttrpc
// connections, one in each direction. A frame is a connection id and a length, both big-endian, and that many
// bytes; connections are opened and closed implicitly.
//
// Frames have the form that Go's reader requires: it reads a message through a buffer of 4096 bytes and fails
// on a frame that does not fit, unless the frame is the rest of a message. So a message is sent as one frame
// up to 4096 bytes, else as one of exactly 4096 and one with the rest; messages never share a frame.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "fairlead/core/fd.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace fairlead::rpc {

/// Connection ids on the trunk; 0 is reserved.
inline constexpr std::uint32_t kNriPluginService = 1;   // the runtime calls, the plugin serves
inline constexpr std::uint32_t kNriRuntimeService = 2;  // the plugin calls, the runtime serves

/// The buffer of Go's reader, and the largest frame: a ttrpc message with its header.
inline constexpr std::size_t kNriFirstFrame = 4096;
inline constexpr std::size_t kNriMaxFrame = 10 + (std::size_t{4} << 20);

/// send() and close() from any thread; callbacks come from the one thread that reads, in order.
class NriMux : private Pinned {
 public:
  struct Options {
    /// Bytes of a connection, in pieces of any size; an error ends the trunk. Ignore those of an unknown
    /// connection.
    std::function<Result<>(std::uint32_t connection, std::string_view bytes)> receive;
    /// Once, last: the trunk ended, for any reason.
    std::function<void(const Error& why)> closed;
    /// The trunk ends if the other side reads nothing for this long.
    std::chrono::milliseconds send_timeout{2'000};
  };
  /// Takes over a connected stream socket.
  NriMux(UniqueFd socket, Options options);
  /// close(), and waits for the reading thread: not from a callback.
  ~NriMux();

  /// Starts reading, in a separate thread. Once.
  void start();
  /// One whole ttrpc message of a connection.
  Result<> send(std::uint32_t connection, std::string_view message);
  /// Ends the trunk; `closed` is still called if it was started. Idempotent.
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::rpc
