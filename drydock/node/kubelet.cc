// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/kubelet.h"

#include <chrono>
#include <utility>

#include "drydock/node/cluster_view.h"
#include "fairlead/core/log.h"

namespace drydock {

using Steady = std::chrono::steady_clock;

Result<std::unique_ptr<Kubelet>> Kubelet::start(const Parts& parts) {
  std::unique_ptr<Kubelet> out(new Kubelet(parts));
  const auto wiped =
      parts.cluster->store().remove_all(kinds::kResourceSlice, slices_of(parts.cluster->node_name(), ""));
  if (!wiped) {
    return Error(Code::kInternal, "delete the node's ResourceSlices: " + wiped.error().message);
  }
  FL_ASSIGN(out->plugins_, PluginManager::start(parts.plugins, out->plugin_events()));
  out->claims_ = std::make_unique<ClaimManager>(*out->plugins_);
  out->thread_ = std::jthread([kubelet = out.get()](const std::stop_token& stop) { kubelet->loop(stop); });
  return out;
}

Kubelet::~Kubelet() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  std::map<std::string, std::unique_ptr<PodRunner>> runners;
  {
    const fairlead::Lock lock(mutex_);
    runners.swap(runners_);
  }
  for (const auto& [uid, runner] : runners) {
    runner->stop();
  }
  runners.clear();
  plugins_.reset();
}

PluginEvents Kubelet::plugin_events() {
  PluginEvents out;
  out.registered = [this](const std::string& driver, const std::string& socket, DraVersion version) {
    parts_.console->detail("kubelet: plugin " + driver + " registered at " + socket + " with " +
                           std::string(to_string(version)));
    const fairlead::Lock lock(mutex_);
    sockets_[socket] = driver;
  };
  out.unregistered = [this](const std::string& driver, const std::string& socket) {
    parts_.console->detail("kubelet: plugin " + driver + " at " + socket + " is no longer registered");
    const fairlead::Lock lock(mutex_);
    sockets_.erase(socket);
  };
  out.failed = [this](const std::string& socket, const std::string& why) {
    parts_.console->fail("kubelet: plugin at " + socket + " not registered: " + why);
  };
  out.wipe_slices = [this](const std::string& driver) {
    const auto wiped = parts_.cluster->store().remove_all(kinds::kResourceSlice,
                                                          slices_of(parts_.cluster->node_name(), driver));
    parts_.console->detail("kubelet: driver " + driver + " is gone, its ResourceSlices are deleted");
    if (!wiped) {
      fairlead::log::error("slices not deleted", {{"driver", driver}, {"error", wiped.error().message}});
    }
  };
  return out;
}

std::vector<PodOutcome> Kubelet::outcomes() const {
  const fairlead::Lock lock(mutex_);
  std::vector<PodOutcome> out;
  out.reserve(runners_.size());
  for (const auto& [uid, runner] : runners_) {
    out.push_back(runner->outcome());
  }
  return out;
}

std::map<std::string, std::string> Kubelet::sockets() const {
  const fairlead::Lock lock(mutex_);
  return sockets_;
}

void Kubelet::loop(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    const auto seen = parts_.cluster->change_number();
    sync();
    // A runner that has finished is no change of the cluster's, so look again soon.
    (void)parts_.cluster->wait_for_change(seen, Steady::now() + std::chrono::milliseconds(50));
  }
}

void Kubelet::sync() {
  for (const auto& pod : parts_.cluster->bound_pods()) {
    sync_pod(pod);
  }
}

void Kubelet::sync_pod(const Json& pod) {
  const auto& meta = pod["metadata"];
  const std::string uid = meta.value("uid", "");
  const bool deleted = meta.contains("deletionTimestamp");
  PodRunner* runner = nullptr;
  {
    const fairlead::Lock lock(mutex_);
    auto& slot = runners_[uid];
    if (!slot && !deleted) {
      slot = std::make_unique<PodRunner>(PodContext{.cluster = parts_.cluster,
                                                    .claims = claims_.get(),
                                                    .console = parts_.console,
                                                    .services = parts_.services,
                                                    .options = parts_.pods},
                                         pod);
    }
    runner = slot.get();
    if (runner == nullptr) {
      runners_.erase(uid);
    }
  }
  if (!deleted) {
    return;
  }
  if (runner != nullptr && !runner->outcome().torn_down) {
    runner->stop();
    return;
  }
  const auto gone =
      parts_.cluster->finish_pod_deletion(meta.value("namespace", ""), meta.value("name", ""), uid);
  if (!gone) {
    fairlead::log::warn("pod object not deleted", {{"error", gone.error().what()}});
  }
}

}  // namespace drydock
