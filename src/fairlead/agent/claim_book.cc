// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/claim_book.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "fairlead/devices/netdev/link_use.h"

namespace fairlead::agent {

using devices::DevicePlan;
using devices::LinkShare;
using devices::OtherDevice;
using devices::netdev::LinkUse;

namespace {

/// What a record says of its claim, as far as it is in the book: most changes are to the state only.
bool says_the_same(const dra::ClaimRecord& a, const dra::ClaimRecord& b) {
  const auto device = [](const dra::AllocatedDevice& x, const dra::AllocatedDevice& y) {
    return x.request == y.request && x.device == y.device && x.admin_access == y.admin_access;
  };
  return a.plan == b.plan && a.claim.name == b.claim.name && a.claim.namespace_ == b.claim.namespace_ &&
         a.claim.pod_claim_name == b.claim.pod_claim_name &&
         std::ranges::equal(a.claim.reserved_for, b.claim.reserved_for, {}, &dra::Pod::uid, &dra::Pod::uid) &&
         std::ranges::equal(a.claim.devices, b.claim.devices, device);
}

std::vector<devices::HeldDevice> held_devices(const dra::Claim& claim, const ClaimPlan& plan) {
  std::vector<devices::HeldDevice> held;
  if (plan.devices.size() != claim.devices.size()) {
    return held;  // nothing was taken yet
  }
  for (std::size_t i = 0; i < plan.devices.size(); ++i) {
    const DevicePlan& device = plan.devices[i];
    const std::string& name = claim.devices[i].device;
    if (!device.admin_access && name != devices::kVirtualDevice) {
      held.push_back({.name = name, .plan = device});
    }
  }
  return held;
}

}  // namespace

devices::PlannedClaim planned_claim(const dra::Claim& claim, const ClaimPlan& plan) {
  devices::PlannedClaim planned{.namespace_ = claim.namespace_,
                                .name = claim.name,
                                .uid = claim.uid,
                                .devices = {},
                                .reserved_for = claim.reserved_for};
  const auto variables = variables_of(claim);
  for (const PlanPart& part : parts_of(plan)) {
    planned.devices.push_back(*part.plan);
    const bool has_one = part.part.value_or(0) == 0 && part.device < variables.size();
    planned.variables.push_back(has_one ? variables[part.device] : "");
  }
  return planned;
}

// ---- from records to the book

Result<> ClaimBook::refresh(const dra::RecordSource& records) {
  // Records are read with the lock held, so that the book never goes back to older ones.
  const Lock lock(mutex_);
  FL_ASSIGN(const dra::RecordChanges changes, records.changes_since(generation_),
            "find out what other claims have");
  apply(changes);
  return {};
}

void ClaimBook::apply(const dra::RecordChanges& changes) {
  if (changes.all) {
    std::unordered_set<std::string_view> there;
    for (const RecordPtr& record : changes.changed) {
      there.insert(record->claim.uid);
    }
    std::vector<std::string> gone;
    for (const auto& [uid, entry] : entries_) {
      if (!there.contains(uid)) {
        gone.push_back(uid);
      }
    }
    std::ranges::for_each(gone, [&](const std::string& uid) { take_out(uid); });
  }
  std::ranges::for_each(changes.removed, [&](const std::string& uid) { take_out(uid); });
  std::ranges::for_each(changes.changed, [&](const RecordPtr& record) { put(record); });
  generation_ = changes.generation;
}

void ClaimBook::put(const RecordPtr& record) {
  const dra::Claim& claim = record->claim;
  if (const auto known = entries_.find(claim.uid); known != entries_.end()) {
    if (known->second.record == record || says_the_same(*known->second.record, *record)) {
      known->second.record = record;
      return;
    }
    take_out(claim.uid);
  }
  Entry& entry = entries_[claim.uid];
  entry.record = record;
  const auto plan = plans_->read(record->plan);
  if (!plan) {
    return;
  }
  entry.claim = std::make_shared<const devices::PlannedClaim>(planned_claim(claim, **plan));
  entry.held = held_devices(claim, **plan);
  links_.add(entry.claim);
  for (const dra::Pod& pod : claim.reserved_for) {
    pods_[pod.uid].insert_or_assign(claim.uid, entry.claim);
  }
  if (!entry.held.empty()) {
    holders_.insert(claim.uid);
  }
}

void ClaimBook::take_out(const std::string& claim_uid) {
  const auto found = entries_.find(claim_uid);
  if (found == entries_.end()) {
    return;
  }
  if (const ClaimPtr claim = found->second.claim) {
    links_.remove(claim);
    for (const dra::Pod& pod : claim->reserved_for) {
      const auto claims = pods_.find(pod.uid);
      if (claims == pods_.end()) {
        continue;  // the pod is named twice
      }
      claims->second.erase(claim_uid);
      if (claims->second.empty()) {
        pods_.erase(claims);
      }
    }
  }
  holders_.erase(claim_uid);
  entries_.erase(found);
}

bool ClaimBook::has(const std::string& claim_uid) const {
  const Lock lock(mutex_);
  return entries_.contains(claim_uid);
}

// ---- questions

PlannedClaims ClaimBook::of_pods(const std::vector<dra::Pod>& pods, const std::string& except) const {
  std::map<std::string_view, ClaimPtr> found;
  for (const dra::Pod& pod : pods) {
    const auto claims = pods_.find(pod.uid);
    if (claims == pods_.end()) {
      continue;
    }
    for (const auto& [uid, claim] : claims->second) {
      if (uid != except) {
        found.emplace(uid, claim);
      }
    }
  }
  PlannedClaims claims;
  for (auto& [uid, claim] : found) {
    claims.push_back(std::move(claim));
  }
  return claims;
}

PlannedClaims ClaimBook::in_pods(const std::vector<dra::Pod>& pods, const std::string& except) const {
  const Lock lock(mutex_);
  return of_pods(pods, except);
}

std::optional<OtherDevice> ClaimBook::find_on(const IsLink& is_link, LinkShare share,
                                              const std::string& except) const {
  const Lock lock(mutex_);
  return links_.find_on(is_link, share, except);
}

std::optional<OtherDevice> ClaimBook::find_want(const IsLink& is_link, const std::string& want,
                                                const std::string& except) const {
  const Lock lock(mutex_);
  return links_.find_want(is_link, want, except);
}

std::optional<OtherDevice> ClaimBook::find_other_value(const IsLink& is_link, const std::string& what,
                                                       const std::string& value,
                                                       const std::string& except) const {
  const Lock lock(mutex_);
  return links_.find_other_value(is_link, what, value, except);
}

std::optional<ClaimBook::Conflict> ClaimBook::find_conflict(const devices::PlannedClaim& own) const {
  const Lock lock(mutex_);
  for (const LinkUse& use : devices::netdev::link_uses(own.devices)) {
    if (auto found = links_.conflict(use, own.uid)) {
      return Conflict{.with = std::move(found->with.claim), .what = std::move(found->what)};
    }
  }
  for (const ClaimPtr& other : of_pods(own.reserved_for, own.uid)) {
    if (std::string what = taken_in_pod(own, *other); !what.empty()) {
      return Conflict{.with = other, .what = std::move(what), .of_same_pod = true};
    }
  }
  return std::nullopt;
}

std::vector<devices::HeldDevice> ClaimBook::held() const {
  const Lock lock(mutex_);
  std::vector<devices::HeldDevice> held;
  for (const std::string& uid : holders_) {
    const auto& of_claim = entries_.at(uid).held;
    held.insert(held.end(), of_claim.begin(), of_claim.end());
  }
  return held;
}

std::vector<sys::InventoryLink> ClaimBook::shared_links(const std::set<std::string>& except) const {
  const Lock lock(mutex_);
  return links_.shared_links(except);
}

Result<std::vector<NicClaim>> ClaimBook::nic_claims(const std::function<Result<sys::Inventory>()>& node) {
  const Lock lock(mutex_);
  std::vector<NicClaim> claims;
  claims.reserve(entries_.size());
  std::optional<sys::Inventory> inventory;  // if it is needed
  for (auto& [uid, entry] : entries_) {
    const RecordPtr& record = entry.record;
    NicClaim claim{.uid = record->claim.uid,
                   .namespace_ = record->claim.namespace_,
                   .name = record->claim.name,
                   .is_prepared = record->state == dra::ClaimState::kPrepared};
    if (!entry.nics && entry.claim != nullptr) {
      std::vector<LinkUse> links = devices::netdev::link_uses(entry.claim->devices);
      const auto is_known_by_name = [](const LinkUse& use) { return !use.link.link.index.valid(); };
      if (std::ranges::any_of(links, is_known_by_name) && !inventory) {
        FL_ASSIGN(inventory, node(), "read this node's links");
      }
      // If no link has the name now, it is left out, and looked up again the next time.
      const auto missing = std::erase_if(links, [&](LinkUse& use) {
        const sys::InventoryLink* link =
            is_known_by_name(use) ? inventory->find(use.link.link.name) : &use.link;
        if (link != nullptr && link != &use.link) {
          use.link = *link;
        }
        return link == nullptr;
      });
      claim.uses = nic_uses(links);
      if (missing == 0) {
        entry.nics = claim.uses;
      }
    } else if (entry.nics) {
      claim.uses = *entry.nics;
    }
    claims.push_back(std::move(claim));
  }
  return claims;
}

}  // namespace fairlead::agent
