// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/validation.h"

#include <set>

#include "drydock/cluster/field_check.h"
#include "drydock/cluster/ids.h"
#include "drydock/cluster/schema.h"

namespace drydock {
namespace {

void default_request(Json& request) {
  if (!request.is_object()) {
    return;
  }
  if (!request.contains("allocationMode")) {
    request["allocationMode"] = "ExactCount";
  }
  if (request["allocationMode"] == "ExactCount" && value_at(request, "count").empty()) {
    request["count"] = 1;
  }
}

void default_claim_spec(Json& spec) {
  if (!spec.is_object() || !value_at(spec, "devices").contains("requests")) {
    return;
  }
  for (Json& request : spec["devices"]["requests"]) {
    if (request.contains("exactly")) {
      default_request(request["exactly"]);
    }
    if (request.contains("firstAvailable")) {
      for (Json& alternative : request["firstAvailable"]) {
        default_request(alternative);
      }
    }
  }
}

/// A taint without time gets that of the same taint before, else now.
void default_taints(const Json& before, Json& after) {
  std::map<std::string, std::string> known;
  const auto key_of = [](const std::string& device, const Json& taint) {
    return device + "\n" + text_at(taint, "key") + "\n" + text_at(taint, "value") + "\n" +
           text_at(taint, "effect");
  };
  for (const Json& device : value_at(value_at(before, "spec"), "devices")) {
    for (const Json& taint : value_at(device, "taints")) {
      known[key_of(text_at(device, "name"), taint)] = text_at(taint, "timeAdded");
    }
  }
  if (!value_at(after, "spec").contains("devices")) {
    return;
  }
  for (Json& device : after["spec"]["devices"]) {
    if (!device.contains("taints")) {
      continue;
    }
    for (Json& taint : device["taints"]) {
      if (!taint.contains("timeAdded")) {
        const auto it = known.find(key_of(text_at(device, "name"), taint));
        taint["timeAdded"] = it == known.end() ? now_rfc3339() : it->second;
      }
    }
  }
}

void default_pod(Json& pod) {
  if (pod.contains("spec") && !pod["spec"].contains("restartPolicy")) {
    pod["spec"]["restartPolicy"] = "Always";
  }
  if (!value_at(pod, "status").contains("phase")) {
    pod["status"]["phase"] = "Pending";
  }
}

void set_defaults(const Kind& kind, const Json& before, Json& object) {
  if (&kind == &kinds::kResourceClaim && object.contains("spec")) {
    default_claim_spec(object["spec"]);
  } else if (&kind == &kinds::kResourceClaimTemplate && value_at(object, "spec").contains("spec")) {
    default_claim_spec(object["spec"]["spec"]);
  } else if (&kind == &kinds::kResourceSlice) {
    default_taints(before, object);
  } else if (&kind == &kinds::kPod) {
    default_pod(object);
  }
}

void check_metadata(FieldCheck& check, const Kind& kind, const Json& metadata) {
  const std::string name = text_at(metadata, "name");
  if (kind.group == kinds::kRbac) {
    if (name.empty() || name == "." || name == ".." || name.find_first_of("/%") != std::string::npos) {
      check.invalid("metadata.name", name,
                    R"(must be a path segment: not empty, "." or "..", no "/" and "%")");
    }
  } else if (&kind == &kinds::kNamespace) {
    check.dns_label("metadata.name", name);
  } else {
    check.dns_subdomain("metadata.name", name);
  }
  for (const auto& [key, value] : value_at(metadata, "labels").items()) {
    check.label_name("metadata.labels", key);
    check.label_value("metadata.labels", value.get<std::string>());
  }
  for (const auto& [key, value] : value_at(metadata, "annotations").items()) {
    check.label_name("metadata.annotations", key);
  }
  const Json& owners = value_at(metadata, "ownerReferences");
  for (std::size_t i = 0; i < owners.size(); ++i) {
    const std::string path = item("metadata.ownerReferences", i);
    for (const std::string_view key : {"apiVersion", "kind", "name", "uid"}) {
      if (text_at(owners[i], key).empty()) {
        check.required(path + "." + std::string(key));
      }
    }
  }
}

void check_object(FieldCheck& check, const Kind& kind, const Json& object) {
  if (&kind == &kinds::kResourceSlice) {
    check_slice(check, object);
  } else if (&kind == &kinds::kDeviceClass) {
    check_device_class(check, object);
  } else if (&kind == &kinds::kResourceClaim) {
    check_claim_spec(check, value_at(object, "spec"), "spec");
  } else if (&kind == &kinds::kResourceClaimTemplate) {
    check_claim_spec(check, value_at(value_at(object, "spec"), "spec"), "spec.spec");
  } else if (&kind == &kinds::kPod) {
    check_pod(check, object);
  }
}

/// What may change in a pod's spec: the node once, images, tolerations, the deadline.
Json frozen_pod_spec(const Json& pod, bool keep_node) {
  Json spec = value_at(pod, "spec");
  if (!spec.is_object()) {
    return Json::object();
  }
  spec.erase("tolerations");
  spec.erase("activeDeadlineSeconds");
  if (!keep_node) {
    spec.erase("nodeName");
  }
  for (const char* list : {"containers", "initContainers"}) {
    if (spec.contains(list)) {
      for (Json& container : spec[list]) {
        container.erase("image");
      }
    }
  }
  return spec;
}

void check_changes(FieldCheck& check, const Kind& kind, const Json& before, const Json& after) {
  constexpr std::string_view kImmutable = "field is immutable";
  if (&kind == &kinds::kResourceSlice) {
    check_slice_update(check, before, after);
  } else if (&kind == &kinds::kResourceClaim || &kind == &kinds::kResourceClaimTemplate) {
    if (value_at(before, "spec") != value_at(after, "spec")) {
      check.invalid("spec", value_at(after, "spec"), kImmutable);
    }
  } else if (&kind == &kinds::kPod) {
    const bool bound = !text_at(value_at(before, "spec"), "nodeName").empty();
    if (frozen_pod_spec(before, bound) != frozen_pod_spec(after, bound)) {
      check.forbidden(
          "spec",
          "pod updates may not change fields other than containers[*].image, initContainers[*].image, "
          "activeDeadlineSeconds and tolerations");
    }
  }
}

ApiResult<> verdict(const Kind& kind, const Json& object, FieldCheck check) {
  if (check.causes.empty()) {
    return {};
  }
  const std::string type = std::string(kind.name) + (kind.group.empty() ? "" : "." + std::string(kind.group));
  const Json& metadata = value_at(object, "metadata");
  const std::string name = text_at(metadata, "name");
  return ApiError::invalid(type, name.empty() ? text_at(metadata, "generateName") : name,
                           std::move(check.causes));
}

ApiResult<> normalise(const Kind& kind, Json& object) {
  if (const auto problem = normalise_fields(kind.name, object)) {
    return ApiError::bad_request(std::string(kind.name) + " in version \"" + std::string(kind.version) +
                                 "\" cannot be handled as a " + std::string(kind.name) + ": " +
                                 problem->path + ": " + problem->message);
  }
  return {};
}

}  // namespace

ApiResult<> admit_create(const Kind& kind, Json& object) {
  if (auto typed = normalise(kind, object); !typed) {
    return typed;
  }
  set_defaults(kind, Json(), object);
  FieldCheck check;
  check_metadata(check, kind, value_at(object, "metadata"));
  check_object(check, kind, object);
  return verdict(kind, object, std::move(check));
}

ApiResult<> admit_update(const Kind& kind, const Json& before, Json& after, Part part) {
  if (auto typed = normalise(kind, after); !typed) {
    return typed;
  }
  FieldCheck check;
  if (part == Part::kStatus) {
    if (&kind == &kinds::kResourceClaim) {
      // The server drops the drivers' reports when the claim loses its allocation (KEP-4817).
      if (!value_at(after, "status").contains("allocation") && after.contains("status")) {
        after["status"].erase("devices");
      }
      check_claim_status(check, before, after);
    }
    return verdict(kind, after, std::move(check));
  }
  set_defaults(kind, before, after);
  check_metadata(check, kind, value_at(after, "metadata"));
  check_object(check, kind, after);
  check_changes(check, kind, before, after);
  return verdict(kind, after, std::move(check));
}

}  // namespace drydock
