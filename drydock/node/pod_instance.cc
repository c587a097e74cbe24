// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/pod_instance.h"

#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

namespace sys = fairlead::sys;
using std::chrono::milliseconds;
using std::chrono::seconds;

/// Overlay's option string separates with ',' and ':'.
std::string escape_option(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c == ':' || c == ',' || c == '\\') {
      out += '\\';
    }
    out += c;
  }
  return out;
}

Result<> check_host_path(const Volume& volume) {
  const auto& type = volume.host_path_type;
  if (type == "DirectoryOrCreate") {
    return sys::make_dirs(volume.host_path);
  }
  struct stat info{};
  if (::stat(volume.host_path.c_str(), &info) != 0) {
    return Error::from_errno(errno, "hostPath " + volume.host_path);
  }
  if ((type == "Directory" && !S_ISDIR(info.st_mode)) || (type == "File" && !S_ISREG(info.st_mode))) {
    return Error(Code::kInvalid, "hostPath type check failed: " + volume.host_path + " is not a " +
                                     (type == "File" ? "file" : "directory"));
  }
  return {};
}

}  // namespace

struct PodInstance::Container {
  std::string name, id, bundle;
  pid_t pid = -1;
  UniqueFd pidfd;
  std::atomic<bool> created = false;
  LinePipe out, err;  // their threads read what stands above
  bool mounted = false;
  std::optional<ExitStatus> exit;
};

PodInstance::PodInstance(const NodeServices& services, PodSpec pod, OutputCallback output)
    : services_(services),
      pod_(std::move(pod)),
      output_(std::move(output)),
      folder_(services.paths.pods + "/" + pod_.uid) {}

PodInstance::~PodInstance() {
  if (const auto stopped = stop_containers(seconds(0)); !stopped) {
    fairlead::log::warn("containers not stopped", {{"pod", pod_.name}, {"error", stopped.error().what()}});
  }
  if (const auto removed = remove_sandbox(); !removed) {
    fairlead::log::warn("sandbox not removed", {{"pod", pod_.name}, {"error", removed.error().what()}});
  }
}

Result<> PodInstance::prepare_volumes() {
  for (const auto& volume : pod_.volumes) {
    if (volume.kind == Volume::Kind::kHostPath) {
      FL_TRY(check_host_path(volume), "MountVolume.SetUp failed for volume \"" + volume.name + "\"");
      info_.volume_paths[volume.name] = volume.host_path;
      continue;
    }
    const std::string path = folder_ + "/volumes/" + volume.name;
    FL_TRY(sys::make_dirs(path), "");
    (void)::chmod(path.c_str(), 0777);
    info_.volume_paths[volume.name] = path;
  }
  return {};
}

Result<> PodInstance::write_etc() {
  info_.etc_folder = folder_ + "/etc";
  FL_TRY(sys::make_dirs(info_.etc_folder), "");
  FL_TRY(sys::rewrite_file(info_.etc_folder + "/hostname", pod_.hostname + "\n"), "");
  FL_TRY(sys::rewrite_file(info_.etc_folder + "/resolv.conf", "nameserver 198.18.0.1\n"), "");
  return sys::rewrite_file(info_.etc_folder + "/hosts",
                           "127.0.0.1\tlocalhost\n::1\tlocalhost\n" +
                               (info_.pod_ip.empty() ? "" : info_.pod_ip + "\t" + pod_.hostname + "\n"));
}

Result<> PodInstance::make_sandbox() {
  FL_TRY(sys::make_dirs(folder_), "");
  FL_TRY(prepare_volumes(), "");
  info_.host_ip = NodeNetwork::node_ip();
  if (pod_.host_network) {
    info_.pod_ip = info_.host_ip;
  } else {
    FL_ASSIGN(sandbox_, services_.network->add_sandbox(pod_.uid), "");
    info_.pod_ip = sandbox_->ip;
    info_.network_namespace = sandbox_->netns_path;
  }
  return write_etc();
}

Result<> PodInstance::mount_rootfs(Container& container, const Image& image) {
  const std::string rootfs = container.bundle + "/rootfs";
  for (const std::string name : {"/rootfs", "/upper", "/work"}) {
    FL_TRY(sys::make_dirs(container.bundle + name), "");
  }
  const std::string options = "lowerdir=" + escape_option(image.rootfs) + ",upperdir=" + container.bundle +
                              "/upper,workdir=" + container.bundle + "/work";
  if (::mount("overlay", rootfs.c_str(), "overlay", 0, options.c_str()) == 0) {
    container.mounted = true;
    return {};
  }
  // Some file systems cannot be a lower layer; a copy does the same, slower.
  fairlead::log::debug("no overlay, copying the image", {{"errno", errno}});
  FL_ASSIGN(const auto copied,
            run({.argv = {"cp", "-a", image.rootfs + "/.", rootfs}}, std::chrono::minutes(2)), "");
  if (!copied.status.ok()) {
    return Error(Code::kInternal, "copy the image: " + copied.out);
  }
  return {};
}

Result<> PodInstance::launch(Container& container, OciSpec spec) {
  // Until the container exists only the runtime itself can have written, and its words are in create()'s
  // error.
  const auto sink = [this, &container](bool is_error) {
    return [this, &container, is_error](const std::string& line) {
      if (container.created) {
        output_({.container = container.name, .text = line, .is_error = is_error});
      }
    };
  };
  FL_ASSIGN(container.out, LinePipe::open(sink(false)), "");
  FL_ASSIGN(container.err, LinePipe::open(sink(true)), "");
  FL_ASSIGN(container.pid,
            services_.runtime->create(container.id, container.bundle, std::move(spec),
                                      {.out = container.out.writer(), .err = container.err.writer()}),
            "");
  container.created = true;
  container.out.close_writer();
  container.err.close_writer();
  FL_ASSIGN(container.pidfd, open_pidfd(container.pid), "");
  return services_.runtime->start(container.id);
}

Result<> PodInstance::start_container(const ContainerSpec& spec,
                                      const std::vector<std::string>& cdi_devices) {
  static std::atomic<int> count{0};
  FL_ASSIGN(const auto image, services_.images->get(spec.image),
            "Failed to pull image \"" + spec.image + "\"");
  FL_ASSIGN(auto oci, make_oci_spec(pod_, spec, image.config, info_), "");
  FL_TRY(services_.cdi->inject(cdi_devices, oci), "CDI device injection failed");
  if (!oci.net_devices.empty() && !services_.runtime->features().net_devices) {
    return Error(Code::kUnsupported,
                 "the CDI devices ask the OCI runtime to move network interfaces (netDevices), which " +
                     services_.runtime->version() +
                     " cannot do; crun 1.22 and runc 1.4 can (--runtime PATH)");
  }
  auto container = std::make_unique<Container>();
  container->name = spec.name;
  container->id = "drydock-" + pod_.uid.substr(0, 8) + "-" + spec.name + "-" + std::to_string(count++);
  container->bundle = services_.paths.bundles + "/" + container->id;
  FL_TRY(sys::make_dirs(container->bundle), "");
  auto started = mount_rootfs(*container, image);
  if (started) {
    oci.rootfs = container->bundle + "/rootfs";
    started = launch(*container, std::move(oci));
  }
  if (!started) {
    (void)discard(*container);
    return started;
  }
  containers_.push_back(std::move(container));
  return {};
}

Result<bool> PodInstance::wait(int wake_fd) {
  while (true) {
    std::vector<pollfd> items = {{.fd = wake_fd, .events = POLLIN, .revents = 0}};
    for (const auto& container : containers_) {
      if (!container->exit) {
        items.push_back({.fd = container->pidfd.get(), .events = POLLIN, .revents = 0});
      }
    }
    if (items.size() == 1) {
      return true;
    }
    if (::poll(items.data(), items.size(), -1) < 0 && errno != EINTR) {
      return Error::from_errno(errno, "wait for containers");
    }
    for (const auto& container : containers_) {
      if (!container->exit) {
        FL_ASSIGN(container->exit, wait_for_exit(container->pid, milliseconds(0)), "");
      }
      if (container->exit) {
        container->out.finish();
        container->err.finish();
      }
    }
    if (items[0].revents != 0) {
      return false;
    }
  }
}

std::vector<PodInstance::State> PodInstance::states() const {
  std::vector<State> out;
  out.reserve(containers_.size());
  for (const auto& container : containers_) {
    out.push_back({container->name, container->exit});
  }
  return out;
}

Result<> PodInstance::discard(Container& container) {
  FL_TRY(services_.runtime->remove(container.id), "");
  if (container.pid > 0 && !container.exit) {
    FL_ASSIGN(container.exit, wait_for_exit(container.pid), "");
  }
  container.out.finish();
  container.err.finish();
  const std::string rootfs = container.bundle + "/rootfs";
  if (container.mounted && ::umount2(rootfs.c_str(), MNT_DETACH) != 0 && errno != EINVAL) {
    return Error::from_errno(errno, "unmount " + rootfs);
  }
  container.mounted = false;
  return sys::remove_tree(container.bundle);
}

Result<> PodInstance::stop_containers(seconds limit) {
  const auto grace = std::min(limit, pod_.grace_period);
  const auto deadline = std::chrono::steady_clock::now() + grace;
  for (const auto& container : containers_) {
    if (!container->exit && grace.count() > 0) {
      (void)services_.runtime->kill(container->id, SIGTERM);
    }
  }
  for (const auto& container : containers_) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    if (!container->exit && grace.count() > 0) {
      FL_ASSIGN(container->exit, wait_for_exit(container->pid, std::max(left, milliseconds(0))), "");
    }
    if (!container->exit) {
      FL_TRY(services_.runtime->kill(container->id, SIGKILL), "");
      FL_ASSIGN(container->exit, wait_for_exit(container->pid, seconds(30)), "");
    }
    if (!container->exit) {
      return Error(Code::kTimeout, "container " + container->name + " does not end after SIGKILL");
    }
    FL_TRY(discard(*container), "remove container " + container->name);
  }
  return {};
}

Result<> PodInstance::remove_sandbox() {
  if (sandbox_) {
    FL_TRY(services_.network->remove_sandbox(*sandbox_), "remove the sandbox");
    sandbox_.reset();
  }
  return sys::remove_tree(folder_);
}

}  // namespace drydock
