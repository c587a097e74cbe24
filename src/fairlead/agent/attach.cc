// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach.h"

#include <fcntl.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <ranges>
#include <set>

#include "fairlead/agent/find_netns.h"
#include "fairlead/core/log.h"
#include "fairlead/devices/identity.h"

namespace fairlead::agent {

using devices::AttachMode;
using devices::DevicePlan;
using devices::Kind;
using devices::Marker;
using devices::Place;
using std::chrono::steady_clock;

const char* const kHostNetworkRefusal =
    "the pod uses the node's own network (hostNetwork: true), so it can get no network interface";

/// What one call works with: the claim's plan and a socket in the node's namespace.
struct Attacher::Session {
  std::string claim_uid;
  ClaimPlan plan;
  std::vector<dra::Pod> pods = {};  // that the claim is reserved for
  bool nics_only = false;           // release(): nothing but what was taken from the node
  bool was_begun = false;           // kAttaching: the process may have been killed anywhere in attach()
  std::vector<std::string> lost_nics = {};  // that claims of other drivers have by now
  /// Of the devices in the pod's namespace; empty when it is not certain that it is still the one that the
  /// record means.
  std::vector<std::int32_t> indexes = {};
  UniqueFd node_netns;
  netlink::Socket node_socket;
  Place node;

  static Result<std::unique_ptr<Session>> open(const std::string& claim_uid, ClaimPlan plan) {
    FL_ASSIGN(UniqueFd netns, sys::open_own_netns());
    FL_ASSIGN(netlink::Socket socket, netlink::Socket::open());
    auto session = std::make_unique<Session>(Session{.claim_uid = claim_uid,
                                                     .plan = std::move(plan),
                                                     .node_netns = std::move(netns),
                                                     .node_socket = std::move(socket),
                                                     .node = {}});
    session->node = {.netns = session->node_netns.get(), .socket = &session->node_socket};
    return session;
  }
};

namespace {

/// "interface data0 (request data-nic)"
std::string describe(const DevicePlan& device) {
  return "interface " + device.interface_name + " (request " + device.request + ")";
}

Result<const Kind*> handler_of(const devices::Registry& registry, const DevicePlan& device) {
  const Kind* handler = registry.find(device.type, device.kind);
  if (handler == nullptr) {
    return Error(Code::kUnsupported,
                 "this version of the driver does not know " + device.type + " " + device.kind);
  }
  return handler;
}

/// A NIC that the kernel gives back usually comes in milliseconds. Whoever starts a pod waits this long for
/// it at most: it holds up other calls of the claim, and the kubelet tries again.
constexpr std::chrono::seconds kLeaveTime{8};

/// The same for an Unprepare or the end of a sandbox: for all NICs of the claim together.
constexpr std::chrono::seconds kHomeTime{2};

/// How long the sweep waits for an instance that is at work on the claim of a link that it found.
constexpr std::chrono::seconds kSweepPatience{2};

/// What a failed call has just put into the pod is there; nothing has to be waited for.
constexpr std::chrono::seconds kUndoTime{1};

steady_clock::time_point leave_deadline(const AttachTarget& target) {
  return std::min(target.deadline, steady_clock::now() + kLeaveTime);
}

bool is_other_sandbox(const ClaimState& state, const AttachTarget& target) {
  return !state.sandbox.empty() && !target.sandbox.empty() && state.sandbox != target.sandbox;
}

Result<> must_be_prepared(const dra::ClaimRecord& record) {
  if (record.state != dra::ClaimState::kPrepared) {
    return Error(Code::kUnavailable, "the claim is not prepared on this node (yet, or any more)");
  }
  return {};
}

Given given_by(const devices::Attached& attached) {
  Given given{.mac = attached.mac.to_string(), .addresses = {}};
  for (const netlink::IpPrefix& prefix : attached.addresses) {
    given.addresses.push_back(prefix.to_string());
  }
  return given;
}

/// Netdevices mode: the link that the runtime should have moved, ready to be configured.
Result<> receive_moved(const Place& pod, const std::vector<netlink::Link>& pod_links, const Marker& marker) {
  const auto moved =
      std::ranges::find_if(pod_links, [&](const netlink::Link& link) { return marker.marks(link.alias); });
  if (moved == pod_links.end()) {
    return Error(Code::kNotFound,
                 "the container runtime has not moved it into the container's network namespace; "
                 "--attach=netdevices needs runc 1.4 or crun 1.22, or newer");
  }
  // The runtime set it up without addresses: neighbours are told of those that it has when it is set up.
  return pod.socket->set_down(moved->index);
}

netlink::IfIndex index_of(const std::vector<std::int32_t>& indexes, std::size_t device) {
  return device < indexes.size() ? netlink::IfIndex(indexes[device]) : netlink::IfIndex();
}

}  // namespace

bool Attacher::takes_nic(const DevicePlan& device) const {
  const Kind* handler = registry_->find(device.type, device.kind);
  return handler != nullptr && handler->takes(device).has_value();
}

bool Attacher::takes_one_of(const DevicePlan& device, const std::vector<std::string>& nics) const {
  const Kind* handler = nics.empty() ? nullptr : registry_->find(device.type, device.kind);
  const auto nic = handler == nullptr ? std::nullopt : handler->takes(device);
  return nic && std::ranges::find(nics, devices::node_wide_name(*nic)) != nics.end();
}

Marker Attacher::marker(const std::string& claim_uid, std::size_t index) const {
  return {.driver = options_->driver_name, .claim_uid = claim_uid, .index = index};
}

bool Attacher::takes_nic(const ClaimPlan& plan) const {
  return std::ranges::any_of(plan.devices, [&](const DevicePlan& device) { return takes_nic(device); });
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
    const auto state = parse_claim_state(record.prepared.state);
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

UniqueFd Attacher::pod_namespace(Session& session, const ClaimState& state) const {
  Held kept = held(session.claim_uid);
  const auto id = kept.netns.valid() ? sys::netns_id(kept.netns.get())
                                     : Result<sys::NetnsId>(Error(Code::kNotFound, "not held"));
  UniqueFd netns = std::move(kept.netns);
  bool certain = kept.certainty == Certainty::kCertain;
  if (state.netns && (!id || *id != *state.netns)) {
    // Who asks for it needs it to bring NICs home, and looks whether they came: one that cannot be looked for
    // now is no other case than one that is gone.
    auto found = find_netns(*state.netns, {}, state.seen_in);
    if (found && *found) {
      netns = std::move((*found)->fd);
      certain = false;
    }
  }
  // While we hold a namespace the kernel gives its number to no other.
  if (netns.valid() && (certain || has_links_of(session, netns.get()).value_or(false))) {
    session.indexes = state.ifindexes;
  }
  return netns;
}

Result<bool> Attacher::has_links_of(const Session& session, int netns) const {
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open_in(netns));
  FL_ASSIGN(const auto links, socket.links());
  return std::ranges::any_of(links, [&](const netlink::Link& link) {
    const auto found = Marker::parse(link.alias);
    return found && found->claim_uid == session.claim_uid && found->driver == options_->driver_name;
  });
}

Error Attacher::second_pod(const Session& session, const ClaimState& state, const std::string& why) {
  const auto first = std::ranges::find(session.pods, state.pod_uid, &dra::Pod::uid);
  const bool known = !state.pod_uid.empty() && first != session.pods.end();
  log::info(
      "a second pod of a claim is refused",
      {{"claim", session.claim_uid}, {"first_pod", state.pod_uid}, {"netns", sys::to_string(*state.netns)}});
  return Error(Code::kBusy, "the claim's interfaces are in " +
                                (known ? "the pod " + first->name + ", which " : "another pod that ") + why +
                                "; a claim with network interfaces cannot be shared by two pods");
}

/// What is to be said of a namespace that is not found, unless that proves that it is gone: where it was seen
/// when the claim was attached, perhaps by an agent with other mounts, this process must look, too.
std::optional<std::string> Attacher::why_not_gone(const ClaimState& state) {
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

/// The claim was attached before, somewhere else. If that pod lives, it keeps its interfaces; else what it
/// left behind is taken away, so that they can be attached anew.
Result<> Attacher::leave_old_namespace(Session& session, const AttachTarget& target,
                                       const ClaimState& state) {
  // A pod gets a new sandbox when its old one has ended.
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
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open_in(old.get()));
  return detach_from(session, Place{.netns = old.get(), .socket = &socket}, was_attached,
                     leave_deadline(target));
}

/// Whether the target is the very namespace that the record means: the kernel gives the number of one that
/// ended to the next that is made. Where our links are, it is.
Result<bool> Attacher::is_still_there(const Session& session, const AttachTarget& target,
                                      const ClaimState& state) const {
  if (state.phase == AttachPhase::kAttaching && !is_other_sandbox(state, target)) {
    return true;  // begun a moment ago, or cut off then: nothing need be there yet
  }
  if (!state.sandbox.empty() && state.sandbox == target.sandbox) {
    return true;  // a sandbox has one namespace for all its life
  }
  const Held kept = held(session.claim_uid);
  if (kept.netns.valid() && kept.certainty == Certainty::kCertain) {
    FL_ASSIGN(const sys::NetnsId id, sys::netns_id(kept.netns.get()));
    if (id == *state.netns) {
      return true;  // whatever the pod made of the aliases
    }
  }
  return has_links_of(session, target.netns);
}

Result<> Attacher::attach_all(Session& session, const Place& pod, ClaimState& state) {
  FL_ASSIGN(const auto pod_links, pod.socket->links());
  const bool was_attached = state.phase == AttachPhase::kAttached;
  std::vector<std::int32_t> ifindexes;
  std::vector<Given> given;
  std::vector<std::size_t> changed;
  std::vector<std::function<void()>> undo_in_pod;
  for (std::size_t i = 0; i < session.plan.devices.size(); ++i) {
    const DevicePlan& device = session.plan.devices[i];
    if (device.admin_access) {
      ifindexes.push_back(0);
      given.emplace_back();
      continue;
    }
    if (session.plan.mode == AttachMode::kNetdevices) {
      FL_TRY(receive_moved(pod, pod_links, marker(session.claim_uid, i)), describe(device));
    }
    auto attached = [&]() -> Result<devices::Attached> {
      FL_ASSIGN(const Kind* handler, handler_of(*registry_, device));
      return handler->attach({.plan = &device,
                              .marker = marker(session.claim_uid, i),
                              .node = session.node,
                              .pod = pod,
                              .pod_links = &pod_links,
                              .was_attached = was_attached,
                              .index_in_pod = index_of(state.ifindexes, i),
                              .options = options_});
    }();
    if (!attached) {
      for (const auto& undo : std::views::reverse(undo_in_pod)) {
        undo();
      }
      for (const std::size_t done : std::views::reverse(changed)) {
        const DevicePlan& other = session.plan.devices[done];
        const auto undone = registry_->find(other.type, other.kind)
                                ->detach({.plan = &other,
                                          .marker = marker(session.claim_uid, done),
                                          .node = session.node,
                                          .pod = pod,
                                          .was_attached = true,
                                          .deadline = steady_clock::now() + kUndoTime,
                                          .options = options_});
        if (!undone) {
          log::warn("a claim's interface stays in the pod after its attach failed; Unprepare takes it back",
                    {{"claim", session.claim_uid},
                     {"interface", describe(other)},
                     {"error", undone.error().what()}});
        }
      }
      return std::move(attached).error().with(describe(device));
    }
    ifindexes.push_back(attached->index.value());
    // A pod may have changed what was there before.
    const bool is_known = was_attached && !attached->changed && i < state.given.size();
    given.push_back(is_known ? state.given[i] : given_by(*attached));
    if (attached->changed) {
      changed.push_back(i);
    }
    if (attached->undo_in_pod) {
      undo_in_pod.push_back(std::move(attached->undo_in_pod));
    }
  }
  state.ifindexes = std::move(ifindexes);
  state.given = std::move(given);
  return {};
}

/// `state` of a claim whose devices go to `id`.
ClaimState Attacher::arrived(const AttachTarget& target, const sys::NetnsId& id, ClaimState state) {
  state.phase = AttachPhase::kAttaching;
  state.netns = id;
  state.sandbox = target.sandbox;
  state.container = target.container;
  state.pod_uid = target.pod_uid;
  state.ifindexes.clear();
  state.given.clear();
  const auto found = find_netns(id);
  state.visible = found && *found;
  state.seen_in = state.visible ? (*found)->seen_in : "";
  return state;
}

/// The claim may go into this namespace, and nothing of it is anywhere else: the state for the time until
/// all of it is there.
Result<ClaimState> Attacher::arrive(Session& session, const AttachTarget& target, ClaimState state) {
  FL_ASSIGN(const sys::NetnsId id, sys::netns_id(target.netns));
  FL_ASSIGN(const sys::NetnsId own, sys::netns_id(session.node.netns));
  if (id == own) {
    if (session.plan.mode == AttachMode::kNetdevices) {
      wait_again(session, std::nullopt);  // the runtime "moved" the links to where they were: renamed, and up
    }
    return Error(Code::kDenied, kHostNetworkRefusal);
  }
  if (session.plan.mode == AttachMode::kNetdevices) {
    // Where the links are is the runtime's doing: there is nothing to take away elsewhere.
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
  state = arrived(target, id, std::move(state));
  if (!state.visible) {
    log::warn(
        "a pod's network namespace cannot be found again from here, so whether the pod still runs will "
        "not be known; mount its folder with mountPropagation: HostToContainer",
        {{"claim", session.claim_uid}, {"netns", sys::to_string(id)}});
  }
  return state;
}

Result<bool> Attacher::must_begin(const dra::ClaimRecord& record, const AttachTarget& target) const {
  FL_ASSIGN(const sys::NetnsId id, sys::netns_id(target.netns));
  FL_ASSIGN(const ClaimState state, parse_claim_state(record.prepared.state));
  if (state.is_in_a_pod() && state.netns == id && !is_other_sandbox(state, target)) {
    return false;
  }
  return !state.staged && takes_nic(record);
}

bool Attacher::takes_nic(const dra::ClaimRecord& record) const {
  const auto plan = parse_claim_plan(record.plan);
  return plan && takes_nic(*plan);
}

Result<std::string> Attacher::begin(const dra::ClaimRecord& record, const AttachTarget& target) {
  FL_TRY(must_be_prepared(record));
  FL_ASSIGN(ClaimPlan plan, parse_claim_plan(record.plan));
  FL_ASSIGN(ClaimState state, parse_claim_state(record.prepared.state));
  FL_ASSIGN(const auto session, Session::open(record.claim.uid, std::move(plan)));
  session->pods = record.claim.reserved_for;
  FL_ASSIGN(state, arrive(*session, target, std::move(state)));
  return to_json(state);
}

Result<std::string> Attacher::attach(const dra::ClaimRecord& record, const AttachTarget& target) {
  FL_TRY(must_be_prepared(record));
  FL_ASSIGN(ClaimPlan plan, parse_claim_plan(record.plan));
  FL_ASSIGN(ClaimState state, parse_claim_state(record.prepared.state));
  FL_ASSIGN(const auto session, Session::open(record.claim.uid, std::move(plan)));
  session->pods = record.claim.reserved_for;
  FL_ASSIGN(state, arrive(*session, target, std::move(state)));
  FL_ASSIGN(netlink::Socket pod_socket, netlink::Socket::open_in(target.netns));
  const bool has_nics = takes_nic(session->plan);
  const bool was_held = held(record.claim.uid).netns.valid();
  if (has_nics) {
    hold(record.claim.uid, target.netns, Certainty::kCertain);  // before anything goes there
  }
  const Place pod{.netns = target.netns, .socket = &pod_socket};
  if (auto attached = attach_all(*session, pod, state); !attached) {
    if (session->plan.mode == AttachMode::kNetdevices) {
      wait_again(*session, pod);  // the runtime looks for them on the node when the container is tried again
    }
    if (!was_held) {
      let_go(record.claim.uid);
    }
    return std::move(attached).error();
  }
  state.phase = AttachPhase::kAttached;
  return to_json(state);
}

Result<std::string> Attacher::release(const dra::ClaimRecord& record, const std::string& sandbox,
                                      steady_clock::time_point deadline) {
  FL_ASSIGN(ClaimPlan plan, parse_claim_plan(record.plan));
  FL_ASSIGN(ClaimState state, parse_claim_state(record.prepared.state));
  if (!state.is_in_a_pod()) {
    return record.prepared.state;
  }
  FL_ASSIGN(const auto session, Session::open(record.claim.uid, std::move(plan)));
  session->nics_only = true;
  FL_TRY(detach_where_it_is(*session, state, deadline));
  state.phase = AttachPhase::kReleased;
  state.sandbox = state.sandbox.empty() ? sandbox : state.sandbox;
  state.ifindexes.clear();
  state.given.clear();
  return to_json(state);
}

Result<std::vector<std::string>> Attacher::stage(const ClaimPlan& plan, const std::string& claim_uid) {
  FL_ASSIGN(const auto session, Session::open(claim_uid, plan));
  auto names = stage_all(*session);
  if (!names) {
    // Takes back what was staged before it; what was not yet staged has nothing of ours to undo.
    (void)detach_from(*session, std::nullopt, /*was_attached=*/false, steady_clock::time_point::max());
  }
  return names;
}

/// Netdevices mode: what a runtime moved waits on the node again, as after stage().
void Attacher::wait_again(const Session& session, const std::optional<Place>& pod) const {
  const auto waiting = [&]() -> Result<> {
    if (pod) {
      FL_TRY(detach_from(session, pod, /*was_attached=*/true, steady_clock::now() + kUndoTime));
    }
    FL_TRY(stage_all(session));
    return {};
  }();
  if (!waiting) {
    log::warn("a link stays where the container runtime took it until the claim is unprepared",
              {{"claim", session.claim_uid}, {"error", waiting.error().what()}});
  }
}

Result<std::vector<std::string>> Attacher::stage_all(const Session& session) const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < session.plan.devices.size(); ++i) {
    const DevicePlan& device = session.plan.devices[i];
    if (device.admin_access) {
      names.emplace_back();
      continue;
    }
    auto staged = [&]() -> Result<std::string> {
      FL_ASSIGN(const Kind* handler, handler_of(*registry_, device));
      return handler->stage({.plan = &device,
                             .marker = marker(session.claim_uid, i),
                             .node = session.node,
                             .options = options_});
    }();
    if (!staged) {
      return std::move(staged).error().with(describe(device));
    }
    names.push_back(*std::move(staged));
  }
  return names;
}

Result<> Attacher::detach_from(const Session& session, const std::optional<Place>& pod, bool was_attached,
                               steady_clock::time_point deadline) const {
  Result<> first;
  for (std::size_t i = session.plan.devices.size(); i-- > 0;) {
    const DevicePlan& device = session.plan.devices[i];
    if (device.admin_access || (session.nics_only && !takes_nic(device)) ||
        takes_one_of(device, session.lost_nics)) {
      continue;
    }
    auto undone = [&]() -> Result<> {
      FL_ASSIGN(const Kind* handler, handler_of(*registry_, device));
      return handler->detach({.plan = &device,
                              .marker = marker(session.claim_uid, i),
                              .node = session.node,
                              .pod = pod,
                              .index_in_pod = index_of(session.indexes, i),
                              .was_attached = was_attached,
                              .was_begun = session.was_begun,
                              .deadline = deadline,
                              .options = options_,
                              .tell = [&](const std::string& reason, const std::string& message) {
                                host_->pod_event(session.claim_uid, reason, message);
                                host_->operation_finished("restore-name", device.kind, Code::kExists,
                                                          std::chrono::duration<double>(0));
                              }});
    }();
    if (!undone && first) {
      first = std::move(undone).error().with(describe(device));
    }
  }
  return first;
}

/// Out of the pod's namespace, if it is still there; then nothing keeps that alive any more.
Result<> Attacher::detach_where_it_is(Session& session, const ClaimState& state,
                                      steady_clock::time_point deadline) {
  deadline = std::min(deadline, steady_clock::now() + kHomeTime);
  session.was_begun = state.phase == AttachPhase::kAttaching;
  const UniqueFd netns = pod_namespace(session, state);
  const bool was_attached = state.phase == AttachPhase::kAttached || state.staged;
  if (!netns.valid()) {
    FL_TRY(detach_from(session, std::nullopt, was_attached, deadline));
  } else {
    FL_ASSIGN(netlink::Socket socket, netlink::Socket::open_in(netns.get()));
    FL_TRY(detach_from(session, Place{.netns = netns.get(), .socket = &socket}, was_attached, deadline));
  }
  let_go(session.claim_uid);
  return {};
}

Result<> Attacher::detach(const dra::ClaimRecord& record, steady_clock::time_point deadline,
                          const std::vector<std::string>& lost) {
  if (record.plan.empty()) {
    return {};  // it never got beyond the intent
  }
  FL_ASSIGN(ClaimPlan plan, parse_claim_plan(record.plan));
  FL_ASSIGN(const ClaimState state, parse_claim_state(record.prepared.state));
  FL_ASSIGN(const auto session, Session::open(record.claim.uid, std::move(plan)));
  session->lost_nics = lost;
  {
    // Waiting once is enough: the kubelet asks again and again, and each time a worker would be held.
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
    auto plan = parse_claim_plan(record.plan);
    const auto state = parse_claim_state(record.prepared.state);
    if (!plan || !state || !state->is_in_a_pod() || !takes_nic(*plan)) {
      continue;
    }
    const auto netns = find_netns(*state->netns, {}, state->seen_in);
    if (!netns) {
      log::warn("a pod's network namespace cannot be looked for; its NIC may come home later than it should",
                {{"claim", record.claim.uid}, {"error", netns.error().what()}});
      continue;
    }
    if (!*netns) {
      continue;
    }
    if (const auto session = Session::open(record.claim.uid, *std::move(plan))) {
      // While nobody held it, its number may have gone to another namespace.
      const bool certain = has_links_of(**session, (*netns)->fd.get()).value_or(false);
      hold(record.claim.uid, (*netns)->fd.get(), certain ? Certainty::kCertain : Certainty::kByNumber);
    }
  }
}

/// The claim has no record and gets none now. Looks again: since the link was found it may have gone, and
/// another have its number.
void Attacher::sweep_link(netlink::Socket& socket, netlink::IfIndex index,
                          const std::string& claim_uid) const {
  using Origin = devices::MarkedLink::Origin;
  const auto link = socket.link(index);
  const auto found = link && *link ? devices::MarkedLink::parse((*link)->alias) : std::nullopt;
  if (!found || found->marker.driver != options_->driver_name || found->marker.claim_uid != claim_uid) {
    return;
  }
  const std::string& name = (*link)->name;
  Result<> done;
  switch (found->origin) {
    case Origin::kMade:
    case Origin::kHostEnd:
      log::warn("a link that was made for a claim without record is deleted",
                {{"link", name}, {"claim", claim_uid}});
      done = socket.delete_link(index);
      break;
    case Origin::kLent:
      // Whoever waits for a name gets it when nobody else has it (Kind::links_changed).
      log::warn(
          "a NIC of a claim without record is free again: it gets back its name and alias; what else the pod "
          "changed (MTU, MAC, addresses, routes, up or down) is not known any more, so look at it",
          {{"nic", found->name}, {"link", name}, {"claim", claim_uid}});
      done = socket.change_link(index, {.alias = devices::NameWanted{.driver = options_->driver_name,
                                                                     .name = found->name,
                                                                     .alias = found->alias}
                                                     .text()});
      break;
    case Origin::kUnknown:
      log::warn(
          "a link that version 0.1 made or took for a claim stays, for the claim has no record that tells "
          "which: delete the link if it is none of the node's, else give it its name back",
          {{"link", name}, {"claim", claim_uid}});
      done = socket.change_link(index, {.alias = ""});
      break;
  }
  if (!done) {
    log::warn("that failed, and is tried again at the next start",
              {{"link", name}, {"claim", claim_uid}, {"error", done.error().what()}});
  }
}

dra::ClaimUse Attacher::use_of(const dra::ClaimRecord& record) const {
  using Use = dra::ClaimUse::Kind;
  const auto plan = parse_claim_plan(record.plan);
  const auto state = parse_claim_state(record.prepared.state);
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
    return {.kind = Use::kUnknown, .why = "it was never attached, so nobody said that its pod ended"};
  }
  const std::string netns = sys::to_string(*state->netns);
  const auto alive = find_netns(*state->netns, {}, state->seen_in);
  if (!alive || !*alive) {
    // What only descriptors keep (ours among them) has no process any more.
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
  // The kernel gives the number of a namespace that ended to another; or the pod has changed the aliases.
  return {.kind = Use::kUnknown,
          .why = "the network namespace " + netns +
                 " is there, but none of its links says that it is the claim's"};
}

Result<> Attacher::sweep(const std::vector<dra::ClaimRecord>& records) const {
  std::set<std::string> known;
  for (const dra::ClaimRecord& record : records) {
    known.insert(record.claim.uid);
  }
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open(), "look for links that were left behind");
  FL_ASSIGN(const auto links, socket.links(), "look for links that were left behind");
  for (const netlink::Link& link : links) {
    const auto found = Marker::parse(link.alias);
    if (!found || found->driver != options_->driver_name || known.contains(found->claim_uid)) {
      continue;
    }
    // The records were read before the links: another instance may have begun this claim in between.
    const auto swept = host_->if_unknown(found->claim_uid, steady_clock::now() + kSweepPatience,
                                         [&] { sweep_link(socket, link.index, found->claim_uid); });
    if (!swept) {
      log::warn("a link of a claim that is not known here stays",
                {{"link", link.name}, {"claim", found->claim_uid}, {"error", swept.error().what()}});
    }
  }
  return {};
}

}  // namespace fairlead::agent
