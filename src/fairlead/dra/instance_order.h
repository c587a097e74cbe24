// SPDX-License-Identifier: Apache-2.0
// Which of a driver's instances on this node began last: in a rolling update two run side by side, and only
// the newer may say what the node offers.
//
//   <state_dir>/instances   byte locks, one byte per living instance: at the moment of its beginning; empty
//
// A lock goes with its process, so that the older one goes on when the newer is rolled back or dies.
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
  /// Takes its place behind all that are there. Makes the folder (0750).
  static Result<InstanceOrder> join(const std::string& state_dir);

  /// Whether an instance lives that began later.
  [[nodiscard]] Result<bool> has_successor() const;

 private:
  InstanceOrder(UniqueFd fd, off_t place) : fd_(std::move(fd)), place_(place) {}
  UniqueFd fd_;
  off_t place_;
};

}  // namespace fairlead::dra
