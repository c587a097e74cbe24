// SPDX-License-Identifier: Apache-2.0
// Backoff: the delay before the next attempt, with full jitter so that a thousand nodes do not retry at the
// same time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>

namespace fairlead {

/// A value type; one owner, no locking. The n-th delay is drawn evenly from (0, min(max, initial * 2^n)].
class Backoff {
 public:
  using Duration = std::chrono::nanoseconds;
  struct Options {
    Duration initial = std::chrono::milliseconds(50);
    Duration max = std::chrono::seconds(30);
  };

  Backoff() : Backoff(Options{}) {}
  explicit Backoff(Options options) : Backoff(options, std::random_device{}()) {}
  /// The same seed gives the same delays.
  Backoff(Options options, std::uint64_t seed)
      : options_(options), ceiling_(options.initial), random_(spread(seed)) {}

  /// The next delay; the ceiling doubles until it reaches the maximum.
  [[nodiscard]] Duration next() {
    const Duration ceiling = std::min(ceiling_, options_.max);
    ceiling_ = ceiling > options_.max / 2 ? options_.max : ceiling * 2;
    std::uniform_int_distribution<Duration::rep> draw(1, std::max<Duration::rep>(ceiling.count(), 1));
    return Duration(draw(random_));
  }
  /// After a success: start again with the shortest delays.
  void reset() { ceiling_ = options_.initial; }

 private:
  /// Similar seeds must not give similar first draws (Fibonacci hashing).
  static std::minstd_rand::result_type spread(std::uint64_t seed) {
    return static_cast<std::minstd_rand::result_type>((seed * 0x9E3779B97F4A7C15ULL) >> 33U);
  }

  Options options_;
  Duration ceiling_;
  std::minstd_rand random_;
};

}  // namespace fairlead
