// SPDX-License-Identifier: Apache-2.0
// NRI: the runtime reports pods' sandboxes, and prepared claims are attached before any container is created.
// It fails open on the runtime's side (see rpc/nri/plugin.h), so it is the early way, never the only one: the guard
// does whatever NRI has not done.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/agent/attach/attach_service.h"
#include "fairlead/core/executor.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/rpc/nri/plugin.h"

namespace fairlead::agent {

/// Any thread. Calls that wait for other work give up shortly before their deadline; a kernel call cannot be
/// cancelled, so rpc::NriPlugin responds for one that overruns it.
class NriEvents final : public rpc::NriHandler {
 public:
  /// The events it wants.
  static std::vector<rpc::NriEvent> events();

  /// The service must outlive it.
  explicit NriEvents(AttachService& service);
  /// stop().
  ~NriEvents() override;

  void configured(const rpc::NriRuntime& runtime) override;
  /// Returns at once; the actual state is compared with the records in the background.
  Result<> synchronize(const std::vector<rpc::NriPod>& pods, const std::vector<rpc::NriContainer>& containers,
                       const rpc::NriCall& call) override;
  Result<> run_pod_sandbox(const rpc::NriPod& pod, const rpc::NriCall& call) override;
  /// Optional early work: NICs are returned while the namespace is alive. Never an error, since Unprepare
  /// does it in any case. Returns in time; longer work continues in the background.
  Result<> stop_pod_sandbox(const rpc::NriPod& pod, const rpc::NriCall& call) override;
  Result<> remove_pod_sandbox(const rpc::NriPod& pod, const rpc::NriCall& call) override;
  void disconnected(const Error& why) override;
  /// The connection is about to be closed by this side.
  void closing() { closing_ = true; }

  /// Finishes the work in progress. Idempotent; later events are refused.
  void stop();

 private:
  struct Snapshot;
  struct Reconciled;
  /// Whether containers that use the claim run. Unknown: others do, and these may still be created.
  enum class Use : std::uint8_t { kNotYet, kRuns, kUnknown };
  Result<> attach_pod(const rpc::NriPod& pod, int netns, const std::vector<dra::ClaimRecord>& records,
                      std::chrono::steady_clock::time_point deadline);
  void leave_to_guard(const rpc::NriPod& pod, const std::vector<dra::ClaimRecord>& records, const Error& why);
  Result<> refuse_host_network(const rpc::NriPod& pod, const std::vector<dra::ClaimRecord>& records);
  /// `netns`: -1: gone, or not visible here.
  void release_pod(const rpc::NriPod& pod, int netns);
  void release_until(const rpc::NriPod& pod, const rpc::NriCall& call);
  [[nodiscard]] bool is_current(const Snapshot& snapshot) const;
  [[nodiscard]] std::optional<Reconciled> look_at(const Snapshot& snapshot, const rpc::NriPod& pod) const;
  Result<> reconcile(const Snapshot& snapshot);
  [[nodiscard]] Use use_of(const dra::ClaimRecord& record, const Reconciled& sandbox, bool tells_cdi) const;
  Result<> reconcile_claim(const dra::ClaimRecord& record, const std::vector<Reconciled>& sandboxes,
                           bool tells_cdi);

  AttachService* service_;
  std::atomic<bool> closing_{false};
  mutable Mutex mutex_;
  std::shared_ptr<const Snapshot> newest_ FL_GUARDED_BY(mutex_);  // the next to be reconciled
  Executor work_;                                                 // last: its tasks use all of the above
};

/// The network namespace of a pod's sandbox: by its path, or, if that is not visible here, by the sandbox's
/// process if its cgroup proves that it is the sandbox's. The error says what to mount.
Result<UniqueFd> open_pod_netns(const rpc::NriPod& pod);

}  // namespace fairlead::agent
