// SPDX-License-Identifier: Apache-2.0
// The small HTTP server for people and probes: GET /metrics, /healthz and /readyz. It serves nothing else and
// changes nothing. Each address has its own thread, few connections, and a short time limit for each: clients
// of one address do not affect those of another.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace fairlead::dra {

class AdminHttp : private Pinned {
 public:
  /// Called from the threads of the addresses, also concurrently; must not throw and should return within a
  /// few seconds.
  struct Sources {
    std::function<std::string()> metrics;  // the text of /metrics
    /// 200 "ok", or 503 with the error's sentence. A liveness probe restarts the process on 503, so this
    /// checks only what a restart can fix: whether our own DRA socket responds to an empty
    /// NodePrepareResources. Clients over TCP may get a result that is a second old.
    std::function<Result<>()> health;
    /// 200 "ok", or 503 with the error's sentence: registered with the kubelet and slices published?
    std::function<Result<>()> ready;
  };

  /// Whether another instance of this driver may have the same port at the same time (SO_REUSEPORT): the old
  /// and the new one of a rolling update on the node's own network.
  enum class Port : bool { kOurs, kShared };

  /// `listen` is "address:port", e.g. "127.0.0.1:9095", "[::1]:9095", ":9095" (every address), where port 0
  /// takes a free one; or "unix:/path", a socket for the root of this file system only; or several of them
  /// with commas between. kInvalid for another form, kBusy when the port is taken, kUnavailable when the
  /// address cannot be used. Serves when it returns.
  static Result<std::unique_ptr<AdminHttp>> start(const std::string& listen, Sources sources,
                                                  Port port = Port::kOurs);
  /// Stops serving; waits for responses in progress.
  ~AdminHttp();

  /// The port in use; of several the first, 0 if there is none.
  [[nodiscard]] int port() const;

  /// The client side, for a probe that is a program: GETs `page` ("/readyz") from the first of the addresses
  /// in `listen`. Returns the body if the status is 200; otherwise an error with the body as its sentence.
  static Result<std::string> ask(const std::string& listen, const std::string& page);

  class Impl;

 private:
  explicit AdminHttp(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::dra
