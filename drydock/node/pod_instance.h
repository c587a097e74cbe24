// SPDX-License-Identifier: Apache-2.0
// One pod's sandbox, volumes and containers on the node: what a kubelet asks of a container runtime.
#pragma once

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
#include "drydock/node/pod_spec.h"
#include "drydock/node/processes.h"
#include "drydock/node/runtime.h"

namespace drydock {

/// What all pods share. The referenced objects outlive every pod.
struct NodeServices {
  NodePaths paths;
  Runtime* runtime = nullptr;
  ImageStore* images = nullptr;
  NodeNetwork* network = nullptr;
  CdiRegistry* cdi = nullptr;
};

/// A line that a container printed.
struct OutputLine {
  std::string container, text;
  bool is_error = false;
};

/// Used by one thread; the output callback is called on others, one line at a time per stream.
class PodInstance {
 public:
  using OutputCallback = std::function<void(const OutputLine&)>;
  PodInstance(const NodeServices& services, PodSpec pod, OutputCallback output);
  PodInstance(const PodInstance&) = delete;
  PodInstance& operator=(const PodInstance&) = delete;
  PodInstance(PodInstance&&) = delete;
  PodInstance& operator=(PodInstance&&) = delete;
  /// Tears down what is left.
  ~PodInstance();

  [[nodiscard]] const PodSpec& pod() const { return pod_; }
  [[nodiscard]] const std::string& ip() const { return info_.pod_ip; }

  Result<> make_sandbox();
  /// Creates and starts one container with these CDI devices. When it fails nothing of it is left, and it may
  /// be tried again.
  Result<> start_container(const ContainerSpec& container, const std::vector<std::string>& cdi_devices);
  /// Waits until all started containers have ended (true) or `wake_fd` is readable (false).
  Result<bool> wait(int wake_fd);

  struct State {
    std::string container;
    std::optional<ExitStatus> exit;  // nothing: runs
  };
  [[nodiscard]] std::vector<State> states() const;

  /// The kubelet's order: SIGTERM, the grace period (cut to `limit`), SIGKILL, containers removed.
  Result<> stop_containers(std::chrono::seconds limit);
  /// Sandbox and volumes; containers must be stopped. May be called again after an error.
  Result<> remove_sandbox();

 private:
  struct Container;
  Result<> prepare_volumes();
  Result<> write_etc();
  Result<> mount_rootfs(Container& container, const Image& image);
  Result<> launch(Container& container, OciSpec spec);
  Result<> discard(Container& container);

  const NodeServices services_;
  const PodSpec pod_;
  const OutputCallback output_;
  const std::string folder_;
  std::optional<Sandbox> sandbox_;
  PodRuntimeInfo info_;
  std::vector<std::unique_ptr<Container>> containers_;
};

}  // namespace drydock
