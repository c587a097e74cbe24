// SPDX-License-Identifier: Apache-2.0
// The kubelet's plugin manager and its list of DRA plugins: registration, several instances per driver, and
// the timer after which a driver that is gone loses its ResourceSlices. Behaviour: pkg/kubelet/pluginmanager
// and pkg/kubelet/cm/dra/plugin of Kubernetes 1.34 to 1.36.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "drydock/node/dra_plugin.h"
#include "drydock/node/registry_watcher.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace drydock {

struct PluginManagerOptions {
  std::string registry;
  std::chrono::milliseconds dial_timeout{10'000};
  std::chrono::milliseconds get_info_timeout{1'000};
  std::chrono::milliseconds notify_timeout{5'000};
  std::chrono::milliseconds call_timeout{45'000};
  std::chrono::milliseconds first_retry{500};
  std::chrono::milliseconds longest_retry{122'000};
  std::chrono::milliseconds wipe_delay{30'000};
  CallStats* stats = nullptr;
};

/// All are optional and are called on the manager's own threads; they must not call the manager.
struct PluginEvents {
  std::function<void(const std::string& driver, const std::string& socket, DraVersion version)> registered;
  std::function<void(const std::string& driver, const std::string& socket)> unregistered;
  std::function<void(const std::string& socket, const std::string& why)> failed;
  /// Delete the driver's slices of this node.
  std::function<void(const std::string& driver)> wipe_slices;
};

/// Any thread.
class PluginManager : private fairlead::Pinned {
 public:
  static Result<std::unique_ptr<PluginManager>> start(PluginManagerOptions options, PluginEvents events);
  ~PluginManager();

  /// The instance to call: of those registered the newest that is connected, else the newest. Null when there
  /// is none.
  [[nodiscard]] std::shared_ptr<DraPlugin> plugin(const std::string& driver) const;
  /// Names of the drivers that are registered, each as often as it has instances.
  [[nodiscard]] std::vector<std::string> drivers() const;

 private:
  using Clock = std::chrono::steady_clock;
  /// One socket of the registry folder.
  struct Slot {
    std::uint64_t wanted = 0;      // generation in the folder; 0: gone
    std::uint64_t registered = 0;  // generation that is registered; 0: none
    std::shared_ptr<DraPlugin> plugin;
    bool busy = false;
    Clock::time_point next_try;
    std::chrono::milliseconds retry{0};
  };
  struct Done {
    std::string socket;
    std::uint64_t generation = 0;
    std::shared_ptr<DraPlugin> plugin;  // null: failed
    std::string why;
  };

  PluginManager(PluginManagerOptions options, PluginEvents events, RegistryWatcher watcher,
                fairlead::UniqueFd wake_fd);
  void loop(const std::stop_token& stop);
  void wake() const;
  void wait(Clock::time_point until);
  void take_sockets();
  void take_results();
  void unregister_stale();
  void start_registrations();
  void watch_connections();
  [[nodiscard]] Clock::time_point next_deadline() const;
  void drop(Slot& slot, const std::string& socket);
  Result<std::shared_ptr<DraPlugin>> register_socket(const std::string& socket);
  Result<std::shared_ptr<DraPlugin>> accept(const PluginInfo& info);
  void run_registration(const std::string& socket, std::uint64_t generation);

  const PluginManagerOptions options_;
  const PluginEvents events_;
  RegistryWatcher watcher_;
  fairlead::UniqueFd wake_;

  mutable fairlead::Mutex mutex_;
  std::vector<std::shared_ptr<DraPlugin>> plugins_ FL_GUARDED_BY(mutex_);  // in the order of registration
  std::vector<Done> results_ FL_GUARDED_BY(mutex_);

  // The loop's own.
  std::map<std::string, Slot> slots_;
  std::map<std::string, Clock::time_point> absent_since_;  // driver -> no connected instance since
  std::map<std::string, std::jthread> attempts_;           // by socket
  std::jthread thread_;
};

}  // namespace drydock
