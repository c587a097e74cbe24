// SPDX-License-Identifier: Apache-2.0
// RepairPace: when slices that another program keeps changing are put back.
//
//   others change   put back          then not before
//   t               t                 + min
//   again           t + min           + 2 min
//   again           t + 3 min         + 4 min, ... + max
//
// Two programs that both put their version back at once would write as fast as the API server responds. Pure: the
// caller says what time it is.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace fairlead::dra {

/// One thread.
class RepairPace {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;
  struct Options {
    Duration min{}, max{};
    Duration quiet{};  // so long without a change by others, and the next is repaired at once again
  };

  explicit RepairPace(Options options) : options_(options) {}

  /// The slices are not as wanted because others changed them. nullopt: put them back, until settled(), however many
  /// attempts that takes. Otherwise ask again then.
  [[nodiscard]] std::optional<TimePoint> ask(TimePoint now) {
    if (is_allowed_) {
      return std::nullopt;
    }
    // What counts is when they were changed, not when they may be repaired.
    const bool is_new = !std::exchange(is_changed_, true);
    if (is_new && now - last_ >= options_.quiet) {
      repairs_ = 0;
    }
    if (repairs_ > 0 && now < last_ + delay_) {
      return last_ + delay_;
    }
    is_allowed_ = true;
    return std::nullopt;
  }
  /// They may be put back: ask() has said so.
  [[nodiscard]] bool is_allowed() const { return is_allowed_; }

  /// The slices are as wanted.
  void settled(TimePoint now) {
    is_changed_ = false;
    if (std::exchange(is_allowed_, false)) {
      last_ = now;
      delay_ = repairs_++ == 0 ? options_.min : std::min(delay_ * 2, options_.max);
    }
  }

  /// How often they were put back without a quiet time in between.
  [[nodiscard]] unsigned repairs() const { return repairs_; }

 private:
  Options options_;
  bool is_changed_ = false, is_allowed_ = false;
  unsigned repairs_ = 0;
  TimePoint last_;  // repair
  Duration delay_{};
};

}  // namespace fairlead::dra
