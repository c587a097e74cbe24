// SPDX-License-Identifier: Apache-2.0
// One plugin as the runtime sees it, from the accept of its connection to its end: registered, configured,
// synchronized, then called for each event that it subscribed to. Only for runtime.cc.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/rpc/nri/connection.h"
#include "fairlead/rpc/nri/runtime.h"

namespace fairlead::rpc {

/// The methods block; one thread at a time calls them.
class NriPeer : private Pinned {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  /// `ended`: once, in the reading thread, when the connection is gone. The options must outlive it.
  NriPeer(UniqueFd socket, const NriRuntimeOptions& options, std::function<void()> ended);

  /// Until the plugin is registered and configured.
  Result<> start();
  Result<> synchronize(const NriInventory& inventory);
  /// The response; nullopt if the plugin did not subscribe to this event, or was lost with it.
  Result<std::optional<std::string>> tell(NriEvent event, const NriPod& pod, const NriContainer* container);
  /// Options::observe, of a call that began then.
  void note(std::string_view event, SteadyTime begun, NriPluginCall::Outcome outcome,
            const std::string& error) const;
  void close() { connection_.close(); }
  [[nodiscard]] bool gone() const {
    const Lock lock(mutex_);
    return gone_;
  }
  [[nodiscard]] const NriRuntimeServer::Plugin& plugin() const { return info_; }  // after start()
  [[nodiscard]] std::string text() const { return info_.index + "-" + info_.name; }

 private:
  Result<std::string> serve(const TtrpcRequest& request);
  void on_end(const Error& why);
  Result<> wait_registered();
  Result<> configure();
  Result<std::string> send(NriEvent event, const NriPod& pod, const NriContainer* container);
  Result<std::string> state_change(NriEvent event, const NriPod& pod, const NriContainer* container,
                                   SteadyTime deadline);

  const NriRuntimeOptions& options_;
  const std::function<void()> ended_;
  mutable Mutex mutex_;
  ConditionVariable changed_;
  bool registered_ FL_GUARDED_BY(mutex_) = false;
  bool gone_ FL_GUARDED_BY(mutex_) = false;
  NriRuntimeServer::Plugin info_;  // the reader writes it before registered_ is set
  NriConnection connection_;       // last: its thread uses all of the above
};

}  // namespace fairlead::rpc
