// SPDX-License-Identifier: Apache-2.0
// The implementation of NodePrepareResources and NodeUnprepareResources, without gRPC: order, records,
// exclusivity, CDI files, undo. The steps for one claim:
//
//   prepare:   key of the claim ─► read record, GET claim ─► keys of its devices ─► plan ─► admission (conflicts, the
//              driver's check, intent on disk) ─► Driver::prepare ─► CDI file ─► record ─► answer
//   unprepare: key of the claim ─► read record ─► keys of its devices ─► intent ─► Driver::unprepare
//              ─► CDI file gone ─► record gone ─► answer
//
// claim_call.h is a call's batch and its answers, claim_prepare.h and claim_admission.h prepare a claim, claim_undo.h
// undoes it, claim_restore.h is the start.
//
// The claim is read while its key is held: a Prepare that comes late, after an Unprepare, sees the claim's
// current state. Keys order the threads of this process (Executor) and the instances of the driver
// (ClaimStore::Keys).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/base/metrics.h"
#include "fairlead/kube/resources/claim.h"

namespace fairlead::dra {

/// The source of claims: the API server.
class ClaimSource : private Pinned {
 public:
  ClaimSource() = default;
  virtual ~ClaimSource() = default;

  /// The claim as it is now, retried for up to `timeout`. kNotFound; kUnavailable, kTimeout: no response.
  /// Called from several threads.
  virtual Result<kube::ResourceClaim> get_claim(const std::string& namespace_, const std::string& name,
                                                std::chrono::milliseconds timeout,
                                                const std::stop_token& stop) = 0;
};

/// A claim as the kubelet names it. Its fields are not trusted: they become parts of paths.
struct ClaimRef {
  std::string namespace_, name, uid;
};

/// One device as returned to the kubelet.
struct ServedDevice {
  std::string request;  // of the pod's containers: the main request
  std::string pool, device, share_id;
  std::vector<std::string> cdi_ids;
  bool operator==(const ServedDevice&) const = default;
};

/// Exactly one entry per requested UID.
using PrepareAnswers = std::map<std::string, Result<std::vector<ServedDevice>>>;
using UnprepareAnswers = std::map<std::string, Result<>>;

/// Callbacks for claim life-cycle events, from worker threads that hold the claim's key: must be quick and
/// must not call the service. Any may be null.
struct ClaimHooks {
  /// A fresh prepare begins: no record on disk and no entry of this driver in the claim's status. Not called
  /// when an entry is left over from an earlier prepare: a claim that outlives its pods keeps its allocation,
  /// and with it status.devices.
  std::function<void(const std::string& uid)> preparing = {};
  /// A prepare ended with an error. `claim` is the API server's object; its devices may be missing.
  std::function<void(const Claim& claim, const Error& error)> prepare_failed = {};
  /// The record was removed: unprepared, or undone after an error.
  std::function<void(const std::string& uid)> unprepared = {};
};

/// Any thread may call anything, except where noted.
class ClaimService : private Pinned {
 public:
  struct Options {
    std::string driver_name, node_name, state_dir, cdi_dir;
    std::chrono::milliseconds call_budget{40'000};
    unsigned workers = 4;
    unsigned fetchers = 8;  // claims read from the API server at the same time
    std::size_t queue_limit = 1024;
    /// How long to wait for the API server if the result is known from the record anyway.
    std::chrono::milliseconds recheck_timeout{2'000};
    /// How long the undo of a failed prepare may take.
    std::chrono::milliseconds undo_budget{10'000};
    /// An undo that failed is retried after this, then after twice as long each time up to a minute.
    std::chrono::milliseconds retry_min{1'000};
    std::string boot_id;  // empty: the kernel's
    ClaimHooks hooks;
  };

  /// `driver`, `source` and `metrics` must outlive it. Makes state_dir.
  static Result<std::unique_ptr<ClaimService>> open(Options options, Driver& driver, ClaimSource& source,
                                                    Metrics& metrics);
  /// stop().
  ~ClaimService();

  /// Called once, before the first call: in-flight claims are undone, CDI files are rebuilt or removed, and
  /// Driver::restored() is called. Does not need the API server.
  Result<> restore();

  /// Calls `done` once, from any thread: when all claims have a result, or a little after the deadline with
  /// errors for those that have none yet (their work continues; a repeated call waits for it).
  void prepare(const std::vector<ClaimRef>& claims, const CallContext& context,
               std::move_only_function<void(PrepareAnswers)> done);
  void unprepare(const std::vector<ClaimRef>& claims, const CallContext& context,
                 std::move_only_function<void(UnprepareAnswers)> done);
  /// Refuses new calls and finishes those in flight; cancels them if that takes longer than `grace`.
  /// Idempotent.
  void stop(std::chrono::milliseconds grace = std::chrono::seconds(20));

  [[nodiscard]] std::optional<ClaimRecord> find(const std::string& claim_uid) const;
  /// See Host::records and Host::records_of_pod.
  [[nodiscard]] Result<std::vector<ClaimRecord>> records() const;
  /// The same without copies (Host::shared_records()).
  [[nodiscard]] Result<std::vector<std::shared_ptr<const ClaimRecord>>> shared_records() const;
  /// See RecordSource.
  [[nodiscard]] Result<RecordChanges> changes_since(std::uint64_t generation) const;
  [[nodiscard]] Result<std::vector<ClaimRecord>> records_of_pod(const std::string& pod_uid) const;
  /// See Host::update. Not from inside a Driver call of the same claim.
  Result<> update(const std::string& claim_uid, std::chrono::steady_clock::time_point deadline,
                  const std::function<Result<std::string>(const ClaimRecord&)>& change);

  /// See Host::if_unknown.
  Result<bool> if_unknown(const std::string& claim_uid, std::chrono::steady_clock::time_point deadline,
                          const std::function<void()>& action);

  class Impl;

 private:
  explicit ClaimService(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// kInvalid names the invalid part: the parts become file names.
Result<> validate(const ClaimRef& claim);

}  // namespace fairlead::dra
