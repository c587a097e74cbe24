// SPDX-License-Identifier: Apache-2.0
// The drivers of a run: what they are given, their start, their registration, their restarts and their end.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "drydock/cluster/api_server.h"
#include "drydock/cluster/ids.h"
#include "drydock/node/cluster_view.h"
#include "drydock/node/run.h"
#include "drydock/node/run_text.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

namespace sys = fairlead::sys;
using std::chrono::milliseconds;

constexpr milliseconds kDriverPatience(10'000);
constexpr milliseconds kDriverBackoff(500);
constexpr auto kServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";

}  // namespace

Result<> Run::write_access_files() {
  const std::string account = "system:serviceaccount:kube-system:driver";
  auto& server = cluster_->api_server();
  for (std::size_t i = 0; i < options_.drivers.size(); ++i) {
    const auto number = "-" + std::to_string(i + 1);
    tokens_.push_back(server.add_user({.user = account + number, .node = options_.node_name, .drivers = {}}));
    FL_TRY(sys::replace_file("/run/drydock", "kubeconfig" + number, server.kubeconfig(tokens_.back()), 0600));
  }
  // For drivers that expect to be in a pod: they share one account, so they cannot be distinguished.
  FL_TRY(sys::make_dirs(kServiceAccount));
  FL_TRY(sys::replace_file(kServiceAccount, "token",
                           server.add_user({.user = account, .node = options_.node_name, .drivers = {}}),
                           0600));
  FL_TRY(sys::replace_file(kServiceAccount, "ca.crt", cluster_->ca_pem(), 0644));
  return sys::replace_file(kServiceAccount, "namespace", "kube-system", 0644);
}

std::map<std::string, std::string> Run::placeholders(std::size_t index) const {
  const auto& paths = services_.paths;
  const auto number = std::to_string(index + 1);
  return {{"kubeconfig", "/run/drydock/kubeconfig-" + number},
          {"node", options_.node_name},
          {"plugins", paths.plugins},
          {"registry", paths.registry},
          {"cdi", paths.cdi},
          {"nri", paths.nri},
          {"state", paths.state + "/" + number},
          {"log", paths.logs + "/driver-" + number + ".log"}};
}

std::map<std::string, std::string> Run::environment(std::size_t index) const {
  const auto values = placeholders(index);
  return {{"KUBECONFIG", values.at("kubeconfig")},
          {"NODE_NAME", values.at("node")},
          {"NODE_IP", NodeNetwork::node_ip()},
          {"NAMESPACE", "kube-system"},
          {"POD_NAMESPACE", "kube-system"},
          {"KUBERNETES_SERVICE_HOST", "127.0.0.1"},
          {"KUBERNETES_SERVICE_PORT", std::to_string(cluster_->port())},
          {"KUBELET_DIR", services_.paths.kubelet},
          {"PLUGINS_DIR", values.at("plugins")},
          {"REGISTRY_DIR", values.at("registry")},
          {"CDI_DIR", values.at("cdi")},
          {"CDI_ROOT", values.at("cdi")},
          {"NRI_SOCKET", values.at("nri")},
          {"STATE_DIR", values.at("state")}};
}

Result<> Run::start_driver(std::size_t index) {
  const auto values = placeholders(index);
  FL_TRY(sys::make_dirs(values.at("state"), 0700));
  const DriverProcess::Settings settings = {.command = fill_placeholders(options_.drivers[index], values),
                                            .env = environment(index),
                                            .log = values.at("log")};
  FL_ASSIGN(auto driver,
            input_.confinement ? DriverProcess::start_confined(settings, container_of(index))
                               : DriverProcess::start(settings),
            "start driver " + std::to_string(index + 1));
  console_.detail("driver " + std::to_string(index + 1) + " is process " + std::to_string(driver.pid()) +
                  ": " + driver.command());
  if (index < drivers_.size()) {
    drivers_[index] = std::move(driver);
  } else {
    drivers_.push_back(std::move(driver));
  }
  return {};
}

DriverContainerSettings Run::container_of(std::size_t index) const {
  const auto values = placeholders(index);
  const auto number = std::to_string(index + 1);
  return {.confinement = input_.confinement ? &*input_.confinement : nullptr,
          .runtime = runtime_.get(),
          .id = "drydock-driver-" + number,
          .folder = "/run/drydock/drivers/" + number,
          .node_name = options_.node_name,
          .pod_uid = pod_uids_[index],
          .paths = services_.paths,
          .readable = {values.at("kubeconfig"), kServiceAccount},
          .writable = {values.at("state"), values.at("log")}};
}

Result<> Run::start_drivers() {
  for (std::size_t i = 0; i < options_.drivers.size(); ++i) {
    pod_uids_.push_back(new_uuid());
    FL_TRY(start_driver(i));
  }
  return {};
}

/// As the kubelet does with a DaemonSet's container: at once the first time, then after a while that doubles.
void Run::tend_drivers() {
  for (std::size_t i = 0; options_.restart_driver && !no_more_revivals_ && i < drivers_.size(); ++i) {
    const auto status = drivers_[i].exit_status();
    if (!status || !*status) {
      continue;
    }
    auto& revival = revivals_[i];
    if (!revival.when) {
      const auto wait =
          revival.count == 0 ? milliseconds(0) : kDriverBackoff * (1 << std::min(revival.count - 1, 5));
      revival.when = Steady::now() + wait;
      console_.note("driver " + std::to_string(i + 1) + " ended with " + to_string(**status) +
                    ", it is started again (--restart-driver)");
    }
    if (Steady::now() < *revival.when) {
      continue;
    }
    // What the dead container left running goes with it.
    (void)drivers_[i].stop(milliseconds(0));
    const auto cost = cost_of(i);
    if (const auto cleaned = drivers_[i].clean_up(); !cleaned) {
      console_.note("driver " + std::to_string(i + 1) + ": " + cleaned.error().what());
    }
    revival.cost = cost;
    ++revival.count;
    revival.when.reset();
    if (const auto started = start_driver(i); !started) {
      fail(started.error().what());
      no_more_revivals_ = true;
    }
  }
}

DriverCost Run::cost_of(std::size_t index) {
  auto out = drivers_[index].cost();
  if (const auto earlier = revivals_.find(index); earlier != revivals_.end()) {
    out.cpu += earlier->second.cost.cpu;
    out.peak_resident_kib = std::max(out.peak_resident_kib, earlier->second.cost.peak_resident_kib);
  }
  return out;
}

/// A driver that has exited never was meant to.
Result<> Run::check_drivers() {
  tend_drivers();
  if (options_.restart_driver) {
    return {};
  }
  for (std::size_t i = 0; i < drivers_.size(); ++i) {
    FL_ASSIGN(const auto status, drivers_[i].exit_status());
    if (status) {
      return Error(Code::kInternal, "driver " + std::to_string(i + 1) + " exited with " + to_string(*status));
    }
  }
  return {};
}

Result<bool> Run::drivers_ready() {
  FL_TRY(check_drivers());
  const auto sockets = kubelet_->sockets();
  if (sockets.size() < drivers_.size()) {
    return false;
  }
  const auto slices = cluster_->store().all(kinds::kResourceSlice);
  return std::all_of(sockets.begin(), sockets.end(),
                     [&](const auto& socket) { return complete_pools(slices, socket.second) > 0; });
}

Result<> Run::wait_for_drivers() {
  const auto started = Steady::now();
  std::set<std::string> told;
  while (true) {
    for (const auto& [socket, name] : kubelet_->sockets()) {
      if (told.insert(name).second) {
        const auto plugin = kubelet_->plugins().plugin(name);
        console_.step(
            "driver " + name + " registered, " + (plugin ? std::string(to_string(plugin->version())) : ""),
            us(Steady::now() - started));
      }
    }
    FL_ASSIGN(const bool ready, drivers_ready());
    if (ready) {
      break;
    }
    if (!wait_a_little()) {
      return Error(Code::kCancelled, "interrupted");
    }
    if (Steady::now() - started > options_.timeout) {
      return Error(Code::kTimeout,
                   kubelet_->sockets().size() < drivers_.size()
                       ? plural(drivers_.size() - kubelet_->sockets().size(), "driver") +
                             " not registered within " + to_text(us(options_.timeout)) +
                             " (no working socket in " + services_.paths.registry + ", --timeout)"
                       : "a driver is registered but has no complete pool of ResourceSlices for node " +
                             options_.node_name + " after " + to_text(us(options_.timeout)) + " (--timeout)");
    }
  }
  for (const auto& [socket, name] : kubelet_->sockets()) {
    const auto owner = listener_of(socket);
    for (std::size_t i = 0; owner && i < drivers_.size(); ++i) {
      if (drivers_[i].owns(*owner)) {
        driver_names_[i] = name;
        cluster_->api_server().allow_driver(tokens_[i], name);
      }
    }
  }
  console_.step("devices published", us(Steady::now() - started));
  return {};
}

void Run::stop_drivers() {
  no_more_revivals_ = true;
  const fairlead::ScopeExit clean([this] {
    for (auto& driver : drivers_) {
      if (const auto cleaned = driver.clean_up(); !cleaned) {
        fail(cleaned.error().what());
      }
    }
  });
  const milliseconds patience = input_.confinement ? input_.confinement->grace() : kDriverPatience;
  for (std::size_t i = 0; i < drivers_.size(); ++i) {
    const auto running = drivers_[i].exit_status();
    if (!running || *running) {
      continue;
    }
    const auto stopped = drivers_[i].stop(patience);
    if (!stopped) {
      fail("driver " + std::to_string(i + 1) + ": " + stopped.error().what());
    } else if (stopped->signal == SIGKILL) {
      fail("driver " + std::to_string(i + 1) + " did not end within " + to_text(us(patience)) +
           " of SIGTERM and was killed");
    } else {
      console_.detail("driver " + std::to_string(i + 1) + " ended with " + to_string(*stopped));
    }
  }
}

/// The next driver would find them; here they are removed with the node.
void Run::note_sockets() {
  const auto left = sys::list_dir(services_.paths.registry);
  for (const auto& name : left ? *left : std::vector<std::string>()) {
    console_.note("a driver left its socket behind: " + services_.paths.registry + "/" + name);
  }
}

}  // namespace drydock
