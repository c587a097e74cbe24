// SPDX-License-Identifier: Apache-2.0
// The small HTTP server for people and probes: GET /metrics, /healthz and /readyz. Nothing else is served,
// and nothing can be changed through it. Each address has a thread of its own, few connections, and little
// time for each: a stranger at the one costs those at the other nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fairlead/core/result.h"

namespace fairlead::dra {

class AdminHttp {
 public:
  /// Called from the threads of the addresses, at the same time too; must not throw and should answer within
  /// a few seconds.
  struct Sources {
    std::function<std::string()> metrics;  // the text of /metrics
    /// 200 "ok", or 503 with the error's sentence. A liveness probe restarts the process on 503, so this asks
    /// only what a restart can mend: does our own DRA socket answer an empty NodePrepareResources? Who asks
    /// by TCP may get an answer that is a second old.
    std::function<Result<>()> health;
    /// 200 "ok", or 503 with the error's sentence: registered with the kubelet, slices published?
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
  AdminHttp(const AdminHttp&) = delete;
  AdminHttp& operator=(const AdminHttp&) = delete;
  AdminHttp(AdminHttp&&) = delete;
  AdminHttp& operator=(AdminHttp&&) = delete;
  /// Stops serving; waits for answers under way.
  ~AdminHttp();

  /// The port in use; of several the first, 0 when there is none.
  [[nodiscard]] int port() const;

  /// The other side, for a probe that is a program: GETs `page` ("/readyz") from the first of the addresses
  /// in `listen`. The body when the answer is 200; else an error with the body as its sentence.
  static Result<std::string> ask(const std::string& listen, const std::string& page);

  class Impl;

 private:
  explicit AdminHttp(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::dra
