// SPDX-License-Identifier: Apache-2.0
// The OCI runtime configuration of one container (runtime-spec 1.0, config.md) as plain values, and its JSON.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "drydock/node/pod_spec.h"
#include "fairlead/core/result.h"

namespace drydock {

struct OciMount {
  std::string destination, type, source;
  std::vector<std::string> options;
  bool operator==(const OciMount&) const = default;
};

struct OciDevice {
  std::string path, type;
  std::int64_t major = 0, minor = 0;
  std::optional<std::uint32_t> file_mode;
  std::uint32_t uid = 0, gid = 0;
  std::string access;  // for the device cgroup: "rwm"
  bool operator==(const OciDevice&) const = default;
};

struct OciHook {
  std::string path;
  std::vector<std::string> args, env;
  std::optional<int> timeout_seconds;
  bool operator==(const OciHook&) const = default;
};

struct OciSpec {
  std::string rootfs, hostname, working_folder = "/";
  bool read_only_root = false;
  bool no_new_privileges = false;
  std::vector<std::string> args, env;
  std::vector<std::string> capabilities;  // "CAP_CHOWN"
  std::uint32_t uid = 0, gid = 0;
  std::vector<std::uint32_t> additional_gids;
  std::vector<OciMount> mounts;
  std::vector<OciDevice> devices;
  std::map<std::string, std::vector<OciHook>> hooks;  // by name: "createRuntime"
  std::map<std::string, std::string> net_devices;     // host interface -> name in the container
  std::map<std::string, std::string> annotations;
  std::vector<std::string> masked_paths, read_only_paths;
  std::string network_namespace;   // path; empty: the caller's
  std::string cgroups_path;        // empty: the runtime's default
  std::string seccomp;             // linux.seccomp as JSON; empty: no filter
  std::string rootfs_propagation;  // "rslave", "rshared"; empty: the runtime's default
  bool host_pid = false;           // the caller's pid namespace
  bool privileged = false;
};

/// What an image says about how to run it.
struct ImageConfig {
  std::vector<std::string> entrypoint, command, env;
  std::string working_folder;
};

/// What is known only when the pod is there.
struct PodRuntimeInfo {
  std::string pod_ip, host_ip;
  std::map<std::string, std::string> volume_paths;  // volume name -> folder on the node
  std::string network_namespace;                    // path; empty for hostNetwork
  std::string etc_folder;                           // holds hosts, hostname and resolv.conf
};

/// The container as containerd would configure it: image first, then the pod's fields. kInvalid names the
/// field that cannot be honoured. CDI devices are applied afterwards (cdi_registry.h).
fairlead::Result<OciSpec> make_oci_spec(const PodSpec& pod, const ContainerSpec& container,
                                        const ImageConfig& image, const PodRuntimeInfo& info);

/// Replaces the entry with the same key, else appends.
void set_env(std::vector<std::string>& env, const std::string& entry);

std::string to_json(const OciSpec& spec);

}  // namespace drydock
