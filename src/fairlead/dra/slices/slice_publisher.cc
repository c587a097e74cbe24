// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/slices/slice_publisher.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "fairlead/core/backoff.h"
#include "fairlead/core/log.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/retry_delay.h"
#include "fairlead/core/worker.h"
#include "fairlead/dra/slices/instance_order.h"
#include "fairlead/dra/slices/rate_limit.h"
#include "fairlead/dra/slices/slice_diff.h"
#include "fairlead/dra/slices/slice_validate.h"
#include "fairlead/dra/slices/slice_writer.h"

namespace fairlead::dra {
namespace {

using SteadyClock = std::chrono::steady_clock;

}  // namespace

class SlicePublisher::Impl {
 public:
  Impl(PublisherOptions options, SliceApi& api, Discover discover, Metrics& metrics)
      : options_(std::move(options)),
        api_(api),
        discover_(std::move(discover)),
        metrics_(metrics),
        writer_(options_, api, metrics),
        delay_({.initial = options_.backoff_min, .max = options_.backoff_max}),
        discover_backoff_({.initial = options_.backoff_min, .max = options_.backoff_max}),
        discoveries_(options_.discover_burst, options_.discover_interval, *options_.clock),
        waits_for_list_(options_.first_sync > std::chrono::milliseconds::zero()),
        worker_([this](const std::stop_token& stop) { return work(stop); },
                {.settle = options_.settle, .clock = options_.clock}) {}

  void start() { worker_.start(); }
  void stop() {
    worker_.stop();
    if (std::exchange(is_watching_, false)) {
      api_.unwatch();
    }
    order_.reset();  // the older one may go on
  }
  void republish() {
    trigger([](Triggers& triggers) { triggers.discover = true; });
  }
  void check_now() {
    trigger([](Triggers& triggers) { triggers.check = true; });
  }
  Result<> ready() const {
    const Lock lock(mutex_);
    if (published_) {
      return {};
    }
    return Error(Code::kUnavailable, "the ResourceSlices are not published yet: " + problem_);
  }

 private:
  /// What asked for a round since the last one.
  struct Triggers {
    bool discover = false;  // the driver says that something changed
    bool check = false;     // the kubelet registered us, the watch began anew
    std::vector<SliceEvent> events;
  };
  template <class Change>
  void trigger(Change change) {
    {
      const Lock lock(mutex_);
      change(triggers_);
      waits_for_list_ = waits_for_list_ &&
                        std::ranges::none_of(triggers_.events,
                                             [](const SliceEvent& event) { return event.all != nullptr; });
      if (waits_for_list_) {
        return;
      }
    }
    worker_.wake();
  }

  // ---- the thread ----

  /// Does what is due. Returns when the next round is, if nothing triggers one before: the next try after a failure, the
  /// resync.
  std::optional<SteadyClock::time_point> work(const std::stop_token& stop) {
    if (!std::exchange(is_watching_, true)) {
      api_.watch([this](const SliceEvent& event) {
        trigger([&](Triggers& triggers) { triggers.events.push_back(event); });
      });
      // The watch's list is the one that the first round needs.
      return options_.clock->now() + options_.first_sync;
    }
    Triggers triggers = take_triggers();
    const auto now = options_.clock->now();
    if (now >= resync_) {
      triggers.discover = true;
      triggers.check = true;
    }
    if (triggers.discover && triggers.check) {
      resync_ = now + options_.resync;
    }
    handle(triggers, stop);
    return std::min(
        {retry_at_.value_or(resync_), discover_at_.value_or(resync_), put_off_.value_or(resync_), resync_});
  }

  Triggers take_triggers() {
    const Lock lock(mutex_);
    waits_for_list_ = false;
    return std::exchange(triggers_, {});
  }

  void handle(const Triggers& triggers, const std::stop_token& stop) {
    const bool check = triggers.check && (triggers.discover || !is_listed_just_now());
    if (check) {
      writer_.forget_node();  // the kubelet also comes back after its Node was deleted and made anew
    }
    // After a failure, the API server or the kubelet trigger a retry at once; the driver does not.
    const bool news = check || std::ranges::any_of(triggers.events, [](const SliceEvent& event) {
                        return event.kind == SliceEvent::Kind::kResynced;
                      });
    const bool touched = std::ranges::any_of(
        triggers.events, [&](const SliceEvent& event) { return writer_.by_others(event); });
    for (const SliceEvent& event : triggers.events) {
      writer_.note(event);
    }
    const bool changed = is_time_to_discover(triggers) && discover_again();
    dirty_ = dirty_ || news || touched || changed;
    const bool may_try =
        news || (changed && is_waiting_for_others_) || !retry_at_ || options_.clock->now() >= *retry_at_;
    if (dirty_ && may_try && wanted_ && may_write(news)) {
      is_waiting_for_others_ = false;
      settle_round(writer_.round(*wanted_, stop), stop);
    }
  }

  /// And there was nothing to do: the watch has reported all changes since.
  [[nodiscard]] bool is_listed_just_now() const { return !dirty_ && writer_.has_fresh_list(); }

  [[nodiscard]] bool is_time_to_discover(const Triggers& triggers) {
    const auto now = options_.clock->now();
    if (triggers.check && triggers.discover) {  // the start, the resync
      put_off_.reset();
      return true;
    }
    if (triggers.discover && !put_off_) {
      put_off_ = discoveries_.take().value_or(now);
    }
    if (put_off_ && now >= *put_off_) {
      put_off_.reset();
      return true;
    }
    return discover_at_ && now >= *discover_at_;
  }

  /// False for changes that the node makes too often, or if a newer instance publishes. `news`: the write
  /// must not be delayed.
  [[nodiscard]] bool may_write(bool news) {
    if (has_successor()) {
      retry_at_ = options_.clock->now() + options_.successor_check;
      return false;
    }
    if (const auto later = news ? std::nullopt : writer_.write_later(*wanted_)) {
      log::debug("devices change often, the newest state is written a little later");
      retry_at_ = later;
      return false;
    }
    return true;
  }

  [[nodiscard]] bool has_successor() {
    if (options_.state_dir.empty()) {
      return false;
    }
    if (!order_) {  // not before there is something to say
      auto joined = InstanceOrder::join(options_.state_dir);
      if (!joined) {
        note_problem("find out which instance is the newer: " + joined.error().what());
        return false;
      }
      order_.emplace(*std::move(joined));
    }
    const bool now = order_->has_successor().value_or(false);
    if (now != yields_) {
      log::info(now ? "a newer instance publishes this node's slices"
                    : "the newer instance is gone, publishing again");
      yields_ = now;
    }
    if (now) {
      // Ready: what is to be published is not ours to wait for, and a rolling update must go on.
      const Lock lock(mutex_);
      published_ = true;
    }
    return now;
  }

  /// True when other slices are wanted than before.
  bool discover_again() {
    auto pools = discover_();
    if (!pools) {
      metrics_.discovery_failed();
      note_problem("discover: " + pools.error().what());
      discover_at_ = options_.clock->now() + discover_backoff_.next();
      return false;
    }
    if (discover_at_) {
      discover_at_.reset();
      discover_backoff_.reset();
      forget_problem();
    }
    auto valid = validate_pools(*pools, options_.driver_name, options_.node_name);
    report(valid.left_out);
    auto wanted = page_pools(valid.pools);
    const bool changed = wanted_ != wanted;
    wanted_ = std::move(wanted);
    return changed;
  }

  /// Each sentence once, and again when it was mended in between.
  void report(const std::vector<LeftOut>& left_out) {
    std::set<std::string> now;
    for (const LeftOut& item : left_out) {
      now.insert(item.sentence);
      if (!reported_.contains(item.sentence)) {
        metrics_.invalid_left_out(item.what);
        log::warn("not published", {{"what", item.what}, {"why", item.sentence}});
      }
    }
    reported_ = std::move(now);
  }

  void settle_round(Result<> result, const std::stop_token& stop) {
    if (result) {
      dirty_ = false;
      delay_.reset();
      retry_at_.reset();
      note_published();
      return;
    }
    if (stop.stop_requested()) {
      return;
    }
    if (const auto repair_at = writer_.repair_at()) {
      retry_at_ = repair_at;
      is_waiting_for_others_ = true;
      return;
    }
    retry_at_ = options_.clock->now() + delay_.next(result.error().code());
    note_problem(result.error().what());
  }

  void note_published() {
    const Lock lock(mutex_);
    if (!published_ || (!problem_.empty() && !discover_at_)) {
      log::info("slices published", {{"slices", writer_.slices()}, {"devices", device_count(*wanted_)}});
    }
    published_ = true;
    if (!discover_at_) {
      problem_.clear();
    }
  }

  /// So that the same trouble is logged again when it comes again.
  void forget_problem() {
    const Lock lock(mutex_);
    if (published_ && !dirty_) {
      problem_.clear();
    }
  }

  /// Keeps the sentence for ready() and logs it unless it is the one that was logged last.
  void note_problem(const std::string& sentence) {
    const Lock lock(mutex_);
    if (problem_ != sentence) {
      log::warn("cannot publish slices, trying again", {{"why", sentence}});
      problem_ = sentence;
    }
  }

  const PublisherOptions options_;
  SliceApi& api_;
  const Discover discover_;
  Metrics& metrics_;

  mutable Mutex mutex_;
  Triggers triggers_ FL_GUARDED_BY(mutex_);
  bool published_ FL_GUARDED_BY(mutex_) = false;
  std::string problem_ FL_GUARDED_BY(mutex_) = "discover() has not returned yet";

  // Of the publisher's thread only, from here on.
  SliceWriter writer_;
  RetryDelay delay_;
  Backoff discover_backoff_;
  RateLimit discoveries_;
  bool is_watching_ = false;
  SteadyClock::time_point resync_;                  // when the next is due; at once
  std::optional<SteadyClock::time_point> put_off_;  // discover() that was asked for
  std::optional<InstanceOrder> order_;
  bool yields_ = false;                                 // to a newer instance
  std::optional<SteadyClock::time_point> retry_at_;     // after a failure
  bool is_waiting_for_others_ = false;                  // retry_at_ is not for what changes on the node
  std::optional<SteadyClock::time_point> discover_at_;  // after discover() failed
  bool dirty_ = false;                                  // a round is due
  std::optional<SliceWriter::Wanted> wanted_;
  std::set<std::string> reported_;

  /// Of triggers_, any thread: nothing but the watch's list begins the first round before its time.
  bool waits_for_list_ FL_GUARDED_BY(mutex_);
  Worker worker_;  // last: it uses all of the above
};

SlicePublisher::SlicePublisher(PublisherOptions options, SliceApi& api, Discover discover, Metrics& metrics)
    : impl_(std::make_unique<Impl>(std::move(options), api, std::move(discover), metrics)) {}
SlicePublisher::~SlicePublisher() { stop(); }
void SlicePublisher::start() { impl_->start(); }
void SlicePublisher::stop() { impl_->stop(); }
void SlicePublisher::republish() { impl_->republish(); }
void SlicePublisher::check_now() { impl_->check_now(); }
Result<> SlicePublisher::ready() const { return impl_->ready(); }

}  // namespace fairlead::dra
