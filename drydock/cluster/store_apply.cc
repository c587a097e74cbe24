// SPDX-License-Identifier: Apache-2.0
// The store's server-side apply.
#include <utility>

#include "drydock/cluster/device_owners.h"
#include "drydock/cluster/field_check.h"
#include "drydock/cluster/object_write.h"
#include "drydock/cluster/store.h"

namespace drydock {

using fairlead::Lock;

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
  const std::string name = object_name(stored);
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

}  // namespace drydock
