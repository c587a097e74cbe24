// SPDX-License-Identifier: Apache-2.0
// What the node reads of a v1 Pod: the fields it can honour, as plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"

namespace drydock {

struct EnvVar {
  std::string name, value;
  std::string field_path;  // valueFrom.fieldRef; then value is unused
};

struct VolumeMount {
  std::string volume, path, sub_path;
  std::string propagation;  // "HostToContainer", "Bidirectional"; empty: None
  bool read_only = false;
};

struct Volume {
  enum class Kind : std::uint8_t { kEmptyDir, kHostPath };
  std::string name;
  Kind kind = Kind::kEmptyDir;
  std::string host_path, host_path_type;
};

/// A container's resources.claims[]: which of the pod's claims it sees, or only one request of it.
struct ContainerClaim {
  std::string name, request;
};

struct SecurityContext {
  bool privileged = false;
  bool read_only_root = false;
  bool allow_privilege_escalation = true;
  std::vector<std::string> add_capabilities, drop_capabilities;  // "NET_ADMIN", "ALL"
  std::optional<std::int64_t> user, group;
};

struct ContainerSpec {
  std::string name, image, working_folder;
  std::vector<std::string> command, args;
  std::vector<EnvVar> env;
  std::vector<VolumeMount> mounts;
  std::vector<ContainerClaim> claims;
  SecurityContext security;
};

/// spec.resourceClaims[] with the claim that it refers to.
struct PodClaim {
  std::string name;
  std::string claim_name;     // resourceClaimName
  std::string template_name;  // resourceClaimTemplateName; then claim_name comes from the pod's status
};

struct PodSpec {
  std::string name, namespace_, uid, node_name, hostname, service_account, restart_policy;
  std::map<std::string, std::string> labels, annotations;
  bool host_network = false;
  std::chrono::seconds grace_period{30};
  std::vector<ContainerSpec> init_containers, containers;
  std::vector<Volume> volumes;
  std::vector<PodClaim> claims;
};

/// From the API server's JSON. kInvalid names the field that a stand-in node cannot honour.
fairlead::Result<PodSpec> parse_pod(std::string_view json);

}  // namespace drydock
