// SPDX-License-Identifier: Apache-2.0
// EventBook: which Kubernetes Events have to be written, and when. A plain value that gets the time as a
// parameter: no thread, no clock, no I/O.
//
// The same reason and message at the same pod is one Event. It is created at once and then patched with its
// newest count, at intervals that double, however often it happens: a kubelet that retries for hours causes a
// dozen requests.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "fairlead/dra/base/driver.h"
#include "fairlead/kube/resources/event.h"

namespace fairlead::dra {

/// One owner, no locking.
class EventBook {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  struct Options {
    std::string component, host;
    Duration first_distance = std::chrono::seconds(10);  // from the first write to the second
    Duration max_distance = std::chrono::minutes(10);
    /// Events that have not happened again for this long are forgotten; the API server forgets events after
    /// an hour too.
    Duration forget_after = std::chrono::hours(1);
    std::size_t max_series = 512;  // more: the oldest is forgotten
    std::size_t max_per_pod = 10;  // different ones, until forgotten
  };
  /// "Pod, reason, message": one Event.
  using Key = std::tuple<std::string, std::string, std::string>;
  struct Write {
    Key key;
    bool create = false;  // else patch
    kube::Event event;
  };

  explicit EventBook(Options options) : options_(std::move(options)) {}

  /// An event happened at the pod. `wall` is the time as RFC 3339 text, `name_suffix` makes the Event's name
  /// unique in its namespace. False: dropped, because the pod has too many different events already.
  bool add(const std::string& namespace_, const Pod& pod, const std::string& reason,
           const std::string& message, TimePoint now, const std::string& wall,
           const std::string& name_suffix);
  /// When the next write is due; nullopt if there is nothing to write.
  [[nodiscard]] std::optional<TimePoint> next_due() const;
  /// The write that has been due for longest.
  [[nodiscard]] std::optional<Write> due(TimePoint now);

  // The result of the write. Events in the meantime are written later.
  void written(const Write& write, TimePoint now);
  /// The Event does not exist any more: creates a new one, with the events since.
  void lost(const Write& write, TimePoint now, const std::string& wall, const std::string& name_suffix);
  /// The pod does not exist any more.
  void forget(const Write& write) { series_.erase(write.key); }
  /// The server refused it: retry at `when`.
  void postpone(const Write& write, TimePoint when);

  [[nodiscard]] std::size_t size() const { return series_.size(); }

 private:
  struct Series {
    kube::Event event;
    bool created = false;
    std::int64_t written_count = 0;
    std::optional<TimePoint> due;
    TimePoint written_at;
    TimePoint happened_at;
    Duration distance{};
  };
  void forget_old(TimePoint now);
  /// Evicts the least important: an event that is completely written rather than one that waits, then the
  /// oldest.
  void forget_one();
  [[nodiscard]] std::size_t count_of_pod(const std::string& pod_uid) const;

  Options options_;
  std::map<Key, Series> series_;
};

}  // namespace fairlead::dra
