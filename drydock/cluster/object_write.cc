// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/object_write.h"

#include <cstddef>
#include <utility>

#include "drydock/cluster/field_check.h"

namespace drydock {

std::string object_name(const Json& object) { return text_at(value_at(object, "metadata"), "name"); }

Json spec_of(const Json& object) {
  Json copy = object;
  copy.erase("metadata");
  copy.erase("status");
  return copy;
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
  if (!name.empty() && object_name(object) != name) {
    return ApiError::bad_request("the name of the object (" + object_name(object) +
                                 ") does not match the name on the URL (" + std::string(name) + ")");
  }
  return {};
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

Json with_status_of(const Json& stored, const Json& object) {
  Json after = stored;
  after["status"] = value_at(object, "status");
  return after;
}

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

}  // namespace drydock
