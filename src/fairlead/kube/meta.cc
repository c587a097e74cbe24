// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/meta.h"

#include <nlohmann/json.hpp>

#include "fairlead/kube/json_write.h"

namespace fairlead::kube {

ObjectMeta read_meta(const JsonReader& metadata) {
  ObjectMeta meta{.name = metadata.string("name"),
                  .generate_name = metadata.string("generateName"),
                  .namespace_ = metadata.string("namespace"),
                  .uid = metadata.string("uid"),
                  .resource_version = metadata.string("resourceVersion"),
                  .annotations = metadata.string_map("annotations"),
                  .labels = metadata.string_map("labels"),
                  .owner_references = {}};
  for (const JsonReader& owner : metadata.objects("ownerReferences")) {
    meta.owner_references.push_back({.api_version = owner.string("apiVersion"),
                                     .kind = owner.string("kind"),
                                     .name = owner.string("name"),
                                     .uid = owner.string("uid"),
                                     .controller = owner.boolean("controller")});
  }
  return meta;
}

std::vector<Condition> read_conditions(const std::vector<JsonReader>& conditions) {
  std::vector<Condition> read;
  read.reserve(conditions.size());
  for (const JsonReader& condition : conditions) {
    read.push_back({.type = condition.string("type"),
                    .status = condition.string("status"),
                    .reason = condition.string("reason"),
                    .message = condition.string("message"),
                    .last_transition_time = condition.string("lastTransitionTime")});
  }
  return read;
}

Result<ObjectMeta> parse_meta(std::string_view json) {
  return read_json(json, "object", [](const JsonReader& in) { return read_meta(in.object("metadata")); });
}

namespace json_write {

void put(Json& object, const char* key, const std::string& value) {
  if (!value.empty()) {
    object[key] = value;
  }
}

Json of_meta(const ObjectMeta& meta) {
  Json out = Json::object();
  put(out, "name", meta.name);
  put(out, "generateName", meta.generate_name);
  put(out, "namespace", meta.namespace_);
  put(out, "uid", meta.uid);
  put(out, "resourceVersion", meta.resource_version);
  if (!meta.annotations.empty()) {
    out["annotations"] = meta.annotations;
  }
  if (!meta.labels.empty()) {
    out["labels"] = meta.labels;
  }
  for (const OwnerReference& owner : meta.owner_references) {
    Json entry = {
        {"apiVersion", owner.api_version}, {"kind", owner.kind}, {"name", owner.name}, {"uid", owner.uid}};
    if (owner.controller) {
      entry["controller"] = true;
    }
    out["ownerReferences"].push_back(std::move(entry));
  }
  return out;
}

Json of_condition(const Condition& condition) {
  return {{"type", condition.type},
          {"status", condition.status},
          {"reason", condition.reason},
          {"message", condition.message},
          {"lastTransitionTime", condition.last_transition_time}};
}

std::string dump(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace json_write
}  // namespace fairlead::kube
