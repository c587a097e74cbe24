// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/slices/slice_publisher.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "fairlead/core/backoff.h"
#include "fairlead/core/log.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/retry_delay.h"
#include "fairlead/core/text.h"
#include "fairlead/dra/slices/instance_order.h"
#include "fairlead/dra/slices/slice_diff.h"
#include "fairlead/dra/slices/slice_validate.h"

namespace fairlead::dra {
namespace {

using kube::ResourceSlice;
using SteadyClock = std::chrono::steady_clock;

/// How often a round is restarted at once because the slices changed meanwhile; then it waits as after an
/// error.
constexpr int kConflictRetries = 3;

/// Lets `burst` through at once and then one per interval.
class RateLimit {
 public:
  RateLimit(unsigned burst, std::chrono::milliseconds interval)
      : burst_(burst), interval_(interval), tokens_(burst), counted_(SteadyClock::now()) {}

  /// Takes a token; or says when there will be one.
  std::optional<SteadyClock::time_point> take() {
    const auto later = wait_until();
    tokens_ -= later ? 0 : 1;
    return later;
  }
  /// When there will be a token, if there is none.
  std::optional<SteadyClock::time_point> wait_until() {
    const auto now = SteadyClock::now();
    while (tokens_ < burst_ && counted_ + interval_ <= now) {
      counted_ += interval_;
      ++tokens_;
    }
    if (tokens_ == burst_) {
      counted_ = now;
    }
    return tokens_ == 0 ? std::optional(counted_ + interval_) : std::nullopt;
  }

 private:
  unsigned burst_;
  std::chrono::milliseconds interval_;
  unsigned tokens_;
  SteadyClock::time_point counted_;
};

/// resourceVersions are comparable numbers (KEP-5504; always so on etcd). False when one is not.
bool not_newer(const std::string& version, const std::string& than) {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  const auto parsed_a = std::from_chars(version.data(), version.data() + version.size(), a);
  const auto parsed_b = std::from_chars(than.data(), than.data() + than.size(), b);
  return parsed_a.ec == std::errc{} && parsed_b.ec == std::errc{} && a <= b;
}

std::string_view verb(SliceChange::Kind kind) {
  switch (kind) {
    case SliceChange::Kind::kUpdate:
      return "update";
    case SliceChange::Kind::kCreate:
      return "create";
    case SliceChange::Kind::kDelete:
      return "delete";
  }
  return "";
}

/// The slices changed between our read and our write: read again.
bool stale(Code code) { return code == Code::kConflict || code == Code::kNotFound || code == Code::kExists; }

std::string describe(const SliceChange& change) {
  const auto& meta = change.slice.meta;
  return std::string(verb(change.kind)) + " ResourceSlice " +
         (meta.name.empty() ? meta.generate_name + "*" : meta.name);
}

}  // namespace

class SlicePublisher::Impl {
 public:
  Impl(PublisherOptions options, SliceApi& api, Discover discover, Metrics& metrics)
      : options_(std::move(options)),
        api_(api),
        discover_(std::move(discover)),
        metrics_(metrics),
        delay_({.initial = options_.backoff_min, .max = options_.backoff_max}),
        discover_backoff_({.initial = options_.backoff_min, .max = options_.backoff_max}),
        repairs_(options_.repair_burst, options_.repair_interval),
        discoveries_(options_.discover_burst, options_.discover_interval),
        own_changes_(options_.change_burst, options_.change_interval) {}

  void start() {
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }
  void stop() {
    if (thread_.joinable()) {
      thread_.request_stop();
      thread_.join();
      order_.reset();  // the older one may go on
    }
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
    [[nodiscard]] bool any() const { return discover || check || !events.empty(); }
  };
  /// What the API server made of a device that lost something on the way.
  struct Reduced {
    Device wanted, stored;
  };
  using DeviceKey = std::pair<std::string, std::string>;  // pool, device

  template <class Change>
  void trigger(Change change) {
    const Lock lock(mutex_);
    change(triggers_);
    wake_.notify_all();
  }

  // ---- the thread ----

  void run(const std::stop_token& stop) {
    api_.watch([this](const SliceEvent& event) {
      trigger([&](Triggers& triggers) { triggers.events.push_back(event); });
    });
    Triggers triggers = wait_for_watch(stop);
    triggers.discover = triggers.check = true;
    auto resync = SteadyClock::now() + options_.resync;
    while (!stop.stop_requested()) {
      handle(triggers, stop);
      triggers = wait(resync, stop);
      if (SteadyClock::now() >= resync) {
        triggers.discover = true;
        triggers.check = true;
      }
      if (triggers.discover && triggers.check) {
        resync = SteadyClock::now() + options_.resync;
      }
    }
    api_.unwatch();
  }

  /// Its list is the one that the first round needs.
  Triggers wait_for_watch(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    (void)wake_.wait_for(lock, stop, options_.first_sync, [&] {
      return std::ranges::any_of(triggers_.events,
                                 [](const SliceEvent& event) { return event.all != nullptr; });
    });
    return std::exchange(triggers_, {});
  }

  /// Until there is something to do: a trigger, the next try after a failure, the resync.
  Triggers wait(SteadyClock::time_point resync, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    const auto until = std::min(
        {retry_at_.value_or(resync), discover_at_.value_or(resync), put_off_.value_or(resync), resync});
    if (!wake_.wait_until(lock, stop, until, [&] { return triggers_.any(); })) {
      return {};
    }
    // A burst of events, such as the kubelet wiping all slices of the node, becomes one round.
    (void)wake_.wait_for(lock, stop, options_.settle, [] { return false; });
    return std::exchange(triggers_, {});
  }

  void handle(const Triggers& triggers, const std::stop_token& stop) {
    const bool check = triggers.check && (triggers.discover || !is_listed_just_now());
    if (check) {
      node_uid_.clear();  // the kubelet also comes back after its Node was deleted and made anew
    }
    // After a failure, the API server or the kubelet trigger a retry at once; the driver does not.
    const bool news = check || std::ranges::any_of(triggers.events, [](const SliceEvent& event) {
                        return event.kind == SliceEvent::Kind::kResynced;
                      });
    const bool touched =
        std::ranges::any_of(triggers.events, [&](const SliceEvent& event) { return by_others(event); });
    for (const SliceEvent& event : triggers.events) {
      if (event.kind == SliceEvent::Kind::kDeleted) {
        gone_.erase(event.uid);  // the last event of an object
      }
      watch_list_ = event.all;  // what came after the list is not in it
    }
    const bool changed = is_time_to_discover(triggers) && discover_again();
    dirty_ = dirty_ || news || touched || changed;
    const bool may_try = news || !retry_at_ || SteadyClock::now() >= *retry_at_;
    if (dirty_ && may_try && wanted_ && may_write(news)) {
      settle_round(round(stop), stop);
    }
  }

  /// And there was nothing to do: the watch has reported all changes since.
  [[nodiscard]] bool is_listed_just_now() const {
    return !dirty_ && listed_ && SteadyClock::now() - *listed_ < options_.list_is_fresh;
  }

  [[nodiscard]] bool is_time_to_discover(const Triggers& triggers) {
    const auto now = SteadyClock::now();
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
      retry_at_ = SteadyClock::now() + options_.successor_check;
      return false;
    }
    const bool own_change = last_written_ && last_written_ != wanted_;
    if (const auto later = own_change && !news ? own_changes_.wait_until() : std::nullopt) {
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

  /// Did another client do this? Our own writes are reported as events too.
  [[nodiscard]] bool by_others(const SliceEvent& event) const {
    const auto known = known_.find(event.uid);
    switch (event.kind) {
      case SliceEvent::Kind::kResynced:
        return true;
      case SliceEvent::Kind::kDeleted:
        return known != known_.end();
      case SliceEvent::Kind::kChanged:
        return known == known_.end() ? !gone_.contains(event.uid)
                                     : !not_newer(event.resource_version, known->second);
    }
    return true;
  }

  /// True when other slices are wanted than before.
  bool discover_again() {
    auto pools = discover_();
    if (!pools) {
      metrics_.discovery_failed();
      note_problem("discover: " + pools.error().what());
      discover_at_ = SteadyClock::now() + discover_backoff_.next();
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
    if (result.error().code() != Code::kBusy) {
      retry_at_ = SteadyClock::now() + delay_.next(result.error().code());
    }
    note_problem(result.error().what());
  }

  void note_published() {
    const Lock lock(mutex_);
    if (!published_ || (!problem_.empty() && !discover_at_)) {
      log::info("slices published", {{"slices", known_.size()}, {"devices", device_count()}});
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

  // ---- one round ----

  /// Reads, compares, writes. kBusy: a repair has to wait until retry_at_.
  Result<> round(const std::stop_token& stop) {
    for (int attempt = 0;; ++attempt) {
      auto done = attempt_round(stop);
      if (done || !stale(done.error().code()) || attempt >= kConflictRetries) {
        if (!done && done.error().code() != Code::kBusy) {
          node_uid_.clear();  // a write may fail because our Node is another one now
        }
        return done;
      }
    }
  }

  Result<> attempt_round(const std::stop_token& stop) {
    FL_ASSIGN(const auto existing, list(stop), "list ResourceSlices");
    if (lost_any(existing)) {
      node_uid_.clear();  // the garbage collector may have taken it: is the Node still the same?
    }
    if (node_uid_.empty()) {
      auto uid = api_.node_uid(stop);
      if (!uid) {
        // A missing Node is no reason to begin this round again at once, nor often.
        return Error(uid.error().code() == Code::kNotFound ? Code::kInternal : uid.error().code(),
                     uid.error().what())
            .with("read Node " + options_.node_name);
      }
      node_uid_ = *std::move(uid);
    }
    const SliceIdentity identity{
        .driver_name = options_.driver_name, .node_name = options_.node_name, .node_uid = node_uid_};
    const auto changes = diff_slices(identity, reduced_wanted(), existing);
    FL_TRY(limit_repairs(changes, existing));
    if (!changes.empty() && last_written_ && last_written_ != wanted_) {
      (void)own_changes_.take();
    }
    remember(existing);
    for (const SliceChange& change : changes) {
      FL_TRY(write(change, stop), describe(change));
    }
    last_written_ = wanted_;
    metrics_.set_slices_published(known_.size());
    metrics_.set_devices_published(device_count());
    return {};
  }

  Result<std::vector<ResourceSlice>> list(const std::stop_token& stop) {
    // A later one may be older than what we have written since.
    if (const auto all = std::exchange(watch_list_, nullptr); all && !listed_) {
      listed_ = SteadyClock::now();
      return *all;
    }
    auto all = api_.list(stop);
    if (all) {
      listed_ = SteadyClock::now();
    }
    if (!all && (all.error().code() == Code::kNotFound || all.error().code() == Code::kUnsupported)) {
      return Error(Code::kUnsupported,
                   "the API server does not know resource.k8s.io/v1, which came with Kubernetes 1.34");
    }
    return all;
  }

  /// A slice that we know is not there any more.
  [[nodiscard]] bool lost_any(const std::vector<ResourceSlice>& existing) const {
    return std::ranges::any_of(known_, [&](const auto& known) {
      return std::ranges::none_of(existing,
                                  [&](const ResourceSlice& slice) { return slice.meta.uid == known.first; });
    });
  }

  void remember(const std::vector<ResourceSlice>& existing) {
    known_.clear();
    for (const ResourceSlice& slice : existing) {
      known_[slice.meta.uid] = slice.meta.resource_version;
    }
  }

  /// Writes although our own state is unchanged: another client changed the slices, and may do it again at
  /// once.
  Result<> limit_repairs(const std::vector<SliceChange>& changes,
                         const std::vector<ResourceSlice>& existing) {
    if (changes.empty() || last_written_ != wanted_) {
      return {};
    }
    if (const auto later = repairs_.take()) {
      retry_at_ = later;
      remember(existing);
      return Error(Code::kBusy,
                   "others keep changing our ResourceSlices (does another program use the driver "
                   "name \"" +
                       options_.driver_name + "\" on this node?)");
    }
    metrics_.slice_repaired();
    log::info("putting slices back that others changed", {{"writes", changes.size()}});
    return {};
  }

  /// What is wanted, with the devices that the API server reduced as it stored them: else we would send them
  /// again and again.
  [[nodiscard]] std::vector<WantedSlice> reduced_wanted() {
    std::vector<WantedSlice> out = *wanted_;
    if (reduced_.empty()) {
      return out;
    }
    for (WantedSlice& slice : out) {
      for (Device& device : slice.devices) {
        const auto known = reduced_.find({slice.pool, device.name});
        if (known == reduced_.end()) {
          continue;
        }
        if (known->second.wanted == device) {
          device = known->second.stored;
        } else {
          reduced_.erase(known);
        }
      }
    }
    return out;
  }

  Result<> write(const SliceChange& change, const std::stop_token& stop) {
    if (change.kind == SliceChange::Kind::kDelete) {
      auto removed = api_.remove(change.slice, stop);
      count(change, removed ? "ok" : to_string(removed.error().code()));
      FL_TRY(std::move(removed));
      known_.erase(change.slice.meta.uid);
      gone_.insert(change.slice.meta.uid);
      return {};
    }
    auto stored = change.kind == SliceChange::Kind::kCreate ? api_.create(change.slice, stop)
                                                            : api_.update(change.slice, stop);
    count(change, stored ? "ok" : to_string(stored.error().code()));
    if (!stored) {
      return std::move(stored).error();
    }
    known_[stored->meta.uid] = stored->meta.resource_version;
    return compare_stored(change.slice, *stored);
  }

  void count(const SliceChange& change, std::string_view result) {
    metrics_.slice_written(verb(change.kind), result);
  }

  /// Looks for fields that the server did not keep: a feature gate that is off drops its fields in silence.
  Result<> compare_stored(const ResourceSlice& sent, const ResourceSlice& stored) {
    const bool same_names =
        std::ranges::equal(sent.devices, stored.devices, {}, &Device::name, &Device::name);
    if (!same_names) {
      return Error(Code::kInternal, "the API server stored other devices than were sent");
    }
    for (std::size_t i = 0; i < sent.devices.size(); ++i) {
      const auto lost = differences(sent.devices[i], stored.devices[i]);
      if (!lost.empty()) {
        accept(sent.pool_name, stored.devices[i], lost);
      }
    }
    return {};
  }

  void accept(const std::string& pool, const Device& stored, const std::vector<std::string>& lost) {
    const Device* wanted = find_wanted(pool, stored.name);
    if (wanted == nullptr) {
      return;
    }
    metrics_.field_dropped();
    log::warn(
        "the API server dropped fields of a device, publishing it without them (is a feature gate off?)",
        {{"pool", pool}, {"device", stored.name}, {"fields", joined(lost)}});
    reduced_.insert_or_assign(DeviceKey{pool, stored.name}, Reduced{.wanted = *wanted, .stored = stored});
  }

  [[nodiscard]] const Device* find_wanted(const std::string& pool, const std::string& name) const {
    for (const WantedSlice& slice : *wanted_) {
      const auto at =
          slice.pool == pool ? std::ranges::find(slice.devices, name, &Device::name) : slice.devices.end();
      if (at != slice.devices.end()) {
        return &*at;
      }
    }
    return nullptr;
  }

  [[nodiscard]] std::size_t device_count() const {
    std::size_t count = 0;
    for (const WantedSlice& slice : *wanted_) {
      count += slice.devices.size();
    }
    return count;
  }

  const PublisherOptions options_;
  SliceApi& api_;
  const Discover discover_;
  Metrics& metrics_;

  mutable Mutex mutex_;
  ConditionVariable wake_;
  Triggers triggers_ FL_GUARDED_BY(mutex_);
  bool published_ FL_GUARDED_BY(mutex_) = false;
  std::string problem_ FL_GUARDED_BY(mutex_) = "discover() has not returned yet";

  // Of the publisher's thread only, from here on.
  RetryDelay delay_;
  Backoff discover_backoff_;
  RateLimit repairs_, discoveries_, own_changes_;
  std::optional<SteadyClock::time_point> put_off_;  // discover() that was asked for
  std::optional<InstanceOrder> order_;
  bool yields_ = false;                                 // to a newer instance
  std::optional<SteadyClock::time_point> retry_at_;     // after a failure
  std::optional<SteadyClock::time_point> discover_at_;  // after discover() failed
  bool dirty_ = false;                                  // a round is due
  std::optional<std::vector<WantedSlice>> wanted_;
  std::optional<std::vector<WantedSlice>> last_written_;  // what `wanted_` was when all was in place last
  std::shared_ptr<const std::vector<ResourceSlice>> watch_list_;  // for the next round
  std::optional<SteadyClock::time_point> listed_;
  std::string node_uid_;                      // empty: to be read
  std::map<std::string, std::string> known_;  // uid -> resourceVersion that we saw last
  std::set<std::string> gone_;                // uids that we deleted, until the watch says so too
  std::map<DeviceKey, Reduced> reduced_;
  std::set<std::string> reported_;

  std::jthread thread_;  // last: it uses all of the above
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
