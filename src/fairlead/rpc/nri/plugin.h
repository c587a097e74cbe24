// SPDX-License-Identifier: Apache-2.0
// NRI, the node resource interface of containerd and CRI-O: values and the plugin's side. A plugin gets
// events of pods and containers and may change containers before they are created.
//
// Both dialects are supported: NRI <= 0.11 delivers most events through one StateChange call, >= 0.12 calls a
// method for each and falls back to StateChange if the method is unknown.
//
// Important properties (containerd/nri, pkg/adaptation):
//  - NRI fails open. An error returned in time fails the event; a late response (2 s by default) or a lost
//    connection counts as success, and the runtime closes the connection.
//  - All events of a node are sequential: a slow plugin delays every pod.
//  - Stop events are best effort: they may never come.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace fairlead::rpc {

struct NriPod {
  std::string id;  // of the sandbox: a pod may get another one while it lives
  std::string name, uid, namespace_;
  std::map<std::string, std::string> labels, annotations;
  std::string runtime_handler;
  std::uint32_t pid = 0;  // of the sandbox's process, in the runtime's pid namespace
  std::vector<std::string> ips;
  /// Path of the pod's network namespace as the runtime sees it. Empty: the pod uses the node's
  /// (hostNetwork), or the runtime does not report it (stop events of containerd < 2.1).
  std::string netns;
};

enum class NriContainerState : std::uint8_t { kUnknown, kCreated, kPaused, kRunning, kStopped };

struct NriContainer {
  std::string id, pod_id, name;
  NriContainerState state = NriContainerState::kUnknown;
  std::uint32_t pid = 0;
  std::vector<std::string> cdi_devices;  // containerd >= 2.3
  std::vector<std::string> env;
};

/// The changes that a plugin makes to a container before it is created. If another plugin sets the same key,
/// the container fails.
struct NriAdjustment {
  struct Mount {
    std::string destination, type, source;
    std::vector<std::string> options;
  };
  struct Device {
    std::string path, type;  // type: "c", "b"
    std::int64_t major = 0, minor = 0;
    std::uint32_t file_mode = 0;  // 0: the runtime's choice
  };
  std::map<std::string, std::string> annotations, env;
  std::vector<Mount> mounts;
  std::vector<Device> devices;
  std::vector<std::string> cdi_devices;            // containerd >= 2.1
  std::map<std::string, std::string> net_devices;  // the node's interface -> name in the container; >= 2.2.1
};

/// Events to subscribe to. Bit = 1 << (number - 1), as on the wire.
enum class NriEvent : std::uint32_t {
  kRunPodSandbox = 1U << 0U,
  kStopPodSandbox = 1U << 1U,
  kRemovePodSandbox = 1U << 2U,
  kCreateContainer = 1U << 3U,
  kPostCreateContainer = 1U << 4U,
  kStartContainer = 1U << 5U,
  kPostStartContainer = 1U << 6U,
  kStopContainer = 1U << 9U,
  kRemoveContainer = 1U << 10U,
};

/// The limits of one event: when the response must be sent. Includes a margin before the runtime's own limit.
struct NriCall {
  std::chrono::steady_clock::time_point deadline;
};

/// The runtime's description of itself when a connection is made.
struct NriRuntime {
  std::string name, version;  // for people; do not branch on them
  std::string nri_version;    // empty below NRI 0.12
  std::chrono::milliseconds request_timeout{2'000};
};

/// Called from threads of the plugin. Two events may overlap if the runtime allows it (containerd does not),
/// and after a handler overran its deadline: then the runtime got an error, the handler's own result is
/// dropped, and events of other pods run concurrently; those of the same pod wait for it, and are not
/// delivered at all if their own time is over by then. Errors become the event's error in the runtime,
/// verbatim. A handler must not call the runtime: the runtime waits for the handler.
class NriHandler : private Pinned {
 public:
  NriHandler() = default;
  virtual ~NriHandler() = default;

  virtual void configured(const NriRuntime& runtime) { (void)runtime; }
  /// After every connect: all existing pods and containers; pods may be dead, and one may have several
  /// sandboxes. Missed events are not repeated, so compare the state now. Must be quick: the same limit as
  /// one event.
  virtual Result<> synchronize(const std::vector<NriPod>& pods, const std::vector<NriContainer>& containers,
                               const NriCall& call) {
    (void)pods, (void)containers, (void)call;
    return {};
  }
  virtual Result<> run_pod_sandbox(const NriPod& pod, const NriCall& call) {
    (void)pod, (void)call;
    return {};
  }
  virtual Result<> stop_pod_sandbox(const NriPod& pod, const NriCall& call) {
    (void)pod, (void)call;
    return {};
  }
  virtual Result<> remove_pod_sandbox(const NriPod& pod, const NriCall& call) {
    (void)pod, (void)call;
    return {};
  }
  virtual Result<NriAdjustment> create_container(const NriPod& pod, const NriContainer& container,
                                                 const NriCall& call) {
    (void)pod, (void)container, (void)call;
    return NriAdjustment{};
  }
  /// kPostCreateContainer, kStartContainer, kPostStartContainer, kStopContainer, kRemoveContainer.
  virtual Result<> container_event(NriEvent event, const NriPod& pod, const NriContainer& container,
                                   const NriCall& call) {
    (void)event, (void)pod, (void)container, (void)call;
    return {};
  }
  /// A connection that was configured ended; another one is being tried, or stop() was called.
  virtual void disconnected(const Error& why) { (void)why; }
};

struct NriPluginOptions {
  std::string name;          // [A-Za-z0-9_.+-]+
  std::string index = "50";  // two digits: the order among plugins
  std::string socket = "/var/run/nri/nri.sock";
  std::vector<NriEvent> events;  // to subscribe to; at least one
  /// Responses are sent this long before the runtime gives up: at most a quarter of its limit is used.
  std::chrono::milliseconds margin{500};
  /// Waits between attempts to connect, growing from the first to the last, with jitter. Connecting makes the
  /// runtime wait for calls in flight (containerd#14083), so not too often.
  std::chrono::milliseconds first_retry{100}, last_retry{5'000};
};

/// Keeps one connection to the runtime for as long as it lives.
class NriPlugin : private Pinned {
 public:
  /// Checks the options; does not connect. The handler must outlive the plugin.
  static Result<std::unique_ptr<NriPlugin>> create(NriPluginOptions options, NriHandler& handler);
  /// stop().
  ~NriPlugin();

  /// Starts connecting, in a separate thread. Once.
  void start();
  /// Waits until a connection exists and synchronize() has returned. kTimeout says what it is waiting for
  /// ("no /var/run/nri/nri.sock: ...").
  Result<> wait_ready(std::chrono::steady_clock::time_point deadline);
  [[nodiscard]] bool ready() const;
  /// Finishes the events in progress (for 2 s at most), ends the connection and the threads; running handlers
  /// are finished. Idempotent.
  void stop();

 private:
  struct Impl;
  explicit NriPlugin(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::rpc
