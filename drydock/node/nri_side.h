// SPDX-License-Identifier: Apache-2.0
// NRI on this node: the events of pods and containers that the container runtime sends to plugins, when, and
// the handling of their responses. Order and rules are containerd's (internal/nri, internal/cri/server):
// RunPodSandbox when the sandbox has its network and its process; an error there fails the sandbox, after
// StopPodSandbox and RemovePodSandbox for it; errors of events that report an end are only logged.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "drydock/node/call_stats.h"
#include "drydock/node/console.h"
#include "drydock/node/oci_spec.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/rpc/nri/plugin.h"
#include "fairlead/rpc/nri/runtime.h"

namespace drydock {

/// Any thread.
class NriSide : private fairlead::Pinned {
 public:
  struct Options {
    std::string socket;
    fairlead::rpc::NriDialect dialect = fairlead::rpc::NriDialect::kDedicated;
    std::chrono::milliseconds request_timeout{2'000};
    /// Events before which, the first time, all plugins lose their connection ("RunPodSandbox").
    std::set<std::string> cuts;
  };
  /// Plugins may connect from now on. The console and the statistics must outlive it.
  static fairlead::Result<std::unique_ptr<NriSide>> start(Options options, Console& console,
                                                          CallStats& stats);
  ~NriSide();

  fairlead::Result<> run_pod_sandbox(const fairlead::rpc::NriPod& pod);
  void stop_pod_sandbox(const fairlead::rpc::NriPod& pod);
  void remove_pod_sandbox(const fairlead::rpc::NriPod& pod);

  /// CreateContainer. The container is known to plugins until it has stopped.
  fairlead::Result<fairlead::rpc::NriAdjustment> create_container(
      const fairlead::rpc::NriPod& pod, const fairlead::rpc::NriContainer& container);
  /// StartContainer, the only one of these whose error counts.
  fairlead::Result<> start_container(const fairlead::rpc::NriPod& pod,
                                     const fairlead::rpc::NriContainer& container);
  void created(const fairlead::rpc::NriPod& pod, const fairlead::rpc::NriContainer& container);
  void started(const fairlead::rpc::NriPod& pod, const fairlead::rpc::NriContainer& container);
  void stopped(const fairlead::rpc::NriPod& pod, const fairlead::rpc::NriContainer& container);
  void removed(const fairlead::rpc::NriPod& pod, const fairlead::rpc::NriContainer& container);

  [[nodiscard]] std::vector<fairlead::rpc::NriRuntimeServer::Plugin> plugins() const;

 private:
  NriSide(Options options, Console& console, CallStats& stats);
  fairlead::Result<> listen();
  [[nodiscard]] fairlead::rpc::NriInventory inventory() const;
  void observe(const fairlead::rpc::NriPluginCall& call);
  void before(const char* event);
  void tell(fairlead::rpc::NriEvent event, const char* name, const fairlead::rpc::NriPod& pod,
            const fairlead::rpc::NriContainer& container);
  void log_only(const char* event, const fairlead::rpc::NriPod& pod, const fairlead::Result<>& done);
  [[nodiscard]] std::shared_ptr<fairlead::rpc::NriRuntimeServer> server() const;

  const Options options_;
  Console& console_;
  CallStats& stats_;
  mutable fairlead::Mutex mutex_;
  std::map<std::string, fairlead::rpc::NriPod> pods_ FL_GUARDED_BY(mutex_);              // by sandbox id
  std::map<std::string, fairlead::rpc::NriContainer> containers_ FL_GUARDED_BY(mutex_);  // by id
  std::set<std::string> cuts_ FL_GUARDED_BY(mutex_);                                     // still to come
  std::shared_ptr<fairlead::rpc::NriRuntimeServer> server_ FL_GUARDED_BY(mutex_);
};

/// What plugins changed, put into the container's configuration; what is there already is replaced. CDI
/// devices are the caller's: they come before.
void apply_adjustment(const fairlead::rpc::NriAdjustment& adjustment, OciSpec& spec);

}  // namespace drydock
