// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/reports/event_book.h"

#include <algorithm>
#include <utility>

#include "fairlead/core/utf8.h"

namespace fairlead::dra {
namespace {

// Limits of core/v1 events (pkg/apis/core/validation/events.go) and of object names.
constexpr std::size_t kMaxReason = 128;
constexpr std::size_t kMaxMessage = 1024;
constexpr std::size_t kMaxName = 253;

/// "<pod>.<suffix>", as client-go names events.
std::string event_name(const std::string& pod, const std::string& suffix) {
  std::string name = cut_utf8(pod, kMaxName - 1 - std::min(suffix.size(), kMaxName - 1));
  while (!name.empty() && (name.back() == '.' || name.back() == '-')) {
    name.pop_back();  // only letters and digits may precede the dot
  }
  return name + "." + suffix;
}

}  // namespace

bool EventBook::add(const std::string& namespace_, const Pod& pod, const std::string& reason,
                    const std::string& message, TimePoint now, const std::string& wall,
                    const std::string& name_suffix) {
  forget_old(now);
  const Key key{pod.uid, cut_utf8(reason, kMaxReason), cut_utf8(message, kMaxMessage)};
  const auto found = series_.find(key);
  if (found != series_.end()) {
    Series& series = found->second;
    ++series.event.count;
    series.event.last_seen = wall;
    series.happened_at = now;
    if (!series.due) {
      series.due = std::max(now, series.written_at + series.distance);
    }
    return true;
  }
  if (count_of_pod(pod.uid) >= options_.max_per_pod) {
    return false;
  }
  if (series_.size() >= options_.max_series) {
    forget_one();
  }
  Series series;
  series.event.meta.name = event_name(pod.name, name_suffix);
  series.event.meta.namespace_ = namespace_;
  series.event.about = {
      .api_version = "v1", .kind = "Pod", .namespace_ = namespace_, .name = pod.name, .uid = pod.uid};
  series.event.type = "Warning";
  series.event.reason = std::get<1>(key);
  series.event.message = std::get<2>(key);
  series.event.component = options_.component;
  series.event.host = options_.host;
  series.event.first_seen = series.event.last_seen = wall;
  series.due = series.happened_at = now;
  series.distance = options_.first_distance;
  series_.emplace(key, std::move(series));
  return true;
}

std::optional<EventBook::TimePoint> EventBook::next_due() const {
  std::optional<TimePoint> first;
  for (const auto& [key, series] : series_) {
    if (series.due && (!first || *series.due < *first)) {
      first = series.due;
    }
  }
  return first;
}

std::optional<EventBook::Write> EventBook::due(TimePoint now) {
  forget_old(now);
  const auto first = next_due();
  if (!first || *first > now) {
    return std::nullopt;
  }
  const auto found =
      std::ranges::find_if(series_, [&](const auto& each) { return each.second.due == first; });
  return Write{.key = found->first, .create = !found->second.created, .event = found->second.event};
}

void EventBook::written(const Write& write, TimePoint now) {
  const auto found = series_.find(write.key);
  if (found == series_.end()) {
    return;
  }
  Series& series = found->second;
  if (series.created) {
    series.distance = std::min(series.distance * 2, options_.max_distance);
  }
  series.created = true;
  series.written_count = write.event.count;
  series.written_at = now;
  series.due.reset();
  if (series.event.count > series.written_count) {
    series.due = now + series.distance;
  }
}

void EventBook::lost(const Write& write, TimePoint now, const std::string& wall,
                     const std::string& name_suffix) {
  const auto found = series_.find(write.key);
  if (found == series_.end()) {
    return;
  }
  Series& series = found->second;
  series.created = false;
  series.event.meta.name = event_name(series.event.about.name, name_suffix);
  series.event.count = std::max<std::int64_t>(series.event.count - series.written_count, 1);
  series.written_count = 0;
  series.event.first_seen = wall;
  series.due = now;
}

void EventBook::postpone(const Write& write, TimePoint when) {
  if (const auto found = series_.find(write.key); found != series_.end()) {
    found->second.due = when;
  }
}

void EventBook::forget_old(TimePoint now) {
  std::erase_if(series_,
                [&](const auto& each) { return each.second.happened_at + options_.forget_after <= now; });
}

void EventBook::forget_one() {
  const auto least = std::ranges::min_element(series_, {}, [](const auto& each) {
    return std::pair(each.second.due.has_value(), each.second.happened_at);
  });
  if (least != series_.end()) {
    series_.erase(least);
  }
}

std::size_t EventBook::count_of_pod(const std::string& pod_uid) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(series_, [&](const auto& each) { return std::get<0>(each.first) == pod_uid; }));
}

}  // namespace fairlead::dra
