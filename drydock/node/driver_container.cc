// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/driver_container.h"

#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <utility>

#include "drydock/node/host_path.h"
#include "drydock/node/seccomp_profile.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

namespace fs = std::filesystem;
namespace sys = fairlead::sys;

bool is_below(const std::string& path, const std::string& folder) {
  return path == folder || path.starts_with(folder + "/");
}

/// mountinfo writes space, tab, newline and backslash as \040 and the like.
std::string unescaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    constexpr std::size_t kDigits = 3;
    if (text[i] == '\\' && i + kDigits < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, kDigits), nullptr, 8));
      i += kDigits;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// The node's own folders, which a container does not see unless a volume brings them. /var/run is /run, by
/// a link or by a mount (node_fs.h).
std::vector<std::string> hidden_folders(const NodePaths& paths) {
  std::vector<std::string> out = {"/run", paths.kubelet, paths.static_cdi};
  std::error_code ignored;
  if (!fs::is_symlink("/var/run", ignored)) {
    out.emplace_back("/var/run");
  }
  return out;
}

/// The file systems below the machine's root, parents before children, without those that a container has
/// itself and those that are hidden.
Result<std::vector<OciMount>> machine_mounts(const std::vector<std::string>& hidden) {
  FL_ASSIGN(const auto text, sys::read_file("/proc/self/mountinfo"));
  std::vector<std::string> points;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    const std::vector<std::string> fields(std::istream_iterator<std::string>(words), {});
    constexpr std::size_t kPoint = 4;
    if (fields.size() <= kPoint) {
      continue;
    }
    const auto point = unescaped(fields[kPoint]);
    const auto covers = [&](const std::string& folder) { return is_below(point, folder); };
    struct stat info{};
    if (point == "/" || covers("/proc") || covers("/sys") || covers("/dev") ||
        std::ranges::any_of(hidden, covers) || ::stat(point.c_str(), &info) != 0) {
      continue;
    }
    if (std::ranges::find(points, point) == points.end()) {
      points.push_back(point);
    }
  }
  std::ranges::sort(points);  // a parent's path is shorter
  std::vector<OciMount> out;
  out.reserve(points.size());
  for (const auto& point : points) {
    out.push_back({point, "bind", point, {"bind", "rprivate", "ro"}});
  }
  return out;
}

std::string root_folder(const DriverContainerSettings& settings) { return settings.folder + "/rootfs"; }

Result<> mount_root(const DriverContainerSettings& settings) {
  for (const std::string name : {"/rootfs", "/upper", "/work"}) {
    FL_TRY(sys::make_dirs(settings.folder + name));
  }
  const std::string options =
      "lowerdir=/,upperdir=" + settings.folder + "/upper,workdir=" + settings.folder + "/work";
  if (::mount("overlay", root_folder(settings).c_str(), "overlay", 0, options.c_str()) != 0) {
    return Error::from_errno(errno, "lay an overlay over the machine's root");
  }
  return {};
}

/// Mounts that are made on the node later reach a container only if the volume's folder is a shared mount, as
/// everything is on a node of systemd's, and as iproute2 makes /run/netns.
Result<> share(const std::string& folder) {
  if (::mount(nullptr, folder.c_str(), nullptr, MS_SHARED, nullptr) == 0) {
    return {};
  }
  if (errno != EINVAL || ::mount(folder.c_str(), folder.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0 ||
      ::mount(nullptr, folder.c_str(), nullptr, MS_SHARED, nullptr) != 0) {
    return Error::from_errno(errno, "make " + folder + " a shared mount for mountPropagation");
  }
  return {};
}

Result<std::map<std::string, std::string>> prepare_volumes(const DriverContainerSettings& settings) {
  std::map<std::string, std::string> out;
  for (const auto& volume : settings.confinement->pod.volumes) {
    auto& path = out[volume.name];
    if (volume.kind == Volume::Kind::kHostPath) {
      FL_TRY(prepare_host_path(volume), "volume " + volume.name);
      path = volume.host_path;
      continue;
    }
    path = settings.folder + "/volumes/" + volume.name;
    FL_TRY(sys::make_dirs(path));
    (void)::chmod(path.c_str(), 0777);
  }
  for (const auto& mount : settings.confinement->container().mounts) {
    const auto volume = out.find(mount.volume);
    if (volume != out.end() && !mount.propagation.empty() && mount.propagation != "None") {
      FL_TRY(share(volume->second), "volume " + mount.volume);
    }
  }
  return out;
}

Result<OciSpec> spec_of(const DriverContainerSettings& settings, const std::string& command,
                        const std::map<std::string, std::string>& env) {
  DriverPlace place{.command = command,
                    .env = env,
                    .rootfs = root_folder(settings),
                    .hidden = hidden_folders(settings.paths),
                    .readable = settings.readable,
                    .writable = settings.writable,
                    .node_name = settings.node_name,
                    .pod_uid = settings.pod_uid};
  std::error_code failed;
  if (fs::exists(settings.paths.lower, failed)) {
    place.readable.push_back(settings.paths.lower);  // where links in /etc and /var/lib of the node lead
  }
  FL_ASSIGN(place.volumes, prepare_volumes(settings));
  FL_ASSIGN(place.machine, machine_mounts(place.hidden));
  const auto here = fs::current_path(failed).string();
  if (!failed &&
      std::ranges::none_of(place.hidden, [&](const auto& folder) { return is_below(here, folder); })) {
    place.working_folder = here;
  }
  FL_ASSIGN(auto out, make_driver_spec(*settings.confinement, place));
  if (settings.confinement->default_seccomp) {
    FL_ASSIGN(out.seccomp, default_seccomp(out.capabilities));
  }
  return out;
}

}  // namespace

Result<pid_t> start_driver_container(const DriverContainerSettings& settings, const std::string& command,
                                     const std::map<std::string, std::string>& env, int log) {
  FL_TRY(mount_root(settings));
  fairlead::ScopeExit undo([&] { (void)remove_driver_container(settings); });
  FL_ASSIGN(auto spec, spec_of(settings, command, env));
  FL_ASSIGN(const pid_t pid, settings.runtime->create(settings.id, settings.folder, std::move(spec),
                                                      {.out = log, .err = log}));
  if (auto started = settings.runtime->start(settings.id); !started) {
    (void)::kill(pid, SIGKILL);
    (void)wait_for_exit(pid);
    return std::move(started).error();
  }
  undo.release();
  return pid;
}

Result<> remove_driver_container(const DriverContainerSettings& settings) {
  FL_TRY(settings.runtime->remove(settings.id));
  const auto root = root_folder(settings);
  if (::umount2(root.c_str(), MNT_DETACH) != 0 && errno != EINVAL && errno != ENOENT) {
    return Error::from_errno(errno, "unmount " + root);
  }
  FL_TRY(sys::remove_tree(settings.folder + "/upper"));
  return sys::remove_tree(settings.folder + "/work");
}

}  // namespace drydock
