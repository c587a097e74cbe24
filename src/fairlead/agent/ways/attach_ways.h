// SPDX-License-Identifier: Apache-2.0
// All ways by which claims are attached, opened and closed together: the guard's socket always, NRI if it is
// enabled.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/agent/attach/attach_service.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/rpc/nri/plugin.h"

namespace fairlead::agent {

struct AttachWaysOptions {
  std::string guard_socket;
  /// nullopt: NRI is not used. AttachWays fills in the events.
  std::optional<rpc::NriPluginOptions> nri;
  /// How long open() waits for a runtime that has an NRI socket.
  std::chrono::milliseconds nri_patience{5'000};
  /// For one call of the guard. Below the guard's own 28 s, which is below the hook's 30 s: the innermost
  /// timeout has the most precise error.
  std::chrono::seconds guard_call_time{25};
  /// How long close() lets accepted calls wait for their claim. The plugin's own calls are finished after it,
  /// all within the 30 s that a pod has for termination.
  std::chrono::milliseconds close_time{8'000};
};

class AttachWays : private Pinned {
 public:
  /// Binds the guard's socket, so that a wrong path is an error at start. The service must outlive it.
  static Result<std::unique_ptr<AttachWays>> create(AttachWaysOptions options, AttachService& service);
  /// close().
  ~AttachWays();

  /// From now on calls are handled. If there is an NRI socket, waits briefly for the runtime, so that the
  /// kubelet sees the driver only when NRI is connected; without NRI the guard does all the work, and
  /// connecting is retried in the background. `records` are the claims found at start.
  void open(const std::vector<dra::ClaimRecord>& records = {});
  /// Finishes accepted calls and their reports. Guards that connect later, or whose claim is busy for longer
  /// than `close_time`, call the next agent; the runtime sees the disconnect, so no pod waits for us.
  /// Idempotent.
  void close();

 private:
  struct Impl;
  explicit AttachWays(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::agent
