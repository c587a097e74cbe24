// SPDX-License-Identifier: Apache-2.0
// ttrpc: the small RPC protocol that containerd speaks on unix sockets (containerd/ttrpc, PROTOCOL.md,
// version 1.2), unary calls only, both sides of one connection.
//
// The endpoint owns no transport and no threads: the reader of the socket passes the bytes to receive(), and
// complete messages are sent through Options::send. So it works over a plain socket as well as over one
// channel of an NRI multiplexer.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace fairlead::rpc {

/// A message is a header (length and stream id, both big-endian, type, flags) and a body of at most this
/// size.
inline constexpr std::size_t kTtrpcHeader = 10;
inline constexpr std::size_t kTtrpcMaxBody = std::size_t{4} << 20;

/// The parts of a call that a handler gets.
struct TtrpcRequest {
  std::string service, method;  // "nri.pkg.api.v1alpha1.Plugin", "RunPodSandbox"
  std::string payload;          // a serialized protobuf message
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

/// Completes one call: a serialized message, or an error. Any thread, even after the endpoint is destroyed.
/// Only the first response counts; false: this one was dropped, since there was one already or the connection
/// is closed.
using TtrpcReply = std::function<bool(Result<std::string>)>;

/// The gRPC status number that carries an error of this code over the wire, and back.
std::int32_t to_grpc_status(Code code);
Code from_grpc_status(std::int32_t status);

/// Thread-safe.
class Ttrpc : private Pinned {
 public:
  struct Options {
    /// Puts one whole message (header included) on the wire, or fails; never called by two threads at once,
    /// nor after close() has returned.
    std::function<Result<>(std::string_view message)> send;
    /// Gets every incoming call, from the thread in receive(): it must pass on long work. A result of
    /// kUnsupported is Unimplemented (12) on the wire, on which callers fall back. Null: this side only
    /// calls.
    std::function<void(TtrpcRequest request, TtrpcReply reply)> handler;
  };
  explicit Ttrpc(Options options);
  /// close().
  ~Ttrpc();

  /// The next bytes from the wire, in pieces of any size. One thread. An error: the stream is invalid, close
  /// it.
  Result<> receive(std::string_view bytes);
  /// The other side disconnected: waiting calls fail with kUnavailable, responses of handlers are dropped.
  /// Waits for a send() in progress, so end the transport first. Idempotent.
  void close();

  /// Blocks. kUnavailable: the connection ended; kTimeout: no response until `deadline`; kCorrupt: an invalid
  /// response; kInvalid: a message over kTtrpcMaxBody, which is not sent. An error of the other side keeps
  /// its text and gets the Code of its status, or kInternal if that would be one of the first three.
  Result<std::string> call(std::string_view service, std::string_view method, std::string payload,
                           std::chrono::steady_clock::time_point deadline);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace fairlead::rpc
