// SPDX-License-Identifier: Apache-2.0
// attach(): the one way by which a prepared claim's devices get into a pod, whichever door it is called
// through. And its undo.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "fairlead/agent/record.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/registry.h"
#include "fairlead/dra/driver.h"

namespace fairlead::agent {

/// Any thread; calls for one claim must not overlap (Plugin::update sees to that).
class Attacher {
 public:
  /// Both must outlive it.
  Attacher(const devices::Registry& registry, const devices::NodeOptions& options)
      : registry_(&registry), options_(&options) {}

  /// Puts every device of the claim into the namespace, completes what is there, and answers the new text for
  /// Prepared::state. On failure everything this call did is undone. kBusy: the claim's interfaces are in
  /// another pod that lives. kDenied: it is the node's own namespace.
  Result<std::string> attach(const dra::ClaimRecord& record, int netns, const std::string& container);

  /// netdevices mode: puts every device into the node's namespace; the names there, in the devices' order
  /// ("" for one that is only watched). All or nothing.
  Result<std::vector<std::string>> stage(const ClaimPlan& plan, const std::string& claim_uid);

  /// Undoes attach() and stage(), however far they got; goes on after errors and tells the first. Devices
  /// whose handler is gone are an error.
  Result<> detach(const dra::ClaimRecord& record, std::chrono::steady_clock::time_point deadline);

  /// After a restart: opens the pods' namespaces again that must be held (see hold()).
  void adopt(const std::vector<dra::ClaimRecord>& records);

  /// Deletes links in the node's namespace that carry this driver's marker and belong to no record.
  Result<> sweep(const std::vector<dra::ClaimRecord>& records) const;

 private:
  struct Session;
  [[nodiscard]] devices::Marker marker(const std::string& claim_uid, std::size_t index) const;
  Result<> leave_old_namespace(Session& session, const ClaimState& state);
  Result<std::vector<std::int32_t>> attach_all(Session& session, const devices::Place& pod);
  /// The pod's namespace, held or found.
  UniqueFd pod_namespace(const std::string& claim_uid, const ClaimState& state);
  [[nodiscard]] bool must_hold(const ClaimPlan& plan) const;
  void hold(const std::string& claim_uid, int netns);
  Result<> detach_from(const Session& session, const std::optional<devices::Place>& pod, bool was_attached,
                       std::chrono::steady_clock::time_point deadline) const;

  const devices::Registry* registry_;
  const devices::NodeOptions* options_;
  Mutex mutex_;
  /// Namespaces kept alive until their claim is unprepared: those with a NIC that the kernel would delete
  /// with the namespace instead of giving it back (a veth that is a nested node's NIC).
  std::map<std::string, UniqueFd> held_ FL_GUARDED_BY(mutex_);
};

}  // namespace fairlead::agent
