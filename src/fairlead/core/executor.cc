// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/executor.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <system_error>
#include <thread>
#include <utility>

#include "fairlead/core/mutex.h"

namespace fairlead {
namespace {

/// A task, or a thread in acquire(), with its place in the queue of each of its keys.
struct Node {
  Executor::Keys keys;
  Executor::Task task;  // empty: acquire()
  std::size_t lane = 0;
  std::size_t waiting = 0;  // keys in whose queue it is not the first
  bool granted = false;     // acquire() only
};
using NodePtr = std::shared_ptr<Node>;

struct Lane {
  unsigned limit = 1;
  unsigned running = 0;
  std::deque<NodePtr> ready;

  /// How many tasks could start now.
  [[nodiscard]] std::size_t startable() const { return std::min<std::size_t>(ready.size(), limit - running); }
};

}  // namespace

struct Executor::Turn::Next {
  Keys more;
  Task task;
  std::size_t lane = 0;
};

void Executor::Turn::then(Keys more, Task next, std::size_t lane) {
  next_ = std::make_shared<Next>(Next{.more = std::move(more), .task = std::move(next), .lane = lane});
}

struct Executor::Impl {
  explicit Impl(std::size_t lane_count) : lanes(lane_count) {}

  // All with mutex held.
  void enqueue(const NodePtr& node, Keys more) FL_REQUIRES(mutex);
  void make_ready(const NodePtr& node) FL_REQUIRES(mutex);
  /// Wakes or starts threads for what can start. `here`: tasks that the calling thread is about to look for itself.
  void call_threads(std::size_t here) FL_REQUIRES(mutex);
  void release(const Node& node) FL_REQUIRES(mutex);
  void withdraw(const NodePtr& node) FL_REQUIRES(mutex);

  void start_thread() FL_REQUIRES(mutex);
  void run();
  void wait_for_call() FL_REQUIRES(mutex);
  NodePtr take() FL_REQUIRES(mutex);
  NodePtr next();
  void finished(const NodePtr& node, const Turn& turn);

  Mutex mutex;
  std::map<std::string, std::deque<NodePtr>, std::less<>> queues FL_GUARDED_BY(mutex);
  std::vector<Lane> lanes FL_GUARDED_BY(mutex);
  std::size_t first_lane FL_GUARDED_BY(mutex) = 0;  // the one to look at first, by turns
  std::vector<std::thread> threads FL_GUARDED_BY(mutex);
  std::size_t thread_limit = 0;
  std::size_t idle FL_GUARDED_BY(mutex) = 0;    // threads that wait to be called
  std::size_t called FL_GUARDED_BY(mutex) = 0;  // of these, how many were, and have not come yet
  ConditionVariable work;
  std::size_t queue_limit = 0;
  std::size_t not_started FL_GUARDED_BY(mutex) = 0;
  std::size_t unfinished FL_GUARDED_BY(mutex) = 0;
  bool stopping FL_GUARDED_BY(mutex) = false;
  bool ended FL_GUARDED_BY(mutex) = false;
  ConditionVariable changed;  // a hold was granted, the last task ended, stop() began
};

void Executor::Impl::enqueue(const NodePtr& node, Keys more) {
  std::ranges::sort(more);
  const auto twice = std::ranges::unique(more);
  more.erase(twice.begin(), twice.end());
  for (std::string& key : more) {
    if (std::find(node->keys.begin(), node->keys.end(), key) != node->keys.end()) {
      continue;
    }
    auto& queue = queues[key];
    queue.push_back(node);
    node->waiting += queue.size() > 1 ? 1 : 0;
    node->keys.push_back(std::move(key));
  }
  if (node->waiting == 0) {
    make_ready(node);
  }
}

void Executor::Impl::make_ready(const NodePtr& node) {
  if (!node->task) {
    node->granted = true;
    changed.notify_all();
    return;
  }
  lanes[node->lane].ready.push_back(node);
}

void Executor::Impl::start_thread() {
  threads.emplace_back([this] { run(); });
  ++idle;
}

void Executor::Impl::call_threads(std::size_t here) {
  std::size_t startable = 0;
  for (const Lane& lane : lanes) {
    startable += lane.startable();
  }
  while (startable > here + called) {
    if (called < idle) {
      work.notify_one();
    } else if (threads.size() < thread_limit) {
      try {
        start_thread();
      } catch (const std::system_error&) {
        return;  // no more threads to be had: those there are do it later
      }
    } else {
      return;
    }
    ++called;
  }
}

void Executor::Impl::release(const Node& node) {
  for (const std::string& key : node.keys) {
    const auto found = queues.find(key);
    auto& queue = found->second;
    queue.pop_front();
    if (queue.empty()) {
      queues.erase(found);
    } else if (--queue.front()->waiting == 0) {
      make_ready(queue.front());
    }
  }
}

void Executor::Impl::withdraw(const NodePtr& node) {
  for (const std::string& key : node->keys) {
    const auto found = queues.find(key);
    auto& queue = found->second;
    const bool was_first = queue.front() == node;
    queue.erase(std::ranges::find(queue, node));
    if (queue.empty()) {
      queues.erase(found);
    } else if (was_first && --queue.front()->waiting == 0) {
      make_ready(queue.front());
    }
  }
}

NodePtr Executor::Impl::take() {
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    const std::size_t index = (first_lane + i) % lanes.size();
    Lane& lane = lanes[index];
    if (lane.startable() == 0) {
      continue;
    }
    NodePtr node = std::move(lane.ready.front());
    lane.ready.pop_front();
    ++lane.running;
    first_lane = index + 1;
    --not_started;
    return node;
  }
  return nullptr;
}

void Executor::Impl::wait_for_call() {
  while (called == 0 && !ended) {
    work.wait(mutex);
  }
  --idle;
  called -= called > 0 ? 1 : 0;
}

NodePtr Executor::Impl::next() {
  const Lock lock(mutex);
  NodePtr node = take();
  while (node == nullptr && !ended) {
    ++idle;
    wait_for_call();
    node = take();
  }
  return node;
}

void Executor::Impl::finished(const NodePtr& node, const Turn& turn) {
  const Lock lock(mutex);
  --lanes[node->lane].running;
  if (turn.next_) {
    node->task = std::move(turn.next_->task);
    node->lane = turn.next_->lane;
    ++not_started;
    enqueue(node, std::move(turn.next_->more));
    first_lane = node->lane;  // this thread goes on with it, if nothing else is in its way
  } else {
    release(*node);
    if (--unfinished == 0) {
      changed.notify_all();
    }
  }
  call_threads(1);
}

void Executor::Impl::run() {
  {
    const Lock lock(mutex);
    wait_for_call();
  }
  while (const NodePtr node = next()) {
    Turn turn;
    node->task(turn);
    node->task = nullptr;  // what it captured goes before its keys are free
    finished(node, turn);
  }
}

struct Executor::Hold::State {
  std::shared_ptr<Impl> impl;
  NodePtr node;
};

Executor::Hold::Hold(std::unique_ptr<State> state) : state_(std::move(state)) {}
Executor::Hold::Hold(Hold&&) noexcept = default;
Executor::Hold& Executor::Hold::operator=(Hold&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Executor::Hold::~Hold() {
  if (state_) {
    const Lock lock(state_->impl->mutex);
    state_->impl->release(*state_->node);
    state_->impl->call_threads(0);
  }
}

Executor::Executor(Options options)
    : impl_(std::make_shared<Impl>(std::max<std::size_t>(1, options.lanes.size()))) {
  impl_->queue_limit = options.queue_limit;
  const Lock lock(impl_->mutex);
  for (std::size_t i = 0; i < impl_->lanes.size(); ++i) {
    impl_->lanes[i].limit = i < options.lanes.size() ? std::max(1U, options.lanes[i]) : 1U;
    impl_->thread_limit += impl_->lanes[i].limit;
    impl_->start_thread();  // should there be no more later
  }
}

Executor::~Executor() { stop(); }

Result<> Executor::submit(Keys keys, Task task, std::size_t lane) {
  auto node = std::make_shared<Node>();
  node->task = std::move(task);
  node->lane = lane;
  const Lock lock(impl_->mutex);
  if (impl_->stopping) {
    return Error(Code::kCancelled, "the program is stopping");
  }
  if (impl_->not_started >= impl_->queue_limit) {
    return Error(Code::kBusy, "too much work is waiting already (" + std::to_string(impl_->not_started) +
                                  " tasks); try again later");
  }
  ++impl_->not_started;
  ++impl_->unfinished;
  impl_->enqueue(node, std::move(keys));
  impl_->call_threads(0);
  return {};
}

Result<Executor::Hold> Executor::acquire(Keys keys, std::chrono::steady_clock::time_point deadline) {
  auto state = std::make_unique<Hold::State>();
  state->impl = impl_;
  state->node = std::make_shared<Node>();
  const NodePtr& node = state->node;
  const Lock lock(impl_->mutex);
  if (impl_->stopping) {
    return Error(Code::kCancelled, "the program is stopping");
  }
  impl_->enqueue(node, std::move(keys));
  while (!node->granted && !impl_->stopping) {
    if (deadline == std::chrono::steady_clock::time_point::max()) {
      impl_->changed.wait(impl_->mutex);  // wait_until() would overflow
    } else if (impl_->changed.wait_until(impl_->mutex, deadline) == std::cv_status::timeout) {
      break;
    }
  }
  if (!node->granted) {
    impl_->withdraw(node);
    impl_->call_threads(0);
    return impl_->stopping ? Error(Code::kCancelled, "the program is stopping")
                           : Error(Code::kTimeout, "other work was not done in time");
  }
  return Hold(std::move(state));
}

void Executor::stop() {
  std::vector<std::thread> threads;
  {
    const Lock lock(impl_->mutex);
    impl_->stopping = true;
    impl_->changed.notify_all();
    while (impl_->unfinished != 0) {
      impl_->changed.wait(impl_->mutex);
    }
    impl_->ended = true;
    impl_->work.notify_all();
    threads.swap(impl_->threads);
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

}  // namespace fairlead
