// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/plugin_manager.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/core/text.h"

namespace drydock {
using fairlead::joined;
namespace {

using fairlead::UniqueFd;
using std::chrono::milliseconds;

constexpr auto kPluginType = "DRAPlugin";
// Two marks in the list of drivers without a connection.
constexpr auto kConnected = std::chrono::steady_clock::time_point::max();
constexpr auto kWiped = std::chrono::steady_clock::time_point::min();

/// The kubelet takes the first of the plugin's list that it knows.
std::optional<DraVersion> choose_version(const std::vector<std::string>& offered) {
  for (const auto& word : offered) {
    for (const auto version : {DraVersion::kV1, DraVersion::kV1beta1}) {
      if (word == to_string(version)) {
        return version;
      }
    }
  }
  return std::nullopt;
}

}  // namespace

Result<std::unique_ptr<PluginManager>> PluginManager::start(PluginManagerOptions options,
                                                            PluginEvents events) {
  FL_ASSIGN(auto watcher, RegistryWatcher::open(options.registry));
  UniqueFd wake_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_fd.valid()) {
    return Error::from_errno(errno, "eventfd");
  }
  std::unique_ptr<PluginManager> out(
      new PluginManager(std::move(options), std::move(events), std::move(watcher), std::move(wake_fd)));
  out->thread_ = std::jthread([manager = out.get()](const std::stop_token& stop) { manager->loop(stop); });
  return out;
}

PluginManager::PluginManager(PluginManagerOptions options, PluginEvents events, RegistryWatcher watcher,
                             UniqueFd wake_fd)
    : options_(std::move(options)),
      events_(std::move(events)),
      watcher_(std::move(watcher)),
      wake_(std::move(wake_fd)) {}

PluginManager::~PluginManager() {
  thread_.request_stop();
  wake();
  if (thread_.joinable()) {
    thread_.join();
  }
  attempts_.clear();
}

void PluginManager::wake() const {
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

std::shared_ptr<DraPlugin> PluginManager::plugin(const std::string& driver) const {
  const fairlead::Lock lock(mutex_);
  std::shared_ptr<DraPlugin> newest;
  for (auto it = plugins_.rbegin(); it != plugins_.rend(); ++it) {
    if ((*it)->driver() != driver) {
      continue;
    }
    if ((*it)->connected()) {
      return *it;
    }
    newest = newest ? newest : *it;
  }
  return newest;
}

std::vector<std::string> PluginManager::drivers() const {
  const fairlead::Lock lock(mutex_);
  std::vector<std::string> out;
  out.reserve(plugins_.size());
  for (const auto& plugin : plugins_) {
    out.push_back(plugin->driver());
  }
  return out;
}

void PluginManager::loop(const std::stop_token& stop) {
  take_sockets();
  while (!stop.stop_requested()) {
    take_results();
    unregister_stale();
    start_registrations();
    watch_connections();
    wait(next_deadline());
    if (const auto drained = watcher_.drain(); !drained) {
      fairlead::log::error("plugin registry not read", {{"error", drained.error().what()}});
    }
    take_sockets();
  }
}

void PluginManager::wait(Clock::time_point until) {
  const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
  pollfd items[2] = {{.fd = watcher_.fd(), .events = POLLIN, .revents = 0},
                     {.fd = wake_.get(), .events = POLLIN, .revents = 0}};
  (void)::poll(items, 2, static_cast<int>(std::clamp<long>(left, 0, 60'000)));
  std::uint64_t count = 0;
  (void)!::read(wake_.get(), &count, sizeof count);
}

PluginManager::Clock::time_point PluginManager::next_deadline() const {
  auto out = Clock::now() + std::chrono::seconds(60);
  for (const auto& [socket, slot] : slots_) {
    if (slot.wanted != 0 && slot.registered == 0 && !slot.busy) {
      out = std::min(out, slot.next_try);
    }
  }
  for (const auto& [driver, since] : absent_since_) {
    if (since != kConnected && since != kWiped) {
      out = std::min(out, since + options_.wipe_delay);
    }
  }
  return out;
}

void PluginManager::take_sockets() {
  for (auto& [socket, slot] : slots_) {
    slot.wanted = 0;
  }
  for (const auto& [socket, generation] : watcher_.sockets()) {
    slots_[socket].wanted = generation;
  }
}

void PluginManager::take_results() {
  std::vector<Done> results;
  {
    const fairlead::Lock lock(mutex_);
    results.swap(results_);
  }
  for (auto& done : results) {
    attempts_.erase(done.socket);
    auto& slot = slots_[done.socket];
    slot.busy = false;
    if (done.plugin) {
      slot.registered = done.generation;
      slot.plugin = std::move(done.plugin);
      slot.retry = milliseconds(0);
      absent_since_.try_emplace(slot.plugin->driver(), kConnected);
      if (events_.registered) {
        events_.registered(slot.plugin->driver(), done.socket, slot.plugin->version());
      }
      continue;
    }
    slot.retry =
        slot.retry.count() == 0 ? options_.first_retry : std::min(slot.retry * 2, options_.longest_retry);
    slot.next_try = Clock::now() + slot.retry;
    if (slot.wanted == done.generation && events_.failed) {
      events_.failed(done.socket, done.why);
    }
  }
}

void PluginManager::drop(Slot& slot, const std::string& socket) {
  const auto plugin = std::exchange(slot.plugin, nullptr);
  slot.registered = 0;
  {
    const fairlead::Lock lock(mutex_);
    std::erase(plugins_, plugin);
  }
  if (events_.unregistered) {
    events_.unregistered(plugin->driver(), socket);
  }
}

void PluginManager::unregister_stale() {
  for (auto it = slots_.begin(); it != slots_.end();) {
    auto& [socket, slot] = *it;
    if (slot.registered != 0 && slot.registered != slot.wanted) {
      drop(slot, socket);
      slot.next_try = Clock::now();
    }
    if (slot.wanted == 0 && !slot.busy) {
      it = slots_.erase(it);
    } else {
      ++it;
    }
  }
}

void PluginManager::start_registrations() {
  for (auto& [socket, slot] : slots_) {
    if (slot.wanted == 0 || slot.registered != 0 || slot.busy || Clock::now() < slot.next_try) {
      continue;
    }
    slot.busy = true;
    attempts_[socket] =
        std::jthread([this, path = socket, generation = slot.wanted] { run_registration(path, generation); });
  }
}

void PluginManager::run_registration(const std::string& socket, std::uint64_t generation) {
  auto plugin = register_socket(socket);
  Done done{.socket = socket, .generation = generation, .plugin = nullptr, .why = ""};
  if (plugin) {
    done.plugin = *std::move(plugin);
  } else {
    done.why = plugin.error().what();
  }
  {
    const fairlead::Lock lock(mutex_);
    results_.push_back(std::move(done));
  }
  wake();
}

Result<std::shared_ptr<DraPlugin>> PluginManager::register_socket(const std::string& socket) {
  FL_ASSIGN(auto client, RegistrationClient::dial(socket, options_.dial_timeout));
  FL_ASSIGN(auto info, client.get_info(options_.get_info_timeout));
  if (info.endpoint.empty()) {
    info.endpoint = socket;
  }
  auto plugin = accept(info);
  if (!plugin) {
    if (const auto told = client.notify(plugin.error().what(), options_.notify_timeout); !told) {
      fairlead::log::debug("cannot notify a plugin that it is refused", {{"error", told.error().what()}});
    }
    return plugin;
  }
  if (auto told = client.notify("", options_.notify_timeout); !told) {
    const fairlead::Lock lock(mutex_);
    std::erase(plugins_, *plugin);
    return std::move(told).error();
  }
  return plugin;
}

Result<std::shared_ptr<DraPlugin>> PluginManager::accept(const PluginInfo& info) {
  if (info.type != kPluginType) {
    return Error(Code::kInvalid, "no handler registered for plugin type: " + info.type +
                                     " (GetInfo must return " + kPluginType + ")");
  }
  if (info.name.empty()) {
    return Error(Code::kInvalid, "GetInfo: name: the driver's name is empty");
  }
  const auto version = choose_version(info.versions);
  if (!version) {
    return Error(Code::kInvalid, "GetInfo: supported_versions: " + joined(info.versions) +
                                     ": none that this kubelet knows (v1.DRAPlugin, v1beta1.DRAPlugin)");
  }
  const fairlead::Lock lock(mutex_);
  for (const auto& other : plugins_) {
    if (other->driver() == info.name && other->endpoint() == info.endpoint) {
      return Error(Code::kExists,
                   "endpoint " + info.endpoint + " already registered for DRA driver " + info.name);
    }
  }
  auto plugin = std::make_shared<DraPlugin>(DraPlugin::Settings{.driver = info.name,
                                                                .endpoint = info.endpoint,
                                                                .version = *version,
                                                                .call_timeout = options_.call_timeout,
                                                                .stats = options_.stats,
                                                                .on_connection_change = [this] { wake(); }});
  plugins_.push_back(plugin);
  return plugin;
}

void PluginManager::watch_connections() {
  std::set<std::string> connected;
  {
    const fairlead::Lock lock(mutex_);
    for (const auto& plugin : plugins_) {
      if (plugin->connected()) {
        connected.insert(plugin->driver());
      }
    }
  }
  const auto now = Clock::now();
  for (auto& [driver, since] : absent_since_) {
    if (connected.contains(driver)) {
      since = kConnected;
    } else if (since == kConnected) {
      since = now;
    } else if (since != kWiped && now - since >= options_.wipe_delay) {
      since = kWiped;
      if (events_.wipe_slices) {
        events_.wipe_slices(driver);
      }
    }
  }
}

}  // namespace drydock
