// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace fairlead {

/// Base of classes whose objects stay where they were made: threads, callbacks or other objects have their
/// address. Neither copied nor moved.
///
///   class Watcher : private Pinned { … };
class Pinned {
 public:
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  Pinned(Pinned&&) = delete;
  Pinned& operator=(Pinned&&) = delete;

 protected:
  Pinned() = default;
  ~Pinned() = default;
};

}  // namespace fairlead
