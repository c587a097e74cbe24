// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/call_stats.h"

#include <algorithm>

namespace drydock {
namespace {

std::chrono::microseconds nearest_rank(const std::vector<std::chrono::microseconds>& sorted,
                                       std::size_t percent) {
  const std::size_t rank = (sorted.size() * percent + 99) / 100;
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

}  // namespace

void CallStats::add(const std::string& driver, const std::string& method, Call call) {
  const fairlead::Lock lock(mutex_);
  calls_[{driver, method}].push_back(call);
}

std::vector<CallSummary> CallStats::summary() const {
  const fairlead::Lock lock(mutex_);
  std::vector<CallSummary> out;
  for (const auto& [key, calls] : calls_) {
    std::vector<std::chrono::microseconds> times;
    times.reserve(calls.size());
    for (const auto& call : calls) {
      times.push_back(call.took);
    }
    std::sort(times.begin(), times.end());
    const auto failed = std::count_if(calls.begin(), calls.end(), [](const Call& c) { return c.failed; });
    out.push_back({.driver = key.first,
                   .method = key.second,
                   .count = calls.size(),
                   .failed = static_cast<std::size_t>(failed),
                   .p50 = nearest_rank(times, 50),
                   .p99 = nearest_rank(times, 99)});
  }
  return out;
}

}  // namespace drydock
