// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/pod_instance.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <utility>

#include "drydock/cluster/ids.h"
#include "drydock/node/host_path.h"
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

}  // namespace

struct PodInstance::Container {
  std::string name, id, bundle;
  fairlead::rpc::NriContainer nri;
  bool announced = false;  // NRI plugins know of it
  pid_t pid = -1;
  UniqueFd pidfd;
  std::atomic<bool> created = false;
  LinePipe out, err;  // their threads read the members above
  bool mounted = false;
  bool discarded = false;
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
      FL_TRY(prepare_host_path(volume), "MountVolume.SetUp failed for volume \"" + volume.name + "\"");
      info_.volume_paths[volume.name] = volume.host_path;
      continue;
    }
    const std::string path = folder_ + "/volumes/" + volume.name;
    FL_TRY(sys::make_dirs(path));
    (void)::chmod(path.c_str(), 0777);
    info_.volume_paths[volume.name] = path;
  }
  return {};
}

Result<> PodInstance::write_etc() {
  info_.etc_folder = folder_ + "/etc";
  FL_TRY(sys::make_dirs(info_.etc_folder));
  FL_TRY(sys::rewrite_file(info_.etc_folder + "/hostname", pod_.hostname + "\n"));
  FL_TRY(sys::rewrite_file(info_.etc_folder + "/resolv.conf", "nameserver 198.18.0.1\n"));
  return sys::rewrite_file(info_.etc_folder + "/hosts",
                           "127.0.0.1\tlocalhost\n::1\tlocalhost\n" +
                               (info_.pod_ip.empty() ? "" : info_.pod_ip + "\t" + pod_.hostname + "\n"));
}

namespace {

/// Labels as the kubelet gives them to a sandbox.
std::map<std::string, std::string> sandbox_labels(const PodSpec& pod) {
  auto out = pod.labels;
  out["io.kubernetes.pod.name"] = pod.name;
  out["io.kubernetes.pod.namespace"] = pod.namespace_;
  out["io.kubernetes.pod.uid"] = pod.uid;
  return out;
}

}  // namespace

/// The network first, then the process in it: the order of containerd.
Result<> PodInstance::connect_sandbox() {
  info_.host_ip = NodeNetwork::node_ip();
  fairlead::UniqueFd netns;
  if (pod_.host_network) {
    info_.pod_ip = info_.host_ip;
  } else {
    FL_ASSIGN(sandbox_, services_.network->add_sandbox(new_uuid()));
    info_.pod_ip = sandbox_->ip;
    info_.network_namespace = sandbox_->netns_path;
    FL_ASSIGN(netns, sys::open_file(sandbox_->netns_path, O_RDONLY, 0));
  }
  FL_ASSIGN(auto pause, PauseProcess::start(netns.valid() ? netns.get() : -1));
  pause_.emplace(std::move(pause));
  return {};
}

Result<> PodInstance::disconnect_sandbox() {
  pause_.reset();
  if (sandbox_) {
    FL_TRY(services_.network->remove_sandbox(*sandbox_), "remove the sandbox");
    sandbox_.reset();
  }
  info_.network_namespace.clear();
  return {};
}

Result<> PodInstance::make_sandbox() {
  FL_TRY(sys::make_dirs(folder_));
  FL_TRY(prepare_volumes());
  fairlead::ScopeExit undo([this] { (void)disconnect_sandbox(); });
  FL_TRY(disconnect_sandbox());
  for (const auto& container : containers_) {
    FL_TRY(discard(*container), "remove container " + container->name);
  }
  containers_.clear();
  if (!nri_pod_.id.empty()) {
    old_sandboxes_.push_back(std::move(nri_pod_));
  }
  FL_TRY(connect_sandbox());
  FL_TRY(write_etc());
  nri_pod_ = {.id = random_hex(32),
              .name = pod_.name,
              .uid = pod_.uid,
              .namespace_ = pod_.namespace_,
              .labels = sandbox_labels(pod_),
              .annotations = pod_.annotations,
              .runtime_handler = "",
              .pid = pause_ ? static_cast<std::uint32_t>(pause_->pid()) : 0,
              .ips = {},
              .netns = info_.network_namespace};
  if (sandbox_) {
    nri_pod_.ips = {sandbox_->ip};
  }
  if (services_.nri != nullptr) {
    if (auto agreed = services_.nri->run_pod_sandbox(nri_pod_); !agreed) {
      nri_pod_.id.clear();
      return agreed;
    }
  }
  stopped_ = false;
  undo.release();
  return {};
}

void PodInstance::lose_sandbox() const {
  if (pause_) {
    pause_->kill();
  }
}

Result<> PodInstance::mount_rootfs(Container& container, const Image& image) {
  const std::string rootfs = container.bundle + "/rootfs";
  for (const std::string name : {"/rootfs", "/upper", "/work"}) {
    FL_TRY(sys::make_dirs(container.bundle + name));
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
            run({.argv = {"cp", "-a", image.rootfs + "/.", rootfs}}, std::chrono::minutes(2)));
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
  FL_ASSIGN(container.out, LinePipe::open(sink(false)));
  FL_ASSIGN(container.err, LinePipe::open(sink(true)));
  FL_ASSIGN(container.pid,
            services_.runtime->create(container.id, container.bundle, std::move(spec),
                                      {.out = container.out.writer(), .err = container.err.writer()}));
  container.created = true;
  container.out.close_writer();
  container.err.close_writer();
  FL_ASSIGN(container.pidfd, open_pidfd(container.pid));
  container.nri.pid = static_cast<std::uint32_t>(container.pid);
  if (services_.nri != nullptr) {
    FL_TRY(services_.nri->start_container(nri_pod_, container.nri), "NRI container start failed");
  }
  FL_TRY(services_.runtime->start(container.id));
  container.nri.state = fairlead::rpc::NriContainerState::kRunning;
  if (services_.nri != nullptr) {
    services_.nri->started(nri_pod_, container.nri);
  }
  return {};
}

/// The pod's fields, then CDI, then what NRI plugins say: the order of containerd.
Result<> PodInstance::configure(const ContainerSpec& spec, const Image& image,
                                const std::vector<std::string>& cdi_devices, Container& container,
                                OciSpec& oci) {
  FL_ASSIGN(oci, make_oci_spec(pod_, spec, image.config, info_));
  FL_TRY(services_.cdi->inject(cdi_devices, oci), "CDI device injection failed");
  container.nri = {.id = container.id,
                   .pod_id = nri_pod_.id,
                   .name = container.name,
                   .state = fairlead::rpc::NriContainerState::kCreated,
                   .cdi_devices = cdi_devices,
                   .env = oci.env};
  if (services_.nri != nullptr) {
    FL_ASSIGN(const auto adjustment, services_.nri->create_container(nri_pod_, container.nri),
              "NRI CreateContainer failed");
    FL_TRY(services_.cdi->inject(adjustment.cdi_devices, oci), "CDI device injection failed");
    apply_adjustment(adjustment, oci);
  }
  if (!oci.net_devices.empty() && !services_.runtime->features().net_devices) {
    return Error(Code::kUnsupported,
                 "the CDI devices ask the OCI runtime to move network interfaces (netDevices), which " +
                     services_.runtime->version() +
                     " cannot do; crun 1.22 and runc 1.4 can (--runtime PATH)");
  }
  return {};
}

Result<> PodInstance::start_container(const ContainerSpec& spec,
                                      const std::vector<std::string>& cdi_devices) {
  static std::atomic<int> count{0};
  const auto old = std::find_if(containers_.begin(), containers_.end(),
                                [&](const auto& container) { return container->name == spec.name; });
  if (old != containers_.end()) {
    FL_TRY(discard(**old), "remove the ended container " + spec.name);
    containers_.erase(old);
  }
  FL_ASSIGN(const auto image, services_.images->get(spec.image),
            "Failed to pull image \"" + spec.image + "\"");
  auto container = std::make_unique<Container>();
  container->name = spec.name;
  container->id = "drydock-" + pod_.uid.substr(0, 8) + "-" + spec.name + "-" + std::to_string(count++);
  container->bundle = services_.paths.bundles + "/" + container->id;
  OciSpec oci;
  FL_TRY(configure(spec, image, cdi_devices, *container, oci));
  FL_TRY(sys::make_dirs(container->bundle));
  auto started = mount_rootfs(*container, image);
  if (started) {
    oci.rootfs = container->bundle + "/rootfs";
    container->announced = services_.nri != nullptr;
    if (container->announced) {
      services_.nri->created(nri_pod_, container->nri);
    }
    started = launch(*container, std::move(oci));
  }
  if (!started) {
    (void)discard(*container);
    return started;
  }
  containers_.push_back(std::move(container));
  return {};
}

/// All of its output first, then the news.
void PodInstance::note_end(Container& container) {
  container.out.finish();
  container.err.finish();
  container.nri.state = fairlead::rpc::NriContainerState::kStopped;
  if (container.announced) {
    services_.nri->stopped(nri_pod_, container.nri);
  }
}

Result<> PodInstance::look_for_ends(bool& any) {
  for (const auto& container : containers_) {
    if (container->exit) {
      continue;
    }
    FL_ASSIGN(container->exit, wait_for_exit(container->pid, milliseconds(0)));
    if (container->exit) {
      any = true;
      note_end(*container);
    }
  }
  return {};
}

Result<PodInstance::Wake> PodInstance::wait_for_end(int wake_fd, std::optional<TimePoint> until) {
  while (true) {
    // poll(2) passes over descriptors below 0.
    std::vector<pollfd> items = {{.fd = wake_fd, .events = POLLIN, .revents = 0},
                                 {.fd = pause_ ? pause_->ended() : -1, .events = POLLIN, .revents = 0}};
    for (const auto& container : containers_) {
      if (!container->exit) {
        items.push_back({.fd = container->pidfd.get(), .events = POLLIN, .revents = 0});
      }
    }
    if (items.size() == 2 && !until) {
      return Wake::kEnded;
    }
    const auto left =
        until ? std::chrono::ceil<milliseconds>(*until - std::chrono::steady_clock::now()) : milliseconds(-1);
    if (until && left.count() <= 0) {
      return Wake::kTime;
    }
    if (::poll(items.data(), items.size(), static_cast<int>(left.count())) < 0 && errno != EINTR) {
      return Error::from_errno(errno, "wait for containers");
    }
    bool any = false;
    FL_TRY(look_for_ends(any));
    if (items[0].revents != 0) {
      return Wake::kAsked;
    }
    if (items[1].revents != 0) {
      return Wake::kSandboxGone;
    }
    if (any) {
      return Wake::kEnded;
    }
  }
}

Result<bool> PodInstance::wait(int wake_fd) {
  while (true) {
    FL_ASSIGN(const auto wake, wait_for_end(wake_fd, std::nullopt));
    if (wake == Wake::kAsked) {
      return false;
    }
    if (wake == Wake::kSandboxGone) {
      return Error(Code::kInternal, "the pod's sandbox has died");
    }
    if (std::all_of(containers_.begin(), containers_.end(),
                    [](const auto& c) { return c->exit.has_value(); })) {
      return true;
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
  if (container.discarded) {
    return {};
  }
  FL_TRY(services_.runtime->remove(container.id));
  const bool ended_now = container.pid > 0 && !container.exit;
  if (ended_now) {
    FL_ASSIGN(container.exit, wait_for_exit(container.pid));
  }
  container.out.finish();
  container.err.finish();
  if (ended_now) {
    note_end(container);
  }
  const std::string rootfs = container.bundle + "/rootfs";
  if (container.mounted && ::umount2(rootfs.c_str(), MNT_DETACH) != 0 && errno != EINVAL) {
    return Error::from_errno(errno, "unmount " + rootfs);
  }
  container.mounted = false;
  FL_TRY(sys::remove_tree(container.bundle));
  container.discarded = true;
  if (container.announced) {
    services_.nri->removed(nri_pod_, container.nri);
  }
  return {};
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
    if (container->exit) {
      continue;
    }
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    if (grace.count() > 0) {
      FL_ASSIGN(container->exit, wait_for_exit(container->pid, std::max(left, milliseconds(0))));
    }
    if (!container->exit) {
      FL_TRY(services_.runtime->kill(container->id, SIGKILL));
      FL_ASSIGN(container->exit, wait_for_exit(container->pid, seconds(30)));
    }
    if (!container->exit) {
      return Error(Code::kTimeout, "container " + container->name + " does not end after SIGKILL");
    }
    note_end(*container);
  }
  return {};
}

Result<> PodInstance::stop_sandbox() {
  pause_.reset();
  if (!nri_pod_.id.empty() && !stopped_ && services_.nri != nullptr) {
    services_.nri->stop_pod_sandbox(nri_pod_);
  }
  stopped_ = true;
  return disconnect_sandbox();
}

Result<> PodInstance::remove_sandbox() {
  FL_TRY(stop_sandbox());
  for (const auto& container : containers_) {
    FL_TRY(discard(*container), "remove container " + container->name);
  }
  if (!nri_pod_.id.empty()) {
    old_sandboxes_.push_back(nri_pod_);
  }
  nri_pod_.id.clear();
  for (auto& pod : old_sandboxes_) {
    // The namespace is no more; containerd takes such paths out.
    pod.netns.clear();
    if (services_.nri != nullptr) {
      services_.nri->remove_pod_sandbox(pod);
    }
  }
  old_sandboxes_.clear();
  return sys::remove_tree(folder_);
}

}  // namespace drydock
