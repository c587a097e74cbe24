// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/worker.h"

#include <utility>

namespace fairlead {

Worker::Worker(Round round, Options options) : round_(std::move(round)), options_(options) {}

Worker::~Worker() { stop(); }

void Worker::start(TimePoint first) {
  thread_ = std::jthread([this, first](const std::stop_token& stop) { run(stop, first); });
}

void Worker::wake() {
  const Lock lock(mutex_);
  is_woken_ = true;
  (void)waiting_.request_stop();
}

void Worker::stop() {
  if (thread_.joinable()) {
    (void)thread_.request_stop();
    wake();
    thread_.join();
  }
}

void Worker::run(const std::stop_token& stop, TimePoint first) {
  std::optional<TimePoint> next = first;
  while (wait(next, stop)) {
    next = round_(stop);
  }
}

bool Worker::wait(std::optional<TimePoint> next, const std::stop_token& stop) {
  std::stop_token woken;
  {
    const Lock lock(mutex_);
    waiting_ = std::stop_source();
    woken = waiting_.get_token();
    if (is_woken_) {
      (void)waiting_.request_stop();
    }
  }
  const bool is_time = options_.clock->wait_until(next.value_or(TimePoint::max()), woken);
  if (!is_time && options_.settle > Clock::Duration::zero()) {
    (void)options_.clock->wait_for(options_.settle, stop);
  }
  const Lock lock(mutex_);
  is_woken_ = false;  // whatever was changed before this is seen by the round
  return !stop.stop_requested();
}

}  // namespace fairlead
