// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/device_holders.h"

#include <algorithm>
#include <cstddef>

#include "fairlead/core/log.h"
#include "fairlead/dra/claims/claim_keys.h"

namespace fairlead::dra {
namespace {

using Identities = DeviceHolders::Identities;

/// Two claims may have the same device only as monitors (adminAccess) or with different shares of it.
bool may_conflict(const AllocatedDevice& a, const AllocatedDevice& b) {
  return !a.admin_access && !b.admin_access &&
         (a.share_id.empty() || b.share_id.empty() || a.share_id == b.share_id);
}

bool same_name(const AllocatedDevice& a, const AllocatedDevice& b) {
  return a.pool == b.pool && a.device == b.device;
}

/// Goes into the events of the claim's pods: of another namespace's claim they learn that there is one.
Error conflict_error(const Claim& claim, const AllocatedDevice& device, const ClaimRecord& holder,
                     const AllocatedDevice& held) {
  const bool leaving = holder.state == ClaimState::kUnpreparing;
  const bool may_name = claim.namespace_ == holder.claim.namespace_;
  const std::string name = holder.claim.namespace_ + "/" + holder.claim.name;
  const std::string holder_name =
      may_name ? "claim " + name + " (uid " + holder.claim.uid + ")" : "another claim";
  const std::string other_name =
      same_name(device, held) ? std::string() : ", which was allocated it as " + held.device;
  if (!may_name) {
    log::info("a claim conflicts with a claim of another namespace",
              {{"claim", claim.namespace_ + "/" + claim.name},
               {"uid", claim.uid},
               {"device", device.pool + "/" + device.device},
               {"holder", name},
               {"holder_uid", holder.claim.uid}});
  }
  return Error(Code::kBusy, "device " + device.device + " of pool " + device.pool +
                                (leaving ? " is still being released by " : " is in use by ") + holder_name +
                                other_name + "; it is free when that claim's last pod on this node is gone");
}

bool has_key(const Identities& identities) {
  return std::ranges::any_of(identities, [](const DeviceIdentity& each) { return !each.key.empty(); });
}

/// `theirs` is empty when none of the identities matters.
Result<> check_apart(const ClaimRecord& record, const Identities& identities, const ClaimRecord& other,
                     const Identities& theirs) {
  for (std::size_t i = 0; i < record.claim.devices.size(); ++i) {
    for (std::size_t j = 0; j < other.claim.devices.size(); ++j) {
      const AllocatedDevice& device = record.claim.devices[i];
      const bool same = same_name(device, other.claim.devices[j]) ||
                        (!theirs.empty() && !identities[i].key.empty() && identities[i].key == theirs[j].key);
      if (same && may_conflict(device, other.claim.devices[j])) {
        return conflict_error(record.claim, device, other, other.claim.devices[j]);
      }
    }
  }
  return {};
}

/// A pool's name has no space.
std::string name_of(const AllocatedDevice& device) { return device.pool + " " + device.device; }

}  // namespace

Result<> DeviceHolders::update(const RecordSource& records) {
  FL_ASSIGN(const RecordChanges changes, records.changes_since(generation_));
  if (changes.all) {
    holders_.clear();
    by_name_.clear();
    by_key_.clear();
    waiting_.clear();
  }
  for (const std::string& uid : changes.removed) {
    remove(uid);
  }
  for (const RecordPtr& record : changes.changed) {
    remove(record->claim.uid);
    add(record);
  }
  generation_ = changes.generation;
  return {};
}

void DeviceHolders::add(const RecordPtr& record) {
  const std::string& uid = record->claim.uid;
  bool has_own = false;
  for (const AllocatedDevice& device : record->claim.devices) {
    if (!device.admin_access) {
      by_name_[name_of(device)][device.share_id].insert(uid);
    }
    has_own = has_own || is_exclusive(device);
  }
  if (has_own) {
    waiting_.insert(uid);
  }
  holders_.emplace(uid, Holder{.record = record, .identities = {}});
}

void DeviceHolders::remove(const std::string& uid) {
  const auto holder = holders_.find(uid);
  if (holder == holders_.end()) {
    return;
  }
  const auto take = [&](Places& places, const std::string& place, const std::string& share) {
    const auto shares = places.find(place);
    if (shares == places.end()) {
      return;  // another request of the claim for the same device was taken out before
    }
    if (const auto claims = shares->second.find(share); claims != shares->second.end()) {
      claims->second.erase(uid);
      if (claims->second.empty()) {
        shares->second.erase(claims);
      }
    }
    if (shares->second.empty()) {
      places.erase(shares);
    }
  };
  const auto& devices = holder->second.record->claim.devices;
  const Identities& identities = holder->second.identities;
  for (std::size_t i = 0; i < devices.size(); ++i) {
    if (!devices[i].admin_access) {
      take(by_name_, name_of(devices[i]), devices[i].share_id);
      if (i < identities.size() && !identities[i].key.empty()) {
        take(by_key_, identities[i].key, devices[i].share_id);
      }
    }
  }
  waiting_.erase(uid);
  holders_.erase(holder);
}

Result<> DeviceHolders::identify_waiting() {
  for (auto uid = waiting_.begin(); uid != waiting_.end();) {
    Holder& holder = holders_.at(*uid);
    FL_ASSIGN(auto identities, identify_(*holder.record));
    if (!has_key(identities)) {
      ++uid;
      continue;
    }
    const auto& devices = holder.record->claim.devices;
    for (std::size_t i = 0; i < devices.size(); ++i) {
      if (!devices[i].admin_access && !identities[i].key.empty()) {
        by_key_[identities[i].key][devices[i].share_id].insert(*uid);
      }
    }
    holder.identities = std::move(identities);
    uid = waiting_.erase(uid);
  }
  return {};
}

Result<> DeviceHolders::check(const ClaimRecord& record) {
  FL_ASSIGN(const Identities identities, identify_(record));
  const bool has_keys = has_key(identities);
  if (has_keys) {
    FL_TRY(identify_waiting());
  }
  std::set<std::string> with_same;
  const auto collect = [&](const Places& places, const std::string& place, const std::string& share) {
    const auto shares = places.find(place);
    if (shares == places.end()) {
      return;
    }
    if (share.empty()) {
      for (const auto& [theirs, claims] : shares->second) {
        with_same.insert(claims.begin(), claims.end());
      }
      return;
    }
    for (const std::string& theirs : {std::string(), share}) {
      if (const auto claims = shares->second.find(theirs); claims != shares->second.end()) {
        with_same.insert(claims->second.begin(), claims->second.end());
      }
    }
  };
  for (std::size_t i = 0; i < record.claim.devices.size(); ++i) {
    const AllocatedDevice& device = record.claim.devices[i];
    if (device.admin_access) {
      continue;
    }
    collect(by_name_, name_of(device), device.share_id);
    if (!identities[i].key.empty()) {
      collect(by_key_, identities[i].key, device.share_id);
    }
  }
  with_same.erase(record.claim.uid);
  for (const std::string& uid : with_same) {
    const Holder& other = holders_.at(uid);
    FL_TRY(check_apart(record, identities, *other.record, has_keys ? other.identities : Identities()));
  }
  return {};
}

}  // namespace fairlead::dra
