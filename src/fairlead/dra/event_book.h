// SPDX-License-Identifier: Apache-2.0
// EventBook: which Kubernetes Events have to be written, and when. A value with time as a parameter: no
// thread, no clock, no I/O.
//
// The same reason and message at the same pod is one Event. It is created at once and then patched with its
// newest count, at distances that double, however often it happens: a kubelet that tries for hours costs a
// dozen requests.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>

#include "fairlead/dra/driver.h"
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
    /// What has not happened for this long is forgotten; the API server forgets events after an hour too.
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

  /// Something happened to the pod. `wall` is the moment as RFC 3339 text, `name_suffix` makes the Event's
  /// name unique in its namespace. False: too many different things at this pod already, not taken.
  bool add(const std::string& namespace_, const Pod& pod, const std::string& reason,
           const std::string& message, TimePoint now, const std::string& wall,
           const std::string& name_suffix);
  /// When the next write is due. Nothing: none is.
  [[nodiscard]] std::optional<TimePoint> next_due() const;
  /// The write that has been due for longest.
  [[nodiscard]] std::optional<Write> due(TimePoint now);

  // How the write went. What happened meanwhile is written later.
  void written(const Write& write, TimePoint now);
  /// The Event is not there any more: begins again with a new one, of what has happened since.
  void lost(const Write& write, TimePoint now, const std::string& wall, const std::string& name_suffix);
  /// There is nobody to tell any more.
  void forget(const Write& write) { series_.erase(write.key); }
  /// Not taken by the server: again at `when`.
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
  /// The least loss: one of which everything is written rather than one that waits, then the oldest.
  void forget_one();
  [[nodiscard]] std::size_t count_of_pod(const std::string& pod_uid) const;

  Options options_;
  std::map<Key, Series> series_;
};

}  // namespace fairlead::dra
