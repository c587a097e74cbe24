// SPDX-License-Identifier: Apache-2.0
// What a container or a driver prints, line by line.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace drydock {

/// A pipe whose lines go to a callback, on a thread of its own. finish() (or the destructor) waits until
/// every writer has closed its end.
class LinePipe {
 public:
  using Callback = std::function<void(const std::string& line)>;
  static fairlead::Result<LinePipe> open(Callback callback);
  LinePipe() = default;
  LinePipe(LinePipe&&) noexcept = default;
  LinePipe& operator=(LinePipe&& other) noexcept;
  LinePipe(const LinePipe&) = delete;
  LinePipe& operator=(const LinePipe&) = delete;
  ~LinePipe() { finish(); }

  /// For the child; close_writer() once it has it.
  [[nodiscard]] int writer() const { return writer_.get(); }
  void close_writer() { writer_.reset(); }
  void finish();

 private:
  fairlead::UniqueFd writer_;
  std::thread reader_;
};

}  // namespace drydock
