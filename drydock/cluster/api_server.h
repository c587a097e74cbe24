// SPDX-License-Identifier: Apache-2.0
// The Kubernetes REST API over HTTPS in front of a Store: what drivers and kubectl talk to. JSON only.
// Every connection has a thread of its own (as many as there are open watches). Any thread may call.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "drydock/cluster/authorization.h"
#include "drydock/cluster/store.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace drydock {

class ApiServer : private fairlead::Pinned {
 public:
  struct Options {
    std::chrono::milliseconds bookmark_interval{2000};
  };
  /// Trouble on order, for tests of clients.
  struct Faults {
    /// Field names dropped at any depth from what clients write, as an API server with a feature gate off
    /// does.
    std::vector<std::string> drop_fields;
    /// The next matching requests return `status` and do nothing.
    int fail_requests = 0;
    int status = 500;
    int retry_after_seconds = 0;
    std::string method;         // empty: all
    std::string path_contains;  // empty: all
  };
  struct Request {
    std::string method, target;  // target: path and query
    int status = 0;
  };

  ApiServer(Store& store, Options options);
  ~ApiServer();

  /// Listens on 127.0.0.1 in the network namespace of the calling thread: a free port the first time, the
  /// same one after a stop(). Certificates and token stay the same.
  fairlead::Result<> start();
  /// Ends all watches and connections. The store keeps its state.
  void stop();
  [[nodiscard]] bool running() const;

  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] const std::string& token() const;
  [[nodiscard]] const std::string& ca_pem() const;
  [[nodiscard]] std::string kubeconfig() const { return kubeconfig(token()); }
  [[nodiscard]] std::string kubeconfig(const std::string& token) const;

  /// A separate token for a user who may not write everything (authorization.h).
  std::string add_user(Identity identity);
  /// For a user that was added: it may report on this driver's devices, and on those of other drivers only if
  /// they were allowed too.
  void allow_driver(const std::string& token, const std::string& driver);

  void set_faults(Faults faults);
  /// The last completed requests (at most 4096), oldest first; a watch is included from its start. Waits for
  /// the responses of requests in progress: a request whose effect in the store was seen is included.
  [[nodiscard]] std::vector<Request> requests() const;
  /// Waits likewise: what is there afterwards has begun later.
  void clear_requests();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace drydock
