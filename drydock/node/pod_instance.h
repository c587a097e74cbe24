// SPDX-License-Identifier: Apache-2.0
// One pod's sandbox, volumes and containers on the node: what a kubelet asks of a container runtime.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "drydock/node/cdi_registry.h"
#include "drydock/node/container_output.h"
#include "drydock/node/image_store.h"
#include "drydock/node/node_fs.h"
#include "drydock/node/node_network.h"
#include "drydock/node/nri_side.h"
#include "drydock/node/pause_process.h"
#include "drydock/node/pod_spec.h"
#include "drydock/node/processes.h"
#include "drydock/node/runtime.h"
#include "fairlead/core/pinned.h"

namespace drydock {

/// What all pods share. The referenced objects outlive every pod.
struct NodeServices {
  NodePaths paths;
  Runtime* runtime = nullptr;
  ImageStore* images = nullptr;
  NodeNetwork* network = nullptr;
  CdiRegistry* cdi = nullptr;
  NriSide* nri = nullptr;  // null: the runtime has no NRI
};

/// A line that a container printed.
struct OutputLine {
  std::string container, text;
  bool is_error = false;
};

/// Used by one thread; the output callback is called on others, one line at a time per stream.
class PodInstance : private fairlead::Pinned {
 public:
  using OutputCallback = std::function<void(const OutputLine&)>;
  PodInstance(const NodeServices& services, PodSpec pod, OutputCallback output);
  /// Tears down what is left.
  ~PodInstance();

  [[nodiscard]] const PodSpec& pod() const { return pod_; }
  [[nodiscard]] const std::string& ip() const { return info_.pod_ip; }

  /// Network namespace, eth0 and its address, the sandbox's process, then NRI's RunPodSandbox. If it fails
  /// only volumes are left, and it may be retried: another sandbox, with another id. It may also be called
  /// after stop_sandbox(): plugins get the old sandbox's removal event when the pod is removed.
  Result<> make_sandbox();
  /// For tests of drivers: the sandbox's process dies.
  void lose_sandbox() const;
  /// Creates and starts one container with these CDI devices; an ended one of the same name goes. When it
  /// fails nothing of it is left, and it may be tried again.
  Result<> start_container(const ContainerSpec& container, const std::vector<std::string>& cdi_devices);

  enum class Wake : std::uint8_t { kAsked, kEnded, kTime, kSandboxGone };
  using TimePoint = std::chrono::steady_clock::time_point;
  /// Waits until one more container has ended, or none runs (kEnded), `wake_fd` is readable (kAsked), the
  /// sandbox's process has died, or it is time.
  Result<Wake> wait_for_end(int wake_fd, std::optional<TimePoint> until);
  /// Waits until all started containers have ended (true) or `wake_fd` is readable (false).
  Result<bool> wait(int wake_fd);

  struct State {
    std::string container;
    std::optional<ExitStatus> exit;  // nothing: runs
  };
  /// Of the containers as they were started last.
  [[nodiscard]] std::vector<State> states() const;

  /// The kubelet's order: SIGTERM, the grace period (cut to `limit`), SIGKILL. Then the runtime forgets them.
  Result<> stop_containers(std::chrono::seconds limit);
  /// The sandbox's process, StopPodSandbox, then its network; containers must be stopped. May be called again
  /// after an error.
  Result<> stop_sandbox();
  /// Removes the rest of sandbox and containers, and volumes. Stops the sandbox if that was not done.
  Result<> remove_sandbox();

 private:
  struct Container;
  Result<> prepare_volumes();
  Result<> connect_sandbox();
  Result<> disconnect_sandbox();
  Result<> write_etc();
  Result<> mount_rootfs(Container& container, const Image& image);
  Result<> configure(const ContainerSpec& spec, const Image& image,
                     const std::vector<std::string>& cdi_devices, Container& container, OciSpec& oci);
  Result<> launch(Container& container, OciSpec spec);
  Result<> look_for_ends(bool& any);
  void note_end(Container& container);
  Result<> discard(Container& container);

  const NodeServices services_;
  const PodSpec pod_;
  const OutputCallback output_;
  const std::string folder_;
  std::optional<Sandbox> sandbox_;
  std::optional<PauseProcess> pause_;
  fairlead::rpc::NriPod nri_pod_;                     // id empty: no sandbox that plugins know of
  bool stopped_ = false;                              // plugins were notified
  std::vector<fairlead::rpc::NriPod> old_sandboxes_;  // stopped, not yet removed
  PodRuntimeInfo info_;
  std::vector<std::unique_ptr<Container>> containers_;
};

}  // namespace drydock
