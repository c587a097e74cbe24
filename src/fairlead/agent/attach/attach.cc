// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/attach.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <iterator>
#include <memory>
#include <ranges>
#include <utility>

#include "fairlead/agent/attach/session.h"
#include "fairlead/core/log.h"

namespace fairlead::agent {

using devices::AttachMode;
using devices::DevicePlan;
using devices::Kind;
using devices::Side;
using std::chrono::steady_clock;

namespace {

Result<> must_be_prepared(const dra::ClaimRecord& record) {
  if (record.state != dra::ClaimState::kPrepared) {
    return Error(Code::kUnavailable, "the claim is not prepared on this node (yet, or any more)");
  }
  return {};
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

const char* const kHostNetworkRefusal =
    "the pod uses the node's own network (hostNetwork: true), so it can get no network interface";

devices::Marker Attacher::marker(const std::string& claim_uid) const {
  return {.driver = options_->driver_name, .claim_uid = claim_uid};
}

devices::DeviceInput Attacher::input_of(Session& session, const PlanPart& part) const {
  return {.plan = part.plan,
          .marker = part.marker_of(marker(session.claim_uid)),
          .node = session.node(),
          .options = options_};
}

/// The parts from `begin` on that are attached in one call of their kind: one, or several of one kind.
std::size_t Attacher::end_of_group(const Session& session, std::size_t begin) const {
  const auto can_join = [&](const PlanPart& part) {
    return part.plan->needs.pod_netns && !part.plan->problem &&
           part.plan->name == session.parts[begin].plan->name;
  };
  const Kind* kind = registry_->find(session.parts[begin].plan->name);
  std::size_t end = begin + 1;
  if (kind != nullptr && kind->joint_attach() != nullptr && can_join(session.parts[begin])) {
    while (end < session.parts.size() && can_join(session.parts[end])) {
      ++end;
    }
  }
  return end;
}

/// All or nothing; on failure `failed` is the part whose error it is.
Result<std::vector<devices::Attached>> Attacher::attach_group(Session& session, const Side& pod,
                                                              const AttachState& state, std::size_t begin,
                                                              std::size_t end, std::size_t& failed) const {
  failed = begin;
  FL_ASSIGN(const Kind* kind, registry_->kind_of(*session.parts[begin].plan));
  std::vector<devices::AttachInput> inputs;
  for (failed = begin; failed < end; ++failed) {
    devices::AttachInput input;
    static_cast<devices::DeviceInput&>(input) = input_of(session, session.parts[failed]);
    input.pod = pod;
    input.was_attached = state.phase == AttachPhase::kAttached;
    input.index_in_pod = index_of(state.indexes, failed);
    if (session.plan.mode == AttachMode::kNetdevices) {
      FL_TRY(kind->staging()->receive(input));
    }
    inputs.push_back(std::move(input));
  }
  if (const devices::JointAttach* joint = kind->joint_attach()) {
    std::size_t at = 0;
    auto all = joint->attach_all(inputs, at);
    failed = begin + at;
    return all;
  }
  failed = begin;
  FL_ASSIGN(devices::Attached one, kind->attach(inputs.front()));
  std::vector<devices::Attached> attached;
  attached.push_back(std::move(one));
  return attached;
}

Result<> Attacher::attach_all(Session& session, const Side& pod, AttachState& state) {
  const bool was_attached = state.phase == AttachPhase::kAttached;
  std::vector<std::int32_t> indexes;
  std::vector<devices::Given> given;
  std::vector<std::size_t> changed;
  std::vector<std::function<void()>> undo_in_pod;
  while (indexes.size() < session.parts.size()) {
    const std::size_t begin = indexes.size();
    const DevicePlan& device = *session.parts[begin].plan;
    if (!device.needs.pod_netns && !device.problem) {
      indexes.push_back(0);
      given.emplace_back();
      continue;
    }
    std::size_t failed = begin;
    auto group = attach_group(session, pod, state, begin, end_of_group(session, begin), failed);
    if (!group) {
      for (const auto& undo : std::views::reverse(undo_in_pod)) {
        undo();
      }
      undo_attached(session, pod, changed);
      return std::move(group).error().with(describe(*session.parts[failed].plan));
    }
    for (devices::Attached& attached : *group) {
      const std::size_t i = indexes.size();
      indexes.push_back(attached.index);
      // A pod may have changed what was there before.
      const bool is_known = was_attached && !attached.changed && i < state.given.size();
      given.push_back(is_known ? state.given[i] : std::move(attached.given));
      if (attached.changed) {
        changed.push_back(i);
      }
      if (attached.undo_in_pod) {
        undo_in_pod.push_back(std::move(attached.undo_in_pod));
      }
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

Result<bool> Attacher::must_begin(const Attachment& attachment, const AttachTarget& target) const {
  const AttachState& state = attachment.state;
  if (state.staged || !attachment.plan->leaves_node()) {
    return false;
  }
  FL_ASSIGN(const sys::NetnsId id, sys::netns_id(target.netns));
  return !state.is_in_a_pod() || state.netns != id || is_other_sandbox(state, target);
}

Result<bool> Attacher::must_begin(const dra::ClaimRecord& record, const AttachTarget& target) const {
  FL_ASSIGN(const PlanPtr plan, plans_.read(record.plan));
  if (!plan->leaves_node()) {
    return false;
  }
  FL_ASSIGN(const Attachment attachment, read_attachment(record, plans_));
  return must_begin(attachment, target);
}

bool Attacher::leaves_node(const dra::ClaimRecord& record) const {
  const auto plan = plans_.read(record.plan);
  return plan && (*plan)->leaves_node();
}

Result<std::string> Attacher::begin(const dra::ClaimRecord& record, const AttachTarget& target) {
  FL_TRY(must_be_prepared(record));
  FL_ASSIGN(Attachment attachment, read_attachment(record, plans_));
  FL_ASSIGN(const auto session, Session::open(record.claim.uid, std::move(attachment.plan)));
  session->pods = record.claim.reserved_for;
  FL_ASSIGN(const AttachState state, arrive(*session, target, std::move(attachment.state)));
  return to_json(state);
}

Result<std::string> Attacher::attach(const dra::ClaimRecord& record, const AttachTarget& target) {
  FL_TRY(must_be_prepared(record));
  FL_ASSIGN(Attachment attachment, read_attachment(record, plans_));
  if (target.is_begun) {
    // Another pod may have called begin() since: then the record has another target.
    FL_ASSIGN(const bool overtaken, must_begin(attachment, target));
    if (overtaken) {
      return Error(Code::kConflict, "another pod wants the claim at the same moment");
    }
  }
  if (!attachment.plan->needs_attach()) {
    return record.prepared.state;  // prepare() did all the work
  }
  FL_ASSIGN(const auto session, Session::open(record.claim.uid, std::move(attachment.plan)));
  session->pods = record.claim.reserved_for;
  FL_ASSIGN(AttachState state, arrive(*session, target, std::move(attachment.state)));
  const bool was_held = held_.find(record.claim.uid).valid();
  if (session->plan.leaves_node()) {
    held_.hold(record.claim.uid, target.netns,
               HeldNamespaces::Certainty::kCertain);  // before a device is moved there
  }
  devices::CallScope scope;
  const Side pod{.netns = target.netns, .scope = &scope};
  if (auto attached = attach_all(*session, pod, state); !attached) {
    if (session->plan.mode == AttachMode::kNetdevices) {
      wait_again(*session, pod);  // the runtime expects them on the node when the container is retried
    }
    if (!was_held) {
      held_.let_go(record.claim.uid);
    }
    return std::move(attached).error();
  }
  FL_TRY(state.advance(AttachEvent::kComplete));
  return to_json(state);
}

Result<cdi::ContainerEdits> Attacher::prepare_part(Session& session, const PlanPart& part,
                                                   const std::vector<std::string>& variables) const {
  FL_ASSIGN(const Kind* kind, registry_->kind_of(*part.plan));
  devices::PrepareInput input;
  static_cast<devices::DeviceInput&>(input) = input_of(session, part);
  if (part.plan == named_part(session.plan.devices[part.device])) {
    input.variable = variables[part.device];
  }
  return kind->prepare(input);
}

Result<std::vector<cdi::ContainerEdits>> Attacher::prepare(const PlanPtr& kept_plan,
                                                           const std::string& claim_uid,
                                                           const std::vector<std::string>& variables) {
  FL_ASSIGN(const auto session, Session::open(claim_uid, kept_plan));
  const ClaimPlan& plan = session->plan;
  std::vector<cdi::ContainerEdits> edits(plan.devices.size());
  for (const PlanPart& part : session->parts) {
    const DevicePlan& device = *part.plan;
    if (device.admin_access) {
      continue;
    }
    auto prepared = prepare_part(*session, part, variables);
    if (!prepared) {
      (void)detach_from(*session, std::nullopt, /*was_attached=*/false, steady_clock::now() + kUndoTime);
      return std::move(prepared).error().with(describe(device));
    }
    add(edits[part.device], *std::move(prepared));
  }
  return edits;
}

Result<std::optional<std::vector<cdi::ContainerEdits>>> Attacher::prepare_changed(
    const PlanPtr& kept_plan, const std::string& claim_uid, const std::vector<std::string>& variables,
    std::vector<cdi::ContainerEdits> edits) {
  const auto may_change = [&](const DevicePlan& device) {
    return !device.admin_access && std::ranges::any_of(device.parts_or_self(), [&](const DevicePlan& part) {
      const Kind* kind = registry_->find(part.name);
      return kind != nullptr && kind->may_change_when_prepared();
    });
  };
  const std::vector<DevicePlan>& devices = kept_plan->devices;
  if (edits.size() != devices.size() || std::ranges::none_of(devices, may_change)) {
    return std::optional<std::vector<cdi::ContainerEdits>>();
  }
  FL_ASSIGN(const auto session, Session::open(claim_uid, kept_plan));
  std::vector<cdi::ContainerEdits> anew(devices.size());
  for (const PlanPart& part : session->parts) {
    if (may_change(devices[part.device])) {
      FL_ASSIGN(auto prepared, prepare_part(*session, part, variables), describe(*part.plan));
      add(anew[part.device], std::move(prepared));
    }
  }
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (may_change(devices[i])) {
      anew[i].net_devices = std::move(edits[i].net_devices);  // stage() made them
      edits[i] = std::move(anew[i]);
    }
  }
  return edits;
}

Result<std::vector<std::vector<cdi::NetDevice>>> Attacher::stage(const PlanPtr& plan,
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

}  // namespace fairlead::agent
