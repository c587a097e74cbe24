// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/pod_records.h"

#include <algorithm>
#include <tuple>

namespace fairlead::dra {

Result<std::vector<RecordPtr>> PodRecords::of(const std::string& pod_uid) {
  const Lock lock(mutex_);
  FL_TRY(update());
  std::vector<RecordPtr> found;
  if (const auto claims = by_pod_.find(pod_uid); claims != by_pod_.end()) {
    for (const std::string& uid : claims->second) {
      found.push_back(by_claim_.at(uid));
    }
  }
  std::ranges::sort(found, {}, [](const RecordPtr& record) {
    return std::tie(record->claim.namespace_, record->claim.name, record->claim.uid);
  });
  return found;
}

Result<> PodRecords::update() {
  FL_ASSIGN(const RecordChanges changes, records_.changes_since(generation_));
  if (changes.all) {
    by_claim_.clear();
    by_pod_.clear();
  }
  for (const std::string& uid : changes.removed) {
    remove(uid);
  }
  for (const RecordPtr& record : changes.changed) {
    remove(record->claim.uid);
    by_claim_.emplace(record->claim.uid, record);
    for (const Pod& pod : record->claim.reserved_for) {
      by_pod_[pod.uid].insert(record->claim.uid);
    }
  }
  generation_ = changes.generation;
  return {};
}

void PodRecords::remove(const std::string& uid) {
  const auto known = by_claim_.find(uid);
  if (known == by_claim_.end()) {
    return;
  }
  for (const Pod& pod : known->second->claim.reserved_for) {
    const auto claims = by_pod_.find(pod.uid);
    if (claims == by_pod_.end()) {
      continue;  // the pod was listed twice
    }
    claims->second.erase(uid);
    if (claims->second.empty()) {
      by_pod_.erase(claims);
    }
  }
  by_claim_.erase(known);
}

}  // namespace fairlead::dra
