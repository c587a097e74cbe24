// SPDX-License-Identifier: Apache-2.0
// What the benchmarks that print a table of percentiles share.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <initializer_list>
#include <string>
#include <vector>

namespace fairlead::bench {

using SteadyClock = std::chrono::steady_clock;
using Micros = std::chrono::duration<double, std::micro>;

inline double micros_since(SteadyClock::time_point start) {
  return Micros(SteadyClock::now() - start).count();
}

inline double percentile(std::vector<double> values, double p) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(p * static_cast<double>(values.size() - 1))];
}

/// "    755 us p10     857 us p50"
inline std::string cells(const std::vector<double>& values, std::initializer_list<double> percentiles) {
  std::string text;
  for (const double p : percentiles) {
    std::array<char, 32> cell = {};
    (void)std::snprintf(cell.data(), cell.size(), "%s%7.0f us p%.0f", text.empty() ? "" : " ",
                        percentile(values, p), p * 100);
    text += cell.data();
  }
  return text;
}

}  // namespace fairlead::bench
