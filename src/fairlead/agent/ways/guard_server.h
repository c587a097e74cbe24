// SPDX-License-Identifier: Apache-2.0
// The agent's side of the guard: a unix socket that only root may use. One connection is one call:
//
//   guard  -> "fairlead-guard 1\nclaim <uid>\ncontainer <id>\n", with the descriptor of the container's
//   network
//             namespace (SCM_RIGHTS), then end of stream
//   agent  -> "done\n" or "error <one sentence>\n", then end of stream
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "fairlead/core/fd.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace fairlead::agent {

struct GuardCall {
  std::string claim_uid;
  std::string container;
  UniqueFd netns;
};

class GuardServer : private Pinned {
 public:
  /// Called from several threads. The guard prints the error's sentence; after kCancelled (the program is
  /// stopping) it gets no response and calls the next agent.
  using Attach = std::function<Result<>(const GuardCall&)>;
  struct Options {
    std::string path;
    unsigned workers = 4;
    std::size_t queue_limit = 256;
    std::chrono::milliseconds read_timeout{5'000};
  };

  /// Binds now, so that a wrong path is an error at start; calls wait until serve(). While another instance
  /// of the driver listens there (a rolling update), binding is retried until that one has ended. A socket
  /// whose name is removed later is bound again within a second.
  static Result<std::unique_ptr<GuardServer>> open(Options options, Attach attach);
  /// stop().
  ~GuardServer();

  /// Starts to handle calls. Any thread, once.
  void serve();
  /// Finishes the calls that were accepted. Idempotent.
  void stop();

 private:
  struct Impl;
  explicit GuardServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::agent
