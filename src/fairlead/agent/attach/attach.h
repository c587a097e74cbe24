// SPDX-License-Identifier: Apache-2.0
// attach(): puts a prepared claim's devices into a pod, for every way of attaching. And its undo.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fairlead/agent/attach/held_netns.h"
#include "fairlead/agent/attach/plan_reader.h"
#include "fairlead/agent/attach/record.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/registry.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/base/host.h"

namespace fairlead::agent {

/// The target of an attach. The descriptor is borrowed.
struct AttachTarget {
  int netns = -1;
  std::string sandbox;    // the runtime's id of the pod's sandbox; empty: not known
  std::string container;  // the requesting container's OCI id, for log lines
  std::string pod_uid;    // empty: not known
  /// begin() has been recorded for this target: kConflict if the record says otherwise.
  bool is_begun = false;
  /// How long to wait for devices that are still in an old namespace.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

/// Why a pod with hostNetwork is refused, in one sentence.
extern const char* const kHostNetworkRefusal;

/// Any thread; calls for one claim must not overlap (dra::Host::update ensures that).
class Attacher {
 public:
  /// All must outlive it.
  Attacher(const devices::Registry& registry, const devices::NodeOptions& options, dra::Host& host)
      : registry_(&registry), plans_(registry), options_(&options), host_(&host) {}

  /// Whether begin() must be recorded before attach(): the claim takes a NIC that is not in this sandbox yet.
  /// If the process is killed during the move, the record says where the NIC went. Links that we make need no
  /// such record: they are removed with the namespace; and devices that a runtime moves are already there.
  [[nodiscard]] Result<bool> must_begin(const dra::ClaimRecord& record, const AttachTarget& target) const;
  /// Whether a device of the claim leaves the node for the pod's namespace.
  [[nodiscard]] bool leaves_node(const dra::ClaimRecord& record) const;
  /// Returns the text for Prepared::state that says where attach() is going. Errors: as attach().
  Result<std::string> begin(const dra::ClaimRecord& record, const AttachTarget& target);
  /// Puts every device of the claim into the namespace, completes devices that are already there, and returns
  /// the new text for Prepared::state. On failure everything this call did is undone. kBusy: the claim's
  /// interfaces are in another running pod. kDenied: it is the node's own namespace. kUnavailable: it is not
  /// prepared.
  Result<std::string> attach(const dra::ClaimRecord& record, const AttachTarget& target);

  /// The pod's sandbox (the record gets its id) ends: NICs are returned to the node; links that were made are
  /// removed with the namespace, which costs the kernel less than deleting them one by one. Returns the new
  /// text for Prepared::state: another sandbox may attach the claim again.
  Result<std::string> release(const dra::ClaimRecord& record, const std::string& sandbox,
                              std::chrono::steady_clock::time_point deadline);

  /// The node-side work when the claim is prepared; returns what containers get by CDI, in the devices'
  /// order, of all parts of a device together. `variables`: the environment variables that name the devices.
  /// All or nothing.
  Result<std::vector<cdi::ContainerEdits>> prepare(const PlanPtr& plan, const std::string& claim_uid,
                                                   const std::vector<std::string>& variables);
  /// The kubelet prepares again what is prepared: `edits` with those of the devices made anew that may have changed
  /// (Kind::may_change_when_prepared). nullopt: there is no such device.
  Result<std::optional<std::vector<cdi::ContainerEdits>>> prepare_changed(
      const PlanPtr& plan, const std::string& claim_uid, const std::vector<std::string>& variables,
      std::vector<cdi::ContainerEdits> edits);

  /// netdevices mode: puts every device into the node's namespace; returns for each device of the claim what
  /// the runtime moves, with the names there and in the container (none for one that is only monitored). All or
  /// nothing.
  Result<std::vector<std::vector<cdi::NetDevice>>> stage(const PlanPtr& plan, const std::string& claim_uid);

  /// Undoes attach() and stage(), however far they got; continues after errors and returns the first. Devices
  /// whose kind is not registered any more are an error. Devices that use a NIC in `lost`
  /// (devices::node_wide_name) are not touched: that NIC now belongs to a claim of another driver.
  Result<> detach(const dra::ClaimRecord& record, std::chrono::steady_clock::time_point deadline,
                  const std::vector<std::string>& lost = {});

  /// After a restart: opens the pods' namespaces that must be held again (HeldNamespaces).
  void adopt(const std::vector<dra::ClaimRecord>& records);

  [[nodiscard]] HeldNamespaces& held() { return held_; }

  /// Cleans up links in the node's namespace that carry this driver's marker and belong to no record: neither
  /// to one of `records` nor to one that another instance has made since. Links that were made are deleted;
  /// NICs that were lent get their name and alias back.
  Result<> sweep(const std::vector<dra::ClaimRecord>& records) const;
  /// Whether a pod may still have the claim's interfaces. kUnused is returned only when that is certain.
  [[nodiscard]] dra::ClaimUse use_of(const dra::ClaimRecord& record) const;

  [[nodiscard]] const devices::Registry& registry() const { return *registry_; }
  [[nodiscard]] const PlanReader& plans() const { return plans_; }

 private:
  struct Session;
  [[nodiscard]] devices::Marker marker(const std::string& claim_uid) const;
  Result<AttachState> arrive(Session& session, const AttachTarget& target, AttachState state);
  static Result<AttachState> arrived(Session& session, const AttachTarget& target, const sys::NetnsId& id,
                                     AttachState state);
  [[nodiscard]] Result<std::vector<std::vector<cdi::NetDevice>>> stage_all(Session& session) const;
  void wait_again(Session& session, const std::optional<devices::Side>& pod) const;
  [[nodiscard]] Result<bool> must_begin(const Attachment& attachment, const AttachTarget& target) const;
  [[nodiscard]] devices::DeviceInput input_of(Session& session, const PlanPart& part) const;
  Result<cdi::ContainerEdits> prepare_part(Session& session, const PlanPart& part,
                                           const std::vector<std::string>& variables) const;
  void undo_attached(Session& session, const devices::Side& pod,
                     const std::vector<std::size_t>& changed) const;
  /// The error for the author of a second pod: which pod has the claim's interfaces, and `why` they stay
  /// there.
  static Error second_pod(const Session& session, const AttachState& state, const std::string& why);
  [[nodiscard]] static std::optional<std::string> why_not_gone(const AttachState& state);
  Result<> leave_old_namespace(Session& session, const AttachTarget& target, const AttachState& state);
  [[nodiscard]] Result<bool> has_links_of(const Session& session, int netns) const;
  [[nodiscard]] Result<bool> is_still_there(const Session& session, const AttachTarget& target,
                                            const AttachState& state) const;
  /// Fills in what the devices were given (AttachState::given).
  Result<> attach_all(Session& session, const devices::Side& pod, AttachState& state);
  [[nodiscard]] std::size_t end_of_group(const Session& session, std::size_t begin) const;
  [[nodiscard]] Result<std::vector<devices::Attached>> attach_group(Session& session,
                                                                    const devices::Side& pod,
                                                                    const AttachState& state,
                                                                    std::size_t begin, std::size_t end,
                                                                    std::size_t& failed) const;
  [[nodiscard]] static bool is_certainly_gone(const Session& session, const AttachState& state);
  /// The pod's namespace, held or found; the session learns whether the record's indexes count there.
  UniqueFd pod_namespace(Session& session, const AttachState& state) const;
  Result<> detach_from(Session& session, const std::optional<devices::Side>& pod, bool was_attached,
                       std::chrono::steady_clock::time_point deadline) const;
  Result<> detach_where_it_is(Session& session, const AttachState& state,
                              std::chrono::steady_clock::time_point deadline);
  [[nodiscard]] static bool takes_one_of(const devices::DevicePlan& device,
                                         const std::vector<std::string>& nics);

  const devices::Registry* registry_;
  PlanReader plans_;
  const devices::NodeOptions* options_;
  dra::Host* host_;
  HeldNamespaces held_;
  Mutex mutex_;
  std::set<std::string> waited_for_ FL_GUARDED_BY(mutex_);  // claims whose NIC was not returned in time
};

}  // namespace fairlead::agent
