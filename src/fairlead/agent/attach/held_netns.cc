// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/held_netns.h"

#include <fcntl.h>

#include <set>
#include <utility>

#include "fairlead/agent/attach/record.h"

namespace fairlead::agent {

void HeldNamespaces::hold(const std::string& claim_uid, int netns, Certainty certainty) {
  UniqueFd copy(::fcntl(netns, F_DUPFD_CLOEXEC, 0));
  const Lock lock(mutex_);
  held_.insert_or_assign(claim_uid,
                         Held{.netns = std::move(copy), .certainty = certainty, .number = ++holds_});
}

HeldNamespaces::Now HeldNamespaces::now() const {
  const Lock lock(mutex_);
  Now now;
  for (const auto& [uid, held] : held_) {
    now.emplace(uid, held.number);
  }
  return now;
}

void HeldNamespaces::let_go_of_others(const Now& before,
                                      const std::vector<std::shared_ptr<const dra::ClaimRecord>>& records) {
  std::set<std::string> wanted;
  for (const auto& record : records) {
    if (!before.contains(record->claim.uid)) {
      continue;
    }
    const auto state = parse_attach_state(record->prepared.state);
    // A staged claim's record does not say yet that it is on its way.
    if (!state || state->is_in_a_pod() || state->staged || record->state == dra::ClaimState::kUnpreparing) {
      wanted.insert(record->claim.uid);
    }
  }
  const Lock lock(mutex_);
  std::erase_if(held_, [&](const auto& entry) {
    const auto was = before.find(entry.first);
    return was != before.end() && was->second == entry.second.number && !wanted.contains(entry.first);
  });
}

void HeldNamespaces::let_go(const std::string& claim_uid) {
  const Lock lock(mutex_);
  held_.erase(claim_uid);
}

UniqueFd HeldNamespaces::find(const std::string& claim_uid) const {
  const Lock lock(mutex_);
  const auto found = held_.find(claim_uid);
  return found == held_.end() ? UniqueFd() : UniqueFd(::fcntl(found->second.netns.get(), F_DUPFD_CLOEXEC, 0));
}

std::optional<HeldNamespaces::Certainty> HeldNamespaces::certainty_of(const std::string& claim_uid,
                                                                      const sys::NetnsId& id) const {
  const Lock lock(mutex_);
  const auto found = held_.find(claim_uid);
  if (found == held_.end()) {
    return std::nullopt;
  }
  const auto held = sys::netns_id(found->second.netns.get());
  return held && *held == id ? std::optional(found->second.certainty) : std::nullopt;
}

}  // namespace fairlead::agent
