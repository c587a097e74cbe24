// SPDX-License-Identifier: Apache-2.0
// Every way by which claims are attached, opened and closed together: the guard's socket always, NRI where it
// is wanted.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/agent/attach_service.h"
#include "fairlead/core/result.h"
#include "fairlead/rpc/nri.h"

namespace fairlead::agent {

struct AttachWaysOptions {
  std::string guard_socket;
  /// Nothing: not by NRI. The events are filled in.
  std::optional<rpc::NriPluginOptions> nri;
  /// How long open() waits for a runtime that has an NRI socket.
  std::chrono::milliseconds nri_patience{5'000};
  /// For one call of the guard. Below the guard's own 28 s, which is below the hook's 30 s: the innermost
  /// knows best what went wrong.
  std::chrono::seconds guard_call_time{25};
  /// How long close() lets calls that were accepted wait for their claim. The plugin's own calls are finished
  /// after it, all within the 30 s that a pod has to end.
  std::chrono::milliseconds close_time{8'000};
};

class AttachWays {
 public:
  /// Binds the guard's socket, so that a wrong path is an error at start. The service must outlive it.
  static Result<std::unique_ptr<AttachWays>> create(AttachWaysOptions options, AttachService& service);
  AttachWays(const AttachWays&) = delete;
  AttachWays& operator=(const AttachWays&) = delete;
  AttachWays(AttachWays&&) = delete;
  AttachWays& operator=(AttachWays&&) = delete;
  /// close().
  ~AttachWays();

  /// From now on calls are answered. Where there is an NRI socket it waits a little for the runtime, so that
  /// the kubelet learns of us only when NRI is there; without it the guard does all, and NRI is tried on.
  /// `records` are the claims that were found at start.
  void open(const std::vector<dra::ClaimRecord>& records = {});
  /// Finishes the calls that were accepted, and what they have to report. Guards that knock later, or whose
  /// claim is busy for longer than `close_time`, ask the next agent; the runtime sees us go, so no pod waits
  /// for us. Idempotent.
  void close();

 private:
  struct Impl;
  explicit AttachWays(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::agent
