// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/confinement.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "drydock/cluster/manifest.h"
#include "drydock/node/host_path.h"

namespace drydock {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

const Json& at(const Json& object, const char* key) {
  static const Json nothing;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() ? *found : nothing;
}
std::string text(const Json& object, const char* key) {
  const auto& value = at(object, key);
  return value.is_string() ? value.get<std::string>() : "";
}
bool truth(const Json& object, const char* key) { return at(object, key) == true; }

/// The file's one DaemonSet, its fields checked as the API server would.
Result<Json> pod_of_daemon_set(std::string_view yaml, const std::string& file) {
  FL_ASSIGN(const auto documents, parse_yaml(yaml), file);
  std::vector<const Json*> found;
  for (const auto& document : documents) {
    if (text(document.value, "kind") == "DaemonSet") {
      found.push_back(&document.value);
    }
  }
  if (found.size() != 1) {
    return Error(Code::kInvalid,
                 file + ": --confine needs a manifest with exactly one DaemonSet, this one has " +
                     (found.empty() ? "none" : std::to_string(found.size())));
  }
  FL_ASSIGN(const auto manifests, read_manifests(found.front()->dump(), file));
  if (manifests.size() != 1) {
    return Error(Code::kInvalid,
                 file + ": the DaemonSet makes " + std::to_string(manifests.size()) + " pods");
  }
  return manifests.front().object;
}

/// Takes out of a pod what the node cannot do, and keeps the names of it.
class Stripper {
 public:
  explicit Stripper(std::vector<std::string>& out) : out_(out) {}

  void strip(Json& spec) {
    keep_only(spec, "spec",
              {"containers", "volumes", "hostNetwork", "hostPID", "securityContext", "serviceAccountName",
               "terminationGracePeriodSeconds", "restartPolicy", "nodeSelector", "affinity", "tolerations",
               "priorityClassName", "enableServiceLinks", "dnsPolicy", "automountServiceAccountToken",
               "imagePullSecrets", "hostname"});
    if (!truth(spec, "hostNetwork")) {
      out_.emplace_back("a network namespace of the pod's own (hostNetwork is not true)");
    }
    auto& containers = spec["containers"];
    for (std::size_t i = 1; i < containers.size(); ++i) {
      out_.push_back("container " + text(containers[i], "name"));
    }
    containers.erase(containers.begin() + 1, containers.end());
    strip_security(spec, "spec.securityContext");
    strip_container(containers[0]);
    strip_volumes(spec, containers[0]);
  }

 private:
  void keep_only(Json& object, const std::string& path, const std::set<std::string>& kept) {
    for (auto entry = object.begin(); entry != object.end();) {
      if (kept.contains(entry.key()) || entry.value().empty()) {
        ++entry;
        continue;
      }
      out_.push_back(path + "." + entry.key());
      entry = object.erase(entry);
    }
  }

  void strip_security(Json& owner, const std::string& path) {
    if (at(owner, "securityContext").is_object()) {
      keep_only(owner["securityContext"], path,
                {"privileged", "readOnlyRootFilesystem", "allowPrivilegeEscalation", "capabilities",
                 "runAsUser", "runAsGroup", "seccompProfile"});
    }
  }

  void strip_container(Json& container) {
    const std::string path = "containers[0]";
    // The command is --driver's, and the image is the machine's own file system.
    keep_only(container, path,
              {"name", "image", "imagePullPolicy", "command", "args", "workingDir", "env", "ports",
               "securityContext", "volumeMounts", "terminationMessagePath", "terminationMessagePolicy"});
    container.erase("workingDir");
    strip_security(container, path + ".securityContext");
    if (!truth(at(container, "securityContext"), "readOnlyRootFilesystem")) {
      out_.emplace_back("a writable root (readOnlyRootFilesystem is not true)");
    }
    Json env = Json::array();
    for (const auto& variable : at(container, "env")) {
      const auto& source = at(variable, "valueFrom");
      if (source.is_null() ||
          (at(source, "fieldRef").is_object() && is_told(text(at(source, "fieldRef"), "fieldPath")))) {
        env.push_back(variable);
      } else {
        out_.push_back("env " + text(variable, "name"));
      }
    }
    container["env"] = std::move(env);
  }

  /// Fields whose values drydock gives its drivers anyway, or which are in the manifest itself.
  static bool is_told(const std::string& field) {
    static const std::set<std::string> told = {
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP", "status.hostIPs",     "status.podIP", "status.podIPs"};
    return told.contains(field) || field.starts_with("metadata.labels[") ||
           field.starts_with("metadata.annotations[");
  }

  void strip_volumes(Json& spec, Json& container) {
    std::set<std::string> gone;
    Json volumes = Json::array();
    for (const auto& volume : at(spec, "volumes")) {
      if (at(volume, "hostPath").is_object() || at(volume, "emptyDir").is_object()) {
        volumes.push_back(volume);
      } else {
        gone.insert(text(volume, "name"));
        out_.push_back("volume " + text(volume, "name"));
      }
    }
    spec["volumes"] = std::move(volumes);
    Json mounts = Json::array();
    for (const auto& mount : at(container, "volumeMounts")) {
      if (!gone.contains(text(mount, "name"))) {
        mounts.push_back(mount);
      }
    }
    container["volumeMounts"] = std::move(mounts);
  }

  std::vector<std::string>& out_;
};

/// The container's own profile has priority over its pod's; without one: Unconfined.
Result<bool> wants_default_seccomp(const Json& spec, const std::string& file) {
  const auto& own = at(at(spec["containers"][0], "securityContext"), "seccompProfile");
  const auto& profile = own.is_null() ? at(at(spec, "securityContext"), "seccompProfile") : own;
  const auto type = text(profile, "type");
  if (type.empty() || type == "Unconfined") {
    return false;
  }
  if (type != "RuntimeDefault") {
    return Error(Code::kInvalid,
                 file + ": seccompProfile.type " + type + ": drydock has only RuntimeDefault and Unconfined");
  }
  return true;
}

Result<> check_id(std::optional<std::int64_t> id, const std::string& field) {
  constexpr std::int64_t kHighest = std::numeric_limits<std::int32_t>::max();  // the API server's rule
  if (id && (*id < 0 || *id > kHighest)) {
    return Error(Code::kInvalid, "securityContext." + field + " is " + std::to_string(*id) +
                                     ", it must be between 0 and " + std::to_string(kHighest));
  }
  return {};
}

/// What can be known to be wrong by reading alone, so that nothing is started in vain.
Result<> check_driver(const Confinement& confinement) {
  const auto& container = confinement.container();
  DriverPlace place{.env = {{"POD_NAMESPACE", ""}, {"NODE_IP", ""}}};
  for (const auto& volume : confinement.pod.volumes) {
    if (volume.kind == Volume::Kind::kHostPath && !is_host_path_type(volume.host_path_type)) {
      return Error(
          Code::kInvalid,
          "volume " + volume.name + ": there is no hostPath.type \"" + volume.host_path_type +
              "\" (DirectoryOrCreate, Directory, FileOrCreate, File, Socket, CharDevice, BlockDevice)");
    }
    place.volumes[volume.name] = volume.host_path;
  }
  if (const auto seconds = confinement.pod.grace_period.count(); seconds < 0) {
    return Error(Code::kInvalid, "spec.terminationGracePeriodSeconds is " + std::to_string(seconds) +
                                     ", it must not be negative");
  }
  const std::string where = "container " + container.name;
  for (const auto& mount : container.mounts) {
    static const std::set<std::string> known = {"", "None", "HostToContainer", "Bidirectional"};
    if (!known.contains(mount.propagation)) {
      return Error(Code::kInvalid, where + ": volumeMount " + mount.volume +
                                       ": there is no mountPropagation \"" + mount.propagation +
                                       "\" (None, HostToContainer, Bidirectional)");
    }
  }
  FL_TRY(check_id(container.security.user, "runAsUser"), where);
  FL_TRY(check_id(container.security.group, "runAsGroup"), where);
  FL_TRY(make_driver_spec(confinement, place));
  return {};
}

void add_tmpfs(const std::string& where, std::vector<OciMount>& mounts) {
  mounts.push_back({where, "tmpfs", "tmpfs", {"nosuid", "nodev", "noexec", "ro", "mode=755"}});
}

}  // namespace

Result<Confinement> read_confinement(std::string_view yaml, const std::string& file) {
  FL_ASSIGN(auto pod, pod_of_daemon_set(yaml, file));
  auto& spec = pod["spec"];
  if (at(spec, "containers").empty()) {
    return Error(Code::kInvalid, file + ": the DaemonSet has no container");
  }
  Confinement out;
  out.host_pid = truth(spec, "hostPID");
  FL_ASSIGN(const bool wants_seccomp, wants_default_seccomp(spec, file));
  Stripper(out.not_played).strip(spec);
  FL_ASSIGN(out.pod, parse_pod(pod.dump()), file);
  out.default_seccomp = wants_seccomp && !out.container().security.privileged;
  if (const auto seconds = out.pod.grace_period; seconds > Confinement::kLongestGrace) {
    out.not_played.push_back("terminationGracePeriodSeconds " + std::to_string(seconds.count()) +
                             " (at most " + std::to_string(Confinement::kLongestGrace.count()) + " here)");
  }
  FL_TRY(check_driver(out), file);
  return out;
}

Result<OciSpec> make_driver_spec(const Confinement& confinement, const DriverPlace& place) {
  PodSpec pod = confinement.pod;
  pod.uid = place.pod_uid;
  pod.node_name = place.node_name;
  pod.hostname = place.node_name;
  pod.namespace_ = place.env.at("POD_NAMESPACE");
  auto container = confinement.container();
  container.command = {"/bin/sh", "-c", place.command};
  container.args.clear();
  container.security.read_only_root = true;
  const std::string node_ip = place.env.at("NODE_IP");
  FL_ASSIGN(auto out, make_oci_spec(pod, container, {},
                                    {.pod_ip = node_ip, .host_ip = node_ip, .volume_paths = place.volumes}));
  out.args.back() = place.command;  // $(NAME) in it is the shell's
  out.rootfs = place.rootfs;
  out.working_folder = place.working_folder;
  out.host_pid = confinement.host_pid;
  for (const auto& [name, value] : place.env) {
    std::string entry = name;
    entry.append("=").append(value);
    set_env(out.env, entry);
  }
  // The machine first, then what the runtime lays over it, the manifest's volumes last.
  std::vector<OciMount> mounts = place.machine;
  const auto volumes = out.mounts.end() - static_cast<std::ptrdiff_t>(container.mounts.size());
  mounts.insert(mounts.end(), out.mounts.begin(), volumes);
  for (const auto& folder : place.hidden) {
    add_tmpfs(folder, mounts);
  }
  for (const auto& [paths, mode] : {std::pair(&place.readable, "ro"), std::pair(&place.writable, "rw")}) {
    for (const auto& path : *paths) {
      mounts.push_back({path, "bind", path, {"rbind", "rprivate", mode}});
    }
  }
  mounts.insert(mounts.end(), volumes, out.mounts.end());
  out.mounts = std::move(mounts);
  return out;
}

}  // namespace drydock
