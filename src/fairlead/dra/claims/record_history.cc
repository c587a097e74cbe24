// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/record_history.h"

#include <algorithm>
#include <utility>

namespace fairlead::dra {

void RecordHistory::put(RecordPtr record) {
  const std::string& uid = record->claim.uid;
  Entry& entry = records_[uid];
  if (entry.record == record) {
    return;
  }
  if (const auto removed = removed_at_.find(uid); removed != removed_at_.end()) {
    removed_uids_.erase(removed->second);
    removed_at_.erase(removed);
  }
  changed_uids_.erase(entry.generation);
  changed_uids_.emplace(++generation_, uid);
  entry = {.record = std::move(record), .generation = generation_};
}

void RecordHistory::remove(const std::string& uid) {
  const auto found = records_.find(uid);
  if (found == records_.end()) {
    return;
  }
  changed_uids_.erase(found->second.generation);
  removed_uids_.emplace(++generation_, uid);
  removed_at_.emplace(uid, generation_);
  records_.erase(found);
  if (removed_uids_.size() > kept_removals_) {
    const auto oldest = removed_uids_.begin();
    forgotten_ = oldest->first;
    removed_at_.erase(oldest->second);
    removed_uids_.erase(oldest);
  }
}

void RecordHistory::keep_only(const std::vector<std::string>& uids) {
  std::vector<std::string> gone;
  for (const auto& [uid, entry] : records_) {
    if (!std::ranges::binary_search(uids, uid)) {
      gone.push_back(uid);
    }
  }
  for (const std::string& uid : gone) {
    remove(uid);
  }
}

std::vector<RecordPtr> RecordHistory::records() const {
  std::vector<RecordPtr> records;
  records.reserve(records_.size());
  for (const auto& [uid, entry] : records_) {
    records.push_back(entry.record);
  }
  return records;
}

RecordChanges RecordHistory::since(std::uint64_t generation) const {
  RecordChanges changes{.generation = generation_, .all = false, .changed = {}, .removed = {}};
  if (generation == 0 || generation < forgotten_ || generation > generation_) {
    changes.all = true;
    changes.changed = records();
    return changes;
  }
  for (auto at = changed_uids_.upper_bound(generation); at != changed_uids_.end(); ++at) {
    changes.changed.push_back(records_.at(at->second).record);
  }
  for (auto at = removed_uids_.upper_bound(generation); at != removed_uids_.end(); ++at) {
    changes.removed.push_back(at->second);
  }
  return changes;
}

}  // namespace fairlead::dra
