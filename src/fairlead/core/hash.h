// SPDX-License-Identifier: Apache-2.0
// FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/): not for secrets. For names that must come out the same in every
// process and version, which std::hash does not promise.
#pragma once

#include <cstdint>
#include <string_view>

namespace fairlead {

constexpr std::uint64_t fnv1a_64(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  }
  return hash;
}

constexpr std::uint32_t fnv1a_32(std::string_view text) {
  std::uint32_t hash = 0x811c9dc5U;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x01000193U;
  }
  return hash;
}

}  // namespace fairlead
