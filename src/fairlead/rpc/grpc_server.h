// SPDX-License-Identifier: Apache-2.0
// A gRPC server on one unix socket. It binds and accepts itself and hands the connections to gRPC, because
// gRPC's own listener would take over a socket that another process listens on, and would let the umask
// decide the socket's mode.
//
// Services use the callback API: copy the request, give the work to an Executor, Finish() from there. The
// callback threads must never block.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/rpc/unix_listener.h"

namespace grpc {
class Service;
class Status;
}  // namespace grpc

namespace fairlead::rpc {

/// Accepts any :authority (the kubelet's registration client sends the percent-encoded path, its DRA client
/// "localhost"), and never ends a connection for age or idleness: the kubelet takes that for a dead plugin.
class GrpcServer {
 public:
  /// Listens as UnixListener::open does and serves when it returns. The services must outlive the server.
  static Result<std::unique_ptr<GrpcServer>> start(const std::string& path,
                                                   const std::vector<grpc::Service*>& services);
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;
  GrpcServer(GrpcServer&&) = delete;
  GrpcServer& operator=(GrpcServer&&) = delete;
  /// stop(0).
  ~GrpcServer();

  [[nodiscard]] const std::string& path() const;
  /// Accepts no more connections nor calls, waits up to `grace` for calls in flight, then cancels them and
  /// waits until they have finished; the socket is removed last. A client that is connected and silent takes
  /// the whole grace (gRPC waits for its answer to a ping), so drain first and be short here. Idempotent; one
  /// thread at a time.
  void stop(std::chrono::milliseconds grace);

  struct Impl;

 private:
  explicit GrpcServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The one place where an Error becomes a gRPC status.
grpc::Status to_status(const Error& error);

}  // namespace fairlead::rpc
