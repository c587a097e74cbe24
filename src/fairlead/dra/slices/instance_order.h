// SPDX-License-Identifier: Apache-2.0
// Which of a driver's instances on this node started last: in a rolling update two run side by side, and only
// the newer may publish the node's devices.
//
//   <state_dir>/instances   byte locks, one byte per running instance: at its start time; empty
//
// A lock ends with its process, so that the older instance takes over when the newer is rolled back or dies.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace fairlead::dra {

/// One thread.
class InstanceOrder {
 public:
  /// Takes its place after all existing instances. Makes the folder (0750).
  static Result<InstanceOrder> join(const std::string& state_dir);

  /// Whether an instance that started later is running.
  [[nodiscard]] Result<bool> has_successor() const;

 private:
  InstanceOrder(UniqueFd fd, off_t place) : fd_(std::move(fd)), place_(place) {}
  UniqueFd fd_;
  off_t place_;
};

}  // namespace fairlead::dra
