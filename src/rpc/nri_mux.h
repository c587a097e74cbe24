// SPDX-License-Identifier: Apache-2.0
// The multiplexer of NRI (containerd/nri, pkg/net/multiplex): one unix connection carries two ttrpc
// connections, one in each direction. Frames are shaped as Go's reader insists: it fails on a frame larger
// than its buffer of 4096 bytes unless that frame continues a message, so a message goes out as one frame up
// to 4096 bytes, else as one of exactly 4096 and one with the rest; messages never share a frame.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace fairlead::rpc {

/// Connection ids on the trunk.
inline constexpr std::uint32_t kNriPluginService = 1;   // the runtime calls, the plugin serves
inline constexpr std::uint32_t kNriRuntimeService = 2;  // the plugin calls, the runtime serves

/// send() from any thread; callbacks come from the one thread that reads, in order.
class NriMux {
 public:
  struct Options {
    std::function<Result<>(std::uint32_t connection, std::string_view bytes)> receive;
    /// Once, last: the trunk ended, for whatever reason.
    std::function<void(const Error& why)> closed;
  };
  /// Takes over a connected stream socket and starts to read.
  NriMux(UniqueFd socket, Options options);
  NriMux(const NriMux&) = delete;
  NriMux& operator=(const NriMux&) = delete;
  NriMux(NriMux&&) = delete;
  NriMux& operator=(NriMux&&) = delete;
  /// close(), and waits for the reading thread.
  ~NriMux();

  /// One whole ttrpc message, or a part that another send() of the same connection continues: never two
  /// messages.
  Result<> send(std::uint32_t connection, std::string_view message);
  /// Ends the trunk; `closed` is still called. Any thread, idempotent.
  void close();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::rpc
