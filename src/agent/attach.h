// SPDX-License-Identifier: Apache-2.0
// attach(): the one way by which a prepared claim's devices get into a pod, whichever door it is called
// through. And its undo.
#pragma once

#include <chrono>
#include <functional>
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

/// Where a claim goes. The descriptor is borrowed.
struct AttachTarget {
  int netns = -1;
  std::string sandbox;    // the runtime's id of the pod's sandbox; empty: not known
  std::string container;  // the OCI id that asks, for people
  std::string pod_uid;    // empty: not known
  /// How long to wait for what an old namespace still has.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

/// Why a pod with hostNetwork is refused, in one sentence.
extern const char* const kHostNetworkRefusal;

/// Any thread; calls for one claim must not overlap (Plugin::update sees to that).
class Attacher {
 public:
  /// Both must outlive it.
  Attacher(const devices::Registry& registry, const devices::NodeOptions& options)
      : registry_(&registry), options_(&options) {}

  /// Whether begin() must be recorded before attach(): the claim takes a NIC that is not in this sandbox
  /// yet. A process that is killed during the move must find out where the NIC went; links that we make need
  /// nothing, they die with the namespace, and what a runtime moves is there already.
  [[nodiscard]] Result<bool> must_begin(const dra::ClaimRecord& record, const AttachTarget& target) const;
  [[nodiscard]] bool takes_nic(const dra::ClaimRecord& record) const;
  /// Answers the text for Prepared::state that says where attach() is going. kBusy, kDenied: as attach().
  Result<std::string> begin(const dra::ClaimRecord& record, const AttachTarget& target);
  /// Puts every device of the claim into the namespace, completes what is there, and answers the new text for
  /// Prepared::state. On failure everything this call did is undone. kBusy: the claim's interfaces are in
  /// another pod that lives. kDenied: it is the node's own namespace.
  Result<std::string> attach(const dra::ClaimRecord& record, const AttachTarget& target);

  /// The pod's sandbox (the record learns its id) ends: NICs come home; links that were made are left to die
  /// with the namespace, which costs the kernel less than deleting them one by one. Answers the new text for
  /// Prepared::state: another sandbox may attach the claim again.
  Result<std::string> release(const dra::ClaimRecord& record, const std::string& sandbox,
                              std::chrono::steady_clock::time_point deadline);

  /// netdevices mode: puts every device into the node's namespace; the names there, in the devices' order
  /// ("" for one that is only watched). All or nothing.
  Result<std::vector<std::string>> stage(const ClaimPlan& plan, const std::string& claim_uid);

  /// Undoes attach() and stage(), however far they got; goes on after errors and tells the first. Devices
  /// whose handler is gone are an error.
  Result<> detach(const dra::ClaimRecord& record, std::chrono::steady_clock::time_point deadline);

  /// After a restart: opens the pods' namespaces again that must be held (see hold()).
  void adopt(const std::vector<dra::ClaimRecord>& records);

  /// Runs an action if the claim has no record, while nobody begins, changes or ends it (Plugin::if_unknown).
  using IfUnknown = std::function<Result<bool>(const std::string& claim_uid, const std::function<void()>&)>;
  /// Deletes links in the node's namespace that carry this driver's marker and belong to no record: neither
  /// to one of `records`, nor, seen from later, to one that another instance has made since.
  Result<> sweep(const std::vector<dra::ClaimRecord>& records, const IfUnknown& if_unknown) const;

 private:
  struct Session;
  [[nodiscard]] devices::Marker marker(const std::string& claim_uid, std::size_t index) const;
  Result<ClaimState> arrive(Session& session, const AttachTarget& target, ClaimState state);
  static ClaimState arrived(const AttachTarget& target, const sys::NetnsId& id, ClaimState state);
  [[nodiscard]] Result<std::vector<std::string>> stage_all(const Session& session) const;
  void wait_again(const Session& session, const std::optional<devices::Place>& pod) const;
  Result<> leave_old_namespace(Session& session, const AttachTarget& target, const ClaimState& state);
  [[nodiscard]] Result<bool> has_links_of(const Session& session, int netns) const;
  [[nodiscard]] Result<bool> is_still_there(const Session& session, const AttachTarget& target,
                                            const ClaimState& state) const;
  /// With what was given in `state`.
  Result<> attach_all(Session& session, const devices::Place& pod, ClaimState& state);
  /// The pod's namespace, held or found.
  UniqueFd pod_namespace(const std::string& claim_uid, const ClaimState& state);
  [[nodiscard]] bool must_hold(const ClaimPlan& plan) const;
  void hold(const std::string& claim_uid, int netns);
  Result<> detach_from(const Session& session, const std::optional<devices::Place>& pod, bool was_attached,
                       std::chrono::steady_clock::time_point deadline) const;
  Result<> detach_where_it_is(const Session& session, const ClaimState& state,
                              std::chrono::steady_clock::time_point deadline);
  [[nodiscard]] bool takes_nic(const devices::DevicePlan& device) const;
  void sweep_link(netlink::Socket& socket, netlink::IfIndex index, const std::string& claim_uid) const;

  const devices::Registry* registry_;
  const devices::NodeOptions* options_;
  Mutex mutex_;
  /// Namespaces kept alive until their claim is unprepared: those with a NIC that the kernel would delete
  /// with the namespace instead of giving it back (a veth that is a nested node's NIC).
  std::map<std::string, UniqueFd> held_ FL_GUARDED_BY(mutex_);
};

}  // namespace fairlead::agent
