// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/nri_side.h"

#include <utility>

#include "fairlead/core/log.h"

namespace drydock {

namespace rpc = fairlead::rpc;
using fairlead::Code;
using fairlead::Lock;
using fairlead::Result;
using rpc::NriContainer;
using rpc::NriContainerState;
using rpc::NriEvent;
using rpc::NriPod;
using Outcome = rpc::NriPluginCall::Outcome;

void apply_adjustment(const rpc::NriAdjustment& adjustment, OciSpec& spec) {
  for (const auto& [key, value] : adjustment.annotations) {
    spec.annotations[key] = value;
  }
  for (const auto& [key, value] : adjustment.env) {
    set_env(spec.env, key + "=" + value);
  }
  for (const auto& mount : adjustment.mounts) {
    std::erase_if(spec.mounts, [&](const OciMount& m) { return m.destination == mount.destination; });
    spec.mounts.push_back({mount.destination, mount.type, mount.source, mount.options});
  }
  for (const auto& change : adjustment.devices) {
    OciDevice device{.path = change.path,
                     .type = change.type,
                     .major = change.major,
                     .minor = change.minor,
                     .uid = spec.uid,
                     .gid = spec.gid,
                     .access = "rwm"};
    if (change.file_mode != 0) {
      device.file_mode = change.file_mode;
    }
    std::erase_if(spec.devices, [&](const OciDevice& d) { return d.path == change.path; });
    spec.devices.push_back(std::move(device));
  }
  for (const auto& [host, name] : adjustment.net_devices) {
    spec.net_devices[host] = name;
  }
}

NriSide::NriSide(Options options, Console& console, CallStats& stats)
    : options_(std::move(options)), console_(console), stats_(stats), cuts_(options_.cuts) {}

NriSide::~NriSide() {
  if (const auto running = server()) {
    running->stop();
  }
}

Result<std::unique_ptr<NriSide>> NriSide::start(Options options, Console& console, CallStats& stats) {
  std::unique_ptr<NriSide> out(new NriSide(std::move(options), console, stats));
  FL_TRY(out->listen());
  return out;
}

Result<> NriSide::listen() {
  rpc::NriRuntimeOptions wanted;
  wanted.socket = options_.socket;
  wanted.dialect = options_.dialect;
  wanted.request_timeout = options_.request_timeout;
  wanted.observe = [this](const rpc::NriPluginCall& call) { observe(call); };
  FL_ASSIGN(auto started, rpc::NriRuntimeServer::start(std::move(wanted), [this] { return inventory(); }));
  const Lock lock(mutex_);
  server_ = std::move(started);
  return {};
}

std::shared_ptr<rpc::NriRuntimeServer> NriSide::server() const {
  const Lock lock(mutex_);
  return server_;
}

std::vector<rpc::NriRuntimeServer::Plugin> NriSide::plugins() const { return server()->plugins(); }

rpc::NriInventory NriSide::inventory() const {
  const Lock lock(mutex_);
  rpc::NriInventory out;
  for (const auto& [id, pod] : pods_) {
    out.pods.push_back(pod);
  }
  for (const auto& [id, container] : containers_) {
    out.containers.push_back(container);
  }
  return out;
}

void NriSide::observe(const rpc::NriPluginCall& call) {
  stats_.add(call.plugin, call.event, {.took = call.took, .failed = call.outcome != Outcome::kAnswered});
  const bool is_first = call.event == "Synchronize";
  switch (call.outcome) {
    case Outcome::kAnswered:
      if (is_first) {
        console_.step("NRI plugin " + call.plugin + " connected", call.took);
      }
      return;
    case Outcome::kRefused:
      console_.detail("NRI plugin " + call.plugin + " refused " + call.event + ": " + call.error);
      return;
    case Outcome::kTimedOut:
      console_.note("NRI plugin " + call.plugin + " did not answer " + call.event + " within " +
                    to_text(options_.request_timeout) + " and was disconnected" +
                    (is_first ? "" : "; the pod goes on"));
      return;
    case Outcome::kLost:
      console_.note("NRI plugin " + call.plugin + " lost its connection during " + call.event +
                    (is_first ? "" : "; the pod goes on"));
      return;
  }
}

void NriSide::before(const char* event) {
  std::shared_ptr<rpc::NriRuntimeServer> old;
  {
    const Lock lock(mutex_);
    if (cuts_.erase(event) == 0) {
      return;
    }
    old = server_;
  }
  console_.note(std::string("NRI: all plugins lose their connection before ") + event + " (--nri-cut)");
  old->stop();
  if (const auto again = listen(); !again) {
    console_.fail(again.error().what());
  }
}

void NriSide::log_only(const char* event, const NriPod& pod, const Result<>& done) {
  if (!done) {
    console_.detail("NRI " + std::string(event) + " of pod " + pod.name + ": " + done.error().what());
  }
}

Result<> NriSide::run_pod_sandbox(const NriPod& pod) {
  {
    const Lock lock(mutex_);
    pods_[pod.id] = pod;
  }
  before("RunPodSandbox");
  auto done = server()->run_pod_sandbox(pod);
  if (!done) {
    stop_pod_sandbox(pod);
    remove_pod_sandbox(pod);
    return std::move(done).error().with("NRI RunPodSandbox failed");
  }
  return {};
}

void NriSide::stop_pod_sandbox(const NriPod& pod) {
  before("StopPodSandbox");
  log_only("StopPodSandbox", pod, server()->stop_pod_sandbox(pod));
}

void NriSide::remove_pod_sandbox(const NriPod& pod) {
  before("RemovePodSandbox");
  log_only("RemovePodSandbox", pod, server()->remove_pod_sandbox(pod));
  const Lock lock(mutex_);
  pods_.erase(pod.id);
}

Result<rpc::NriAdjustment> NriSide::create_container(const NriPod& pod, const NriContainer& container) {
  before("CreateContainer");
  return server()->create_container(pod, container);
}

void NriSide::tell(NriEvent event, const char* name, const NriPod& pod, const NriContainer& container) {
  before(name);
  log_only(name, pod, server()->container_event(event, pod, container));
}

void NriSide::created(const NriPod& pod, const NriContainer& container) {
  {
    const Lock lock(mutex_);
    containers_[container.id] = container;
  }
  tell(NriEvent::kPostCreateContainer, "PostCreateContainer", pod, container);
}

Result<> NriSide::start_container(const NriPod& pod, const NriContainer& container) {
  before("StartContainer");
  return server()->container_event(NriEvent::kStartContainer, pod, container);
}

void NriSide::started(const NriPod& pod, const NriContainer& container) {
  {
    const Lock lock(mutex_);
    containers_[container.id] = container;
  }
  tell(NriEvent::kPostStartContainer, "PostStartContainer", pod, container);
}

void NriSide::stopped(const NriPod& pod, const NriContainer& container) {
  tell(NriEvent::kStopContainer, "StopContainer", pod, container);
  const Lock lock(mutex_);
  containers_.erase(container.id);
}

void NriSide::removed(const NriPod& pod, const NriContainer& container) {
  tell(NriEvent::kRemoveContainer, "RemoveContainer", pod, container);
  const Lock lock(mutex_);
  containers_.erase(container.id);
}

}  // namespace drydock
