// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/reports/pod_events.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/retry_delay.h"
#include "fairlead/core/worker.h"
#include "fairlead/dra/base/api_time.h"
#include "fairlead/kube/resource.h"

namespace fairlead::dra {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kTimeout{5};
/// After a refusal (RBAC) or an outage: no caller waits for an event.
constexpr Backoff::Options kRefused{.initial = std::chrono::seconds(10), .max = std::chrono::minutes(10)};

class KubeEventApi final : public EventApi {
 public:
  explicit KubeEventApi(kube::Client& client) : events_(client) {}
  Result<> create(const kube::Event& event, const std::stop_token& stop) override {
    FL_TRY(events_.create(event, {.timeout = kTimeout, .stop = stop, .max_tries = 1}));
    return {};
  }
  Result<> patch(const kube::Event& event, const std::stop_token& stop) override {
    return events_.merge_patch({.namespace_ = event.meta.namespace_, .name = event.meta.name},
                               kube::event_patch(event), {.timeout = kTimeout, .stop = stop, .max_tries = 1});
  }

 private:
  kube::Resource<kube::Event> events_;
};

/// As client-go makes them: hexadecimal nanoseconds, of which no two of ours are the same.
std::string name_suffix() {
  static std::atomic<std::uint64_t> drawn{0};
  const auto now = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::array<char, 24> text{};
  const int size = std::snprintf(text.data(), text.size(), "%" PRIx64, now + drawn.fetch_add(1));
  return {text.data(), static_cast<std::size_t>(size)};
}

}  // namespace

std::unique_ptr<EventApi> make_event_api(kube::Client& client) {
  return std::make_unique<KubeEventApi>(client);
}

bool is_for_the_author(Code code) {
  switch (code) {
    case Code::kInvalid:
    case Code::kNotFound:
    case Code::kExists:
    case Code::kBusy:
    case Code::kDenied:
    case Code::kUnsupported:
      return true;
    case Code::kConflict:
    case Code::kGone:
    case Code::kUnavailable:
    case Code::kTimeout:
    case Code::kCancelled:
    case Code::kCorrupt:
    case Code::kOverflow:
    case Code::kInternal:
      return false;
  }
  return false;
}

class PodEvents::Impl {
 public:
  Impl(EventBook::Options options, EventApi& api, Metrics& metrics)
      : api_(api),
        metrics_(metrics),
        book_(std::move(options)),
        delay_(kRefused),
        worker_([this](const std::stop_token& stop) { return write_due(stop); }) {}

  void start() { worker_.start(); }
  void stop() { worker_.stop(); }

  void tell(const Claim& claim, const std::string& reason, const std::string& message) {
    {
      const Lock lock(mutex_);
      for (const Pod& pod : claim.reserved_for) {
        if (!book_.add(claim.namespace_, pod, reason, message, SteadyClock::now(), api_time_now(),
                       name_suffix())) {
          metrics_.event_written("dropped");
        }
      }
    }
    worker_.wake();
  }

 private:
  /// Writes one event, if one is due. Returns when the next may be due.
  std::optional<SteadyClock::time_point> write_due(const std::stop_token& stop) {
    if (const auto write = next()) {
      const auto done = write->create ? api_.create(write->event, stop) : api_.patch(write->event, stop);
      if (done || !stop.stop_requested()) {  // a failure then is our own end
        settle(*write, done);
      }
    }
    const Lock lock(mutex_);
    const auto due = book_.next_due();
    return due ? std::optional(std::max(*due, not_before_)) : std::nullopt;
  }

  std::optional<EventBook::Write> next() {
    const Lock lock(mutex_);
    const auto now = SteadyClock::now();
    return now >= not_before_ ? book_.due(now) : std::nullopt;
  }

  void settle(const EventBook::Write& write, const Result<>& done) {
    const Lock lock(mutex_);
    const auto now = SteadyClock::now();
    metrics_.event_written(done ? "ok" : to_string(done.error().code()));
    if (done || (write.create && done.error().code() == Code::kExists)) {
      book_.written(write, now);
      delay_.reset();
      failing_ = false;
      return;
    }
    const Code code = done.error().code();
    if (code == Code::kNotFound) {
      if (write.create) {
        book_.forget(write);  // the namespace is gone
      } else {
        book_.lost(write, now, api_time_now(), name_suffix());
      }
      return;
    }
    // An outage holds up everything; a refusal may be this namespace's alone (it is going away).
    const auto again = now + delay_.next(code);
    if (RetryDelay::is_outage(code)) {
      not_before_ = again;
    } else {
      book_.postpone(write, again);
    }
    if (!std::exchange(failing_, true)) {
      log::warn("cannot write events of pods; retrying occasionally", {{"error", done.error().what()}});
    }
  }

  EventApi& api_;
  Metrics& metrics_;

  Mutex mutex_;
  EventBook book_ FL_GUARDED_BY(mutex_);
  RetryDelay delay_ FL_GUARDED_BY(mutex_);
  SteadyClock::time_point not_before_ FL_GUARDED_BY(mutex_);
  bool failing_ FL_GUARDED_BY(mutex_) = false;

  Worker worker_;  // last: it uses all of the above
};

PodEvents::PodEvents(EventBook::Options options, EventApi& api, Metrics& metrics)
    : impl_(std::make_unique<Impl>(std::move(options), api, metrics)) {}
PodEvents::~PodEvents() { stop(); }
void PodEvents::start() { impl_->start(); }
void PodEvents::stop() { impl_->stop(); }
void PodEvents::tell(const Claim& claim, const std::string& reason, const std::string& message) {
  impl_->tell(claim, reason, message);
}

}  // namespace fairlead::dra
