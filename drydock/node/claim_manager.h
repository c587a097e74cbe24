// SPDX-License-Identifier: Apache-2.0
// The kubelet's DRA manager: which claims are prepared, for which pods, and with which CDI devices.
// Behaviour: pkg/kubelet/cm/dra/manager.go of Kubernetes 1.34 to 1.36, its wording included.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "drydock/node/dra_plugin.h"
#include "drydock/node/plugin_manager.h"
#include "drydock/node/pod_spec.h"
#include "fairlead/core/mutex.h"

namespace drydock {

/// A pod's claim as the API server had it when the pod was about to start.
struct AllocatedClaim {
  std::string pod_claim;  // spec.resourceClaims[].name
  ClaimId id;
  std::set<std::string> drivers;  // of the allocation's results
};

/// Any thread; as in the kubelet, calls for different pods go to the drivers at the same time.
class ClaimManager {
 public:
  explicit ClaimManager(const PluginManager& plugins) : plugins_(plugins) {}

  /// One call per driver with all claims of the pod that are not prepared yet. An error is the kubelet's
  /// text; it may be tried again, and claims that succeeded stay prepared.
  Result<> prepare(const std::string& pod_uid, const std::vector<AllocatedClaim>& claims);

  /// The CDI devices of one container, in the order of its claims, each once.
  [[nodiscard]] std::vector<std::string> cdi_devices(const ContainerSpec& container,
                                                     const std::vector<AllocatedClaim>& claims) const;

  /// Removes the pod from its claims and unprepares those that no other pod uses. May be retried after an
  /// error.
  Result<> unprepare(const std::string& pod_uid, const std::vector<ClaimId>& claims);

  /// Claims that a driver was asked to prepare and has not unprepared yet.
  [[nodiscard]] std::vector<ClaimId> in_use() const;

 private:
  struct Record {
    ClaimId id;
    std::set<std::string> pods;
    bool prepared = false;
    std::map<std::string, std::vector<PreparedDevice>>
        devices;  // by driver; a driver is listed before it is asked
  };
  using Batches = std::map<std::string, std::vector<ClaimId>>;  // by driver

  Result<Batches> enter(const std::string& pod_uid, const std::vector<AllocatedClaim>& claims);
  Result<> prepare_batch(const std::string& driver, const std::vector<ClaimId>& claims);
  Result<> unprepare_batch(const std::string& driver, const std::vector<ClaimId>& claims);
  Batches leave(const std::string& pod_uid, const std::vector<ClaimId>& claims);

  const PluginManager& plugins_;
  mutable fairlead::Mutex mutex_;
  std::map<std::string, Record> records_ FL_GUARDED_BY(mutex_);  // by namespace/name
};

}  // namespace drydock
