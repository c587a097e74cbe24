// SPDX-License-Identifier: Apache-2.0
// Keeps the ResourceSlices of this node and driver in the API server in line with the driver's discover().
//
//   republish(), resync ─► discover() ────┐
//   watch: others changed or deleted ours ├─► validate, page, diff against a fresh list ─► few writes
//   kubelet registered us: check_now() ───┘        ▲                                           │
//                                                  └── conflict, no API server: back-off ◄─────┘
//
// The list is read anew for each round (for the first it is the watch's own, if that is there in time), and events of
// our own writes are recognised by their resourceVersion, so that no cache can hide a deletion (kubernetes issues
// 132683, 140011, 140063) and nothing is written in steady state. This file decides when a round begins and what is
// wanted; slice_writer.h is the round.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "fairlead/core/clock.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/base/metrics.h"
#include "fairlead/kube/resources/slice.h"

namespace fairlead::kube {
class Client;
}  // namespace fairlead::kube

namespace fairlead::dra {

/// A watch event for one of our slices.
struct SliceEvent {
  enum class Kind : std::uint8_t {
    kChanged,  // added or modified
    kDeleted,
    kResynced,  // the watch began again; any change may have been missed
  };
  Kind kind = Kind::kResynced;
  std::string name, uid, resource_version;  // empty for kResynced
  /// kResynced: all of our slices, just listed, if the watch began with a list; else nullptr.
  std::shared_ptr<const std::vector<kube::ResourceSlice>> all = nullptr;
};

/// The part of the API server that publishing needs; made for one driver and node. Calls come from the
/// publisher's thread; they return soon after `stop` is requested.
class SliceApi : private Pinned {
 public:
  SliceApi() = default;
  virtual ~SliceApi() = default;

  /// The UID of the Node object. kNotFound: it does not exist (yet).
  virtual Result<std::string> node_uid(std::stop_token stop) = 0;
  /// All slices with our spec.driver and spec.nodeName, as they are now (no cache).
  virtual Result<std::vector<kube::ResourceSlice>> list(std::stop_token stop) = 0;
  /// Returns the stored slice. kExists: the generated name was taken, try again.
  virtual Result<kube::ResourceSlice> create(const kube::ResourceSlice& slice, std::stop_token stop) = 0;
  /// kConflict: changed since it was read; kNotFound: gone.
  virtual Result<kube::ResourceSlice> update(const kube::ResourceSlice& slice, std::stop_token stop) = 0;
  /// Deletes only the object with this UID and resourceVersion. kConflict as above; success if it is already
  /// gone.
  virtual Result<> remove(const kube::ResourceSlice& slice, std::stop_token stop) = 0;
  /// Begins to call `on_event` (any thread, must not block) for each change of one of our slices, and with
  /// kResynced whenever events may have been missed, until unwatch() returns.
  virtual void watch(std::function<void(const SliceEvent&)> on_event) = 0;
  virtual void unwatch() = 0;
};

/// SliceApi on a real API server. `client` must outlive it.
std::unique_ptr<SliceApi> make_slice_api(kube::Client& client, const std::string& driver_name,
                                         const std::string& node_name);

struct PublisherOptions {
  std::string driver_name, node_name;
  std::chrono::milliseconds resync{600'000};  // discover() and a full comparison at least this often
  std::chrono::milliseconds settle{20};       // triggers in quick succession become one round
  /// After a round that the API server refused; doubles, with jitter. While the server is unreachable:
  /// RetryDelay.
  std::chrono::milliseconds backoff_min{200};
  std::chrono::milliseconds backoff_max{30'000};
  /// Changes by others are repaired at once; when they change the slices again within `repair_quiet`, after
  /// repair_min, then after twice as long each time: two drivers of one name do not flood the API server
  /// (repair_pace.h).
  std::chrono::milliseconds repair_min{1'000};
  std::chrono::milliseconds repair_max{60'000};
  std::chrono::milliseconds repair_quiet{60'000};
  /// Calls of discover() after republish(): this many without waiting, then one per interval. A storm of
  /// events (routes, changing pods) does not cause a full discovery for each.
  unsigned discover_burst = 10;
  std::chrono::milliseconds discover_interval{1'000};
  /// Writes of changes on the node: this many without waiting, then the newest state once per interval. A
  /// flapping port must not cause a write, and wake every scheduler, each time.
  unsigned change_burst = 10;
  std::chrono::milliseconds change_interval{6'000};
  /// Where instances of the driver on this node find each other (instance_order.h): while a newer one is
  /// running, the older writes nothing, and checks again after `successor_check`. Empty: there is no other.
  std::string state_dir;
  std::chrono::milliseconds successor_check{5'000};
  /// How long a start waits for the watch, which lists the slices, before it lists them itself. 0: not at
  /// all.
  std::chrono::milliseconds first_sync{0};
  /// How old a list may be when the kubelet has registered us: the watch has reported all changes since.
  std::chrono::milliseconds list_is_fresh{5'000};
  Clock* clock = &real_clock();  // must outlive the publisher
};

/// Owns one thread. discover() is called on it only, one call at a time.
class SlicePublisher : private Pinned {
 public:
  using Discover = std::function<Result<std::vector<Pool>>()>;

  /// `api` and `metrics` must outlive it. Does nothing before start().
  SlicePublisher(PublisherOptions options, SliceApi& api, Discover discover, Metrics& metrics);
  ~SlicePublisher();  // stop()

  void start();
  /// Ends the thread; waits for it. The slices are kept: the next instance finds them, and the kubelet
  /// removes them if there is none. Idempotent.
  void stop();

  /// discover() again soon. Any thread, never blocks.
  void republish();
  /// Compare with the API server again soon (the kubelet (re)registered us). Any thread, never blocks.
  void check_now();

  /// Success once all slices have been as desired, or a newer instance publishes them; otherwise kUnavailable
  /// with the reason why they have not. Any thread.
  [[nodiscard]] Result<> ready() const;

  class Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::dra
