// SPDX-License-Identifier: Apache-2.0
// NRI: the runtime tells of pods' sandboxes, and prepared claims are attached before any container
// exists. It fails open on the runtime's side (see rpc/nri.h), so it is the early way, never the only one:
// whatever it leaves undone the guard does.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/agent/attach_service.h"
#include "fairlead/core/executor.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/rpc/nri.h"

namespace fairlead::agent {

/// Any thread. Calls give up shortly before their deadline where they wait for other work; a kernel call
/// cannot be called off, so rpc::NriPlugin answers for one that overruns it.
class NriEvents final : public rpc::NriHandler {
 public:
  /// The events it wants.
  static std::vector<rpc::NriEvent> events();

  /// The service must outlive it.
  explicit NriEvents(AttachService& service);
  NriEvents(const NriEvents&) = delete;
  NriEvents& operator=(const NriEvents&) = delete;
  NriEvents(NriEvents&&) = delete;
  NriEvents& operator=(NriEvents&&) = delete;
  /// stop().
  ~NriEvents() override;

  void configured(const rpc::NriRuntime& runtime) override;
  /// Answers at once; the comparison of what there is with what should be goes on behind it.
  Result<> synchronize(const std::vector<rpc::NriPod>& pods, const std::vector<rpc::NriContainer>& containers,
                       const rpc::NriCall& call) override;
  Result<> run_pod_sandbox(const rpc::NriPod& pod, const rpc::NriCall& call) override;
  /// A courtesy: NICs come home while the namespace is alive. Never an error, Unprepare is the authority.
  /// Answered in time; what takes longer goes on behind the answer.
  Result<> stop_pod_sandbox(const rpc::NriPod& pod, const rpc::NriCall& call) override;
  Result<> remove_pod_sandbox(const rpc::NriPod& pod, const rpc::NriCall& call) override;
  void disconnected(const Error& why) override;
  /// The connection is about to be ended by ourselves.
  void closing() { closing_ = true; }

  /// Finishes what was begun. Idempotent; events afterwards are refused.
  void stop();

 private:
  struct Snapshot;
  struct Reconciled;
  /// Whether containers that use the claim run. Unknown: others do, and these may come yet.
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
  std::shared_ptr<const Snapshot> newest_ FL_GUARDED_BY(mutex_);  // what is to be reconciled
  Executor work_;                                                 // last: its tasks use all of the above
};

/// The network namespace of a pod's sandbox: by its path, or, where that is not visible to us, by the
/// sandbox's process if it is certainly that (its cgroup is the sandbox's). The error says what to mount.
Result<UniqueFd> open_pod_netns(const rpc::NriPod& pod);

}  // namespace fairlead::agent
