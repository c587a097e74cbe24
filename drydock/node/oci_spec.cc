// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/oci_spec.h"

#include <sys/prctl.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace drydock {
namespace {

using fairlead::Code;
using fairlead::Error;
using fairlead::Result;
using nlohmann::json;

constexpr auto kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// containerd's default set (oci/spec.go defaultUnixCaps).
const std::vector<std::string>& default_capabilities() {
  static const std::vector<std::string> names = {
      "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
      "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",   "CAP_SETFCAP",
      "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"};
  return names;
}
/// Each at its number (linux/capability.h).
const std::vector<std::string>& known_capabilities() {
  static const std::vector<std::string> names = {"CAP_CHOWN",
                                                 "CAP_DAC_OVERRIDE",
                                                 "CAP_DAC_READ_SEARCH",
                                                 "CAP_FOWNER",
                                                 "CAP_FSETID",
                                                 "CAP_KILL",
                                                 "CAP_SETGID",
                                                 "CAP_SETUID",
                                                 "CAP_SETPCAP",
                                                 "CAP_LINUX_IMMUTABLE",
                                                 "CAP_NET_BIND_SERVICE",
                                                 "CAP_NET_BROADCAST",
                                                 "CAP_NET_ADMIN",
                                                 "CAP_NET_RAW",
                                                 "CAP_IPC_LOCK",
                                                 "CAP_IPC_OWNER",
                                                 "CAP_SYS_MODULE",
                                                 "CAP_SYS_RAWIO",
                                                 "CAP_SYS_CHROOT",
                                                 "CAP_SYS_PTRACE",
                                                 "CAP_SYS_PACCT",
                                                 "CAP_SYS_ADMIN",
                                                 "CAP_SYS_BOOT",
                                                 "CAP_SYS_NICE",
                                                 "CAP_SYS_RESOURCE",
                                                 "CAP_SYS_TIME",
                                                 "CAP_SYS_TTY_CONFIG",
                                                 "CAP_MKNOD",
                                                 "CAP_LEASE",
                                                 "CAP_AUDIT_WRITE",
                                                 "CAP_AUDIT_CONTROL",
                                                 "CAP_SETFCAP",
                                                 "CAP_MAC_OVERRIDE",
                                                 "CAP_MAC_ADMIN",
                                                 "CAP_SYSLOG",
                                                 "CAP_WAKE_ALARM",
                                                 "CAP_BLOCK_SUSPEND",
                                                 "CAP_AUDIT_READ",
                                                 "CAP_PERFMON",
                                                 "CAP_BPF",
                                                 "CAP_CHECKPOINT_RESTORE"};
  return names;
}

/// "All" is what there is to give (containerd's WithAllCurrentCapabilities): a machine that is a container
/// itself, or an older kernel, has fewer.
const std::vector<std::string>& all_capabilities() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (std::size_t number = 0; number < known_capabilities().size(); ++number) {
      if (::prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1) {
        out.push_back(known_capabilities()[number]);
      }
    }
    return out;
  }();
  return names;
}

std::string capability_name(const std::string& word) {
  return word.starts_with("CAP_") ? word : "CAP_" + word;
}

Result<std::vector<std::string>> capabilities_of(const SecurityContext& security,
                                                 const std::string& container) {
  if (security.privileged) {
    return all_capabilities();
  }
  const auto& known = known_capabilities();
  auto out = default_capabilities();
  for (const auto& word : security.drop_capabilities) {
    if (word == "ALL") {
      out.clear();
    } else {
      std::erase(out, capability_name(word));
    }
  }
  for (const auto& word : security.add_capabilities) {
    if (word == "ALL") {
      return all_capabilities();
    }
    const auto name = capability_name(word);
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return Error(Code::kInvalid, "container " + container +
                                       ": securityContext.capabilities.add: there is no \"" + word + "\"");
    }
    if (std::find(out.begin(), out.end(), name) == out.end()) {
      out.push_back(name);
    }
  }
  return out;
}

/// "metadata.labels['app']" -> "app"; empty when it is not of that form.
std::string subscript(const std::string& path, const std::string& map) {
  const std::string head = map + "['";
  if (!path.starts_with(head) || !path.ends_with("']")) {
    return "";
  }
  return path.substr(head.size(), path.size() - head.size() - 2);
}

Result<std::string> field_value(const std::string& path, const PodSpec& pod, const PodRuntimeInfo& info) {
  const std::map<std::string, std::string> known = {{"metadata.name", pod.name},
                                                    {"metadata.namespace", pod.namespace_},
                                                    {"metadata.uid", pod.uid},
                                                    {"spec.nodeName", pod.node_name},
                                                    {"spec.serviceAccountName", pod.service_account},
                                                    {"status.podIP", info.pod_ip},
                                                    {"status.podIPs", info.pod_ip},
                                                    {"status.hostIP", info.host_ip},
                                                    {"status.hostIPs", info.host_ip}};
  if (const auto found = known.find(path); found != known.end()) {
    return found->second;
  }
  for (const auto& [map, values] :
       {std::pair("metadata.labels", &pod.labels), std::pair("metadata.annotations", &pod.annotations)}) {
    if (const auto key = subscript(path, map); !key.empty()) {
      const auto found = values->find(key);
      return found == values->end() ? std::string() : found->second;
    }
  }
  return Error(Code::kInvalid, "fieldRef.fieldPath \"" + path + "\" is not one that a pod offers");
}

/// Kubernetes' $(NAME) references; an unknown one stays as it is, $$ is a dollar sign.
std::string expand(const std::string& in, const std::map<std::string, std::string>& variables) {
  std::string out;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (in[i] != '$' || i + 1 == in.size()) {
      out += in[i];
      continue;
    }
    if (in[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    const auto end = in[i + 1] == '(' ? in.find(')', i) : std::string::npos;
    const auto found =
        end == std::string::npos ? variables.end() : variables.find(in.substr(i + 2, end - i - 2));
    if (found == variables.end()) {
      out += in[i];
      continue;
    }
    out += found->second;
    i = end;
  }
  return out;
}

/// The pod's own variables, expanded in order; image and service variables come before them.
Result<std::map<std::string, std::string>> fill_env(const PodSpec& pod, const ContainerSpec& container,
                                                    const PodRuntimeInfo& info,
                                                    std::vector<std::string>& env) {
  std::map<std::string, std::string> variables;
  for (const auto& variable : container.env) {
    std::string value = expand(variable.value, variables);
    if (!variable.field_path.empty()) {
      FL_ASSIGN(value, field_value(variable.field_path, pod, info),
                "container " + container.name + ": env " + variable.name);
    }
    set_env(env, variable.name + "=" + value);
    variables[variable.name] = value;
  }
  return variables;
}

std::vector<std::string> command_line(const ContainerSpec& container, const ImageConfig& image) {
  auto out = container.command.empty() ? image.entrypoint : container.command;
  // An own command without args discards the image's arguments too (Kubernetes' rule).
  const auto& args = container.args.empty() && container.command.empty() ? image.command : container.args;
  out.insert(out.end(), args.begin(), args.end());
  return out;
}

std::vector<OciMount> default_mounts(bool privileged) {
  const std::string sys_mode = privileged ? "rw" : "ro";
  return {{"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
          {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
          {"/dev/pts", "devpts", "devpts", {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
          {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
          {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
          {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", sys_mode}}};
}

std::string propagation_of(const VolumeMount& mount) {
  if (mount.propagation == "HostToContainer") {
    return "rslave";
  }
  return mount.propagation == "Bidirectional" ? "rshared" : "rprivate";
}

/// The container's root must let through what one of its mounts is to receive or to send.
std::string root_propagation_of(const ContainerSpec& container) {
  std::string out;
  for (const auto& mount : container.mounts) {
    const auto one = propagation_of(mount);
    out = one == "rshared" || (one == "rslave" && out.empty()) ? one : out;
  }
  return out;
}

Result<> add_volume_mounts(const ContainerSpec& container, const PodRuntimeInfo& info,
                           std::vector<OciMount>& mounts) {
  for (const auto& mount : container.mounts) {
    const auto found = info.volume_paths.find(mount.volume);
    if (found == info.volume_paths.end()) {
      return Error(Code::kInvalid, "container " + container.name + ": volumeMounts name the volume \"" +
                                       mount.volume + "\", which spec.volumes does not have");
    }
    const std::string source = found->second + (mount.sub_path.empty() ? "" : "/" + mount.sub_path);
    const auto propagation = propagation_of(mount);
    mounts.push_back({mount.path, "bind", source, {"rbind", propagation, mount.read_only ? "ro" : "rw"}});
  }
  return {};
}

json mounts_json(const std::vector<OciMount>& mounts) {
  json out = json::array();
  for (const auto& m : mounts) {
    json one = {{"destination", m.destination}, {"source", m.source}};
    if (!m.type.empty()) {
      one["type"] = m.type;
    }
    if (!m.options.empty()) {
      one["options"] = m.options;
    }
    out.push_back(std::move(one));
  }
  return out;
}

json hooks_json(const std::map<std::string, std::vector<OciHook>>& hooks) {
  json out = json::object();
  for (const auto& [name, list] : hooks) {
    for (const auto& hook : list) {
      json one = {{"path", hook.path}};
      if (!hook.args.empty()) {
        one["args"] = hook.args;
      }
      if (!hook.env.empty()) {
        one["env"] = hook.env;
      }
      if (hook.timeout_seconds) {
        one["timeout"] = *hook.timeout_seconds;
      }
      out[name].push_back(std::move(one));
    }
  }
  return out;
}

void add_devices(const OciSpec& spec, json& linux_part) {
  json nodes = json::array();
  json rules = json::array();
  rules.push_back({{"allow", spec.privileged}, {"access", "rwm"}});
  for (const auto& device : spec.devices) {
    json one = {{"path", device.path}, {"type", device.type}, {"uid", device.uid}, {"gid", device.gid}};
    if (device.type != "p") {
      one["major"] = device.major;
      one["minor"] = device.minor;
    }
    if (device.file_mode) {
      one["fileMode"] = *device.file_mode;
    }
    nodes.push_back(std::move(one));
    if (device.type == "b" || device.type == "c") {
      rules.push_back({{"allow", true},
                       {"type", device.type},
                       {"major", device.major},
                       {"minor", device.minor},
                       {"access", device.access}});
    }
  }
  linux_part["devices"] = std::move(nodes);
  linux_part["resources"] = {{"devices", std::move(rules)}};
}

json namespaces_json(const OciSpec& spec) {
  json out = json::array();
  for (const std::string type : {"pid", "ipc", "uts", "mount"}) {
    if (type != "pid" || !spec.host_pid) {
      out.push_back({{"type", type}});
    }
  }
  if (!spec.network_namespace.empty()) {
    out.push_back({{"type", "network"}, {"path", spec.network_namespace}});
  }
  return out;
}

json linux_json(const OciSpec& spec) {
  json out = {{"namespaces", namespaces_json(spec)}};
  add_devices(spec, out);
  if (!spec.cgroups_path.empty()) {
    out["cgroupsPath"] = spec.cgroups_path;
  }
  if (!spec.masked_paths.empty()) {
    out["maskedPaths"] = spec.masked_paths;
  }
  if (!spec.read_only_paths.empty()) {
    out["readonlyPaths"] = spec.read_only_paths;
  }
  if (!spec.seccomp.empty()) {
    out["seccomp"] = json::parse(spec.seccomp);
  }
  if (!spec.rootfs_propagation.empty()) {
    out["rootfsPropagation"] = spec.rootfs_propagation;
  }
  for (const auto& [host, name] : spec.net_devices) {
    out["netDevices"][host] = {{"name", name}};
  }
  return out;
}

}  // namespace

void set_env(std::vector<std::string>& env, const std::string& entry) {
  const std::string head = entry.substr(0, entry.find('=')) + "=";
  const auto found = std::find_if(env.begin(), env.end(), [&](const auto& e) { return e.starts_with(head); });
  if (found == env.end()) {
    env.push_back(entry);
  } else {
    *found = entry;
  }
}

Result<OciSpec> make_oci_spec(const PodSpec& pod, const ContainerSpec& container, const ImageConfig& image,
                              const PodRuntimeInfo& info) {
  OciSpec out;
  out.hostname = pod.hostname;
  out.privileged = container.security.privileged;
  out.read_only_root = container.security.read_only_root;
  out.no_new_privileges = !container.security.allow_privilege_escalation;
  out.uid = static_cast<std::uint32_t>(container.security.user.value_or(0));
  out.gid = static_cast<std::uint32_t>(container.security.group.value_or(0));
  out.network_namespace = info.network_namespace;
  FL_ASSIGN(out.capabilities, capabilities_of(container.security, container.name));

  out.env = {kDefaultPath, "HOSTNAME=" + pod.hostname};
  for (const auto& entry : image.env) {
    set_env(out.env, entry);
  }
  FL_ASSIGN(const auto variables, fill_env(pod, container, info, out.env));
  for (const auto& word : command_line(container, image)) {
    out.args.push_back(expand(word, variables));
  }
  if (out.args.empty()) {
    return Error(Code::kInvalid, "container " + container.name + ": neither command nor args, and image " +
                                     container.image + " names no program to start");
  }
  if (!container.working_folder.empty()) {
    out.working_folder = container.working_folder;
  } else if (!image.working_folder.empty()) {
    out.working_folder = image.working_folder;
  }
  out.mounts = default_mounts(out.privileged);
  if (!info.etc_folder.empty()) {
    for (const std::string name : {"hosts", "hostname", "resolv.conf"}) {
      out.mounts.push_back(
          {"/etc/" + name, "bind", info.etc_folder + "/" + name, {"rbind", "rprivate", "rw"}});
    }
  }
  FL_TRY(add_volume_mounts(container, info, out.mounts));
  out.rootfs_propagation = root_propagation_of(container);
  if (!out.privileged) {
    out.masked_paths = {"/proc/acpi",          "/proc/asound",     "/proc/kcore",       "/proc/keys",
                        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
                        "/sys/firmware",       "/proc/scsi"};
    out.read_only_paths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  }
  return out;
}

std::string to_json(const OciSpec& spec) {
  json capabilities = json::object();
  for (const auto* set : {"bounding", "effective", "permitted"}) {
    capabilities[set] = spec.capabilities;
  }
  json out = {{"ociVersion", "1.0.2"},
              {"process",
               {{"terminal", false},
                {"user", {{"uid", spec.uid}, {"gid", spec.gid}, {"additionalGids", spec.additional_gids}}},
                {"args", spec.args},
                {"env", spec.env},
                {"cwd", spec.working_folder},
                {"capabilities", std::move(capabilities)},
                {"noNewPrivileges", spec.no_new_privileges}}},
              {"root", {{"path", spec.rootfs}, {"readonly", spec.read_only_root}}},
              {"hostname", spec.hostname},
              {"mounts", mounts_json(spec.mounts)},
              {"linux", linux_json(spec)}};
  if (!spec.hooks.empty()) {
    out["hooks"] = hooks_json(spec.hooks);
  }
  if (!spec.annotations.empty()) {
    out["annotations"] = spec.annotations;
  }
  return out.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace drydock
