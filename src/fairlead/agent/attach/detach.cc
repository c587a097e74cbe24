// SPDX-License-Identifier: Apache-2.0
// The undo of attach() and stage().
#include <algorithm>
#include <chrono>

#include "fairlead/agent/attach/find_netns.h"
#include "fairlead/agent/attach/session.h"
#include "fairlead/devices/identity.h"
#include "fairlead/devices/netdev/link_use.h"
#include "fairlead/sys/netlink/netns_number.h"

namespace fairlead::agent {

using devices::DevicePlan;
using devices::Kind;
using devices::Side;
using std::chrono::steady_clock;

namespace {

/// How long an Unprepare or the end of a sandbox waits for NICs that the kernel returns to the node, for all of
/// the claim together.
constexpr std::chrono::seconds kHomeTime{2};

}  // namespace

bool Attacher::takes_one_of(const DevicePlan& device, const std::vector<std::string>& nics) {
  const auto nic = nics.empty() ? std::nullopt : devices::netdev::taken_nic(device);
  return nic && std::ranges::find(nics, devices::node_wide_name(*nic)) != nics.end();
}

/// The namespace in the record has ended. False: it may be there.
bool Attacher::is_certainly_gone(const Session& session, const AttachState& state) {
  const auto own = sys::netns_id(session.node_netns.get());
  if (!state.number || !own || *own != state.number->of) {
    return false;
  }
  return !netlink::is_netns_number_in_use(state.number->number).value_or(true);
}

UniqueFd Attacher::pod_namespace(Session& session, const AttachState& state) const {
  UniqueFd netns = held_.find(session.claim_uid);
  const auto certainty = state.netns ? held_.certainty_of(session.claim_uid, *state.netns) : std::nullopt;
  if (state.netns && !certainty && !is_certainly_gone(session, state)) {
    // The caller needs it to return NICs, and checks whether they came back: a namespace that cannot be
    // searched for now is treated like one that is gone.
    auto found = find_netns(*state.netns, {}, state.seen_in);
    if (found && *found) {
      netns = std::move((*found)->fd);
    }
  }
  const bool certain = certainty == HeldNamespaces::Certainty::kCertain;
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
  if (session.borrowed_only && !session.plan.leaves_node()) {
    return {};
  }
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
  held_.let_go(session.claim_uid);
  return {};
}

Result<std::string> Attacher::release(const dra::ClaimRecord& record, const std::string& sandbox,
                                      steady_clock::time_point deadline) {
  FL_ASSIGN(Attachment attachment, read_attachment(record, plans_));
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

Result<> Attacher::detach(const dra::ClaimRecord& record, steady_clock::time_point deadline,
                          const std::vector<std::string>& lost) {
  if (record.plan.empty()) {
    return {};  // only the intent was recorded
  }
  FL_ASSIGN(Attachment attachment, read_attachment(record, plans_));
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

}  // namespace fairlead::agent
