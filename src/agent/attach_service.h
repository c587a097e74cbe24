// SPDX-License-Identifier: Apache-2.0
// What both doors share: one claim into one namespace, on disk before the answer, counted, and told in the
// claim's status. And the way back when a pod's sandbox ends.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "fairlead/agent/claims.h"
#include "fairlead/agent/net_driver.h"
#include "fairlead/core/executor.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/core/timer.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

enum class Door : std::uint8_t { kGuard, kNri };
/// "guard", "nri".
std::string_view to_string(Door door);

struct AttachCall {
  Door door = Door::kGuard;
  std::string claim_uid;
  int netns = -1;         // borrowed
  std::string sandbox;    // the runtime's id; empty: not known to the door
  std::string container;  // the OCI id; empty: not known to the door
  std::chrono::steady_clock::time_point deadline;
};

/// A pod's sandbox as a door sees it.
struct Sandbox {
  std::string id;
  int netns = -1;  // borrowed; -1: gone, or not visible here
};

/// Any thread.
class AttachService {
 public:
  /// The driver must outlive it.
  AttachService(NetDriver& driver, Claims claims);
  AttachService(const AttachService&) = delete;
  AttachService& operator=(const AttachService&) = delete;
  AttachService(AttachService&&) = delete;
  AttachService& operator=(AttachService&&) = delete;
  /// stop().
  ~AttachService();

  [[nodiscard]] const Claims& claims() const { return claims_; }
  /// Whether a door has anything to do for the claim: it is prepared, and not only watched, and not moved by
  /// the container runtime.
  [[nodiscard]] static bool is_attachable(const dra::ClaimRecord& record);

  /// Idempotent, and cheap when all is there. The error is one sentence for the pod's author; it is told in
  /// the claim's status and the pod's events too.
  Result<> attach(const AttachCall& call);
  /// Gives back what the claim took from the node, if it is attached in this very sandbox; else does nothing.
  Result<> release(const std::string& claim_uid, const Sandbox& sandbox,
                   std::chrono::steady_clock::time_point deadline);
  /// Compares a claim that is recorded as attached with what is in its pod, and reports it.
  void check(const dra::ClaimRecord& record, int netns);
  /// After a start without NRI: check() of all that are in a pod, behind the caller's back.
  void check_all(const std::vector<dra::ClaimRecord>& records);
  /// Tells that a pod has not the claim's interfaces, and why. A claim that is in another pod keeps its
  /// status.
  void refuse(const dra::ClaimRecord& record, const std::string& message,
              const std::string& reason = "AttachFailed");
  /// Netdevices mode: reports what waits on the node for the runtime, once the claim is recorded.
  void report_staged(const std::string& claim_uid);

  /// The guard does not know sandboxes: NRI does, and tells here which namespace is whose.
  void remember(const std::string& sandbox, sys::NetnsId netns);
  void forget(const std::string& sandbox);

  /// Finishes the reports that were begun; the next start makes those that were not. Idempotent.
  void stop();

 private:
  Result<> carry_out(const AttachCall& call);
  void tell(const dra::ClaimRecord& record, int netns, const std::string& reason,
            const std::string& message) const;
  void finished(std::string_view operation, std::string_view via, const Result<>& result,
                std::chrono::steady_clock::time_point start) const;
  [[nodiscard]] std::string sandbox_of(sys::NetnsId netns) const;

  NetDriver* driver_;
  const Claims claims_;
  mutable Mutex mutex_;
  std::map<std::string, sys::NetnsId> sandboxes_ FL_GUARDED_BY(mutex_);
  Executor background_;  // its tasks use all of the above
  Timer timer_;          // last: it posts to the one before
};

}  // namespace fairlead::agent
