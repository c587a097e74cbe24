// SPDX-License-Identifier: Apache-2.0
// attach(): the one way by which a prepared claim's devices get into a pod, whichever way it is called
// through. And its undo.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fairlead/agent/record.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/registry.h"
#include "fairlead/dra/driver.h"
#include "fairlead/dra/host.h"

namespace fairlead::agent {

/// Where a claim goes. The descriptor is borrowed.
struct AttachTarget {
  int netns = -1;
  std::string sandbox;    // the runtime's id of the pod's sandbox; empty: not known
  std::string container;  // the OCI id that asks, for people
  std::string pod_uid;    // empty: not known
  /// begin() came before, with this very target: kConflict if the record does not say so.
  bool is_begun = false;
  /// How long to wait for what an old namespace still has.
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
};

/// Why a pod with hostNetwork is refused, in one sentence.
extern const char* const kHostNetworkRefusal;

/// Any thread; calls for one claim must not overlap (dra::Host::update sees to that).
class Attacher {
 public:
  /// All must outlive it.
  Attacher(const devices::Registry& registry, const devices::NodeOptions& options, dra::Host& host)
      : registry_(&registry), options_(&options), host_(&host) {}

  /// Whether begin() must be recorded before attach(): the claim takes a NIC that is not in this sandbox
  /// yet. A process that is killed during the move must find out where the NIC went; links that we make need
  /// nothing, they die with the namespace, and what a runtime moves is there already.
  [[nodiscard]] Result<bool> must_begin(const dra::ClaimRecord& record, const AttachTarget& target) const;
  /// Whether a device of the claim leaves the node for the pod's namespace.
  [[nodiscard]] bool leaves_node(const dra::ClaimRecord& record) const;
  /// Answers the text for Prepared::state that says where attach() is going. Errors: as attach().
  Result<std::string> begin(const dra::ClaimRecord& record, const AttachTarget& target);
  /// Puts every device of the claim into the namespace, completes what is there, and answers the new text for
  /// Prepared::state. On failure everything this call did is undone. kBusy: the claim's interfaces are in
  /// another pod that lives. kDenied: it is the node's own namespace. kUnavailable: it is not prepared.
  Result<std::string> attach(const dra::ClaimRecord& record, const AttachTarget& target);

  /// The pod's sandbox (the record learns its id) ends: NICs come home; links that were made are left to die
  /// with the namespace, which costs the kernel less than deleting them one by one. Answers the new text for
  /// Prepared::state: another sandbox may attach the claim again.
  Result<std::string> release(const dra::ClaimRecord& record, const std::string& sandbox,
                              std::chrono::steady_clock::time_point deadline);

  /// What happens on the node when the claim is prepared; what containers get by CDI, in the devices' order.
  /// `variables`: the environment variables that name the devices. All or nothing.
  Result<std::vector<cdi::ContainerEdits>> prepare(const ClaimPlan& plan, const std::string& claim_uid,
                                                   const std::vector<std::string>& variables);

  /// netdevices mode: puts every device into the node's namespace; the names there, in the devices' order
  /// ("" for one that is only watched). All or nothing.
  Result<std::vector<std::string>> stage(const ClaimPlan& plan, const std::string& claim_uid);

  /// Undoes attach() and stage(), however far they got; goes on after errors and tells the first. Devices
  /// whose handler is gone are an error. What takes a NIC of `lost` (devices::node_wide_name) is left as it is:
  /// that NIC is a claim's of another driver by now.
  Result<> detach(const dra::ClaimRecord& record, std::chrono::steady_clock::time_point deadline,
                  const std::vector<std::string>& lost = {});

  /// After a restart: opens the pods' namespaces again that must be held (see hold()).
  void adopt(const std::vector<dra::ClaimRecord>& records);

  /// The pods' namespaces that are held (see hold()).
  using HeldNow = std::map<std::string, std::uint64_t>;
  [[nodiscard]] HeldNow held_now() const;
  /// Lets go of those of `before` that the records, read after held_now(), do not ask for any more: another
  /// instance has undone or released the claim. What is held anew since stays.
  void let_go_of_others(const HeldNow& before, const std::vector<dra::ClaimRecord>& records);

  /// Looks after links in the node's namespace that carry this driver's marker and belong to no record:
  /// neither to one of `records`, nor, seen from later, to one that another instance has made since. What was
  /// made is deleted; what was lent gets its name and alias back.
  Result<> sweep(const std::vector<dra::ClaimRecord>& records) const;
  /// Whether a pod may still have the claim's interfaces. "Unused" is said only when that is certain.
  [[nodiscard]] dra::ClaimUse use_of(const dra::ClaimRecord& record) const;

  [[nodiscard]] const devices::Registry& registry() const { return *registry_; }

 private:
  struct Session;
  [[nodiscard]] devices::Marker marker(const std::string& claim_uid, std::size_t index) const;
  Result<AttachState> arrive(Session& session, const AttachTarget& target, AttachState state);
  static Result<AttachState> arrived(const AttachTarget& target, const sys::NetnsId& id, AttachState state);
  [[nodiscard]] Result<std::vector<std::string>> stage_all(Session& session) const;
  void wait_again(Session& session, const std::optional<devices::Side>& pod) const;
  [[nodiscard]] Result<bool> must_begin(const Attachment& attachment, const AttachTarget& target) const;
  [[nodiscard]] devices::DeviceInput input_of(Session& session, std::size_t index) const;
  void undo_attached(Session& session, const devices::Side& pod,
                     const std::vector<std::size_t>& changed) const;
  /// What a second pod's author reads: in which pod the claim's interfaces are, and `why` they stay there.
  static Error second_pod(const Session& session, const AttachState& state, const std::string& why);
  [[nodiscard]] static std::optional<std::string> why_not_gone(const AttachState& state);
  Result<> leave_old_namespace(Session& session, const AttachTarget& target, const AttachState& state);
  [[nodiscard]] Result<bool> has_links_of(const Session& session, int netns) const;
  [[nodiscard]] Result<bool> is_still_there(const Session& session, const AttachTarget& target,
                                            const AttachState& state) const;
  /// With what was given in `state`.
  Result<> attach_all(Session& session, const devices::Side& pod, AttachState& state);
  /// Whether a held namespace is the claim's beyond doubt, or only has the number that the record has.
  enum class Certainty : std::uint8_t { kCertain, kByNumber };
  struct Held {
    UniqueFd netns;
    Certainty certainty = Certainty::kByNumber;
    std::uint64_t number = 0;  // of the call of hold()
  };
  /// The pod's namespace, held or found; the session learns whether the record's indexes count there.
  UniqueFd pod_namespace(Session& session, const AttachState& state) const;
  void hold(const std::string& claim_uid, int netns, Certainty certainty);
  [[nodiscard]] Held held(const std::string& claim_uid) const;
  void let_go(const std::string& claim_uid);
  Result<> detach_from(Session& session, const std::optional<devices::Side>& pod, bool was_attached,
                       std::chrono::steady_clock::time_point deadline) const;
  Result<> detach_where_it_is(Session& session, const AttachState& state,
                              std::chrono::steady_clock::time_point deadline);
  [[nodiscard]] static bool takes_one_of(const devices::DevicePlan& device,
                                         const std::vector<std::string>& nics);

  const devices::Registry* registry_;
  const devices::NodeOptions* options_;
  dra::Host* host_;
  mutable Mutex mutex_;
  /// The namespaces of pods that have a NIC of the node, from before it goes there until it is home. A pod
  /// that gave its namespace's descriptor to somebody could keep the NIC otherwise: the kernel gives one back
  /// (or deletes it: a veth that is a nested node's NIC) only when the last user of the namespace is gone,
  /// and we could not find it. The price: as long as we hold it, nobody but us takes the NIC home; when we
  /// die, the kernel does.
  std::map<std::string, Held> held_ FL_GUARDED_BY(mutex_);
  std::uint64_t holds_ FL_GUARDED_BY(mutex_) = 0;
  std::set<std::string> waited_for_ FL_GUARDED_BY(mutex_);  // claims whose NIC did not come home when asked
};

}  // namespace fairlead::agent
