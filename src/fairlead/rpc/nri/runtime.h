// SPDX-License-Identifier: Apache-2.0
// The runtime's side of NRI, as in containerd and CRI-O (containerd/nri, pkg/adaptation): plugins connect to
// a socket, register, are configured and synchronized, and then get events of pods and containers.
//
// It fails open in the same way: a plugin that does not respond in time, or disconnects, is dropped, and the
// event continues as if it had agreed. Only an error that is returned in time fails an event.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/rpc/nri/plugin.h"

namespace fairlead::rpc {

/// How events are delivered to plugins.
enum class NriDialect : std::uint8_t {
  kStateChange,  // NRI <= 0.11 (containerd 1.7-2.2, CRI-O <= 1.36): most events are one call, StateChange
  kDedicated,    // NRI >= 0.12 (containerd >= 2.3): a call for each, StateChange when that is unimplemented
                 // (12)
};

/// One call to one plugin, when it is over.
struct NriPluginCall {
  enum class Outcome : std::uint8_t {
    kAnswered,
    kRefused,   // with an error, in time
    kTimedOut,  // disconnected; the event continued as if it had agreed
    kLost,      // the connection ended meanwhile; as above
  };
  std::string plugin;  // "50-name"
  std::string event;   // "RunPodSandbox"; "Synchronize" too
  std::chrono::microseconds took{0};
  Outcome outcome = Outcome::kAnswered;
  std::string error;  // of the other outcomes than kAnswered
};

struct NriRuntimeOptions {
  std::string socket;  // absolute; replaced when the server starts: 0600 in a folder of 0700
  std::string name = "drydock", version;
  NriDialect dialect = NriDialect::kDedicated;
  std::string nri_version = "v0.12.0";  // sent with kDedicated only
  /// From accept to RegisterPlugin. Plugins are accepted one after another: a silent one delays others.
  std::chrono::milliseconds registration_timeout{5'000};
  /// Of one event, of Configure, and of Synchronize with all its parts.
  std::chrono::milliseconds request_timeout{2'000};
  /// After every call to a plugin, on the thread of the event, while events are blocked: it must not call the
  /// server. For statistics and log lines.
  std::function<void(const NriPluginCall&)> observe = {};
};

/// The initial state that a plugin gets when it connects.
struct NriInventory {
  std::vector<NriPod> pods;
  std::vector<NriContainer> containers;
};

/// Any thread may call any function. Events are sequential, to one plugin after another in the order of their
/// indices; a plugin is synchronized between events, never during one.
class NriRuntimeServer : private Pinned {
 public:
  /// Called while events are blocked: it must not call the server, nor wait for a thread that does. A pod
  /// must be in it from before run_pod_sandbox() until after stop_pod_sandbox(); so a plugin may get it
  /// twice.
  using Inventory = std::function<NriInventory()>;
  struct Plugin {
    std::string name, index;
    std::uint32_t events = 0;  // the bits of NriEvent
  };

  /// Listens and accepts plugins, in threads of its own.
  static Result<std::unique_ptr<NriRuntimeServer>> start(NriRuntimeOptions options, Inventory inventory);
  /// stop().
  ~NriRuntimeServer();

  /// An error: a plugin refused in time ("plugin 50-name: ..."); later plugins were not called.
  Result<> run_pod_sandbox(const NriPod& pod);
  Result<> stop_pod_sandbox(const NriPod& pod);
  Result<> remove_pod_sandbox(const NriPod& pod);
  /// All plugins' changes in one; kinds of changes that NriAdjustment does not have are ignored. kConflict:
  /// two of them set the same thing. kUnsupported: one asks to remove something.
  Result<NriAdjustment> create_container(const NriPod& pod, const NriContainer& container);
  /// kPostCreateContainer, kStartContainer, kPostStartContainer, kStopContainer, kRemoveContainer.
  Result<> container_event(NriEvent event, const NriPod& pod, const NriContainer& container);

  /// Those that are synchronized now, in order.
  [[nodiscard]] std::vector<Plugin> plugins() const;
  /// How many plugins were ever synchronized: distinguishes a reconnect from a connection that persisted.
  [[nodiscard]] std::uint64_t connects() const;
  /// Waits until exactly `count` plugins are connected and synchronized; kTimeout.
  Result<> wait_for_plugins(std::size_t count, std::chrono::steady_clock::time_point deadline) const;
  /// Waits until connects() is at least `count`; kTimeout.
  Result<> wait_for_connects(std::uint64_t count, std::chrono::steady_clock::time_point deadline) const;

  /// Drops all plugins and removes the socket, like a runtime that ends. Later events reach no plugin and
  /// succeed. Idempotent.
  void stop();

 private:
  struct Impl;
  explicit NriRuntimeServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::rpc
