// SPDX-License-Identifier: Apache-2.0
// What both doors share: one claim into one namespace, on disk before the answer, counted, and told in the
// claim's status. And the way back when a pod's sandbox ends.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fairlead/agent/attach.h"
#include "fairlead/agent/interface_facts.h"
#include "fairlead/core/executor.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/core/timer.h"
#include "fairlead/dra/host.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

enum class Door : std::uint8_t { kGuard, kNri };
/// "guard", "nri".
std::string_view to_string(Door door);

struct AttachCall {
  Door door = Door::kGuard;
  std::string claim_uid;
  int netns = -1;                              // borrowed
  std::string sandbox;                         // the runtime's id; empty: not known to the door
  std::string container;                       // the OCI id; empty: not known to the door
  std::optional<dra::Pod> pod = std::nullopt;  // nothing: not known to the door
  std::chrono::steady_clock::time_point deadline;
};

/// A pod's sandbox as a door sees it.
struct Sandbox {
  std::string id;
  int netns = -1;  // borrowed; -1: gone, or not visible here
};

struct AttachServiceOptions {
  /// A claim that nobody attached for so long after its prepare says so in its status.
  std::chrono::milliseconds waiting_after{10'000};
};

/// Any thread.
class AttachService {
 public:
  /// All must outlive it.
  AttachService(Attacher& attacher, dra::Host& host, std::string driver_name,
                AttachServiceOptions options = {});
  AttachService(const AttachService&) = delete;
  AttachService& operator=(const AttachService&) = delete;
  AttachService(AttachService&&) = delete;
  AttachService& operator=(AttachService&&) = delete;
  /// stop().
  ~AttachService();

  [[nodiscard]] dra::Host& host() const { return *host_; }
  /// What the containers that use the claim list.
  [[nodiscard]] std::vector<std::string> cdi_ids(const dra::ClaimRecord& record) const;
  /// Whether a door has anything to do for the claim: it is prepared, and not only watched, and not moved by
  /// the container runtime.
  [[nodiscard]] static bool is_attachable(const dra::ClaimRecord& record);

  /// Idempotent, and cheap when all is there. The error is one sentence; what the pod's author can mend is
  /// told in the claim's status and the pod's events too. Whoever calls by NRI was answered at the deadline:
  /// a NIC that is attached later, or when the sandbox has ended by then, goes home. kCancelled: the program
  /// is stopping.
  Result<> attach(const AttachCall& call);
  /// Gives back what the claim took from the node, if it is attached in this very sandbox; else does nothing.
  Result<> release(const std::string& claim_uid, const Sandbox& sandbox,
                   std::chrono::steady_clock::time_point deadline);
  /// Compares a claim that is recorded as attached with what is in its pod, and reports it. The namespace is
  /// the claim's for certain, or only has the number that the record has.
  void check(const dra::ClaimRecord& record, int netns, Namespace which);
  /// After a start without NRI: check() of all that are in a pod, behind the caller's back. A namespace that
  /// has none of a claim's links is taken for another one with the same number: nothing is said then.
  void check_all(const std::vector<dra::ClaimRecord>& records);
  /// Tells that the pod has not the claim's interfaces, and why, in the claim's status and at the pod. A
  /// claim that is in another pod keeps its status.
  void refuse(const dra::ClaimRecord& record, const dra::Pod& pod, const std::string& message,
              const std::string& reason = "AttachFailed");
  /// In the claim's status only, as NotAttached: it may still be.
  void report_not_attached(const dra::ClaimRecord& record, const std::string& message);
  /// Guard mode: the claim is being prepared. Says that it waits for a container, if it still does a while
  /// later.
  void report_waiting(const std::string& claim_uid);
  /// Netdevices mode: reports what waits on the node for the runtime, once the claim is recorded.
  void report_staged(const std::string& claim_uid);

  /// The guard does not know sandboxes: NRI does, and tells here which namespace is whose.
  void remember(const std::string& sandbox, sys::NetnsId netns, const dra::Pod& pod);
  /// NRI is away: what it said may be wrong soon.
  void forget_all();
  /// The sandbox ends: what comes for it later is not attached any more.
  void ended(const std::string& sandbox);

  /// The program is about to end: from now on nothing waits for a claim beyond `until`.
  void wind_up(std::chrono::steady_clock::time_point until) { wound_up_ = until; }
  /// Finishes the reports that were begun; the next start makes those that were not. Idempotent.
  void stop();

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct KnownSandbox {
    sys::NetnsId netns;
    dra::Pod pod;
  };
  Result<> update(const std::string& claim_uid, TimePoint deadline, const dra::Host::Change& change);
  AttachCall identified(AttachCall call) const;
  Result<> carry_out(const AttachCall& call);
  Result<> begin_and_attach(const AttachCall& call);
  Result<std::string> unless_too_late(const dra::ClaimRecord& before, const AttachCall& call,
                                      std::string made, bool& too_late);
  void report_staged_until(const std::string& claim_uid, TimePoint give_up);
  void tell(const dra::ClaimRecord& record, int netns, const std::optional<dra::Pod>& pod,
            const std::string& reason, const std::string& message) const;
  void check(const dra::ClaimRecord& record, int netns, Namespace which, bool silent_without_links);
  [[nodiscard]] bool still_in(const std::string& claim_uid, const sys::NetnsId& netns) const
      FL_REQUIRES(reports_mutex_);
  void finished(std::string_view operation, std::string_view via, const Result<>& result,
                std::chrono::steady_clock::time_point start) const;
  [[nodiscard]] bool has_ended(const std::string& sandbox) const;

  Attacher* attacher_;
  dra::Host* host_;
  const std::string driver_name_;
  const AttachServiceOptions options_;
  mutable Mutex mutex_;
  std::map<std::string, KnownSandbox> sandboxes_ FL_GUARDED_BY(mutex_);
  std::deque<std::string> ended_ FL_GUARDED_BY(mutex_);  // the last ones
  /// What was read in a pod is reported only if the claim is still there, and nobody is taking it away. Taken
  /// before mutex_ and before what the host takes.
  mutable Mutex reports_mutex_;
  std::multiset<std::pair<std::string, sys::NetnsId>> releasing_ FL_GUARDED_BY(reports_mutex_);  // claim, of
  std::atomic<TimePoint> wound_up_{TimePoint::max()};
  Executor background_;  // its tasks use all of the above
  Timer timer_;          // last: it posts to the one before
};

}  // namespace fairlead::agent
