// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/attach.h"

#include <fcntl.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <memory>
#include <ranges>
#include <set>

#include "fairlead/agent/attach/find_netns.h"
#include "fairlead/core/log.h"
#include "fairlead/devices/identity.h"
#include "fairlead/devices/netdev/link_use.h"

namespace fairlead::agent {

using devices::AttachMode;
using devices::DevicePlan;
using devices::Kind;
using devices::Marker;
using devices::Side;
using std::chrono::steady_clock;

const char* const kHostNetworkRefusal =
    "the pod uses the node's own network (hostNetwork: true), so it can get no network interface";

/// The context of one call: the claim's plan, and the node's network namespace.
struct Attacher::Session {
  std::string claim_uid;
  ClaimPlan plan;
  std::vector<PlanPart> parts = {};  // parts_of(plan); every call goes through them, in order or backwards
  std::vector<dra::Pod> pods = {};   // that the claim is reserved for
  bool borrowed_only = false;        // release(): only devices that left the node
  bool was_begun = false;            // kAttaching: the process may have been killed anywhere in attach()
  std::vector<std::string> lost_nics = {};  // that now belong to claims of other drivers
  /// AttachState::indexes; empty if it is not certain that the pod's namespace is still the one in the record.
  std::vector<std::int32_t> indexes = {};
  UniqueFd node_netns;
  devices::CallScope node_scope = {};

  [[nodiscard]] Side node() { return {.netns = node_netns.get(), .is_callers = true, .scope = &node_scope}; }

  static Result<std::unique_ptr<Session>> open(const std::string& claim_uid, ClaimPlan plan) {
    FL_ASSIGN(UniqueFd netns, sys::open_own_netns());
    auto session = std::make_unique<Session>(
        Session{.claim_uid = claim_uid, .plan = std::move(plan), .node_netns = std::move(netns)});
    session->parts = parts_of(session->plan);
    return session;
  }
};

namespace {

/// "interface data0 (request data-nic)"
std::string describe(const DevicePlan& device) {
  const std::string name = device.body == nullptr ? "" : device.body->name_in_pod();
  return name.empty() ? "request " + device.request
                      : "interface " + name + " (request " + device.request + ")";
}

/// A NIC that the kernel returns to the node usually appears within milliseconds. A pod start waits at most
/// this long for it: it blocks other calls of the claim, and the kubelet tries again.
constexpr std::chrono::seconds kLeaveTime{8};

/// The same for an Unprepare or the end of a sandbox: for all NICs of the claim together.
constexpr std::chrono::seconds kHomeTime{2};

/// How long the sweep waits for an instance that is working on the claim of a leftover link.
constexpr std::chrono::seconds kSweepPatience{2};

/// Devices that a failed call has just put into the pod are there; no wait is needed.
constexpr std::chrono::seconds kUndoTime{1};

steady_clock::time_point leave_deadline(const AttachTarget& target) {
  return std::min(target.deadline, steady_clock::now() + kLeaveTime);
}

bool is_other_sandbox(const AttachState& state, const AttachTarget& target) {
  return !state.sandbox.empty() && !target.sandbox.empty() && state.sandbox != target.sandbox;
}

Result<> must_be_prepared(const dra::ClaimRecord& record) {
  if (record.state != dra::ClaimState::kPrepared) {
    return Error(Code::kUnavailable, "the claim is not prepared on this node (yet, or any more)");
  }
  return {};
}

std::int32_t index_of(const std::vector<std::int32_t>& indexes, std::size_t part) {
  return part < indexes.size() ? indexes[part] : 0;
}

/// To containers that use the device.
void add(cdi::ContainerEdits& to, cdi::ContainerEdits more) {
  const auto append = [](auto& list, auto& items) {
    list.insert(list.end(), std::make_move_iterator(items.begin()), std::make_move_iterator(items.end()));
  };
  append(to.env, more.env);
  append(to.device_nodes, more.device_nodes);
  append(to.net_devices, more.net_devices);
  append(to.hooks, more.hooks);
  append(to.mounts, more.mounts);
  append(to.additional_gids, more.additional_gids);
}

/// The part of the device that its variable names: the first with a name in the pod, else the first.
const DevicePlan* named_part(const DevicePlan& device) {
  const auto parts = device.parts_or_self();
  const auto named = std::ranges::find_if(parts, [](const DevicePlan& part) {
    return part.body != nullptr && !part.body->name_in_pod().empty();
  });
  return named == parts.end() ? &parts.front() : &*named;
}

}  // namespace

bool Attacher::takes_one_of(const DevicePlan& device, const std::vector<std::string>& nics) {
  const auto nic = nics.empty() ? std::nullopt : devices::netdev::taken_nic(device);
  return nic && std::ranges::find(nics, devices::node_wide_name(*nic)) != nics.end();
}

Marker Attacher::marker(const std::string& claim_uid) const {
  return {.driver = options_->driver_name, .claim_uid = claim_uid};
}

devices::DeviceInput Attacher::input_of(Session& session, const PlanPart& part) const {
  return {.plan = part.plan,
          .marker = part.marker_of(marker(session.claim_uid)),
          .node = session.node(),
          .options = options_};
}

void Attacher::hold(const std::string& claim_uid, int netns, Certainty certainty) {
  UniqueFd copy(::fcntl(netns, F_DUPFD_CLOEXEC, 0));
  const Lock lock(mutex_);
  held_.insert_or_assign(claim_uid,
                         Held{.netns = std::move(copy), .certainty = certainty, .number = ++holds_});
}

Attacher::HeldNow Attacher::held_now() const {
  const Lock lock(mutex_);
  HeldNow now;
  for (const auto& [uid, held] : held_) {
    now.emplace(uid, held.number);
  }
  return now;
}

void Attacher::let_go_of_others(const HeldNow& before, const std::vector<dra::ClaimRecord>& records) {
  std::set<std::string> wanted;
  for (const dra::ClaimRecord& record : records) {
    const auto state = parse_attach_state(record.prepared.state);
    // A staged claim's record does not say yet that it is on its way.
    if (!state || state->is_in_a_pod() || state->staged || record.state == dra::ClaimState::kUnpreparing) {
      wanted.insert(record.claim.uid);
    }
  }
  const Lock lock(mutex_);
  std::erase_if(held_, [&](const auto& entry) {
    const auto was = before.find(entry.first);
    return was != before.end() && was->second == entry.second.number && !wanted.contains(entry.first);
  });
}

void Attacher::let_go(const std::string& claim_uid) {
  const Lock lock(mutex_);
  held_.erase(claim_uid);
}

Attacher::Held Attacher::held(const std::string& claim_uid) const {
  const Lock lock(mutex_);
  const auto found = held_.find(claim_uid);
  if (found == held_.end() || !found->second.netns.valid()) {
    return {};
  }
  return {.netns = UniqueFd(::fcntl(found->second.netns.get(), F_DUPFD_CLOEXEC, 0)),
          .certainty = found->second.certainty};
}

UniqueFd Attacher::pod_namespace(Session& session, const AttachState& state) const {
  Held kept = held(session.claim_uid);
  const auto id = kept.netns.valid() ? sys::netns_id(kept.netns.get())
                                     : Result<sys::NetnsId>(Error(Code::kNotFound, "not held"));
  UniqueFd netns = std::move(kept.netns);
  bool certain = kept.certainty == Certainty::kCertain;
  if (state.netns && (!id || *id != *state.netns)) {
    // The caller needs it to return NICs, and checks whether they came back: a namespace that cannot be
    // searched for now is treated like one that is gone.
    auto found = find_netns(*state.netns, {}, state.seen_in);
    if (found && *found) {
      netns = std::move((*found)->fd);
      certain = false;
    }
  }
  // While we hold a namespace the kernel does not reuse its inode number.
  if (netns.valid() && (certain || has_links_of(session, netns.get()).value_or(false))) {
    session.indexes = state.indexes;
  }
  return netns;
}

Result<bool> Attacher::has_links_of(const Session& session, int netns) const {
  devices::CallScope scope;
  const Side pod{.netns = netns, .scope = &scope};
  return registry_->is_claim_in(pod, marker(session.claim_uid));
}

Error Attacher::second_pod(const Session& session, const AttachState& state, const std::string& why) {
  const auto first = std::ranges::find(session.pods, state.pod_uid, &dra::Pod::uid);
  const bool known = !state.pod_uid.empty() && first != session.pods.end();
  log::info(
      "a second pod of a claim is refused",
      {{"claim", session.claim_uid}, {"first_pod", state.pod_uid}, {"netns", sys::to_string(*state.netns)}});
  return Error(Code::kBusy, "the claim's interfaces are in " +
                                (known ? "the pod " + first->name + ", which " : "another pod that ") + why +
                                "; a claim with network interfaces cannot be shared by two pods");
}

/// Why a namespace that is not found may still exist: if the agent that attached the claim had other mounts,
/// this process must be able to look in the same place to be sure that it is gone.
std::optional<std::string> Attacher::why_not_gone(const AttachState& state) {
  if (!state.visible) {
    return "is not visible to the agent";
  }
  if (state.seen_in.empty()) {
    return "an older version of the agent saw, which does not say where";
  }
  const auto looked = is_looked_through(state.seen_in);
  if (!looked) {
    return "cannot be looked for now (" + looked.error().what() + ")";
  }
  if (!*looked) {
    return "was seen where the agent does not look any more (its mount of /run/netns, or hostPID, has "
           "changed)";
  }
  return std::nullopt;
}

/// The claim was attached before, elsewhere. If that pod is running, it keeps its interfaces; otherwise its
/// leftovers are removed, so that they can be attached again.
Result<> Attacher::leave_old_namespace(Session& session, const AttachTarget& target,
                                       const AttachState& state) {
  // A pod gets a new sandbox only after its old one has ended.
  const bool same_pod = !target.pod_uid.empty() && target.pod_uid == state.pod_uid;
  const bool may_live = state.phase != AttachPhase::kReleased && !same_pod;
  const auto alive = find_netns(*state.netns, {}, state.seen_in);
  if (alive && *alive) {
    FL_ASSIGN(const bool in_use, has_links_of(session, (*alive)->fd.get()));
    if (in_use && may_live) {
      return second_pod(session, state, "still runs");
    }
  } else if (may_live) {
    const auto why = alive ? why_not_gone(state) : "cannot be looked for now (" + alive.error().what() + ")";
    if (why) {
      return second_pod(session, state,
                        "has a network namespace that " + *why +
                            ", so that it counts as running until the claim is unprepared");
    }
  }
  const bool was_attached = state.phase == AttachPhase::kAttached;
  session.was_begun = state.phase == AttachPhase::kAttaching;
  const UniqueFd old = pod_namespace(session, state);
  if (!old.valid()) {
    return detach_from(session, std::nullopt, was_attached, leave_deadline(target));
  }
  devices::CallScope scope;
  return detach_from(session, Side{.netns = old.get(), .scope = &scope}, was_attached,
                     leave_deadline(target));
}

/// Whether the target is exactly the namespace in the record: the kernel reuses the inode number of one that
/// ended. If our links are in it, it is.
Result<bool> Attacher::is_still_there(const Session& session, const AttachTarget& target,
                                      const AttachState& state) const {
  if (state.phase == AttachPhase::kAttaching && !is_other_sandbox(state, target)) {
    return true;  // just begun, or interrupted then: no link need be there yet
  }
  if (!state.sandbox.empty() && state.sandbox == target.sandbox) {
    return true;  // a sandbox keeps its namespace
  }
  const Held kept = held(session.claim_uid);
  if (kept.netns.valid() && kept.certainty == Certainty::kCertain) {
    FL_ASSIGN(const sys::NetnsId id, sys::netns_id(kept.netns.get()));
    if (id == *state.netns) {
      return true;  // even if the pod changed the aliases
    }
  }
  return has_links_of(session, target.netns);
}

Result<> Attacher::attach_all(Session& session, const Side& pod, AttachState& state) {
  const bool was_attached = state.phase == AttachPhase::kAttached;
  std::vector<std::int32_t> indexes;
  std::vector<devices::Given> given;
  std::vector<std::size_t> changed;
  std::vector<std::function<void()>> undo_in_pod;
  for (std::size_t i = 0; i < session.parts.size(); ++i) {
    const DevicePlan& device = *session.parts[i].plan;
    if (!device.needs.pod_netns && !device.problem) {
      indexes.push_back(0);
      given.emplace_back();
      continue;
    }
    auto attached = [&]() -> Result<devices::Attached> {
      FL_ASSIGN(const Kind* kind, registry_->kind_of(device));
      devices::AttachInput input;
      static_cast<devices::DeviceInput&>(input) = input_of(session, session.parts[i]);
      input.pod = pod;
      input.was_attached = was_attached;
      input.index_in_pod = index_of(state.indexes, i);
      if (session.plan.mode == AttachMode::kNetdevices) {
        FL_TRY(kind->staging()->receive(input));
      }
      return kind->attach(input);
    }();
    if (!attached) {
      for (const auto& undo : std::views::reverse(undo_in_pod)) {
        undo();
      }
      undo_attached(session, pod, changed);
      return std::move(attached).error().with(describe(device));
    }
    indexes.push_back(attached->index);
    // A pod may have changed what was there before.
    const bool is_known = was_attached && !attached->changed && i < state.given.size();
    given.push_back(is_known ? state.given[i] : std::move(attached->given));
    if (attached->changed) {
      changed.push_back(i);
    }
    if (attached->undo_in_pod) {
      undo_in_pod.push_back(std::move(attached->undo_in_pod));
    }
  }
  state.indexes = std::move(indexes);
  state.given = std::move(given);
  return {};
}

/// Undo of a failed call: in reverse order, the devices that it put into the pod.
void Attacher::undo_attached(Session& session, const Side& pod,
                             const std::vector<std::size_t>& changed) const {
  for (const std::size_t done : std::views::reverse(changed)) {
    const DevicePlan& device = *session.parts[done].plan;
    devices::DetachInput input;
    static_cast<devices::DeviceInput&>(input) = input_of(session, session.parts[done]);
    input.pod = pod;
    input.was_attached = true;
    input.deadline = steady_clock::now() + kUndoTime;
    if (const auto undone = registry_->find(device.name)->detach(input); !undone) {
      log::warn(
          "cannot remove a claim's interface from the pod after its attach failed; Unprepare tries again",
          {{"claim", session.claim_uid}, {"interface", describe(device)}, {"error", undone.error().what()}});
    }
  }
}

/// `state` of a claim whose devices go to the namespace `id`.
Result<AttachState> Attacher::arrived(const AttachTarget& target, const sys::NetnsId& id, AttachState state) {
  FL_TRY(state.advance(AttachEvent::kArrive));
  state.netns = id;
  state.sandbox = target.sandbox;
  state.container = target.container;
  state.pod_uid = target.pod_uid;
  state.indexes.clear();
  state.given.clear();
  const auto found = find_netns(id);
  state.visible = found && *found;
  state.seen_in = state.visible ? (*found)->seen_in : "";
  return state;
}

/// Checks that the claim may go into this namespace, and that none of its devices is elsewhere; returns the
/// state to record until all of them are there.
Result<AttachState> Attacher::arrive(Session& session, const AttachTarget& target, AttachState state) {
  FL_ASSIGN(const sys::NetnsId id, sys::netns_id(target.netns));
  FL_ASSIGN(const sys::NetnsId own, sys::netns_id(session.node_netns.get()));
  if (id == own) {
    if (session.plan.mode == AttachMode::kNetdevices) {
      wait_again(session, std::nullopt);  // the runtime "moved" the links within a namespace: renamed, and up
    }
    return Error(Code::kDenied, kHostNetworkRefusal);
  }
  if (session.plan.mode == AttachMode::kNetdevices) {
    // The runtime moved the links: there are none to remove elsewhere.
    return arrived(target, id, std::move(state));
  }
  if (state.netns == id && state.is_in_a_pod()) {
    FL_ASSIGN(const bool still_there, is_still_there(session, target, state));
    if (still_there) {
      state.sandbox = target.sandbox.empty() ? state.sandbox : target.sandbox;
      state.pod_uid = target.pod_uid.empty() ? state.pod_uid : target.pod_uid;
      return state;
    }
    session.was_begun = state.phase == AttachPhase::kAttaching;
    FL_TRY(detach_from(session, std::nullopt, state.phase == AttachPhase::kAttached, leave_deadline(target)));
  } else if (state.netns && *state.netns != id) {
    FL_TRY(leave_old_namespace(session, target, state));
  }
  FL_ASSIGN(state, arrived(target, id, std::move(state)));
  if (!state.visible) {
    log::warn(
        "a pod's network namespace cannot be found again from here, so whether the pod still runs will "
        "not be known; mount its folder with mountPropagation: HostToContainer",
        {{"claim", session.claim_uid}, {"netns", sys::to_string(id)}});
  }
  return state;
}

Result<bool> Attacher::must_begin(const Attachment& attachment, const AttachTarget& target) const {
  FL_ASSIGN(const sys::NetnsId id, sys::netns_id(target.netns));
  const AttachState& state = attachment.state;
  if (state.is_in_a_pod() && state.netns == id && !is_other_sandbox(state, target)) {
    return false;
  }
  return !state.staged && attachment.plan.leaves_node();
}

Result<bool> Attacher::must_begin(const dra::ClaimRecord& record, const AttachTarget& target) const {
  FL_ASSIGN(const Attachment attachment, read_attachment(record, *registry_));
  return must_begin(attachment, target);
}

bool Attacher::leaves_node(const dra::ClaimRecord& record) const {
  const auto plan = parse_claim_plan(record.plan, *registry_);
  return plan && plan->leaves_node();
}

Result<std::string> Attacher::begin(const dra::ClaimRecord& record, const AttachTarget& target) {
  FL_TRY(must_be_prepared(record));
  FL_ASSIGN(Attachment attachment, read_attachment(record, *registry_));
  FL_ASSIGN(const auto session, Session::open(record.claim.uid, std::move(attachment.plan)));
  session->pods = record.claim.reserved_for;
  FL_ASSIGN(const AttachState state, arrive(*session, target, std::move(attachment.state)));
  return to_json(state);
}

Result<std::string> Attacher::attach(const dra::ClaimRecord& record, const AttachTarget& target) {
  FL_TRY(must_be_prepared(record));
  FL_ASSIGN(Attachment attachment, read_attachment(record, *registry_));
  if (target.is_begun) {
    // Another pod may have called begin() since: then the record has another target.
    FL_ASSIGN(const bool overtaken, must_begin(attachment, target));
    if (overtaken) {
      return Error(Code::kConflict, "another pod wants the claim at the same moment");
    }
  }
  if (!attachment.plan.needs_attach()) {
    return record.prepared.state;  // prepare() did all the work
  }
  FL_ASSIGN(const auto session, Session::open(record.claim.uid, std::move(attachment.plan)));
  session->pods = record.claim.reserved_for;
  FL_ASSIGN(AttachState state, arrive(*session, target, std::move(attachment.state)));
  const bool was_held = held(record.claim.uid).netns.valid();
  if (session->plan.leaves_node()) {
    hold(record.claim.uid, target.netns, Certainty::kCertain);  // before a device is moved there
  }
  devices::CallScope scope;
  const Side pod{.netns = target.netns, .scope = &scope};
  if (auto attached = attach_all(*session, pod, state); !attached) {
    if (session->plan.mode == AttachMode::kNetdevices) {
      wait_again(*session, pod);  // the runtime expects them on the node when the container is retried
    }
    if (!was_held) {
      let_go(record.claim.uid);
    }
    return std::move(attached).error();
  }
  FL_TRY(state.advance(AttachEvent::kComplete));
  return to_json(state);
}

Result<std::string> Attacher::release(const dra::ClaimRecord& record, const std::string& sandbox,
                                      steady_clock::time_point deadline) {
  FL_ASSIGN(Attachment attachment, read_attachment(record, *registry_));
  AttachState& state = attachment.state;
  if (!state.is_in_a_pod()) {
    return record.prepared.state;
  }
  FL_ASSIGN(const auto session, Session::open(record.claim.uid, std::move(attachment.plan)));
  session->borrowed_only = true;
  FL_TRY(detach_where_it_is(*session, state, deadline));
  FL_TRY(state.advance(AttachEvent::kRelease));
  state.sandbox = state.sandbox.empty() ? sandbox : state.sandbox;
  state.indexes.clear();
  state.given.clear();
  return to_json(state);
}

Result<std::vector<cdi::ContainerEdits>> Attacher::prepare(const ClaimPlan& plan,
                                                           const std::string& claim_uid,
                                                           const std::vector<std::string>& variables) {
  FL_ASSIGN(const auto session, Session::open(claim_uid, plan));
  std::vector<cdi::ContainerEdits> edits(plan.devices.size());
  for (const PlanPart& part : session->parts) {
    const DevicePlan& device = *part.plan;
    if (device.admin_access) {
      continue;
    }
    auto prepared = [&]() -> Result<cdi::ContainerEdits> {
      FL_ASSIGN(const Kind* kind, registry_->kind_of(device));
      devices::PrepareInput input;
      static_cast<devices::DeviceInput&>(input) = input_of(*session, part);
      if (part.plan == named_part(session->plan.devices[part.device])) {
        input.variable = variables[part.device];
      }
      return kind->prepare(input);
    }();
    if (!prepared) {
      (void)detach_from(*session, std::nullopt, /*was_attached=*/false, steady_clock::now() + kUndoTime);
      return std::move(prepared).error().with(describe(device));
    }
    add(edits[part.device], *std::move(prepared));
  }
  return edits;
}

Result<std::vector<std::vector<cdi::NetDevice>>> Attacher::stage(const ClaimPlan& plan,
                                                                 const std::string& claim_uid) {
  FL_ASSIGN(const auto session, Session::open(claim_uid, plan));
  auto staged = stage_all(*session);
  if (!staged) {
    // Undoes the devices that were staged before it; the others need no undo.
    (void)detach_from(*session, std::nullopt, /*was_attached=*/false, steady_clock::time_point::max());
  }
  return staged;
}

/// Netdevices mode: links that a runtime moved are put back on the node, as after stage().
void Attacher::wait_again(Session& session, const std::optional<Side>& pod) const {
  const auto waiting = [&]() -> Result<> {
    if (pod) {
      FL_TRY(detach_from(session, pod, /*was_attached=*/true, steady_clock::now() + kUndoTime));
    }
    FL_TRY(stage_all(session));
    return {};
  }();
  if (!waiting) {
    log::warn("a link remains where the container runtime moved it until the claim is unprepared",
              {{"claim", session.claim_uid}, {"error", waiting.error().what()}});
  }
}

Result<std::vector<std::vector<cdi::NetDevice>>> Attacher::stage_all(Session& session) const {
  std::vector<std::vector<cdi::NetDevice>> all(session.plan.devices.size());
  for (const PlanPart& part : session.parts) {
    const DevicePlan& device = *part.plan;
    if (!device.needs.pod_netns && !device.problem) {
      continue;
    }
    auto staged = [&]() -> Result<std::string> {
      FL_ASSIGN(const Kind* kind, registry_->kind_of(device));
      return kind->staging()->stage(input_of(session, part));
    }();
    if (!staged) {
      return std::move(staged).error().with(describe(device));
    }
    all[part.device].push_back(
        {.host_interface_name = *std::move(staged), .name = device.body->name_in_pod()});
  }
  return all;
}

Result<> Attacher::detach_from(Session& session, const std::optional<Side>& pod, bool was_attached,
                               steady_clock::time_point deadline) const {
  Result<> first;
  for (std::size_t i = session.parts.size(); i-- > 0;) {
    const DevicePlan& device = *session.parts[i].plan;
    if (device.admin_access || (session.borrowed_only && !device.needs.leaves_node) ||
        takes_one_of(device, session.lost_nics)) {
      continue;
    }
    auto undone = [&]() -> Result<> {
      FL_ASSIGN(const Kind* kind, registry_->kind_of(device));
      devices::DetachInput input;
      static_cast<devices::DeviceInput&>(input) = input_of(session, session.parts[i]);
      input.pod = pod;
      input.index_in_pod = index_of(session.indexes, i);
      input.was_attached = was_attached;
      input.was_begun = session.was_begun;
      input.deadline = deadline;
      input.tell = [&](const std::string& reason, const std::string& message) {
        host_->pod_event(session.claim_uid, reason, message);
        host_->operation_finished("restore-name", device.name.kind, Code::kExists,
                                  std::chrono::duration<double>(0));
      };
      return kind->detach(input);
    }();
    if (!undone && first) {
      first = std::move(undone).error().with(describe(device));
    }
  }
  return first;
}

/// Takes the devices out of the pod's namespace, if it still exists, and stops holding it.
Result<> Attacher::detach_where_it_is(Session& session, const AttachState& state,
                                      steady_clock::time_point deadline) {
  deadline = std::min(deadline, steady_clock::now() + kHomeTime);
  session.was_begun = state.phase == AttachPhase::kAttaching;
  const UniqueFd netns = pod_namespace(session, state);
  const bool was_attached = state.phase == AttachPhase::kAttached || state.staged;
  if (!netns.valid()) {
    FL_TRY(detach_from(session, std::nullopt, was_attached, deadline));
  } else {
    devices::CallScope scope;
    FL_TRY(detach_from(session, Side{.netns = netns.get(), .scope = &scope}, was_attached, deadline));
  }
  let_go(session.claim_uid);
  return {};
}

Result<> Attacher::detach(const dra::ClaimRecord& record, steady_clock::time_point deadline,
                          const std::vector<std::string>& lost) {
  if (record.plan.empty()) {
    return {};  // only the intent was recorded
  }
  FL_ASSIGN(Attachment attachment, read_attachment(record, *registry_));
  const AttachState& state = attachment.state;
  FL_ASSIGN(const auto session, Session::open(record.claim.uid, std::move(attachment.plan)));
  session->lost_nics = lost;
  {
    // Waits only once: the kubelet keeps retrying, and each wait would block a worker.
    const Lock lock(mutex_);
    deadline = waited_for_.contains(record.claim.uid) ? std::min(deadline, steady_clock::now()) : deadline;
  }
  auto done = detach_where_it_is(*session, state, deadline);
  const Lock lock(mutex_);
  if (done || done.error().code() != Code::kUnavailable) {
    waited_for_.erase(record.claim.uid);
  } else {
    waited_for_.insert(record.claim.uid);
  }
  return done;
}

void Attacher::adopt(const std::vector<dra::ClaimRecord>& records) {
  for (const dra::ClaimRecord& record : records) {
    auto plan = parse_claim_plan(record.plan, *registry_);
    const auto state = parse_attach_state(record.prepared.state);
    if (!plan || !state || !state->is_in_a_pod() || !plan->leaves_node()) {
      continue;
    }
    const auto netns = find_netns(*state->netns, {}, state->seen_in);
    if (!netns) {
      log::warn("cannot search for a pod's network namespace; its NIC may be returned late",
                {{"claim", record.claim.uid}, {"error", netns.error().what()}});
      continue;
    }
    if (!*netns) {
      continue;
    }
    if (const auto session = Session::open(record.claim.uid, *std::move(plan))) {
      // While it was not held, its inode number may have been reused.
      const bool certain = has_links_of(**session, (*netns)->fd.get()).value_or(false);
      hold(record.claim.uid, (*netns)->fd.get(), certain ? Certainty::kCertain : Certainty::kByNumber);
    }
  }
}

dra::ClaimUse Attacher::use_of(const dra::ClaimRecord& record) const {
  using Use = dra::ClaimUse::Kind;
  const auto plan = parse_claim_plan(record.plan, *registry_);
  const auto state = parse_attach_state(record.prepared.state);
  if (!plan || !state) {
    return {.kind = Use::kUnknown, .why = "the claim's record cannot be read"};
  }
  if (state->staged) {
    return {.kind = Use::kUnknown,
            .why =
                "the container runtime moves interfaces itself (--attach=netdevices) and does not say to "
                "which pod"};
  }
  if (state->phase == AttachPhase::kReleased) {
    return {.kind = Use::kUnused};  // its sandbox has stopped
  }
  if (!state->is_in_a_pod()) {
    return {.kind = Use::kUnknown, .why = "it was never attached, so the end of its pod was not reported"};
  }
  const std::string netns = sys::to_string(*state->netns);
  const auto alive = find_netns(*state->netns, {}, state->seen_in);
  if (!alive || !*alive) {
    // A namespace kept only by descriptors (such as ours) has no process any more.
    const auto why = alive ? why_not_gone(*state) : "cannot be looked for now (" + alive.error().what() + ")";
    return why ? dra::ClaimUse{.kind = Use::kUnknown,
                               .why = "the pod has a network namespace, " + netns + ", that " + *why}
               : dra::ClaimUse{.kind = Use::kUnused};
  }
  const Held kept = held(record.claim.uid);
  const auto kept_id = kept.netns.valid() ? sys::netns_id(kept.netns.get())
                                          : Result<sys::NetnsId>(Error(Code::kNotFound, "not held"));
  const bool same = kept_id && *kept_id == *state->netns && kept.certainty == Certainty::kCertain;
  const auto session = Session::open(record.claim.uid, *plan);
  const auto marked = session ? has_links_of(**session, (*alive)->fd.get()) : session.error();
  if (same || marked.value_or(false)) {
    return {.kind = Use::kInUse, .why = "the claim's interfaces are in a network namespace, " + netns};
  }
  // The inode number may have been reused; or the pod has changed the aliases.
  return {.kind = Use::kUnknown,
          .why = "the network namespace " + netns +
                 " is there, but none of its links says that it is the claim's"};
}

Result<> Attacher::sweep(const std::vector<dra::ClaimRecord>& records) const {
  std::set<std::string> known;
  for (const dra::ClaimRecord& record : records) {
    known.insert(record.claim.uid);
  }
  FL_ASSIGN(const UniqueFd netns, sys::open_own_netns());
  devices::CallScope scope;
  const devices::SweepInput input{.driver = options_->driver_name,
                                  .node = {.netns = netns.get(), .is_callers = true, .scope = &scope},
                                  .options = options_,
                                  .is_known = [&](const std::string& uid) { return known.contains(uid); },
                                  .if_unknown =
                                      [&](const std::string& uid, const std::function<void()>& action) {
                                        return host_->if_unknown(uid, steady_clock::now() + kSweepPatience,
                                                                 action);
                                      }};
  Result<> first;
  for (const Kind* kind : registry_->kinds()) {
    auto swept = kind->sweep(input);
    first = first ? std::move(swept) : std::move(first);
  }
  return first;
}

}  // namespace fairlead::agent
