// SPDX-License-Identifier: Apache-2.0
// How much the claims of a namespace may write: docs/adr/0015-who-may-write-which-field.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fairlead::policy {

/// In ascending order of what a claim may write.
enum class Level : std::uint8_t {
  kRestricted,  // interfaceName
  kBaseline,    // fields of risk own
  kPrivileged,  // every field; class values are defaults; no bounds
};
inline constexpr std::array<std::string_view, 3> kLevelWords = {"restricted", "baseline", "privileged"};

constexpr std::string_view to_string(Level level) { return kLevelWords.at(static_cast<std::size_t>(level)); }
/// nullopt: none of these words.
constexpr std::optional<Level> parse_level(std::string_view word) {
  for (std::size_t i = 0; i < kLevelWords.size(); ++i) {
    if (kLevelWords.at(i) == word) {
      return static_cast<Level>(i);
    }
  }
  return std::nullopt;
}

}  // namespace fairlead::policy
