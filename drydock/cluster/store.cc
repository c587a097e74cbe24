// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/store.h"

#include <algorithm>
#include <charconv>

#include "drydock/cluster/field_check.h"
#include "drydock/cluster/ids.h"
#include "drydock/cluster/selector.h"
#include "drydock/cluster/validation.h"

namespace drydock {
namespace {

using fairlead::Lock;
using Object = std::shared_ptr<const Json>;

constexpr std::size_t kGenerateNameBase = 58;  // 63 less the random characters

std::string name_of(const Json& object) { return text_at(value_at(object, "metadata"), "name"); }

std::uint64_t number_of(const std::string& text) {
  std::uint64_t value = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

ApiResult<> check_identity(const Kind& kind, std::string_view ns, std::string_view name, const Json& object) {
  const std::string version = text_at(object, "apiVersion");
  const std::string type = text_at(object, "kind");
  if ((!version.empty() && version != kind.api_version()) || (!type.empty() && type != kind.name)) {
    return ApiError::bad_request("the object provided is a " + version + " " + type + ", the URL expects a " +
                                 kind.api_version() + " " + std::string(kind.name));
  }
  const Json& metadata = value_at(object, "metadata");
  const std::string given = text_at(metadata, "namespace");
  if (!given.empty() && given != ns) {
    return ApiError::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request");
  }
  if (!name.empty() && name_of(object) != name) {
    return ApiError::bad_request("the name of the object (" + name_of(object) +
                                 ") does not match the name on the URL (" + std::string(name) + ")");
  }
  return {};
}

Json spec_of(const Json& object) {
  Json copy = object;
  copy.erase("metadata");
  copy.erase("status");
  return copy;
}

/// The first request with adminAccess, as a field path; empty when there is none.
std::string admin_request(const Kind& kind, const Json& object) {
  std::string path = "spec";
  const Json* spec = &value_at(object, "spec");
  if (&kind == &kinds::kResourceClaimTemplate) {
    spec = &value_at(*spec, "spec");
    path = "spec.spec";
  } else if (&kind != &kinds::kResourceClaim) {
    return "";
  }
  const Json& requests = value_at(value_at(*spec, "devices"), "requests");
  for (std::size_t i = 0; i < requests.size(); ++i) {
    if (value_at(value_at(requests[i], "exactly"), "adminAccess") == Json(true)) {
      return item(path + ".devices.requests", i) + ".exactly.adminAccess";
    }
  }
  return "";
}

bool must_wait_for_node(const Kind& kind, const Json& object, const DeleteOptions& options) {
  return &kind == &kinds::kPod && !text_at(value_at(object, "spec"), "nodeName").empty() &&
         options.grace_seconds != 0;
}

std::string entry_key(const Json& entry) {
  return text_at(entry, "driver") + "/" + text_at(entry, "device") + "/" + text_at(entry, "pool") + "/" +
         text_at(entry, "shareID");
}

/// RFC 7386.
void merge_patch(Json& target, const Json& patch) {
  if (!patch.is_object()) {
    target = patch;
    return;
  }
  if (!target.is_object()) {
    target = Json::object();
  }
  for (const auto& [key, value] : patch.items()) {
    if (value.is_null()) {
      target.erase(key);
    } else {
      merge_patch(target[key], value);
    }
  }
}

ApiResult<Json> patched(const Json& stored, PatchType type, const Json& patch) {
  if (type == PatchType::kMerge) {
    if (!patch.is_object()) {
      return ApiError::bad_request("a merge patch must be an object");
    }
    Json object = stored;
    merge_patch(object, patch);
    return object;
  }
  try {
    return stored.patch(patch);
  } catch (const Json::exception& problem) {
    return ApiError::bad_request(std::string("the JSON patch cannot be applied: ") + problem.what());
  }
}

ApiError owner_conflict(const std::string& manager, const Json& entry) {
  const std::string field = ".status.devices[driver=\"" + text_at(entry, "driver") + "\",device=\"" +
                            text_at(entry, "device") + "\",pool=\"" + text_at(entry, "pool") + "\"]";
  return {.code = 409,
          .reason = "Conflict",
          .message = "Apply failed with 1 conflict: conflict with \"" + manager + "\": " + field,
          .causes = {{.field = field,
                      .message = "conflict with \"" + manager + "\"",
                      .reason = "FieldManagerConflict"}}};
}

ApiResult<> check_versions(const Kind& kind, std::string_view name, const Json& stored, const Json& object) {
  const Json& metadata = value_at(object, "metadata");
  const std::string uid = text_at(metadata, "uid");
  const std::string stored_uid = text_at(stored["metadata"], "uid");
  if (!uid.empty() && uid != stored_uid) {
    return ApiError::conflict(
        kind.resource(), name,
        "Precondition failed: UID in precondition: " + uid + ", UID in object meta: " + stored_uid);
  }
  const std::string version = text_at(metadata, "resourceVersion");
  if (!version.empty() && version != text_at(stored["metadata"], "resourceVersion")) {
    return ApiError::conflict(
        kind.resource(), name,
        "the object has been modified; please apply your changes to the latest version and try again");
  }
  return {};
}

Json with_status_of(const Json& stored, const Json& object) {
  Json after = stored;
  after["status"] = value_at(object, "status");
  return after;
}

/// The object as written, with the server's own metadata and the status as stored.
Json with_spec_of(const Kind& kind, const Json& stored, Json object) {
  object["apiVersion"] = kind.api_version();
  object["kind"] = kind.name;
  for (const char* key : {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
                          "generation", "namespace", "resourceVersion"}) {
    object["metadata"].erase(key);
    if (stored["metadata"].contains(key)) {
      object["metadata"][key] = stored["metadata"][key];
    }
  }
  if (kind.has_status) {
    object.erase("status");
    if (stored.contains("status")) {
      object["status"] = stored["status"];
    }
  }
  return object;
}

using Managers = std::set<std::string>;
using EntryOwners = std::map<std::string, Managers>;  // by entry_key

struct MergedDevices {
  Json entries = Json::array();
  EntryOwners owners;
};

/// The applying manager becomes an owner of the entry; others stay owners only of what they would have
/// written too.
ApiResult<> take_over(Managers& managers, const Json& stored, const Json& applied, const Store::Apply& how) {
  for (const std::string& other : Managers(managers)) {
    if (other == how.manager || applied == stored) {
      continue;
    }
    if (!how.force) {
      return owner_conflict(other, stored);
    }
    managers.erase(other);
  }
  managers.insert(how.manager);
  return {};
}

/// status.devices as a list map: ownership is kept by entry, not by field inside one.
ApiResult<MergedDevices> merge_devices(const Json& stored, const Json& applied, EntryOwners owners,
                                       const Store::Apply& how) {
  MergedDevices merged;
  std::map<std::string, const Json*> given;
  for (const Json& entry : applied) {
    given[entry_key(entry)] = &entry;
  }
  for (const Json& entry : stored) {
    const std::string key = entry_key(entry);
    Managers& managers = owners[key];
    if (const auto mine = given.find(key); mine != given.end()) {
      if (auto taken = take_over(managers, entry, *mine->second, how); !taken) {
        return std::move(taken).error();
      }
      merged.entries.push_back(*mine->second);
      given.erase(mine);
      continue;
    }
    const bool was_mine = managers.erase(how.manager) > 0;
    if (was_mine && managers.empty()) {
      owners.erase(key);
      continue;  // not needed any more
    }
    merged.entries.push_back(entry);
  }
  for (const Json& entry : applied) {
    const std::string key = entry_key(entry);
    if (given.contains(key)) {
      merged.entries.push_back(entry);
      owners[key] = {how.manager};
    }
  }
  merged.owners = std::move(owners);
  return merged;
}

ApiResult<> reviewed(const Store::Review& review, const Kind& kind, const Json& before, const Json& after,
                     Part part) {
  return review ? review(kind, before, after, part) : ApiResult<>();
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

Store::Store() : Store(Options{}) {}
Store::Store(Options options) : options_(options) {}

const Store::Objects* Store::objects_locked(const Kind& kind) const {
  const auto it = objects_.find(&kind);
  return it == objects_.end() ? nullptr : &it->second;
}

ApiResult<Object> Store::find_locked(const Kind& kind, std::string_view ns, std::string_view name) const {
  if (const Objects* objects = objects_locked(kind)) {
    const auto it = objects->find(Key(kind.namespaced ? ns : "", name));
    if (it != objects->end()) {
      return it->second;
    }
  }
  return ApiError::not_found(kind.resource(), name);
}

Json Store::commit_locked(const Kind& kind, const Key& key, Object before, std::optional<Json> after) {
  ++resource_version_;
  Object stored;
  if (after) {
    (*after)["metadata"]["resourceVersion"] = std::to_string(resource_version_);
    stored = std::make_shared<const Json>(std::move(*after));
    objects_[&kind][key] = stored;
  } else {
    objects_[&kind].erase(key);
    forget_owners_locked(*before);
  }
  Json answer = stored ? *stored : *before;
  history_.push_back({resource_version_, &kind, std::move(before), std::move(stored)});
  while (history_.size() > options_.history) {
    oldest_ = history_.front().resource_version;
    history_.pop_front();
  }
  changed_.notify_all();
  return answer;
}

ApiResult<Json> Store::create(const Kind& kind, std::string_view ns, Json object, const Review& review) {
  const Lock lock(mutex_);
  return create_locked(kind, ns, std::move(object), review);
}

ApiResult<Json> Store::create_locked(const Kind& kind, std::string_view ns, Json object,
                                     const Review& review) {
  if (!object.is_object()) {
    return ApiError::bad_request("the body must be a JSON object");
  }
  if (auto same = check_identity(kind, ns, "", object); !same) {
    return std::move(same).error();
  }
  if (kind.namespaced && !find_locked(kinds::kNamespace, "", ns)) {
    return ApiError::not_found("namespaces", ns);
  }
  object["apiVersion"] = kind.api_version();
  object["kind"] = kind.name;
  Json& metadata = object["metadata"];
  if (!metadata.is_object()) {
    metadata = Json::object();
  }
  const std::string base = text_at(metadata, "generateName");
  const bool generated = name_of(object).empty() && !base.empty();
  if (generated) {
    metadata["name"] = base.substr(0, kGenerateNameBase) + random_suffix();
  } else if (name_of(object).empty()) {
    return ApiError::invalid(kind.name, "",
                             {{.field = "metadata.name",
                               .message = "Required value: name or generateName is required",
                               .reason = "FieldValueRequired"}});
  }
  if (kind.has_status && &kind != &kinds::kNode) {
    object.erase("status");  // the kubelet creates its Node with a status; everything else starts without
  }
  for (const char* key :
       {"deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "managedFields"}) {
    metadata.erase(key);
  }
  if (kind.namespaced) {
    metadata["namespace"] = ns;
  }
  metadata["uid"] = new_uuid();
  metadata["creationTimestamp"] = now_rfc3339();
  metadata["generation"] = 1;
  if (auto admitted = admit_create(kind, object); !admitted) {
    return std::move(admitted).error();
  }
  if (const std::string path = admin_request(kind, object); !path.empty() && !admin_allowed_locked(ns)) {
    return ApiError::invalid(
        kind.name, name_of(object),
        {{.field = path,
          .message = "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: "
                     "true` label on the containing namespace",
          .reason = "FieldValueForbidden"}});
  }
  const Key key(kind.namespaced ? ns : "", name_of(object));
  if (find_locked(kind, ns, key.second)) {
    return ApiError::already_exists(kind.resource(), key.second);
  }
  if (auto allowed = reviewed(review, kind, Json(), object, Part::kSpec); !allowed) {
    return std::move(allowed).error();
  }
  return commit_locked(kind, key, nullptr, std::move(object));
}

bool Store::admin_allowed_locked(std::string_view ns) const {
  const auto found = find_locked(kinds::kNamespace, "", ns);
  return found &&
         text_at(value_at((**found)["metadata"], "labels"), "resource.kubernetes.io/admin-access") == "true";
}

ApiResult<Json> Store::get(const Kind& kind, std::string_view ns, std::string_view name) const {
  const Lock lock(mutex_);
  auto found = find_locked(kind, ns, name);
  if (!found) {
    return std::move(found).error();
  }
  return **found;
}

ApiResult<ObjectList> Store::list(const Kind& kind, const ListQuery& query) const {
  Key after;
  if (!query.continue_token.empty()) {
    const auto slash = query.continue_token.find('/');
    if (slash == std::string::npos) {
      return ApiError::bad_request("continue key is not valid: " + query.continue_token);
    }
    after = {query.continue_token.substr(0, slash), query.continue_token.substr(slash + 1)};
  }
  const Lock lock(mutex_);
  ObjectList list;
  list.resource_version = resource_version_;
  const Objects* objects = objects_locked(kind);
  if (objects == nullptr) {
    return list;
  }
  Key last;
  for (auto it = query.continue_token.empty() ? objects->begin() : objects->upper_bound(after);
       it != objects->end(); ++it) {
    if (!selects(query, *it->second)) {
      continue;
    }
    if (query.limit != 0 && list.items.size() == query.limit) {
      list.continue_token = last.first + "/" + last.second;
      ++list.remaining;
      continue;
    }
    list.items.push_back(*it->second);
    last = it->first;
  }
  return list;
}

std::vector<Json> Store::all(const Kind& kind, const Selector& selector) const {
  auto found = list(kind, {.ns = "", .selector = selector, .limit = 0, .continue_token = ""});
  return found ? std::move(found->items) : std::vector<Json>();
}

ApiResult<Json> Store::update(const Kind& kind, std::string_view ns, std::string_view name, Json object,
                              Part part, const Review& review) {
  const Lock lock(mutex_);
  return update_locked(kind, ns, name, std::move(object), part, review);
}

ApiResult<Json> Store::update_locked(const Kind& kind, std::string_view ns, std::string_view name,
                                     Json object, Part part, const Review& review) {
  if (!object.is_object()) {
    return ApiError::bad_request("the body must be a JSON object");
  }
  if (auto same = check_identity(kind, ns, name, object); !same) {
    return std::move(same).error();
  }
  auto found = find_locked(kind, ns, name);
  if (!found) {
    return std::move(found).error();
  }
  const Json& stored = **found;
  const Json& old_metadata = stored["metadata"];
  if (auto current = check_versions(kind, name, stored, object); !current) {
    return std::move(current).error();
  }
  Json after =
      part == Part::kStatus ? with_status_of(stored, object) : with_spec_of(kind, stored, std::move(object));
  if (auto admitted = admit_update(kind, stored, after, part); !admitted) {
    return std::move(admitted).error();
  }
  if (after == stored) {
    return stored;
  }
  if (auto allowed = reviewed(review, kind, stored, after, part); !allowed) {
    return std::move(allowed).error();
  }
  const Key key(kind.namespaced ? ns : "", name);
  if (part == Part::kSpec && spec_of(after) != spec_of(stored)) {
    after["metadata"]["generation"] = old_metadata.value("generation", std::int64_t{1}) + 1;
  }
  const bool last_finalizer = after["metadata"].contains("deletionTimestamp") &&
                              value_at(after["metadata"], "finalizers").empty() &&
                              !value_at(old_metadata, "finalizers").empty();
  if (last_finalizer) {
    return commit_locked(kind, key, *found, std::nullopt);
  }
  return commit_locked(kind, key, *found, std::move(after));
}

ApiResult<Json> Store::patch(const Kind& kind, std::string_view ns, std::string_view name, PatchType type,
                             const Json& patch, Part part, const Review& review) {
  const Lock lock(mutex_);
  auto found = find_locked(kind, ns, name);
  if (!found) {
    return std::move(found).error();
  }
  auto object = patched(**found, type, patch);
  if (!object) {
    return object;
  }
  return update_locked(kind, ns, name, std::move(*object), part, review);
}

ApiResult<Json> Store::apply(const Kind& kind, std::string_view ns, std::string_view name, Json object,
                             const Apply& how, Part part, const Review& review) {
  if (!object.is_object()) {
    return ApiError::bad_request("the body must be a JSON or YAML object");
  }
  if (how.manager.empty()) {
    return ApiError::bad_request(
        "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply "
        "patch");
  }
  if (auto same = check_identity(kind, ns, name, object); !same) {
    return std::move(same).error();
  }
  const Lock lock(mutex_);
  auto found = find_locked(kind, ns, name);
  if (!found) {
    return part == Part::kSpec ? create_locked(kind, ns, std::move(object), review)
                               : ApiResult<Json>(std::move(found).error());
  }
  if (&kind == &kinds::kResourceClaim && part == Part::kStatus) {
    return apply_devices_locked(**found, object, how, review);
  }
  Json merged = **found;
  merged["metadata"].erase("resourceVersion");
  merge_patch(merged, object);
  return update_locked(kind, ns, name, std::move(merged), part, review);
}

ApiResult<Json> Store::apply_devices_locked(const Json& stored, const Json& object, const Apply& how,
                                            const Review& review) {
  const std::string uid = text_at(stored["metadata"], "uid");
  const std::string name = name_of(stored);
  const std::string ns = text_at(stored["metadata"], "namespace");
  auto merged = merge_devices(value_at(value_at(stored, "status"), "devices"),
                              value_at(value_at(object, "status"), "devices"), device_owners_[uid], how);
  if (!merged) {
    return std::move(merged).error();
  }
  Json after = stored;
  after["metadata"] = {{"name", name}, {"namespace", ns}};
  for (const char* key : {"uid", "resourceVersion"}) {
    if (value_at(object, "metadata").contains(key)) {
      after["metadata"][key] = object["metadata"][key];
    }
  }
  if (merged->entries.empty() && after.contains("status")) {
    after["status"].erase("devices");
  } else if (!merged->entries.empty()) {
    after["status"]["devices"] = std::move(merged->entries);
  }
  auto written = update_locked(kinds::kResourceClaim, ns, name, std::move(after), Part::kStatus, review);
  if (written) {
    device_owners_[uid] = std::move(merged->owners);
  }
  return written;
}

void Store::forget_owners_locked(const Json& claim) {
  device_owners_.erase(text_at(claim["metadata"], "uid"));
}

ApiResult<Json> Store::modify(const Kind& kind, std::string_view ns, std::string_view name, Part part,
                              const std::function<bool(Json&)>& change) {
  while (true) {
    auto object = get(kind, ns, name);
    if (!object || !change(*object)) {
      return object;
    }
    auto written = update(kind, ns, name, std::move(*object), part);
    if (written || written.error().reason != "Conflict") {
      return written;
    }
  }
}

ApiResult<Json> Store::remove(const Kind& kind, std::string_view ns, std::string_view name,
                              const DeleteOptions& options, const Review& review) {
  const Lock lock(mutex_);
  return remove_locked(kind, ns, name, options, review);
}

ApiResult<Json> Store::remove_locked(const Kind& kind, std::string_view ns, std::string_view name,
                                     const DeleteOptions& options, const Review& review) {
  auto found = find_locked(kind, ns, name);
  if (!found) {
    return std::move(found).error();
  }
  const Json& metadata = (**found)["metadata"];
  for (const auto& [what, key, wanted] :
       {std::tuple{"UID", "uid", &options.uid},
        {"ResourceVersion", "resourceVersion", &options.resource_version}}) {
    const std::string have = text_at(metadata, key);
    if (!wanted->empty() && *wanted != have) {
      return ApiError::conflict(kind.resource(), name,
                                "Precondition failed: " + std::string(what) + " in precondition: " + *wanted +
                                    ", " + what + " in object meta: " + have);
    }
  }
  if (auto allowed = reviewed(review, kind, **found, Json(), Part::kSpec); !allowed) {
    return std::move(allowed).error();
  }
  const Key key(kind.namespaced ? ns : "", name);
  const bool waits = must_wait_for_node(kind, **found, options);
  if (value_at(metadata, "finalizers").empty() && !waits) {
    return commit_locked(kind, key, *found, std::nullopt);
  }
  if (metadata.contains("deletionTimestamp")) {
    return **found;
  }
  Json after = **found;
  after["metadata"]["deletionTimestamp"] = now_rfc3339();
  if (waits) {
    after["metadata"]["deletionGracePeriodSeconds"] = options.grace_seconds.value_or(
        value_at(after, "spec").value("terminationGracePeriodSeconds", std::int64_t{30}));
  }
  return commit_locked(kind, key, *found, std::move(after));
}

ApiResult<std::vector<Json>> Store::remove_all(const Kind& kind, const ListQuery& query,
                                               const Review& review) {
  const Lock lock(mutex_);
  std::vector<Key> keys;
  if (const Objects* objects = objects_locked(kind)) {
    for (const auto& [key, object] : *objects) {
      if (selects(query, *object)) {
        keys.push_back(key);
      }
    }
  }
  std::vector<Json> removed;
  for (const auto& [ns, name] : keys) {
    if (auto object = remove_locked(kind, ns, name, {}, review)) {
      removed.push_back(std::move(*object));
    }
  }
  return removed;
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

std::uint64_t Store::resource_version() const {
  const Lock lock(mutex_);
  return resource_version_;
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

void Store::forget_everything() {
  const Lock lock(mutex_);
  objects_.clear();
  history_.clear();
  device_owners_.clear();
  resource_version_ = 1;
  oldest_ = 1;
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
