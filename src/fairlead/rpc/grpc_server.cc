// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/grpc_server.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <thread>

#include "fairlead/core/log.h"

namespace fairlead::rpc {

struct GrpcServer::Impl {
  Impl(UnixListener bound, UniqueFd wakeup)
      : path(bound.path()), listener(std::move(bound)), stop_event(std::move(wakeup)) {}

  void accept_loop();
  /// False when it is time to wait a little before the next try.
  [[nodiscard]] bool accept_one();

  std::string path;
  UnixListener listener;
  UniqueFd stop_event;
  std::unique_ptr<grpc::Server> server;
  std::thread acceptor;
};

bool GrpcServer::Impl::accept_one() {
  const int fd = ::accept4(listener.descriptor(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) {
    grpc::AddInsecureChannelFromFd(server.get(), fd);  // owns it now
    return true;
  }
  const int e = errno;
  if (e == EINTR || e == EAGAIN || e == ECONNABORTED) {
    return true;
  }
  log::warn("cannot accept a connection, trying again",
            {{"socket", path}, {"error", Error::from_errno(e, "accept").what()}});
  return false;
}

void GrpcServer::Impl::accept_loop() {
  std::array<pollfd, 2> watched{{{stop_event.get(), POLLIN, 0}, {listener.descriptor(), POLLIN, 0}}};
  for (;;) {
    (void)::poll(watched.data(), watched.size(), -1);
    if (watched[0].revents != 0) {
      return;
    }
    if (watched[1].revents != 0 && !accept_one()) {
      (void)::poll(watched.data(), 1, 100);  // out of descriptors: do not spin
    }
  }
}

GrpcServer::GrpcServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

GrpcServer::~GrpcServer() { stop(std::chrono::milliseconds(0)); }

const std::string& GrpcServer::path() const { return impl_->path; }

Result<std::unique_ptr<GrpcServer>> GrpcServer::start(const std::string& path,
                                                      const std::vector<grpc::Service*>& services) {
  UniqueFd stop_event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop_event.valid()) {
    return Error::from_errno(errno, "create an eventfd");
  }
  grpc::ServerBuilder builder;
  for (grpc::Service* service : services) {
    builder.RegisterService(service);
  }
  auto server = builder.BuildAndStart();
  if (!server) {
    return Error(Code::kInternal, "gRPC did not start a server for " + path);
  }
  // Last, so that a client that sees the socket is served at once.
  auto listener = UnixListener::open(path);
  if (!listener) {
    server->Shutdown();
    return std::move(listener).error();
  }
  auto impl = std::make_unique<Impl>(std::move(*listener), std::move(stop_event));
  impl->server = std::move(server);
  impl->acceptor = std::thread([raw = impl.get()] { raw->accept_loop(); });
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(impl)));
}

void GrpcServer::stop(std::chrono::milliseconds grace) {
  if (!impl_->server) {
    return;
  }
  (void)::eventfd_write(impl_->stop_event.get(), 1);
  impl_->acceptor.join();
  impl_->server->Shutdown(std::chrono::system_clock::now() + grace);
  impl_->server.reset();
  impl_->listener.close();
}

grpc::Status to_status(const Error& error) {
  const auto code = [&error] {
    switch (error.code()) {
      case Code::kInvalid:
        return grpc::StatusCode::INVALID_ARGUMENT;
      case Code::kNotFound:
        return grpc::StatusCode::NOT_FOUND;
      case Code::kExists:
        return grpc::StatusCode::ALREADY_EXISTS;
      case Code::kConflict:
        return grpc::StatusCode::ABORTED;
      case Code::kGone:
        return grpc::StatusCode::OUT_OF_RANGE;
      case Code::kBusy:
        return grpc::StatusCode::RESOURCE_EXHAUSTED;
      case Code::kDenied:
        return grpc::StatusCode::PERMISSION_DENIED;
      case Code::kUnavailable:
        return grpc::StatusCode::UNAVAILABLE;
      case Code::kTimeout:
        return grpc::StatusCode::DEADLINE_EXCEEDED;
      case Code::kCancelled:
        return grpc::StatusCode::CANCELLED;
      case Code::kCorrupt:
        return grpc::StatusCode::DATA_LOSS;
      case Code::kOverflow:
        return grpc::StatusCode::RESOURCE_EXHAUSTED;
      case Code::kUnsupported:
        return grpc::StatusCode::UNIMPLEMENTED;
      case Code::kInternal:
        return grpc::StatusCode::INTERNAL;
    }
    return grpc::StatusCode::INTERNAL;
  }();
  return {code, error.what()};
}

}  // namespace fairlead::rpc
