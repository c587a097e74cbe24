// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/timer.h"

namespace fairlead {

Timer::Timer() : thread_([this] { run(); }) {}

Timer::~Timer() { stop(); }

Timer::Id Timer::at(TimePoint when, Function function) {
  const Lock lock(mutex_);
  if (stopping_) {
    return 0;
  }
  const Id id = next_++;
  entries_.emplace(std::make_pair(when, id), std::move(function));
  when_.emplace(id, when);
  if (when < wakes_at_) {
    wake_.notify_one();
  }
  return id;
}

void Timer::cancel(Id id) {
  Function dropped;  // destroyed after the lock: it may own anything
  const Lock lock(mutex_);
  const auto found = when_.find(id);
  if (found == when_.end()) {
    return;
  }
  const auto entry = entries_.find({found->second, id});
  dropped = std::move(entry->second);
  entries_.erase(entry);
  when_.erase(found);
}

void Timer::stop() {
  std::map<std::pair<TimePoint, Id>, Function> dropped;
  {
    const Lock lock(mutex_);
    stopping_ = true;
    dropped.swap(entries_);
    when_.clear();
    wake_.notify_one();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Timer::run() {
  for (;;) {
    Function due;
    {
      const Lock lock(mutex_);
      if (stopping_) {
        return;
      }
      if (entries_.empty()) {
        wakes_at_ = TimePoint::max();
        wake_.wait(mutex_);
        continue;
      }
      const auto first = entries_.begin();
      const TimePoint when = first->first.first;
      if (std::chrono::steady_clock::now() < when) {
        wakes_at_ = when;
        (void)wake_.wait_until(mutex_, when);
        continue;
      }
      due = std::move(first->second);
      when_.erase(first->first.second);
      entries_.erase(first);
    }
    due();
  }
}

}  // namespace fairlead
