// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/pod_spec.h"

#include <nlohmann/json.hpp>
#include <utility>

namespace drydock {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;
using nlohmann::json;

const json& field(const json& object, const char* key) {
  static const json nothing;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : nothing;
}
std::string text(const json& object, const char* key) {
  const auto& value = field(object, key);
  return value.is_null() ? std::string() : value.get<std::string>();
}
bool truth(const json& object, const char* key, bool otherwise) {
  const auto& value = field(object, key);
  return value.is_null() ? otherwise : value.get<bool>();
}
std::vector<std::string> texts(const json& object, const char* key) {
  const auto& value = field(object, key);
  return value.is_null() ? std::vector<std::string>() : value.get<std::vector<std::string>>();
}
std::map<std::string, std::string> string_map(const json& object, const char* key) {
  const auto& value = field(object, key);
  return value.is_null() ? std::map<std::string, std::string>()
                         : value.get<std::map<std::string, std::string>>();
}
std::optional<std::int64_t> number(const json& object, const char* key) {
  const auto& value = field(object, key);
  return value.is_null() ? std::optional<std::int64_t>() : value.get<std::int64_t>();
}
Error unsupported(const std::string& path, const std::string& why) {
  return {Code::kInvalid, path + ": " + why};
}

Result<EnvVar> parse_env(const json& in, const std::string& path) {
  EnvVar out{.name = text(in, "name"), .value = text(in, "value"), .field_path = ""};
  const auto& from = field(in, "valueFrom");
  if (from.is_null()) {
    return out;
  }
  out.field_path = text(field(from, "fieldRef"), "fieldPath");
  if (out.field_path.empty()) {
    return unsupported(path + ".valueFrom", "drydock's node can fill in only a fieldRef");
  }
  return out;
}

void read_security(const json& in, SecurityContext& out) {
  out.privileged = truth(in, "privileged", out.privileged);
  out.read_only_root = truth(in, "readOnlyRootFilesystem", out.read_only_root);
  out.allow_privilege_escalation = truth(in, "allowPrivilegeEscalation", out.allow_privilege_escalation);
  const auto& capabilities = field(in, "capabilities");
  out.add_capabilities = texts(capabilities, "add");
  out.drop_capabilities = texts(capabilities, "drop");
  out.user = number(in, "runAsUser").has_value() ? number(in, "runAsUser") : out.user;
  out.group = number(in, "runAsGroup").has_value() ? number(in, "runAsGroup") : out.group;
}

Result<ContainerSpec> parse_container(const json& in, const json& pod_security, const std::string& path) {
  ContainerSpec out;
  out.name = text(in, "name");
  out.image = text(in, "image");
  out.working_folder = text(in, "workingDir");
  out.command = texts(in, "command");
  out.args = texts(in, "args");
  if (out.image.empty()) {
    return unsupported(path + ".image", "a container needs an image");
  }
  std::size_t index = 0;
  for (const auto& item : field(in, "env")) {
    FL_ASSIGN(auto variable, parse_env(item, path + ".env[" + std::to_string(index++) + "]"));
    out.env.push_back(std::move(variable));
  }
  if (!field(in, "envFrom").empty()) {
    return unsupported(path + ".envFrom", "drydock's node does not read config maps or secrets");
  }
  for (const auto& item : field(in, "volumeMounts")) {
    out.mounts.push_back({.volume = text(item, "name"),
                          .path = text(item, "mountPath"),
                          .sub_path = text(item, "subPath"),
                          .propagation = text(item, "mountPropagation"),
                          .read_only = truth(item, "readOnly", false)});
  }
  for (const auto& item : field(field(in, "resources"), "claims")) {
    out.claims.push_back({.name = text(item, "name"), .request = text(item, "request")});
  }
  out.security.user = number(pod_security, "runAsUser");
  out.security.group = number(pod_security, "runAsGroup");
  read_security(field(in, "securityContext"), out.security);
  return out;
}

Result<std::vector<ContainerSpec>> parse_containers(const json& spec, const char* key) {
  std::vector<ContainerSpec> out;
  const auto& list = field(spec, key);
  for (std::size_t i = 0; i < list.size(); ++i) {
    FL_ASSIGN(auto container, parse_container(list[i], field(spec, "securityContext"),
                                              std::string("spec.") + key + "[" + std::to_string(i) + "]"));
    out.push_back(std::move(container));
  }
  return out;
}

Result<std::vector<Volume>> parse_volumes(const json& spec) {
  std::vector<Volume> out;
  const auto& list = field(spec, "volumes");
  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto& in = list[i];
    Volume volume{.name = text(in, "name"), .host_path = "", .host_path_type = ""};
    const auto& host = field(in, "hostPath");
    if (!host.is_null()) {
      volume.kind = Volume::Kind::kHostPath;
      volume.host_path = text(host, "path");
      volume.host_path_type = text(host, "type");
    } else if (in.is_object() && in.find("emptyDir") == in.end()) {
      return unsupported("spec.volumes[" + std::to_string(i) + "]",
                         "drydock's node has only emptyDir and hostPath volumes");
    }
    out.push_back(std::move(volume));
  }
  return out;
}

Result<PodSpec> read_pod(const json& in) {
  PodSpec out;
  const auto& meta = field(in, "metadata");
  const auto& spec = field(in, "spec");
  const auto& status = field(in, "status");
  out.name = text(meta, "name");
  out.namespace_ = text(meta, "namespace");
  out.uid = text(meta, "uid");
  out.labels = string_map(meta, "labels");
  out.annotations = string_map(meta, "annotations");
  out.node_name = text(spec, "nodeName");
  out.hostname = text(spec, "hostname").empty() ? out.name : text(spec, "hostname");
  out.service_account =
      text(spec, "serviceAccountName").empty() ? "default" : text(spec, "serviceAccountName");
  out.restart_policy = text(spec, "restartPolicy").empty() ? "Always" : text(spec, "restartPolicy");
  out.host_network = truth(spec, "hostNetwork", false);
  if (out.host_network && !out.node_name.empty()) {
    out.hostname = out.node_name;  // the kubelet's rule
  }
  out.grace_period = std::chrono::seconds(number(spec, "terminationGracePeriodSeconds").value_or(30));
  FL_ASSIGN(out.init_containers, parse_containers(spec, "initContainers"));
  FL_ASSIGN(out.containers, parse_containers(spec, "containers"));
  FL_ASSIGN(out.volumes, parse_volumes(spec));
  if (out.containers.empty()) {
    return unsupported("spec.containers", "a pod needs at least one container");
  }
  for (const auto& item : field(spec, "resourceClaims")) {
    PodClaim claim{.name = text(item, "name"),
                   .claim_name = text(item, "resourceClaimName"),
                   .template_name = text(item, "resourceClaimTemplateName")};
    for (const auto& made : field(status, "resourceClaimStatuses")) {
      if (claim.claim_name.empty() && text(made, "name") == claim.name) {
        claim.claim_name = text(made, "resourceClaimName");
      }
    }
    out.claims.push_back(std::move(claim));
  }
  return out;
}

}  // namespace

Result<PodSpec> parse_pod(std::string_view text_in) {
  try {
    auto out = read_pod(json::parse(text_in));
    if (!out) {
      return std::move(out).error().with("pod " + text(field(json::parse(text_in), "metadata"), "name"));
    }
    return out;
  } catch (const json::exception& e) {
    return Error(Code::kInvalid, std::string("the pod cannot be read: ") + e.what());
  }
}

}  // namespace drydock
