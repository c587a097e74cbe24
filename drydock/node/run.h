// SPDX-License-Identifier: Apache-2.0
// `drydock run`: the machine's side (supervisor) and the node's side (one whole run).
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "drydock/cluster/cluster.h"
#include "drydock/node/console.h"
#include "drydock/node/driver_process.h"
#include "drydock/node/kubelet.h"
#include "drydock/node/leftovers.h"
#include "drydock/node/lent_links.h"
#include "drydock/node/run_input.h"
#include "drydock/node/run_options.h"
#include "fairlead/core/pinned.h"

namespace drydock {

inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitInterrupted = 130;

/// The whole command: a node of its own, the run in it, the proof that the machine is as it was. The exit
/// status.
int run_command(const RunOptions& options);

/// One run on the node; lives in the node's main process and is used by its main thread.
class Run : private fairlead::Pinned {
 public:
  /// `lent`: the links of the machine that are in the node's network namespace. It and `input` outlive this.
  Run(const RunOptions& options, const RunInput& input, Console& console, const LentLinks& lent);
  ~Run();

  /// All of it; the exit status.
  int execute();

 private:
  using Steady = std::chrono::steady_clock;

  Result<> start_node();
  Result<> start_drivers();
  [[nodiscard]] std::map<std::string, std::string> placeholders(std::size_t index) const;
  [[nodiscard]] std::map<std::string, std::string> environment(std::size_t index) const;
  Result<> write_access_files();
  Result<> wait_for_drivers();
  Result<bool> drivers_ready();
  Result<> check_drivers();
  Result<> start_driver(std::size_t index);
  [[nodiscard]] DriverContainerSettings container_of(std::size_t index) const;
  /// --restart-driver: those that have died are started again when it is time.
  void tend_drivers();
  void show_devices();
  void show_claims();
  void wait_for_claims();

  Result<> apply();
  void watch_pods();
  void show_events();
  [[nodiscard]] std::vector<Json> pods();
  struct Progress {
    std::size_t wanted = 0, started = 0, ended = 0, failed = 0;
    /// Pods that run and will end by themselves (restartPolicy Never or OnFailure).
    std::size_t completing = 0;
  };
  Progress progress();
  void blame_unstarted();

  void take_down();
  void check_leftovers();
  void check_lent_links();
  Result<> follow_fallbacks();
  void stop_drivers();
  [[nodiscard]] DriverCost cost_of(std::size_t index);
  void show_costs();
  void note_sockets();
  void show_driver_logs();
  void show_wanted_lines();
  void show_verdict();
  void print_json();

  void fail(const std::string& why);
  bool interrupted();
  /// Lets the cluster move on; false when interrupted.
  bool wait_a_little();

  const RunOptions options_;
  const RunInput& input_;
  Console& console_;
  const LentLinks& lent_;
  UniqueFd end_of_fallbacks_;
  std::thread fallbacks_;
  const Steady::time_point begun_ = Steady::now();
  UniqueFd signals_;
  bool interrupted_ = false;
  std::vector<std::string> failures_;

  NodeServices services_;
  std::vector<std::string> pod_uids_;  // of the drivers, each its own; a restarted container keeps its pod's
  CallStats stats_;
  std::unique_ptr<NodeNetwork> network_;
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<ImageStore> images_;
  std::unique_ptr<CdiRegistry> cdi_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<NriSide> nri_;
  std::vector<std::string> tokens_;  // of the drivers, each its own
  std::vector<DriverProcess> drivers_;
  /// By index: what --restart-driver knows of a driver that died.
  struct Revival {
    int count = 0;
    DriverCost cost;  // of its earlier lives
    std::optional<Steady::time_point> when;
  };
  std::map<std::size_t, Revival> revivals_;
  bool no_more_revivals_ = false;
  std::map<std::size_t, std::string> driver_names_;  // index of the command -> what it registered as
  std::unique_ptr<Kubelet> kubelet_;
  NodeState before_pods_;
  std::vector<AppliedObject> applied_;
  std::vector<std::string> left_over_;
  std::set<std::string> shown_;                      // events that were printed
  std::map<std::string, std::string> shown_status_;  // claim UID and device -> what was printed of it last
  Json claims_ = Json::object();                     // claim UID -> what its status said last
  Steady::time_point pods_since_;
};

}  // namespace drydock
