// SPDX-License-Identifier: Apache-2.0
// metav1.Time: RFC 3339 in UTC, whole seconds.
#pragma once

#include <array>
#include <chrono>
#include <ctime>
#include <string>

namespace fairlead::dra {

/// "2026-01-31T12:00:00Z"
inline std::string api_time(std::chrono::system_clock::time_point when) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(when);
  std::tm parts = {};
  (void)::gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {text.data(), size};
}
inline std::string api_time_now() { return api_time(std::chrono::system_clock::now()); }

}  // namespace fairlead::dra
