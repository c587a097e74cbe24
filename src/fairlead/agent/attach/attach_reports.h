// SPDX-License-Identifier: Apache-2.0
// How a claim's devices are reported: the claim's status and the pod's events. Pods are inspected in the
// background, so that no call waits for it.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/agent/attach/device_reports.h"
#include "fairlead/agent/attach/record.h"
#include "fairlead/core/executor.h"
#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/timer.h"
#include "fairlead/dra/base/host.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

struct AttachReportsOptions {
  /// A claim that is not attached this long after its prepare is reported as such in its status.
  std::chrono::milliseconds waiting_after{10'000};
  /// check_soon() waits this long.
  std::chrono::milliseconds check_after{25};
};

/// Whether a container runtime's event or the guard has anything to do for the claim: it is prepared, not only
/// monitored, and not moved by the container runtime.
bool is_attachable(const dra::ClaimRecord& record, const PlanReader& plans);

/// Any thread.
class AttachReports : private Pinned {
 public:
  /// Host and plans must outlive it.
  AttachReports(dra::Host& host, const PlanReader& plans, std::string driver_name,
                AttachReportsOptions options = {});
  /// stop().
  ~AttachReports();

  /// Compares a claim that is recorded as attached with the links in its pod, and reports the result. The
  /// namespace is certainly the claim's, or only has the inode number in the record.
  void check(const dra::ClaimRecord& record, int netns, Namespace which);
  /// check() in the background, a moment after the claim was attached in this namespace: the application waits
  /// for the interface, not for its description, and reading takes the same kernel lock as attaching.
  void check_soon(const std::string& claim_uid, UniqueFd netns);
  /// After a start without NRI: runs check() in the background for every attached claim. If a namespace holds
  /// none of the claim's links, its inode number was probably reused; nothing is reported.
  void check_all(const std::vector<dra::ClaimRecord>& records);
  /// Reports that the pod does not have the claim's interfaces, and why, in the claim's status and as an
  /// event at the pod. A claim that is in another pod keeps its status. `netns` is the namespace without the
  /// interfaces; -1: a pod without a namespace of its own.
  void failed(const dra::ClaimRecord& record, int netns, const std::optional<dra::Pod>& pod,
              const std::string& reason, const std::string& message) const;
  /// In the claim's status only, as NotAttached: it may still be attached later.
  void not_attached(const dra::ClaimRecord& record, const std::string& message);
  /// Guard mode: the claim is being prepared. Reports that it waits for a container, if that is still so
  /// after a while.
  void waiting(const std::string& claim_uid);
  /// Netdevices mode: reports the links staged on the node for the runtime, once the claim is recorded.
  void staged(const std::string& claim_uid);
  /// The pod's sandbox has ended. The status is written with a delay, since it is usually the pod's last
  /// sandbox.
  void detached(const dra::ClaimRecord& record);

  /// While the result exists, no finding from the claim's namespace is reported: it is being released.
  [[nodiscard]] std::shared_ptr<void> hold_back(const std::string& claim_uid, const sys::NetnsId& netns);

  /// Completes the reports in progress; the rest is reported at the next start. Idempotent.
  void stop();

 private:
  [[nodiscard]] std::vector<dra::DeviceReport> all_devices(const dra::ClaimRecord& record,
                                                           const std::string& reason,
                                                           const std::string& message) const;
  using TimePoint = std::chrono::steady_clock::time_point;
  void check(const dra::ClaimRecord& record, int netns, Namespace which, bool silent_without_links);
  void staged_until(const std::string& claim_uid, TimePoint give_up);
  [[nodiscard]] bool still_in(const std::string& claim_uid, const sys::NetnsId& netns) const
      FL_REQUIRES(mutex_);

  dra::Host* host_;
  const PlanReader* plans_;
  const std::string driver_name_;
  const AttachReportsOptions options_;
  /// Findings from a pod are reported only if the claim still exists, and is not being released. Locked
  /// before the host's locks.
  mutable Mutex mutex_;
  std::multiset<std::pair<std::string, sys::NetnsId>> releasing_ FL_GUARDED_BY(mutex_);  // uid, namespace
  /// By the claim's uid. Not beyond the end of its sandbox: the descriptor keeps the namespace, and the links in it.
  std::map<std::string, UniqueFd> to_check_ FL_GUARDED_BY(mutex_);
  Executor background_;  // its tasks use all of the above
  Timer timer_;          // last: it posts to the one before
};

}  // namespace fairlead::agent
