// SPDX-License-Identifier: Apache-2.0
// The runtime's requests to a plugin: decoded, passed to the NriHandler in threads of its own, and each responded to
// by its deadline.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fairlead/core/executor.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/timer.h"
#include "fairlead/rpc/nri/codec.h"
#include "fairlead/rpc/nri/plugin.h"
#include "fairlead/rpc/ttrpc.h"

namespace fairlead::rpc {

/// What belongs to one connection and outlives it as long as a handler runs.
struct NriSession {
  [[nodiscard]] bool was_configured() const {
    const Lock lock(mutex);
    return configured;
  }

  mutable Mutex mutex;
  std::chrono::milliseconds request_timeout FL_GUARDED_BY(mutex){2'000};
  bool configured FL_GUARDED_BY(mutex) = false;
  // The parts of Synchronize that came so far.
  std::vector<NriPod> pods FL_GUARDED_BY(mutex);
  std::vector<NriContainer> containers FL_GUARDED_BY(mutex);
};
using NriSessionPtr = std::shared_ptr<NriSession>;

/// Any thread may call any function.
class NriDispatcher : private Pinned {
 public:
  struct Events {
    /// After Synchronize was responded to in time, in the handler's thread.
    std::function<void(const NriSessionPtr& of)> synchronized;
    /// After each request is finished, whatever became of it; running() is lower by one.
    std::function<void()> finished;
  };
  /// Uses `events`, `margin` of the options. Options and handler must outlive it.
  NriDispatcher(const NriPluginOptions& options, NriHandler& handler, Events events);

  /// One request of a connection. Returns at once.
  void serve(const NriSessionPtr& session, const TtrpcRequest& request, const TtrpcReply& reply);
  /// Requests that were passed to handlers and are not finished.
  [[nodiscard]] unsigned running() const { return running_; }
  /// Running handlers are finished; requests that wait are not handled. Idempotent.
  void stop();

 private:
  struct Job;

  Result<Job> job_of(const NriSessionPtr& session, const TtrpcRequest& request);
  Result<Job> configure(const NriSessionPtr& session, const TtrpcRequest& request);
  Result<Job> synchronize(const NriSessionPtr& session, const TtrpcRequest& request);
  Result<Job> state_change(const TtrpcRequest& request);
  Job event_job(NriEvent event, const nri_pb::PodSandbox& pod, const nri_pb::Container& container);
  Result<std::string> deliver(NriEvent event, const NriPod& pod, const NriContainer& container,
                              const NriCall& call);
  void dispatch(const NriSessionPtr& session, Job job, std::chrono::steady_clock::time_point runtime_gives_up,
                const TtrpcReply& reply);
  void job_done();

  const NriPluginOptions& options_;
  NriHandler& handler_;
  const Events events_;
  std::atomic<unsigned> running_ = 0;
  Timer timer_;
  Executor handlers_;
};

}  // namespace fairlead::rpc
