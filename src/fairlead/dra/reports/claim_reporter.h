// SPDX-License-Identifier: Apache-2.0
// Writes a driver's device reports to the claims' status.devices (KEP-4817), off every critical path: one
// thread, one server-side apply per claim and change.
//
//   report(uid, ...) ─► newest per claim ─► what stands there? ─► same: nothing to do
//                             ▲             (what we wrote; once      │ other
//                             │              per claim we did not     ▼
//                             │              prepare: GET)           PATCH .../status, apply
//                             └── API server away: all wait together ◄┤
//                             └── refused: this claim waits ◄─────────┤
//                                 gone, replaced, unprepared: dropped ◄┘
//
// Written statuses are remembered in memory only. After a restart the first report of a claim is compared
// with the live object once: so no needless write is made, the time of the last transition is kept, and no
// file has to agree with the API server (as a hash on disk would have to, also after changes by others).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/base/metrics.h"
#include "fairlead/kube/resources/claim_status.h"

namespace fairlead::kube {
class Client;
}  // namespace fairlead::kube

namespace fairlead::dra {

/// The part of the API server that reporting needs. Calls come from the reporter's thread and return soon
/// after `stop` is requested. Each makes one attempt: the reporter has its own back-off.
class ClaimStatusApi : private Pinned {
 public:
  ClaimStatusApi() = default;
  virtual ~ClaimStatusApi() = default;

  /// The claim as it is now. kNotFound: it does not exist any more.
  virtual Result<kube::ClaimStatus> read(const Claim& claim, const std::stop_token& stop) = 0;
  /// Replaces all our entries. kNotFound: gone; kConflict: another claim has the name by now, or others wrote
  /// at the same time; read() tells these apart.
  virtual Result<> apply(const Claim& claim, const std::vector<kube::DeviceStatus>& devices,
                         const std::stop_token& stop) = 0;
};

/// ClaimStatusApi on a real API server; the field manager is the driver's name. `client` must outlive it.
std::unique_ptr<ClaimStatusApi> make_claim_status_api(kube::Client& client, const std::string& driver_name);

/// The status entries for `reports` of the record's devices, within the API's limits. A condition with the
/// same status as the one in `standing` keeps its transition time, otherwise it gets `now`.
std::vector<kube::DeviceStatus> status_entries(const std::string& driver_name, const Claim& claim,
                                               const std::vector<DeviceReport>& reports,
                                               const std::vector<kube::DeviceStatus>& standing,
                                               const std::string& now);

/// Owns one thread. Any thread may call any function; only stop() blocks.
class ClaimReporter : private Pinned {
 public:
  struct Options {
    std::string driver_name;
    std::chrono::milliseconds retry_min{500};     // after a refusal; doubles, with jitter
    std::chrono::milliseconds retry_max{60'000};  //
    /// The time as RFC 3339 text; null: the system clock.
    std::function<std::string()> now;
    /// Driver::identities; may be null. Goes with every write of a claim's status.
    std::function<std::vector<DeviceIdentity>(const ClaimRecord&)> identities;
  };
  /// The claim's record as it is on disk now.
  using Find = std::function<std::optional<ClaimRecord>(const std::string& claim_uid)>;

  /// `api` and `metrics` must outlive it. Writes nothing before start().
  ClaimReporter(Options options, ClaimStatusApi& api, Find find, Metrics& metrics);
  ~ClaimReporter();  // stop()

  void start();
  /// Ends the thread. Unwritten reports are dropped; the driver reports them again after a restart.
  void stop();

  /// See Host::report.
  void report(const std::string& claim_uid, std::vector<DeviceReport> reports);
  /// This claim is being prepared, and the API server has just returned it without an entry of ours, so
  /// existing entries are not looked up.
  void preparing(const std::string& claim_uid);
  /// The claim is not prepared any more: its pending reports are dropped.
  void unprepared(const std::string& claim_uid);

  class Impl;

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::dra
