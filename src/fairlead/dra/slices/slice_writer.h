// SPDX-License-Identifier: Apache-2.0
// One round of publishing: reads this node's slices from the API server, compares them with the wanted ones and writes
// the differences. It remembers what it has written, so that it recognises the events of its own writes and what the API
// server did not store. When a round begins, and what is wanted, is decided by the SlicePublisher.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/metrics.h"
#include "fairlead/dra/slices/rate_limit.h"
#include "fairlead/dra/slices/repair_pace.h"
#include "fairlead/dra/slices/slice_diff.h"
#include "fairlead/dra/slices/slice_publisher.h"

namespace fairlead::dra {

/// One thread, that of the publisher.
class SliceWriter : private Pinned {
 public:
  using TimePoint = RateLimit::TimePoint;
  using Wanted = std::vector<WantedSlice>;

  /// All must outlive it.
  SliceWriter(const PublisherOptions& options, SliceApi& api, Metrics& metrics);

  /// Was this change made by another client? Our own writes are reported as events too.
  [[nodiscard]] bool by_others(const SliceEvent& event) const;
  /// To be called with each event, after by_others().
  void note(const SliceEvent& event);
  /// The Node may be another one of the same name now: the next round reads its UID.
  void forget_node() { node_uid_.clear(); }
  /// Whether the slices were listed a short time ago (PublisherOptions::list_is_fresh).
  [[nodiscard]] bool has_fresh_list() const;

  /// Writes of changes on the node are limited (PublisherOptions::change_burst): when these may be written, if not now.
  [[nodiscard]] std::optional<TimePoint> write_later(const Wanted& wanted);
  /// Reads, compares, writes; again at once if the slices changed meanwhile. An error with repair_at(): others keep
  /// changing the slices.
  Result<> round(const Wanted& wanted, const std::stop_token& stop);
  /// When the slices may be put back, if it is too early for the last round.
  [[nodiscard]] std::optional<TimePoint> repair_at() const { return repair_at_; }

  /// How many slices are published, as far as known.
  [[nodiscard]] std::size_t slices() const { return known_.size(); }

 private:
  /// What the API server made of a device that lost something on the way.
  struct Reduced {
    Device wanted, stored;
  };
  using DeviceKey = std::pair<std::string, std::string>;  // pool, device
  using Slices = std::vector<kube::ResourceSlice>;

  Result<> attempt_round(const Wanted& wanted, const std::stop_token& stop);
  Result<Slices> list(const std::stop_token& stop);
  [[nodiscard]] bool lost_any(const Slices& existing) const;
  void remember(const Slices& existing);
  [[nodiscard]] bool is_own_change(const Wanted& wanted) const {
    return last_written_ && last_written_ != wanted;
  }
  Result<> limit_repairs(const Wanted& wanted, const std::vector<SliceChange>& changes,
                         const Slices& existing);
  void warn_of_others(const std::vector<SliceChange>& changes, const Slices& existing);
  [[nodiscard]] Wanted reduce(const Wanted& wanted);
  Result<> write(const Wanted& wanted, const SliceChange& change, const std::stop_token& stop);
  void count(const SliceChange& change, std::string_view result);
  Result<> compare_stored(const Wanted& wanted, const kube::ResourceSlice& sent,
                          const kube::ResourceSlice& stored);
  void accept(const Wanted& all, const std::string& pool, const Device& stored,
              const std::vector<std::string>& lost);

  const PublisherOptions& options_;
  SliceApi& api_;
  Metrics& metrics_;
  RepairPace repairs_;
  RateLimit own_changes_;
  std::optional<TimePoint> repair_at_;
  bool is_warned_ = false;                    // of others that keep changing the slices
  std::optional<Wanted> last_written_;        // what was wanted when all was in place last
  std::shared_ptr<const Slices> watch_list_;  // for the next round
  std::optional<TimePoint> listed_;           // when the slices were read last
  std::string node_uid_;                      // empty: to be read
  std::map<std::string, std::string> known_;  // uid -> resourceVersion that was seen last
  std::set<std::string> gone_;                // uids that we deleted, until the watch says so too
  std::map<DeviceKey, Reduced> reduced_;
};

/// In all slices.
std::size_t device_count(const SliceWriter::Wanted& wanted);

}  // namespace fairlead::dra
