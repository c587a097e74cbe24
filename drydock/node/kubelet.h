// SPDX-License-Identifier: Apache-2.0
// The node's agent: plugin manager, claims and pods together, driven by what the API server holds.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "drydock/cluster/cluster.h"
#include "drydock/node/claim_manager.h"
#include "drydock/node/plugin_manager.h"
#include "drydock/node/pod_runner.h"
#include "fairlead/core/pinned.h"

namespace drydock {

/// Any thread.
class Kubelet : private fairlead::Pinned {
 public:
  struct Parts {
    Cluster* cluster = nullptr;
    Console* console = nullptr;
    NodeServices services;
    PodOptions pods;
    PluginManagerOptions plugins;
  };
  /// Deletes the node's slices, as a kubelet that starts does, then begins to register plugins and to run
  /// pods.
  static Result<std::unique_ptr<Kubelet>> start(const Parts& parts);
  /// Pods that still run are stopped and taken down.
  ~Kubelet();

  [[nodiscard]] const PluginManager& plugins() const { return *plugins_; }
  [[nodiscard]] ClaimManager& claims() { return *claims_; }
  /// Of every pod that ever came here.
  [[nodiscard]] std::vector<PodOutcome> outcomes() const;
  /// The registration sockets that are registered now: driver name by socket path.
  [[nodiscard]] std::map<std::string, std::string> sockets() const;

 private:
  explicit Kubelet(const Parts& parts) : parts_(parts) {}
  [[nodiscard]] PluginEvents plugin_events();
  void loop(const std::stop_token& stop);
  void sync();
  void sync_pod(const Json& pod);

  const Parts parts_;
  mutable fairlead::Mutex mutex_;
  std::map<std::string, std::string> sockets_ FL_GUARDED_BY(mutex_);
  std::map<std::string, std::unique_ptr<PodRunner>> runners_ FL_GUARDED_BY(mutex_);  // by pod UID
  std::unique_ptr<PluginManager> plugins_;
  std::unique_ptr<ClaimManager> claims_;
  std::jthread thread_;
};

}  // namespace drydock
