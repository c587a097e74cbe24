// SPDX-License-Identifier: Apache-2.0
// The objects of the stand-in cluster, in memory: what etcd and the API server's registry are to Kubernetes.
// One counter gives every write its resourceVersion; a bounded history feeds the watches. Every write is
// validated (validation.h) as the API server would. Any thread may call; every call is atomic.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drydock/cluster/api_error.h"
#include "drydock/cluster/kinds.h"
#include "fairlead/core/mutex.h"

namespace drydock {

using Clock = std::chrono::steady_clock;

/// Which half of an object a write changes: the other half is ignored (spec by /status, status by the
/// object).
enum class Part : std::uint8_t { kSpec, kStatus };
enum class PatchType : std::uint8_t { kMerge, kJson };

struct Requirement {
  std::string path;  // field path ("spec.nodeName") or label key
  std::string value;
  enum class Op : std::uint8_t { kEquals, kNotEquals, kExists, kNotExists } op = Op::kEquals;
};
struct Selector {
  std::vector<Requirement> fields, labels;
};
/// "a=b,c!=d" (labels also "key" and "!key"). 400 for text that is no selector.
ApiResult<std::vector<Requirement>> parse_field_selector(const Kind& kind, std::string_view text);
ApiResult<std::vector<Requirement>> parse_label_selector(std::string_view text);

struct ListQuery {
  std::string ns;  // empty: all namespaces
  Selector selector;
  std::size_t limit = 0;  // 0: all
  std::string continue_token;
};
struct ObjectList {
  std::vector<Json> items;  // by namespace and name
  std::uint64_t resource_version = 0;
  std::string continue_token;  // empty: the end
  std::size_t remaining = 0;
};

struct DeleteOptions {
  std::string uid, resource_version;  // preconditions; empty: none
  /// Pods bound to a node wait for the node: they get a deletionTimestamp first, and go when the node deletes
  /// them with 0.
  std::optional<std::int64_t> grace_seconds;
};

struct WatchEvent {
  enum class Type : std::uint8_t { kAdded, kModified, kDeleted } type = Type::kAdded;
  Json object;
  std::uint64_t resource_version = 0;
};

class Store;

/// A position in the store's history. Used by one thread; cancel() by any. The store must outlive it.
class Watch {
 public:
  /// Blocks until there are events, the deadline passes or the watch is cancelled (both: no events). 410
  /// Expired when the history no longer reaches back to the position: list again.
  ApiResult<std::vector<WatchEvent>> next(Clock::time_point deadline);
  void cancel();
  [[nodiscard]] bool cancelled() const;
  /// All events up to here were delivered: the content of a bookmark.
  [[nodiscard]] std::uint64_t position() const { return position_; }

 private:
  friend class Store;
  Watch(Store* store, const Kind* kind, ListQuery query, std::uint64_t position);
  [[nodiscard]] std::optional<WatchEvent> event_of(const std::shared_ptr<const Json>& before,
                                                   const std::shared_ptr<const Json>& after) const;
  Store* store_;
  const Kind* kind_;
  ListQuery query_;
  std::uint64_t position_;
  std::vector<WatchEvent> initial_;
  std::shared_ptr<bool> cancelled_;  // guarded by the store's mutex
};

class Store {
 public:
  /// Asked about a write when all else is fine: before (null: is made), after (null: is deleted). Its error
  /// is the write's; it must not use the store. Empty: everything may be written.
  using Review = std::function<ApiResult<>(const Kind&, const Json& before, const Json& after, Part)>;
  struct Options {
    std::size_t history = 4096;  // events kept for watches
  };
  Store();
  explicit Store(Options options);

  /// Sets name (generateName: base cut to 58 and five random characters), namespace, uid, creationTimestamp,
  /// resourceVersion, generation and the defaults. 409 AlreadyExists, 422 Invalid, 404 for a namespace that
  /// is not there.
  ApiResult<Json> create(const Kind& kind, std::string_view ns, Json object, const Review& review = {});
  [[nodiscard]] ApiResult<Json> get(const Kind& kind, std::string_view ns, std::string_view name) const;
  [[nodiscard]] ApiResult<ObjectList> list(const Kind& kind, const ListQuery& query) const;
  /// All objects of a kind that the selector takes; for the controllers.
  [[nodiscard]] std::vector<Json> all(const Kind& kind, const Selector& selector = {}) const;

  /// Replaces one half. An empty metadata.resourceVersion means "whatever is there"; another than the stored
  /// one is 409 Conflict. A write that changes nothing keeps the resourceVersion.
  ApiResult<Json> update(const Kind& kind, std::string_view ns, std::string_view name, Json object,
                         Part part = Part::kSpec, const Review& review = {});
  ApiResult<Json> patch(const Kind& kind, std::string_view ns, std::string_view name, PatchType type,
                        const Json& patch, Part part = Part::kSpec, const Review& review = {});
  /// Server-side apply. For resourceclaims/status the list status.devices is a map by driver, pool, device
  /// and shareID with an owner per entry: entries of `manager` that are not in `object` any more go, those of
  /// others stay, an entry of another owner is 409 unless `force`. For everything else create or merge.
  struct Apply {
    std::string manager;
    bool force = false;
  };
  ApiResult<Json> apply(const Kind& kind, std::string_view ns, std::string_view name, Json object,
                        const Apply& how, Part part = Part::kSpec, const Review& review = {});
  /// Read, change, write until no conflict. `change` returns false to leave the object unchanged.
  ApiResult<Json> modify(const Kind& kind, std::string_view ns, std::string_view name, Part part,
                         const std::function<bool(Json&)>& change);

  /// The last state of the object. With finalizers (or a bound pod) the object stays with a deletionTimestamp
  /// until they are gone.
  ApiResult<Json> remove(const Kind& kind, std::string_view ns, std::string_view name,
                         const DeleteOptions& options = {}, const Review& review = {});
  /// deletecollection; returns the deleted objects.
  ApiResult<std::vector<Json>> remove_all(const Kind& kind, const ListQuery& query,
                                          const Review& review = {});

  /// From `resource_version` on; 0 or nothing: all present objects come first as ADDED. 410 Expired when it
  /// is older than the history.
  ApiResult<Watch> watch(const Kind& kind, ListQuery query, std::optional<std::uint64_t> resource_version);

  [[nodiscard]] std::uint64_t resource_version() const;
  /// True as soon as something was written after `seen`; false at the deadline.
  [[nodiscard]] bool wait_newer(std::uint64_t seen, Clock::time_point deadline) const;
  /// Wakes every watch, so that a server that stops can end them.
  void wake() const;
  /// Forgets the history: every watch from before gets 410. For tests of clients.
  void compact();
  /// All objects and the counter go, as when etcd's data is lost: positions from before are too large now.
  /// Stop the API server first. For tests of clients.
  void forget_everything();

 private:
  friend class Watch;
  using Key = std::pair<std::string, std::string>;  // namespace, name
  using Managers = std::set<std::string>;
  using Owners = std::map<std::string, std::map<std::string, Managers>>;  // claim uid -> entry -> managers
  struct Change {
    std::uint64_t resource_version;
    const Kind* kind;
    std::shared_ptr<const Json> before, after;  // null: was not there, is not there
  };
  using Objects = std::map<Key, std::shared_ptr<const Json>>;

  ApiResult<Json> create_locked(const Kind& kind, std::string_view ns, Json object, const Review& review)
      FL_REQUIRES(mutex_);
  ApiResult<std::shared_ptr<const Json>> find_locked(const Kind& kind, std::string_view ns,
                                                     std::string_view name) const FL_REQUIRES(mutex_);
  ApiResult<Json> update_locked(const Kind& kind, std::string_view ns, std::string_view name, Json object,
                                Part part, const Review& review) FL_REQUIRES(mutex_);
  ApiResult<Json> apply_devices_locked(const Json& stored, const Json& object, const Apply& how,
                                       const Review& review) FL_REQUIRES(mutex_);
  ApiResult<Json> remove_locked(const Kind& kind, std::string_view ns, std::string_view name,
                                const DeleteOptions& options, const Review& review) FL_REQUIRES(mutex_);
  Json commit_locked(const Kind& kind, const Key& key, std::shared_ptr<const Json> before,
                     std::optional<Json> after) FL_REQUIRES(mutex_);
  [[nodiscard]] const Objects* objects_locked(const Kind& kind) const FL_REQUIRES(mutex_);
  [[nodiscard]] bool admin_allowed_locked(std::string_view ns) const FL_REQUIRES(mutex_);
  void forget_owners_locked(const Json& claim) FL_REQUIRES(mutex_);

  const Options options_;
  mutable fairlead::Mutex mutex_;
  mutable fairlead::ConditionVariable changed_;
  std::uint64_t resource_version_ FL_GUARDED_BY(mutex_) = 1;
  std::uint64_t oldest_ FL_GUARDED_BY(mutex_) = 1;  // changes after this one are in history_
  std::map<const Kind*, Objects> objects_ FL_GUARDED_BY(mutex_);
  std::deque<Change> history_ FL_GUARDED_BY(mutex_);
  Owners device_owners_ FL_GUARDED_BY(mutex_);
};

}  // namespace drydock
