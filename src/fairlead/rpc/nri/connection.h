// SPDX-License-Identifier: Apache-2.0
// One connection between a runtime and a plugin: the ttrpc of the plugin's service and of the runtime's, both over
// one multiplexed socket. Each side serves one of the two and calls the other.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "fairlead/core/fd.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/rpc/nri/mux.h"
#include "fairlead/rpc/ttrpc.h"

namespace fairlead::rpc {

/// Any thread. Callbacks come from the one thread that reads, in order.
class NriConnection : private Pinned {
 public:
  using Handler = std::function<void(TtrpcRequest request, TtrpcReply reply)>;
  struct Options {
    Handler plugin;   // serves the plugin's service; null: this side only calls it
    Handler runtime;  // the same for the runtime's
    /// Once, last: the connection ended, for any reason; calls in progress have failed.
    std::function<void(const Error& why)> ended;
    /// The connection ends if the other side reads nothing for this long.
    std::chrono::milliseconds send_timeout{2'000};
  };
  /// Takes over a connected stream socket.
  NriConnection(UniqueFd socket, Options options);
  /// close(), and waits for the reading thread: not from a callback.
  ~NriConnection();

  /// Starts reading, in a separate thread. Once.
  void start() { mux_.start(); }
  /// Blocks; the errors of Ttrpc::call().
  Result<std::string> call_plugin(std::string_view method, std::string payload,
                                  std::chrono::steady_clock::time_point deadline);
  Result<std::string> call_runtime(std::string_view method, std::string payload,
                                   std::chrono::steady_clock::time_point deadline);
  /// `ended` is still called if it was started. Idempotent.
  void close() { mux_.close(); }

 private:
  Result<> receive(std::uint32_t to, std::string_view bytes);
  void close_services();

  const std::function<void(const Error&)> ended_;
  Ttrpc plugin_, runtime_;
  NriMux mux_;  // last: its thread uses all of the above
};

}  // namespace fairlead::rpc
