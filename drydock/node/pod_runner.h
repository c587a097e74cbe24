// SPDX-License-Identifier: Apache-2.0
// One pod's life on the node, in the kubelet's order:
//
//   claims allocated → Prepare (retried) → sandbox (retried) → init containers one by one → containers,
//   started again as restartPolicy says → they have ended, or the pod is deleted → containers stopped →
//   sandbox stopped → Unprepare (retried) → sandbox removed → final status → object gone
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "drydock/cluster/cluster.h"
#include "drydock/node/claim_manager.h"
#include "drydock/node/console.h"
#include "drydock/node/pod_instance.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"

namespace drydock {

struct PodOptions {
  /// How often a failed Prepare or container start is tried again before the pod counts as failed; what is
  /// only not there yet (a driver that is not registered) is tried until start_timeout.
  int retries = 3;
  /// Before the second start of a container within a pod that is not the first (the kubelet: 10 s), and
  /// before the first repetition of anything that failed; it doubles.
  std::chrono::milliseconds first_retry{500};
  /// Containers that ended with 0 are started again too if restartPolicy is Always, as a kubelet does. False:
  /// they have done their work, so that a run comes to its end.
  bool restart_succeeded = false;
  /// For tests of drivers: each pod's sandbox dies once, so long after its containers have started.
  std::optional<std::chrono::milliseconds> lose_sandbox;
  std::chrono::milliseconds start_timeout{60'000};
  /// How long Unprepare is tried again.
  std::chrono::milliseconds teardown_timeout{30'000};
  /// terminationGracePeriodSeconds is cut to this.
  std::chrono::seconds longest_grace{2};
};

struct ContainerOutcome {
  std::string name;
  bool ended = false;
  int exit_code = 0;
  int restarts = 0;
  std::vector<std::string> lines;
};

struct PodOutcome {
  enum class Phase : std::uint8_t { kStarting, kRunning, kEnded, kFailed };
  std::string namespace_, name, uid;
  Phase phase = Phase::kStarting;
  bool torn_down = false;
  std::string reason;  // of kFailed, as the event has it: "FailedPrepareDynamicResources: Failed to ..."
  std::string teardown_error;  // what could not be taken down
  std::vector<ContainerOutcome> containers;
};

struct PodContext {
  Cluster* cluster = nullptr;
  ClaimManager* claims = nullptr;
  Console* console = nullptr;
  NodeServices services;
  PodOptions options;
};

/// Starts at once on a thread of its own. Any thread may call.
class PodRunner : private fairlead::Pinned {
 public:
  PodRunner(const PodContext& context, Json pod);
  /// Stops and waits.
  ~PodRunner();

  /// Ends the pod: containers are stopped, everything is taken down. Does not wait.
  void stop();
  [[nodiscard]] PodOutcome outcome() const;

 private:
  struct Failure {
    std::string reason, message;  // the event
    Code code = Code::kInternal;
  };
  using Step = Result<>;

  void run();
  bool start();
  bool bring_up();
  /// False: the pod has failed for it.
  bool renew_sandbox();
  bool try_start(const std::string& reason, const std::string& prefix, const std::function<Result<>()>& step);
  void show_allocations() const;
  Result<> prepare_claims();
  /// A container that has ended and is to be started again.
  struct Restart {
    const ContainerSpec* container = nullptr;
    std::chrono::steady_clock::time_point when;
  };
  bool start_one(const ContainerSpec& container);
  bool run_init_container(const ContainerSpec& container);
  bool run_init_containers();
  bool start_containers();
  void watch_containers();
  bool take_ends(std::vector<Restart>& restarts);
  bool start_due(std::vector<Restart>& restarts);
  std::optional<Restart> judge(const ContainerSpec& container, const ExitStatus& exit);
  void tear_down();
  Result<> unprepare();
  void fail(const Failure& failure);
  void set_phase(PodOutcome::Phase phase);
  void note_states();
  ContainerOutcome& outcome_of(const std::string& container) FL_REQUIRES(mutex_);
  [[nodiscard]] std::string name() const;
  void write_status(const std::string& phase);
  void keep_line(const OutputLine& line);
  [[nodiscard]] bool stopping() const { return stopping_; }
  bool pause(std::chrono::milliseconds duration);
  void say(const std::string& text) const;

  const PodContext context_;
  const Json pod_;
  fairlead::UniqueFd wake_;
  std::atomic<bool> stopping_ = false;
  std::unique_ptr<PodInstance> instance_;
  std::vector<AllocatedClaim> claims_;
  std::vector<ClaimId> entered_;  // claims that a driver may know of
  std::optional<std::chrono::steady_clock::time_point> lose_at_;
  std::set<std::string> judged_;  // containers whose last end was taken into account
  std::chrono::steady_clock::time_point started_;
  mutable fairlead::Mutex mutex_;
  PodOutcome outcome_ FL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace drydock
