// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/slices/slice_publisher.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "fairlead/core/fd.h"
#include "fairlead/sys/files.h"

namespace fairlead::dra {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

constexpr auto kPatience = 30s;  // only a broken test waits this long

/// The API server as far as one driver on one node sees it, in memory. Events are delivered at once.
class FakeSliceApi final : public SliceApi {
 public:
  // ---- what tests do to it ----

  template <class F>
  auto locked(F f) {
    const std::unique_lock lock(mutex_);
    return f();
  }
  std::vector<kube::ResourceSlice> slices() {
    return locked([&] { return slices_; });
  }
  /// For await() only, which holds the lock.
  const std::vector<kube::ResourceSlice>& peek() const { return slices_; }
  int writes() {
    return locked([&] { return writes_; });
  }
  int lists() {
    return locked([&] { return lists_; });
  }
  void set_down(bool down) {
    locked([&] { down_ = down; });
  }
  void set_node_uid(std::optional<std::string> uid) {
    locked([&] { node_uid_ = std::move(uid); });
  }
  /// What the server does to every device it stores.
  void set_storing(std::function<void(Device&)> storing) {
    locked([&] { storing_ = std::move(storing); });
  }
  /// The next `count` updates find that somebody was quicker.
  void set_conflicts(int count) {
    locked([&] { conflicts_ = count; });
  }
  void set_list_error(std::optional<Error> error) {
    locked([&] { list_error_ = std::move(error); });
  }
  /// watch() begins with a list of its own, as the real one does.
  void let_watch_list() {
    locked([&] { watch_lists_ = true; });
  }
  /// Of the writes, for write_times().
  void set_clock(const Clock& clock) {
    locked([&] { clock_ = &clock; });
  }
  /// What another client does whenever a slice was created or updated by us.
  void set_rival(std::function<void()> rival) {
    locked([&] { rival_ = std::move(rival); });
  }
  /// When slices were created or updated by us, since `begin`.
  std::vector<Clock::Duration> write_times(Clock::TimePoint begin) {
    return locked([&] {
      std::vector<Clock::Duration> times;
      for (const Clock::TimePoint time : write_times_) {
        if (time >= begin) {
          times.push_back(time - begin);
        }
      }
      return times;
    });
  }
  void block_lists() {
    locked([&] { block_ = true; });
  }
  void delete_all() {
    for (const auto& slice : slices()) {
      erase(slice.meta.uid, true);
    }
  }
  void delete_first() { erase(slices().at(0).meta.uid, true); }
  void lose_silently() {
    for (const auto& slice : slices()) {
      erase(slice.meta.uid, false);
    }
  }
  void modify_first(const std::function<void(kube::ResourceSlice&)>& change) {
    SliceEvent event;
    locked([&] {
      change(slices_.at(0));
      slices_[0].meta.resource_version = std::to_string(++version_);
      event = event_of(SliceEvent::Kind::kChanged, slices_[0]);
    });
    send(event);
  }
  void send(const SliceEvent& event) {
    for (const auto& on_event : locked([&] { return on_event_; })) {
      on_event(event);
    }
  }
  /// Waits until `done` (called under the lock) holds.
  bool await(const std::function<bool()>& done) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, done);
  }
  bool await_slices(std::size_t count) {
    return await([&] { return slices_.size() == count; });
  }
  bool await_lists(int count) {
    return await([&] { return lists_ >= count; });
  }
  bool await_writes(int count) {
    return await([&] { return writes_ >= count; });
  }

  // ---- SliceApi ----

  Result<std::string> node_uid(std::stop_token /*stop*/) override {
    const std::unique_lock lock(mutex_);
    changed_.notify_all();
    ++node_reads_;
    FL_TRY(reachable());
    if (!node_uid_) {
      return Error(Code::kNotFound, "nodes \"node-1\" not found");
    }
    return *node_uid_;
  }
  Result<std::vector<kube::ResourceSlice>> list(std::stop_token stop) override {
    std::unique_lock lock(mutex_);
    ++lists_;
    changed_.notify_all();
    if (block_) {
      (void)stopped_.wait(lock, stop, [] { return false; });
      return Error(Code::kCancelled, "stopped");
    }
    FL_TRY(reachable());
    if (list_error_) {
      return *list_error_;
    }
    return slices_;
  }
  Result<kube::ResourceSlice> create(const kube::ResourceSlice& slice, std::stop_token /*stop*/) override {
    kube::ResourceSlice stored = slice;
    {
      const std::unique_lock lock(mutex_);
      FL_TRY(reachable());
      ++version_;
      stored.meta.name = slice.meta.generate_name + "r" + std::to_string(version_);
      stored.meta.uid = "uid-" + std::to_string(version_);
      stored.meta.resource_version = std::to_string(version_);
      store(stored);
      slices_.push_back(stored);
    }
    send(event_of(SliceEvent::Kind::kChanged, stored));
    let_rival_act();
    return stored;
  }
  Result<kube::ResourceSlice> update(const kube::ResourceSlice& slice, std::stop_token /*stop*/) override {
    kube::ResourceSlice stored = slice;
    {
      const std::unique_lock lock(mutex_);
      FL_TRY(reachable());
      kube::ResourceSlice* old = find(slice.meta.uid);
      if (old == nullptr) {
        return Error(Code::kNotFound, "gone");
      }
      if (conflicts_ > 0) {
        --conflicts_;
        old->meta.resource_version = std::to_string(++version_);
      }
      if (old->meta.resource_version != slice.meta.resource_version) {
        return Error(Code::kConflict, "the object has been modified");
      }
      stored.meta.resource_version = std::to_string(++version_);
      store(stored);
      *old = stored;
    }
    send(event_of(SliceEvent::Kind::kChanged, stored));
    let_rival_act();
    return stored;
  }
  Result<> remove(const kube::ResourceSlice& slice, std::stop_token /*stop*/) override {
    {
      const std::unique_lock lock(mutex_);
      FL_TRY(reachable());
      const kube::ResourceSlice* old = find(slice.meta.uid);
      if (old != nullptr && old->meta.resource_version != slice.meta.resource_version) {
        return Error(Code::kConflict, "the object has been modified");
      }
      ++writes_;
    }
    erase(slice.meta.uid, true);
    return {};
  }
  void watch(std::function<void(const SliceEvent&)> on_event) override {
    SliceEvent begun;
    locked([&] {
      on_event_.push_back(on_event);
      if (watch_lists_) {
        begun.all = std::make_shared<const std::vector<kube::ResourceSlice>>(slices_);
      }
    });
    if (begun.all) {
      on_event(begun);
    }
    if (after_watch_list) {
      after_watch_list();
    }
  }
  std::function<void()> after_watch_list;
  void unwatch() override {  // that of another publisher too
    locked([&] { on_event_.clear(); });
  }

 private:
  static SliceEvent event_of(SliceEvent::Kind kind, const kube::ResourceSlice& slice) {
    return {.kind = kind,
            .name = slice.meta.name,
            .uid = slice.meta.uid,
            .resource_version = slice.meta.resource_version};
  }
  Result<> reachable() const {
    return down_ ? Result<>(Error(Code::kUnavailable, "connect: Connection refused")) : Result<>{};
  }
  kube::ResourceSlice* find(const std::string& uid) {
    const auto at =
        std::ranges::find(slices_, uid, [](const kube::ResourceSlice& slice) { return slice.meta.uid; });
    return at == slices_.end() ? nullptr : &*at;
  }
  void let_rival_act() {
    if (const auto rival = locked([&] { return rival_; })) {
      rival();
    }
  }
  void store(kube::ResourceSlice& slice) {
    ++writes_;
    if (clock_ != nullptr) {
      write_times_.push_back(clock_->now());
    }
    changed_.notify_all();
    for (Device& device : slice.devices) {
      if (storing_) {
        storing_(device);
      }
    }
  }
  void erase(const std::string& uid, bool tell) {
    std::optional<SliceEvent> event;
    locked([&] {
      if (const kube::ResourceSlice* slice = find(uid)) {
        event = event_of(SliceEvent::Kind::kDeleted, *slice);
        event->resource_version = std::to_string(++version_);
        std::erase_if(slices_, [&](const kube::ResourceSlice& s) { return s.meta.uid == uid; });
        changed_.notify_all();
      }
    });
    if (event && tell) {
      send(*event);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable_any stopped_;
  std::vector<kube::ResourceSlice> slices_;
  std::optional<std::string> node_uid_ = "node-uid-1";
  std::vector<std::function<void(const SliceEvent&)>> on_event_;
  std::function<void(Device&)> storing_;
  std::function<void()> rival_;
  const Clock* clock_ = nullptr;
  std::vector<Clock::TimePoint> write_times_;
  std::optional<Error> list_error_;
  std::uint64_t version_ = 100;
  int writes_ = 0;
  int lists_ = 0;
  int node_reads_ = 0;
  int conflicts_ = 0;
  bool down_ = false;
  bool block_ = false;
  bool watch_lists_ = false;
};

Device device(const std::string& name) {
  Device out;
  out.name = name;
  return out;
}

std::vector<Device> devices(std::size_t count) {
  std::vector<Device> out;
  for (std::size_t i = 0; i < count; ++i) {
    out.push_back(device("dev" + std::to_string(1000 + i)));
  }
  return out;
}

class SlicePublisherTest : public ::testing::Test {
 protected:
  void start() {
    publisher_.emplace(options_, api_, [this] { return discover(); }, metrics_);
    publisher_->start();
  }
  /// Starts and waits until `count` slices are there and the first round is over.
  void start_and_publish(std::size_t count) {
    start();
    ASSERT_TRUE(api_.await_slices(count));
    await_quiet();
    ASSERT_TRUE(publisher_->ready());
  }
  /// When this returns every round that something before it caused is over.
  void await_quiet() {
    for (int i = 0; i < 2; ++i) {
      const int lists = api_.lists();
      publisher_->check_now();
      ASSERT_TRUE(api_.await_lists(lists + 1));
    }
  }
  void set_devices(std::vector<Device> list) {
    const std::unique_lock lock(mutex_);
    pools_ = std::vector<Pool>{{.name = "", .devices = std::move(list)}};
  }
  void set_discover_error(const std::string& sentence) {
    const std::unique_lock lock(mutex_);
    pools_ = std::unexpected(Error(Code::kInternal, sentence));
  }
  Result<std::vector<Pool>> discover() {
    const std::unique_lock lock(mutex_);
    ++discoveries_;
    called_.notify_all();
    return pools_;
  }
  void await_discoveries(int count) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(called_.wait_for(lock, kPatience, [&] { return discoveries_ >= count; }));
  }
  int discoveries() {
    const std::unique_lock lock(mutex_);
    return discoveries_;
  }
  void expect_metric(const std::string& line) {
    EXPECT_THAT(metrics_.text(), HasSubstr("\nfairlead_dra_" + line + "\n"));
  }

  PublisherOptions options_{.driver_name = "dra.example.com",
                            .node_name = "node-1",
                            .resync = 1h,
                            .settle = 1ms,
                            .backoff_min = 1ms,
                            .backoff_max = 10ms,
                            .repair_min = 1ms,
                            .repair_max = 10ms,
                            .discover_burst = 1000,
                            .change_burst = 1000,
                            .list_is_fresh = 0ms};
  FakeSliceApi api_;
  Metrics metrics_{"d", "v"};
  std::mutex mutex_;
  std::condition_variable called_;
  Result<std::vector<Pool>> pools_ = std::vector<Pool>{{.name = "", .devices = devices(3)}};
  int discoveries_ = 0;
  std::optional<SlicePublisher> publisher_;
};

TEST_F(SlicePublisherTest, Publishes_WithTheNodeAsOwner) {
  start_and_publish(1);
  const auto slice = api_.slices().at(0);
  EXPECT_EQ(slice.driver, "dra.example.com");
  EXPECT_EQ(slice.pool_name, "node-1");
  EXPECT_EQ(slice.pool_generation, 1);
  EXPECT_THAT(slice.devices, SizeIs(3));
  EXPECT_EQ(slice.meta.owner_references.at(0).uid, "node-uid-1");
  expect_metric("slice_writes_total{driver=\"d\",result=\"ok\",verb=\"create\"} 1");
  expect_metric("devices_published{driver=\"d\"} 3");
  expect_metric("slices_published{driver=\"d\"} 1");
}

TEST_F(SlicePublisherTest, SteadyState_OwnEventsCauseNothing) {
  set_devices(devices(300));
  start_and_publish(3);
  const int lists = api_.lists();
  await_quiet();
  EXPECT_EQ(api_.writes(), 3);
  EXPECT_EQ(api_.lists(), lists + 2);  // those of await_quiet
  expect_metric("slice_repairs_total{driver=\"d\"} 0");
}

TEST_F(SlicePublisherTest, Restart_FindsItsSlices_AndWritesNothing) {
  start_and_publish(1);
  publisher_.reset();
  EXPECT_THAT(api_.slices(), SizeIs(1));
  const int writes = api_.writes();
  start_and_publish(1);
  EXPECT_EQ(api_.writes(), writes);
}

TEST_F(SlicePublisherTest, NothingChanged_RepublishAsksNobody) {
  start_and_publish(1);
  const int lists = api_.lists();
  const int discoveries_before = discoveries();
  publisher_->republish();
  await_discoveries(discoveries_before + 1);
  await_quiet();
  EXPECT_EQ(api_.lists(), lists + 2);
  EXPECT_EQ(api_.writes(), 1);
}

TEST_F(SlicePublisherTest, Changed_RepublishUpdates) {
  start_and_publish(1);
  set_devices(devices(5));
  publisher_->republish();
  ASSERT_TRUE(api_.await_writes(2));
  EXPECT_THAT(api_.slices().at(0).devices, SizeIs(5));
  EXPECT_EQ(api_.slices().at(0).pool_generation, 1);
  await_quiet();
  expect_metric("slice_repairs_total{driver=\"d\"} 0");
}

TEST_F(SlicePublisherTest, DeletedByOthers_IsPutBack) {
  start_and_publish(1);
  api_.delete_first();
  ASSERT_TRUE(api_.await_writes(2));
  await_quiet();
  EXPECT_THAT(api_.slices(), SizeIs(1));
  expect_metric("slice_repairs_total{driver=\"d\"} 1");
}

TEST_F(SlicePublisherTest, WipedByTheKubelet_AreAllPutBack) {
  set_devices(devices(300));
  start_and_publish(3);
  api_.delete_all();
  ASSERT_TRUE(api_.await_slices(3));
  await_quiet();
  const auto slices = api_.slices();
  ASSERT_THAT(slices, SizeIs(3));
  for (const auto& slice : slices) {
    EXPECT_EQ(slice.pool_generation, slices[0].pool_generation);
    EXPECT_EQ(slice.pool_slice_count, 3);
  }
}

TEST_F(SlicePublisherTest, ModifiedByOthers_IsPutBack) {
  start_and_publish(1);
  api_.modify_first([](kube::ResourceSlice& slice) { slice.devices.pop_back(); });
  ASSERT_TRUE(api_.await_writes(2));
  await_quiet();
  EXPECT_THAT(api_.slices().at(0).devices, SizeIs(3));
}

TEST_F(SlicePublisherTest, LostEvent_IsFoundWhenTheKubeletRegistersUs) {
  start_and_publish(1);
  api_.lose_silently();
  publisher_->check_now();
  EXPECT_TRUE(api_.await_slices(1));
}

/// A thousand agents that start at once list once each: the watch's own list serves the first round, and the
/// kubelet's registration a moment later asks nothing.
TEST_F(SlicePublisherTest, Start_ListsNothingBesideTheWatch) {
  api_.let_watch_list();
  options_.first_sync = kPatience;
  options_.list_is_fresh = 1h;
  start();
  ASSERT_TRUE(api_.await_slices(1));
  publisher_->check_now();
  set_devices(devices(4));
  publisher_->republish();
  ASSERT_TRUE(api_.await_writes(2)) << "the next round";
  EXPECT_EQ(api_.lists(), 1) << "of the next round, none of the first and none of the registration";
}

/// The watch began late, or anew: its list was made before we wrote.
TEST_F(SlicePublisherTest, ListOfTheWatchThatIsOlderThanOurWrites_IsNotUsed) {
  options_.first_sync = 1ms;
  start_and_publish(1);
  const int lists = api_.lists();
  SliceEvent begun;
  begun.all = std::make_shared<const std::vector<kube::ResourceSlice>>();  // before the first was created
  api_.send(begun);
  ASSERT_TRUE(api_.await_lists(lists + 1));
  await_quiet();
  EXPECT_THAT(api_.slices(), SizeIs(1));
  EXPECT_EQ(api_.writes(), 1);
}

TEST_F(SlicePublisherTest, WatchThatDoesNotBegin_TheStartListsItself) {
  options_.first_sync = 1ms;
  start_and_publish(1);
}

TEST_F(SlicePublisherTest, DeletedAfterTheWatchsList_IsMadeAnew) {
  start_and_publish(1);
  publisher_.reset();
  api_.let_watch_list();
  api_.after_watch_list = [&] { api_.delete_first(); };
  options_.first_sync = kPatience;
  start();
  ASSERT_TRUE(api_.await_writes(2));
  EXPECT_THAT(api_.slices(), SizeIs(1));
}

TEST_F(SlicePublisherTest, LostEvent_IsFoundWhenTheWatchBeginsAnew) {
  start_and_publish(1);
  api_.lose_silently();
  api_.send({});
  EXPECT_TRUE(api_.await_slices(1));
}

TEST_F(SlicePublisherTest, LostEvent_IsFoundByTheResync) {
  options_.resync = 5ms;
  start_and_publish(1);
  api_.lose_silently();
  EXPECT_TRUE(api_.await_slices(1));
  const int lists = api_.lists();
  const int discoveries_before = discoveries();
  EXPECT_TRUE(api_.await_lists(lists + 3));
  await_discoveries(discoveries_before + 3);
  EXPECT_EQ(api_.writes(), 2);
}

TEST_F(SlicePublisherTest, ApiServerAwayAtStart_IsTriedUntilItIsThere) {
  api_.set_down(true);
  start();
  ASSERT_TRUE(api_.await_lists(3));
  const auto ready = publisher_->ready();
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().code(), Code::kUnavailable);
  EXPECT_THAT(ready.error().what(),
              HasSubstr("not published yet: list ResourceSlices: connect: Connection refused"));
  api_.set_down(false);
  ASSERT_TRUE(api_.await_slices(1));
  await_quiet();
  EXPECT_TRUE(publisher_->ready());
}

TEST_F(SlicePublisherTest, ApiServerAway_IsTriedSoonHoweverLongRefusalsWait) {
  options_.backoff_min = options_.backoff_max = 1000h;
  api_.set_down(true);
  start();
  ASSERT_TRUE(api_.await_lists(4));
  api_.set_down(false);
  ASSERT_TRUE(api_.await_slices(1));
}

TEST_F(SlicePublisherTest, ApiServerAwayLater_ChangesArePublishedWhenItIsBack) {
  start_and_publish(1);
  api_.set_down(true);
  set_devices(devices(7));
  publisher_->republish();
  const int lists = api_.lists();
  ASSERT_TRUE(api_.await_lists(lists + 2));
  EXPECT_TRUE(publisher_->ready());  // what was published still stands
  api_.set_down(false);
  ASSERT_TRUE(api_.await_writes(2));
  EXPECT_THAT(api_.slices().at(0).devices, SizeIs(7));
}

TEST_F(SlicePublisherTest, OldApiServer_SaysWhatIsNeeded) {
  api_.set_list_error(Error(Code::kNotFound, "the server could not find the requested resource"));
  start();
  ASSERT_TRUE(api_.await_lists(3));
  EXPECT_THAT(publisher_->ready().error().what(),
              HasSubstr("resource.k8s.io/v1, which came with Kubernetes 1.34"));
}

TEST_F(SlicePublisherTest, Conflict_ReadsAgain) {
  start_and_publish(1);
  api_.set_conflicts(2);
  set_devices(devices(5));
  publisher_->republish();
  ASSERT_TRUE(api_.await_writes(2));
  await_quiet();
  EXPECT_THAT(api_.slices().at(0).devices, SizeIs(5));
  expect_metric("slice_writes_total{driver=\"d\",result=\"conflict\",verb=\"update\"} 2");
  expect_metric("slice_writes_total{driver=\"d\",result=\"ok\",verb=\"update\"} 1");
}

TEST_F(SlicePublisherTest, DroppedField_IsReportedOnce_AndAccepted) {
  api_.set_storing([](Device& stored) { stored.allow_multiple_allocations = false; });
  auto list = devices(2);
  list[0].allow_multiple_allocations = true;
  set_devices(list);
  start_and_publish(1);
  await_quiet();
  EXPECT_EQ(api_.writes(), 1);
  expect_metric("dropped_fields_total{driver=\"d\"} 1");
  // A change of another device must not send it again as a loss.
  list[1].attributes["speed"] = std::int64_t{5};
  set_devices(list);
  publisher_->republish();
  ASSERT_TRUE(api_.await_writes(2));
  await_quiet();
  EXPECT_EQ(api_.writes(), 2);
  expect_metric("dropped_fields_total{driver=\"d\"} 1");
  // A change of the device itself is tried in full.
  list[0].attributes["speed"] = std::int64_t{5};
  set_devices(list);
  publisher_->republish();
  ASSERT_TRUE(api_.await_writes(3));
  await_quiet();
  EXPECT_EQ(api_.writes(), 3);
  EXPECT_EQ(api_.slices().at(0).devices.at(0).attributes.at("speed"), AttributeValue(std::int64_t{5}));
  expect_metric("dropped_fields_total{driver=\"d\"} 2");
}

TEST_F(SlicePublisherTest, ServerDefaultsAndCanonicalQuantities_AreNoChange) {
  api_.set_storing([](Device& stored) {
    for (kube::Taint& taint : stored.taints) {
      taint.time_added = taint.time_added.empty() ? "2026-01-31T12:00:00Z" : taint.time_added;
    }
    for (auto& [key, capacity] : stored.capacity) {
      capacity.value = capacity.value == "1024Mi" ? "1Gi" : capacity.value;
    }
  });
  auto list = devices(1);
  list[0].taints = {{.key = "k", .value = "", .effect = "NoSchedule", .time_added = ""}};
  list[0].capacity["memory"] = {.value = "1024Mi", .request_policy = {}};
  set_devices(list);
  start_and_publish(1);
  await_quiet();
  EXPECT_EQ(api_.writes(), 1);
  expect_metric("dropped_fields_total{driver=\"d\"} 0");
}

TEST_F(SlicePublisherTest, NodeMadeAnew_SlicesGetTheNewOwner) {
  start_and_publish(1);
  api_.set_node_uid("node-uid-2");
  api_.delete_all();  // the garbage collector: their owner is gone
  ASSERT_TRUE(api_.await_writes(2));
  await_quiet();
  EXPECT_EQ(api_.slices().at(0).meta.owner_references.at(0).uid, "node-uid-2");
}

TEST_F(SlicePublisherTest, NodeMadeAnew_KubeletRegistration_ChangesTheOwner) {
  start_and_publish(1);
  api_.set_node_uid("node-uid-2");
  publisher_->check_now();
  ASSERT_TRUE(api_.await_writes(2));
  EXPECT_EQ(api_.slices().at(0).meta.owner_references.at(0).uid, "node-uid-2");
}

TEST_F(SlicePublisherTest, NodeMissing_WaitsForIt) {
  api_.set_node_uid(std::nullopt);
  start();
  ASSERT_TRUE(api_.await_lists(3));
  EXPECT_THAT(publisher_->ready().error().what(), HasSubstr("read Node node-1: nodes \"node-1\" not found"));
  EXPECT_EQ(api_.writes(), 0);
  api_.set_node_uid("node-uid-1");
  EXPECT_TRUE(api_.await_slices(1));
}

TEST_F(SlicePublisherTest, DiscoverFails_LastStateStays_AndItIsTriedAgain) {
  start_and_publish(1);
  set_discover_error("cannot read /sys");
  const int before = discoveries();
  publisher_->republish();
  await_discoveries(before + 3);
  api_.delete_first();
  ASSERT_TRUE(api_.await_writes(2));
  EXPECT_THAT(api_.slices().at(0).devices, SizeIs(3));
  set_devices(devices(4));
  ASSERT_TRUE(api_.await_writes(3));
  EXPECT_THAT(api_.slices().at(0).devices, SizeIs(4));
}

TEST_F(SlicePublisherTest, DiscoverFailsAtStart_SaysWhy) {
  set_discover_error("cannot read /sys");
  start();
  await_discoveries(3);
  EXPECT_THAT(publisher_->ready().error().what(), HasSubstr("discover: cannot read /sys"));
  EXPECT_EQ(api_.writes(), 0);
  set_devices(devices(1));
  EXPECT_TRUE(api_.await_slices(1));
}

TEST_F(SlicePublisherTest, BadDevice_DoesNotLoseThePool) {
  auto list = devices(3);
  list[1].name = "Not A Label";
  list[2].attributes["bad key"] = true;
  set_devices(list);
  start_and_publish(1);
  EXPECT_THAT(api_.slices().at(0).devices, SizeIs(2));
  publisher_->republish();
  await_quiet();
  expect_metric("invalid_left_out_total{driver=\"d\",what=\"attribute\"} 1");
  expect_metric("invalid_left_out_total{driver=\"d\",what=\"device\"} 1");
}

/// With a clock that the test sets: the writes' times are exact.
class SlicesThatOthersChange : public SlicePublisherTest {
 protected:
  SlicesThatOthersChange() {
    options_.clock = &clock_;
    options_.settle = 0ms;
    options_.repair_min = 1s;
    options_.repair_max = 60s;
    options_.repair_quiet = 60s;
    api_.set_clock(clock_);
  }
  ~SlicesThatOthersChange() override { publisher_.reset(); }  // before the clock
  /// In steps, so that whatever is due meanwhile is done at its time.
  void let_pass(std::chrono::milliseconds time) {
    constexpr auto kStep = 100ms;
    for (; time > 0ms; time -= kStep) {
      clock_.advance(kStep);
      await_quiet();
    }
  }
  static void take_one(kube::ResourceSlice& slice) { slice.devices.pop_back(); }

  VirtualClock clock_;
};

TEST_F(SlicesThatOthersChange, AtOnceAfterEachRepair_CostFewWrites) {
  start_and_publish(1);
  const auto begin = clock_.now();
  api_.set_rival([&] { api_.modify_first(take_one); });
  api_.modify_first(take_one);
  await_quiet();
  let_pass(60s);
  EXPECT_THAT(api_.write_times(begin), ElementsAre(0s, 0s, 1s, 3s, 7s, 15s, 31s)) << "the first is no repair";
  let_pass(200s);
  EXPECT_THAT(api_.write_times(begin + 60s), ElementsAre(3s, 63s, 123s, 183s));
  expect_metric("slice_repairs_total{driver=\"d\"} 10");
}

TEST_F(SlicesThatOthersChange, DeletedAtOnceAfterEachRepair_CostFewWrites) {
  set_devices(devices(300));
  start_and_publish(3);
  const auto begin = clock_.now();
  api_.set_rival([&] { api_.delete_all(); });
  api_.delete_all();
  await_quiet();
  let_pass(60s);
  auto times = api_.write_times(begin);
  times.erase(std::ranges::unique(times).begin(), times.end());
  EXPECT_THAT(times, ElementsAre(0s, 1s, 3s, 7s, 15s, 31s));
}

TEST_F(SlicesThatOthersChange, OnceAfterAQuietMinute_IsRepairedAtOnce) {
  start_and_publish(1);
  api_.set_rival([&] { api_.modify_first(take_one); });
  api_.modify_first(take_one);
  await_quiet();
  let_pass(10s);
  api_.set_rival(nullptr);
  let_pass(5s);
  EXPECT_THAT(api_.slices().at(0).devices, SizeIs(3)) << "15 s after the first";
  clock_.advance(60s);
  const int writes = api_.writes();
  api_.delete_first();
  EXPECT_TRUE(api_.await_writes(writes + 1)) << "time does not go on";
}

TEST_F(SlicesThatOthersChange, DoNotDelayWhatChangesOnTheNode) {
  start_and_publish(1);
  api_.set_rival([&] { api_.modify_first(take_one); });
  api_.modify_first(take_one);
  await_quiet();
  let_pass(20s);
  for (const std::size_t count : {5U, 7U, 9U}) {
    set_devices(devices(count));
    publisher_->republish();
    ASSERT_TRUE(api_.await([&] { return api_.peek().at(0).devices.size() == count - 1; })) << count;
  }
}

TEST_F(SlicesThatOthersChange, RepairThatFails_IsTriedAgainAsAnyWrite) {
  start_and_publish(1);
  api_.set_conflicts(6);  // more than one round tries
  const int lists = api_.lists();
  api_.modify_first(take_one);
  const auto is_repaired = [&] { return api_.peek().at(0).devices.size() == 3; };
  ASSERT_TRUE(api_.await_lists(lists + 4)) << "the last try of the first round";
  publisher_->check_now();  // another round, without the 1 s of a second repair
  ASSERT_TRUE(api_.await(is_repaired));
  expect_metric("slice_repairs_total{driver=\"d\"} 1");
}

TEST_F(SlicesThatOthersChange, AreWarnedOfOnce_WithWhoItWas) {
  start_and_publish(1);
  api_.set_rival([&] {
    api_.modify_first([](kube::ResourceSlice& slice) {
      slice.devices.pop_back();
      slice.last_manager = "other-agent";
    });
  });
  ::testing::internal::CaptureStderr();
  api_.modify_first(take_one);
  await_quiet();
  let_pass(60s);
  const std::string log = ::testing::internal::GetCapturedStderr();
  const auto first = log.find("another client keeps changing or deleting");
  ASSERT_NE(first, std::string::npos) << log;
  EXPECT_EQ(log.find("another client keeps changing or deleting", first + 1), std::string::npos) << log;
  EXPECT_THAT(log, HasSubstr("other-agent"));
}

TEST_F(SlicesThatOthersChange, OneByOne_AreNotWarnedOf) {
  ::testing::internal::CaptureStderr();
  start_and_publish(1);
  for (int i = 0; i < 3; ++i) {
    api_.delete_first();
    await_quiet();
    let_pass(5s);
  }
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), Not(HasSubstr("another client keeps")));
}

TEST_F(SlicePublisherTest, FlappingPort_CostsFewWrites_AndItsLastStateStands) {
  options_.change_burst = 3;
  options_.change_interval = 1h;
  start_and_publish(1);
  for (int i = 0; i < 60; ++i) {
    set_devices(devices(i % 2 == 0 ? 2 : 3));
    const int before = discoveries();
    publisher_->republish();
    await_discoveries(before + 1);
  }
  set_devices(devices(7));
  publisher_->republish();
  publisher_->check_now();  // as every resync
  ASSERT_TRUE(api_.await([&] { return api_.peek().at(0).devices.size() == 7; }));
  await_quiet();
  EXPECT_LE(api_.writes(), 1 + 3 + 1);
}

TEST_F(SlicePublisherTest, FlappingPort_IsWrittenAgainAfterTheInterval) {
  options_.change_burst = 1;
  options_.change_interval = 20ms;
  start_and_publish(1);
  for (int i = 0; i < 5; ++i) {
    set_devices(devices(4 + static_cast<std::size_t>(i)));
    publisher_->republish();
  }
  EXPECT_TRUE(api_.await([&] { return api_.peek().at(0).devices.size() == 8; })) << "nobody asked again";
}

TEST_F(SlicePublisherTest, StormOfEvents_IsNotLookedAtOneByOne) {
  options_.discover_burst = 3;
  options_.discover_interval = 1h;
  start_and_publish(1);
  const int before = discoveries();
  for (int i = 0; i < 50; ++i) {
    publisher_->republish();
    std::this_thread::sleep_for(3ms);  // longer than what becomes one round
  }
  await_quiet();
  EXPECT_LE(discoveries(), before + 4) << "three, and one if the last comes together with a check";
}

TEST_F(SlicePublisherTest, StormOfEvents_TheLastIsLookedAtAfterTheInterval) {
  options_.discover_burst = 1;
  options_.discover_interval = 20ms;
  start_and_publish(1);
  publisher_->republish();
  await_discoveries(2);
  set_devices(devices(5));
  publisher_->republish();
  EXPECT_TRUE(api_.await([&] { return api_.peek().at(0).devices.size() == 5; }));
}

TEST_F(SlicePublisherTest, TwoInstancesThatOfferDifferentThings_TheOlderStopsWriting_UntilTheNewerIsGone) {
  std::string dir = ::testing::TempDir() + "fl-slices-XXXXXX";
  ASSERT_NE(::mkdtemp(dir.data()), nullptr);
  const ScopeExit remove([&] { (void)sys::remove_tree(dir); });
  options_.state_dir = dir;
  options_.successor_check = 1ms;
  start_and_publish(1);
  std::atomic<int> asked = 0;
  SlicePublisher newer(
      options_, api_,
      [&]() -> Result<std::vector<Pool>> {
        ++asked;
        return std::vector<Pool>{{.name = "", .devices = devices(9)}};
      },
      metrics_);
  newer.start();
  ASSERT_TRUE(api_.await([&] { return api_.peek().at(0).devices.size() == 9; }));
  const int writes = api_.writes();
  for (int i = 0; i < 10; ++i) {
    set_devices(devices(i % 2 == 0 ? 2 : 3));
    const int before = discoveries();
    publisher_->republish();
    publisher_->check_now();
    await_discoveries(before + 1);
    newer.check_now();
    std::this_thread::sleep_for(3ms);
  }
  EXPECT_EQ(api_.writes(), writes);
  EXPECT_THAT(api_.slices().at(0).devices, SizeIs(9));
  newer.stop();
  EXPECT_TRUE(api_.await([&] { return api_.peek().at(0).devices.size() == 3; })) << "it was rolled back";
}

TEST_F(SlicePublisherTest, OlderInstanceThatNeverPublished_IsReadyWhenANewerOneLives) {
  std::string dir = ::testing::TempDir() + "fl-slices-XXXXXX";
  ASSERT_NE(::mkdtemp(dir.data()), nullptr);
  const ScopeExit remove([&] { (void)sys::remove_tree(dir); });
  options_.state_dir = dir;
  options_.successor_check = 1ms;
  api_.set_list_error(Error(Code::kDenied, "forbidden"));
  start();
  ASSERT_TRUE(api_.await_lists(1));  // it has taken its place
  EXPECT_FALSE(publisher_->ready());
  SlicePublisher newer(options_, api_, [this] { return discover(); }, metrics_);
  newer.start();
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!publisher_->ready() && std::chrono::steady_clock::now() < until) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(publisher_->ready());
  EXPECT_FALSE(newer.ready());
}

TEST_F(SlicePublisherTest, Stop_EndsABlockedCall_AndLeavesTheSlices) {
  start_and_publish(1);
  api_.block_lists();
  const int lists = api_.lists();
  publisher_->check_now();
  ASSERT_TRUE(api_.await_lists(lists + 1));
  publisher_->stop();
  publisher_->stop();
  EXPECT_THAT(api_.slices(), SizeIs(1));
}

TEST_F(SlicePublisherTest, Stop_BeforeStart_IsFine) {
  publisher_.emplace(options_, api_, [this] { return discover(); }, metrics_);
  publisher_->republish();
  publisher_->stop();
  EXPECT_FALSE(publisher_->ready());
}

TEST_F(SlicePublisherTest, EverythingAtOnce_Converges) {
  set_devices(devices(300));
  start_and_publish(3);
  {
    std::vector<std::jthread> threads;
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        publisher_->republish();
        publisher_->check_now();
        (void)publisher_->ready();
      }
    });
    threads.emplace_back([&] {
      for (std::size_t i = 0; i < 50; ++i) {
        set_devices(devices(130 + i));
        publisher_->republish();
      }
    });
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        api_.delete_all();
        api_.set_down(i % 2 == 0);
        api_.set_conflicts(1);
        api_.send({});
      }
      api_.set_down(false);
    });
  }
  set_devices(devices(257));
  publisher_->republish();
  const auto total = [&] {
    std::size_t count = 0;
    for (const auto& slice : api_.slices()) {
      count += slice.devices.size();
    }
    return count;
  };
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (total() != 257 && std::chrono::steady_clock::now() < deadline) {
    await_quiet();
  }
  await_quiet();
  EXPECT_EQ(total(), 257U);
  const auto slices = api_.slices();
  ASSERT_THAT(slices, SizeIs(3));
  for (const auto& slice : slices) {
    EXPECT_EQ(slice.pool_generation, slices[0].pool_generation);
    EXPECT_EQ(slice.pool_slice_count, 3);
  }
}

}  // namespace
}  // namespace fairlead::dra
