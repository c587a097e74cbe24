// SPDX-License-Identifier: Apache-2.0
// The claims of each pod: an index of the claim records by the pods for which they are reserved. A pod's start waits for
// this.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"

namespace fairlead::dra {

/// Any thread.
class PodRecords : private Pinned {
 public:
  /// `records` must outlive it.
  explicit PodRecords(const RecordSource& records) : records_(records) {}

  /// The records of the claims that are reserved for this pod, in the order of the claims' names.
  Result<std::vector<RecordPtr>> of(const std::string& pod_uid);

 private:
  Result<> update() FL_REQUIRES(mutex_);
  void remove(const std::string& uid) FL_REQUIRES(mutex_);

  const RecordSource& records_;
  Mutex mutex_;
  std::uint64_t generation_ FL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, RecordPtr> by_claim_ FL_GUARDED_BY(mutex_);
  std::map<std::string, std::set<std::string>> by_pod_ FL_GUARDED_BY(mutex_);  // the claims' uids
};

}  // namespace fairlead::dra
