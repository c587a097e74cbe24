// SPDX-License-Identifier: Apache-2.0
// Shared by NRI and the guard: attaches one claim to one namespace, on disk before the call returns, counted
// and reported. And detaches it when a pod's sandbox ends.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "fairlead/agent/attach/attach.h"
#include "fairlead/agent/attach/attach_reports.h"
#include "fairlead/agent/attach/sandbox_book.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/host.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

enum class AttachVia : std::uint8_t { kGuard, kNri };
/// "guard", "nri".
std::string_view to_string(AttachVia via);

struct AttachCall {
  AttachVia via = AttachVia::kGuard;
  std::string claim_uid;
  int netns = -1;                              // borrowed
  std::string sandbox;                         // the runtime's id; empty: not known to the caller
  std::string container;                       // the OCI id; empty: not known to the caller
  std::optional<dra::Pod> pod = std::nullopt;  // nullopt: not known to the caller
  std::chrono::steady_clock::time_point deadline;
};

/// A pod's sandbox as NRI or the guard sees it.
struct Sandbox {
  std::string id;
  int netns = -1;  // borrowed; -1: gone, or not visible here
};

/// Any thread.
class AttachService : private Pinned {
 public:
  /// All must outlive it.
  AttachService(Attacher& attacher, dra::Host& host, std::string driver_name,
                AttachReportsOptions options = {});
  ~AttachService() = default;

  [[nodiscard]] dra::Host& host() const { return *host_; }
  [[nodiscard]] const PlanReader& plans() const { return attacher_->plans(); }
  [[nodiscard]] SandboxBook& sandboxes() { return sandboxes_; }
  [[nodiscard]] AttachReports& reports() { return reports_; }
  /// The CDI device ids that containers using the claim list.
  [[nodiscard]] std::vector<std::string> cdi_ids(const dra::ClaimRecord& record) const;

  /// Idempotent, and cheap when everything is in place. The error is one sentence; errors that the pod's
  /// author can fix are also reported in the claim's status and the pod's events. A call by NRI has been
  /// answered at its deadline: a NIC that is attached later, or after the sandbox has ended, is returned to
  /// the node. kCancelled: the program is stopping.
  Result<> attach(const AttachCall& call);
  /// Returns what the claim took from the node, if it is attached in exactly this sandbox; otherwise does
  /// nothing.
  Result<> release(const std::string& claim_uid, const Sandbox& sandbox,
                   std::chrono::steady_clock::time_point deadline);

  /// The program is about to end: from now on no wait for a claim lasts beyond `until`.
  void wind_up(std::chrono::steady_clock::time_point until) { wound_up_ = until; }

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  Result<> update(const std::string& claim_uid, TimePoint deadline, const dra::Host::Change& change);
  AttachCall identified(AttachCall call) const;
  Result<> carry_out(const AttachCall& call);
  Result<> begin_and_attach(const AttachCall& call);
  Result<std::string> unless_too_late(const dra::ClaimRecord& before, const AttachCall& call,
                                      std::string made, bool& too_late);
  void finished(std::string_view operation, std::string_view via, const Result<>& result,
                std::chrono::steady_clock::time_point start) const;

  Attacher* attacher_;
  dra::Host* host_;
  const std::string driver_name_;
  std::atomic<TimePoint> wound_up_{TimePoint::max()};
  SandboxBook sandboxes_;
  AttachReports reports_;
};

}  // namespace fairlead::agent
