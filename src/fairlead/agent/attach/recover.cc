// SPDX-License-Identifier: Apache-2.0
// What an attach left: after a restart, and for claims that may be forgotten.
#include <functional>
#include <set>
#include <string>
#include <utility>

#include "fairlead/agent/attach/find_netns.h"
#include "fairlead/agent/attach/session.h"
#include "fairlead/core/log.h"

namespace fairlead::agent {

using devices::Kind;
using devices::Side;
using std::chrono::steady_clock;

namespace {

/// How long the sweep waits for an instance that is working on the claim of a leftover link.
constexpr std::chrono::seconds kSweepPatience{2};

}  // namespace

void Attacher::adopt(const std::vector<dra::ClaimRecord>& records) {
  for (const dra::ClaimRecord& record : records) {
    auto plan = plans_.read(record.plan);
    const auto state = parse_attach_state(record.prepared.state);
    if (!plan || !state || !state->is_in_a_pod() || !(*plan)->leaves_node()) {
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
      held_.hold(record.claim.uid, (*netns)->fd.get(),
                 certain ? HeldNamespaces::Certainty::kCertain : HeldNamespaces::Certainty::kByNumber);
    }
  }
}

dra::ClaimUse Attacher::use_of(const dra::ClaimRecord& record) const {
  using Use = dra::ClaimUse::Kind;
  const auto plan = plans_.read(record.plan);
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
  const bool same =
      held_.certainty_of(record.claim.uid, *state->netns) == HeldNamespaces::Certainty::kCertain;
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
