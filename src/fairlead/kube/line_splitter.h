// SPDX-License-Identifier: Apache-2.0
// LineSplitter: cuts a stream of bytes, which comes in pieces of any size, into lines. Each byte is looked at
// once. Internal to kube.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "fairlead/core/result.h"

namespace fairlead::kube {

/// One stream, one thread.
class LineSplitter {
 public:
  /// `max_line` bounds one line, so also the data kept between two pieces; not the stream.
  explicit LineSplitter(std::size_t max_line) : max_line_(max_line) {}

  /// Calls `on_line` with every line that `piece` completes, without newline; empty lines are left out. Stops
  /// at the first error of `on_line`; kOverflow for a line that is too long.
  template <class OnLine>
  Result<> feed(std::string_view piece, OnLine&& on_line) {
    for (;;) {
      const auto end = piece.find('\n');
      if (pending_.size() + std::min(end, piece.size()) > max_line_) {
        return Error(Code::kOverflow, "a line is longer than " + std::to_string(max_line_) + " bytes");
      }
      if (end == std::string_view::npos) {
        pending_ += piece;
        return {};
      }
      FL_TRY(emit(piece.substr(0, end), on_line));
      piece.remove_prefix(end + 1);
    }
  }

  /// The stream ended normally: text after the last newline is a line too.
  template <class OnLine>
  Result<> finish(OnLine&& on_line) {
    return emit({}, on_line);
  }

 private:
  template <class OnLine>
  Result<> emit(std::string_view tail, OnLine& on_line) {
    if (pending_.empty()) {
      return tail.empty() ? Result<>{} : Result<>(on_line(tail));
    }
    pending_ += tail;
    const std::string line = std::exchange(pending_, {});  // frees a large line's memory too
    return on_line(std::string_view(line));
  }

  const std::size_t max_line_;
  std::string pending_;
};

}  // namespace fairlead::kube
