// SPDX-License-Identifier: Apache-2.0
// --confine: what the manifest of a driver's DaemonSet says about how the driver runs, and the container that
// follows from it.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "drydock/node/oci_spec.h"
#include "drydock/node/pod_spec.h"
#include "fairlead/core/result.h"

namespace drydock {

struct Confinement {
  PodSpec pod;  // one container: the DaemonSet's first
  bool host_pid = false;
  bool default_seccomp = false;         // seccompProfile RuntimeDefault, and not privileged
  std::vector<std::string> not_played;  // fields that ask for what drydock does not do
  [[nodiscard]] const ContainerSpec& container() const { return pod.containers.front(); }
  /// Between SIGTERM and SIGKILL: the pod's terminationGracePeriodSeconds within these bounds.
  static constexpr std::chrono::seconds kShortestGrace{2};
  static constexpr std::chrono::seconds kLongestGrace{120};
  [[nodiscard]] std::chrono::seconds grace() const {
    return std::clamp(pod.grace_period, kShortestGrace, kLongestGrace);
  }
};

/// `yaml` may hold many documents, exactly one of them a DaemonSet. kInvalid names the file and the field.
fairlead::Result<Confinement> read_confinement(std::string_view yaml, const std::string& file);

/// What is known of one driver when its container is made. Paths are the node's, and the same inside.
struct DriverPlace {
  std::string command;                          // for /bin/sh -c
  std::map<std::string, std::string> env;       // drydock's own; wins over the manifest's
  std::string rootfs;                           // the machine's root, see driver_container.h
  std::vector<OciMount> machine;                // file systems below the machine's root, read-only
  std::vector<std::string> hidden;              // the node's own folders: empty and read-only inside
  std::vector<std::string> readable, writable;  // files and folders of drydock's that stay
  std::map<std::string, std::string> volumes;   // name -> folder on the node
  std::string node_name, pod_uid, working_folder = "/";
};

/// The container as containerd would make it for the DaemonSet's pod. Without a seccomp profile.
fairlead::Result<OciSpec> make_driver_spec(const Confinement& confinement, const DriverPlace& place);

}  // namespace drydock
