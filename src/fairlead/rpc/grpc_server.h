// SPDX-License-Identifier: Apache-2.0
// A gRPC server on one unix socket. It binds and accepts itself and passes the connections to gRPC, because
// gRPC's own listener would take over a socket that another process listens on, and would leave the socket's
// mode to the umask.
//
// Services use the callback API: copy the request, post the work to an Executor, call Finish() from there.
// The callback threads must never block.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/rpc/unix_listener.h"

namespace grpc {
class Service;
class Status;
}  // namespace grpc

namespace fairlead::rpc {

/// Accepts any :authority (the kubelet's registration client sends the percent-encoded path, its DRA client
/// "localhost"), and never ends a connection for age or idleness: the kubelet takes that for a dead plugin.
class GrpcServer : private Pinned {
 public:
  /// Listens as UnixListener::open() does and is serving when it returns. The services must outlive the
  /// server.
  static Result<std::unique_ptr<GrpcServer>> start(const std::string& path,
                                                   const std::vector<grpc::Service*>& services);
  /// stop(0).
  ~GrpcServer();

  [[nodiscard]] const std::string& path() const;
  /// Accepts no more connections or calls, waits up to `grace` for calls in flight, then cancels them and
  /// waits until they have finished; the socket is removed last. A silent connected client uses up the whole
  /// grace (gRPC waits for its response to a ping), so drain first and use a short grace. Idempotent; one
  /// thread at a time.
  void stop(std::chrono::milliseconds grace);

  struct Impl;

 private:
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The only place where an Error becomes a gRPC status.
grpc::Status to_status(const Error& error);

}  // namespace fairlead::rpc
