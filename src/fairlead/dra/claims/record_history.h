// SPDX-License-Identifier: Apache-2.0
// The claim records in memory and the order in which they changed. The cost of updating an index from it depends on the
// number of changes, not on the number of records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fairlead/dra/base/driver.h"

namespace fairlead::dra {

/// One thread at a time.
class RecordHistory {
 public:
  /// `kept_removals`: how many removed claims are remembered. A generation before the oldest of them counts as 0.
  explicit RecordHistory(std::size_t kept_removals = 128) : kept_removals_(kept_removals) {}

  /// No change if it is the same object as before.
  void put(RecordPtr record);
  void remove(const std::string& uid);
  /// Removes all but these; `uids` is sorted.
  void keep_only(const std::vector<std::string>& uids);

  /// By uid.
  [[nodiscard]] std::vector<RecordPtr> records() const;
  /// RecordSource::changes_since(). A generation that is not one of this history counts as 0.
  [[nodiscard]] RecordChanges since(std::uint64_t generation) const;

 private:
  struct Entry {
    RecordPtr record;
    std::uint64_t generation = 0;  // of its last change
  };

  const std::size_t kept_removals_;
  std::uint64_t generation_ = 1;
  std::uint64_t forgotten_ = 0;                        // removals up to this generation are not remembered
  std::map<std::string, Entry> records_;               // by uid
  std::map<std::string, std::uint64_t> removed_at_;    // by uid
  std::map<std::uint64_t, std::string> changed_uids_;  // each record is there once, at its last change
  std::map<std::uint64_t, std::string> removed_uids_;
};

}  // namespace fairlead::dra
