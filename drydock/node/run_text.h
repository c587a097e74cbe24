// SPDX-License-Identifier: Apache-2.0
// Small words of what a run reports. Only for the files of `drydock run`.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace drydock {

template <class Duration>
std::chrono::microseconds us(Duration duration) {
  return std::chrono::duration_cast<std::chrono::microseconds>(duration);
}

inline std::string plural(std::size_t count, const std::string& word) {
  return std::to_string(count) + " " + word + (count == 1 ? "" : "s");
}

}  // namespace drydock
