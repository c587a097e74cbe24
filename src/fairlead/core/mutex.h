// SPDX-License-Identifier: Apache-2.0
// A mutex that clang's -Wthread-safety understands. Guarded data is declared as `int n
// FL_GUARDED_BY(mutex_);`.
#pragma once

#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define FL_TSA(x) __attribute__((x))
#else
#define FL_TSA(x)
#endif
#define FL_GUARDED_BY(m) FL_TSA(guarded_by(m))
#define FL_REQUIRES(m) FL_TSA(requires_capability(m))

namespace fairlead {

class FL_TSA(capability("mutex")) Mutex {
 public:
  void lock() FL_TSA(acquire_capability()) { mutex_.lock(); }
  void unlock() FL_TSA(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class FL_TSA(scoped_lockable) Lock {
 public:
  explicit Lock(Mutex& m) FL_TSA(acquire_capability(m)) : mutex_(m) { mutex_.lock(); }
  ~Lock() FL_TSA(release_capability()) { mutex_.unlock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  Lock(Lock&&) = delete;
  Lock& operator=(Lock&&) = delete;

 private:
  Mutex& mutex_;
};

/// Waits on a Mutex held by a Lock.
using ConditionVariable = std::condition_variable_any;

}  // namespace fairlead
