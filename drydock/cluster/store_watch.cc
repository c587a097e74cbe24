// SPDX-License-Identifier: Apache-2.0
// The store's history and the watches that read it.
#include <algorithm>
#include <charconv>
#include <utility>

#include "drydock/cluster/field_check.h"
#include "drydock/cluster/selector.h"
#include "drydock/cluster/store.h"

namespace drydock {
namespace {

using fairlead::Lock;
using Object = std::shared_ptr<const Json>;

std::uint64_t number_of(const std::string& text) {
  std::uint64_t value = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

Watch::Watch(Store* store, const Kind* kind, ListQuery query, std::uint64_t position)
    : store_(store),
      kind_(kind),
      query_(std::move(query)),
      position_(position),
      cancelled_(std::make_shared<bool>(false)) {}

std::optional<WatchEvent> Watch::event_of(const Object& before, const Object& after) const {
  const bool was = before && selects(query_, *before);
  const bool is = after && selects(query_, *after);
  if (is) {
    return WatchEvent{.type = was ? WatchEvent::Type::kModified : WatchEvent::Type::kAdded,
                      .object = *after,
                      .resource_version = 0};
  }
  if (was) {
    // An object that left the selection is reported with its last state in it.
    return WatchEvent{.type = WatchEvent::Type::kDeleted, .object = *before, .resource_version = 0};
  }
  return std::nullopt;
}

ApiResult<std::vector<WatchEvent>> Watch::next(Clock::time_point deadline) {
  if (!initial_.empty()) {
    return std::exchange(initial_, {});
  }
  const Lock lock(store_->mutex_);
  std::vector<WatchEvent> events;
  while (!*cancelled_) {
    if (position_ < store_->oldest_) {
      return ApiError::expired("too old resource version: " + std::to_string(position_) + " (" +
                               std::to_string(store_->oldest_) + ")");
    }
    auto it = std::ranges::upper_bound(store_->history_, position_, {}, &Store::Change::resource_version);
    for (; it != store_->history_.end(); ++it) {
      if (it->kind != kind_) {
        continue;
      }
      if (auto event = event_of(it->before, it->after)) {
        event->resource_version = it->resource_version;
        event->object["metadata"]["resourceVersion"] = std::to_string(it->resource_version);
        events.push_back(std::move(*event));
      }
    }
    position_ = store_->resource_version_;
    if (!events.empty() || Clock::now() >= deadline) {
      return events;
    }
    (void)store_->changed_.wait_until(store_->mutex_, deadline);
  }
  return events;
}

void Watch::cancel() {
  const Lock lock(store_->mutex_);
  *cancelled_ = true;
  store_->changed_.notify_all();
}

bool Watch::cancelled() const {
  const Lock lock(store_->mutex_);
  return *cancelled_;
}

ApiResult<Watch> Store::watch(const Kind& kind, ListQuery query,
                              std::optional<std::uint64_t> resource_version) {
  const Lock lock(mutex_);
  const std::uint64_t from = resource_version.value_or(0);
  if (from > resource_version_) {
    return ApiError{.code = 504,
                    .reason = "Timeout",
                    .message = "Too large resource version: " + std::to_string(from) +
                               ", current: " + std::to_string(resource_version_),
                    .causes = {{.field = "",
                                .message = "Too large resource version",
                                .reason = "ResourceVersionTooLarge"}},
                    .retry_after_seconds = 1};
  }
  if (from != 0 && from < oldest_) {
    return ApiError::expired("too old resource version: " + std::to_string(from) + " (" +
                             std::to_string(oldest_) + ")");
  }
  Watch watch(this, &kind, std::move(query), from == 0 ? resource_version_ : from);
  const Objects* objects = from == 0 ? objects_locked(kind) : nullptr;
  if (objects != nullptr) {
    for (const auto& [key, object] : *objects) {
      if (auto event = watch.event_of(nullptr, object)) {
        event->resource_version = number_of(text_at((*object)["metadata"], "resourceVersion"));
        watch.initial_.push_back(std::move(*event));
      }
    }
  }
  return watch;
}

bool Store::wait_newer(std::uint64_t seen, Clock::time_point deadline) const {
  const Lock lock(mutex_);
  while (resource_version_ <= seen && Clock::now() < deadline) {
    (void)changed_.wait_until(mutex_, deadline);
  }
  return resource_version_ > seen;
}

void Store::wake() const {
  const Lock lock(mutex_);
  changed_.notify_all();
}

void Store::compact() {
  const Lock lock(mutex_);
  history_.clear();
  oldest_ = resource_version_ + 1;
  ++resource_version_;
  changed_.notify_all();
}

}  // namespace drydock
