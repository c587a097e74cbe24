// SPDX-License-Identifier: Apache-2.0
// A mutex that clang's -Wthread-safety understands. Guarded data is declared as `int n
// FL_GUARDED_BY(mutex_);`.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

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
  friend class ConditionVariable;
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

/// Waits on a Mutex held by a Lock. std::condition_variable_any would take a mutex of its own at each call.
class ConditionVariable {
 public:
  void notify_one() noexcept { variable_.notify_one(); }
  void notify_all() noexcept { variable_.notify_all(); }

  void wait(Mutex& mutex) FL_REQUIRES(mutex) { variable_.wait(Native(mutex).lock()); }
  template <class Predicate>
  void wait(Mutex& mutex, Predicate is_done) FL_REQUIRES(mutex) {
    while (!is_done()) {
      wait(mutex);
    }
  }
  template <class TimePoint>
  std::cv_status wait_until(Mutex& mutex, const TimePoint& when) FL_REQUIRES(mutex) {
    return variable_.wait_until(Native(mutex).lock(), when);
  }
  /// False: `when` has come, and it is not done.
  template <class TimePoint, class Predicate>
  bool wait_until(Mutex& mutex, const TimePoint& when, Predicate is_done) FL_REQUIRES(mutex) {
    while (!is_done()) {
      if (wait_until(mutex, when) == std::cv_status::timeout) {
        return is_done();
      }
    }
    return true;
  }
  template <class Duration, class Predicate>
  bool wait_for(Mutex& mutex, const Duration& at_most, Predicate is_done) FL_REQUIRES(mutex) {
    return wait_until(mutex, std::chrono::steady_clock::now() + at_most, std::move(is_done));
  }

 private:
  /// The mutex as the standard library waits on it; it stays locked.
  class Native {
   public:
    explicit Native(Mutex& mutex) : lock_(mutex.mutex_, std::adopt_lock) {}
    ~Native() { (void)lock_.release(); }
    Native(const Native&) = delete;
    Native& operator=(const Native&) = delete;
    Native(Native&&) = delete;
    Native& operator=(Native&&) = delete;
    std::unique_lock<std::mutex>& lock() { return lock_; }

   private:
    std::unique_lock<std::mutex> lock_;
  };
  std::condition_variable variable_;
};

}  // namespace fairlead
