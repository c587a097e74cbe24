// SPDX-License-Identifier: Apache-2.0
// How long each driver took for each kind of call.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/core/mutex.h"

namespace drydock {

struct CallSummary {
  std::string driver, method;
  std::size_t count = 0, failed = 0;
  std::chrono::microseconds p50{0}, p99{0};
};

/// Any thread.
class CallStats {
 public:
  struct Call {
    std::chrono::microseconds took{0};
    bool failed = false;
  };
  void add(const std::string& driver, const std::string& method, Call call);
  /// By driver and method. Percentiles are the nearest rank: values that were measured.
  [[nodiscard]] std::vector<CallSummary> summary() const;

 private:
  mutable fairlead::Mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::vector<Call>> calls_ FL_GUARDED_BY(mutex_);
};

}  // namespace drydock
