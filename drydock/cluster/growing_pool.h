// SPDX-License-Identifier: Apache-2.0
// The threads of httplib's server. Only for api_server.cc.
#pragma once

#include <httplib.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace drydock {

/// One thread per connection, made if none is idle: httplib's own pool has a fixed size, and a watch keeps
/// its thread for as long as it lasts.
class GrowingPool : public httplib::TaskQueue {
 public:
  void enqueue(std::function<void()> job) override {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    if (idle_ < jobs_.size() && threads_.size() < kMaxThreads) {
      threads_.emplace_back([this] { work(); });
    }
    wake_.notify_one();
  }
  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      wake_.notify_all();
    }
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }

 private:
  static constexpr std::size_t kMaxThreads = 256;

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      ++idle_;
      wake_.wait(lock, [this] { return stopped_ || !jobs_.empty(); });
      --idle_;
      if (jobs_.empty()) {
        return;
      }
      const auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  std::list<std::thread> threads_;
  std::size_t idle_ = 0;
  bool stopped_ = false;
};

}  // namespace drydock
