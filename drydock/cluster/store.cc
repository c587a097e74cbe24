// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/store.h"

#include "drydock/cluster/field_check.h"
#include "drydock/cluster/ids.h"
#include "drydock/cluster/object_write.h"
#include "drydock/cluster/selector.h"
#include "drydock/cluster/validation.h"

namespace drydock {
namespace {

using fairlead::Lock;
using Object = std::shared_ptr<const Json>;

constexpr std::size_t kGenerateNameBase = 58;  // 63 less the random characters

bool must_wait_for_node(const Kind& kind, const Json& object, const DeleteOptions& options) {
  return &kind == &kinds::kPod && !text_at(value_at(object, "spec"), "nodeName").empty() &&
         options.grace_seconds != 0;
}

ApiResult<> reviewed(const Store::Review& review, const Kind& kind, const Json& before, const Json& after,
                     Part part) {
  return review ? review(kind, before, after, part) : ApiResult<>();
}

}  // namespace

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
  const bool generated = object_name(object).empty() && !base.empty();
  if (generated) {
    metadata["name"] = base.substr(0, kGenerateNameBase) + random_suffix();
  } else if (object_name(object).empty()) {
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
        kind.name, object_name(object),
        {{.field = path,
          .message = "Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: "
                     "true` label on the containing namespace",
          .reason = "FieldValueForbidden"}});
  }
  const Key key(kind.namespaced ? ns : "", object_name(object));
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

std::uint64_t Store::resource_version() const {
  const Lock lock(mutex_);
  return resource_version_;
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

}  // namespace drydock
