// SPDX-License-Identifier: Apache-2.0
// Which network namespace belongs to which pod's sandbox, as NRI reports it: the guard does not know
// sandboxes.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>

#include "fairlead/core/mutex.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

/// Any thread.
class SandboxBook {
 public:
  struct Entry {
    std::string sandbox;  // the runtime's id
    dra::Pod pod;
  };
  void remember(const std::string& sandbox, sys::NetnsId netns, const dra::Pod& pod);
  /// NRI is disconnected: the reported sandboxes may soon be outdated.
  void forget_all();
  /// The sandbox ends: a later attach for it is refused.
  void ended(const std::string& sandbox);
  /// Whether it is among the last thousand that ended.
  [[nodiscard]] bool has_ended(const std::string& sandbox) const;
  /// nullopt: no known sandbox has this namespace.
  [[nodiscard]] std::optional<Entry> find(const sys::NetnsId& netns) const;

 private:
  struct Known {
    sys::NetnsId netns;
    dra::Pod pod;
  };
  mutable Mutex mutex_;
  std::map<std::string, Known> sandboxes_ FL_GUARDED_BY(mutex_);
  std::deque<std::string> ended_ FL_GUARDED_BY(mutex_);
};

}  // namespace fairlead::agent
