// SPDX-License-Identifier: Apache-2.0
// dra::Host: what a driver may ask of the framework that runs it. The framework implements it (dra::Plugin) and
// hands it to the driver's factory, see Plugin::create(); tests implement it with values in memory.
//
// Any thread may call any function. Unless it says so below a function may also be called from within Driver
// calls. Before the plugin has started no claim is known.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/dra/driver.h"

namespace fairlead::dra {

class Host {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  /// Returns the new Prepared::state of the record that it is given.
  using Change = std::function<Result<std::string>(const ClaimRecord&)>;

  Host() = default;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  Host(Host&&) = delete;
  Host& operator=(Host&&) = delete;
  virtual ~Host() = default;

  // ---- claims of this node

  /// A copy of the record, if the claim is known.
  [[nodiscard]] virtual std::optional<ClaimRecord> find(const std::string& claim_uid) const = 0;
  /// All records; one whose file cannot be read at the moment is as it was read last. An error never means
  /// "none": kUnavailable before they are open, otherwise what kept them from being read.
  [[nodiscard]] virtual Result<std::vector<ClaimRecord>> records() const = 0;
  /// records() without copies: as long as a record does not change, it is the same object in every call, so that what
  /// was worked out of it can be kept beside it.
  using RecordPtr = std::shared_ptr<const ClaimRecord>;
  [[nodiscard]] virtual Result<std::vector<RecordPtr>> shared_records() const {
    FL_ASSIGN(const auto copies, records());
    std::vector<RecordPtr> shared;
    shared.reserve(copies.size());
    for (const ClaimRecord& record : copies) {
      shared.push_back(std::make_shared<const ClaimRecord>(record));
    }
    return shared;
  }
  /// The records of the claims that are reserved for this pod, in the order of the claims' names. Cheap: for
  /// a pod's start. Errors as of records(), and kCorrupt when a damaged record was the pod's.
  [[nodiscard]] virtual Result<std::vector<ClaimRecord>> records_of_pod(const std::string& pod_uid) const = 0;
  /// Runs `change` with the claim's record while no prepare, unprepare or other change of this claim runs
  /// (waits until `deadline`: kTimeout), and keeps the text it returns as the record's Prepared::state, on
  /// disk before this returns. kNotFound when the claim is not known. Not from within Driver calls of the
  /// same claim.
  virtual Result<> update(const std::string& claim_uid, TimePoint deadline, const Change& change) = 0;
  /// Runs `action` if no claim of this uid has a record, while no instance of the driver on this node begins,
  /// changes or ends it; returns whether it ran. kTimeout: another is at work on it until `deadline`. For
  /// what a driver finds of a claim that it does not know: another instance may just be making it. From
  /// Driver::restored() too, not from other Driver calls.
  virtual Result<bool> if_unknown(const std::string& claim_uid, TimePoint deadline,
                                  const std::function<void()>& action) = 0;

  // ---- what people see

  /// One entry per device of the claim's record, in that order; none removes what was reported before.
  /// Written to the claim's status within a second when it differs from what is there, tried again for as
  /// long as the claim is prepared; only the newest report of a claim counts. Report what is true now again
  /// after a restart: what is there already is not written again. Never blocks.
  virtual void report(const std::string& claim_uid, std::vector<DeviceReport> reports) = 0;
  /// Tells the authors of the claim's pods what they can mend: a Warning at each pod the claim is reserved
  /// for, or at `pod` alone (of the claim's namespace; it need not be reserved). `reason` is one CamelCase
  /// word. The same thing again counts up in the same Event. Never blocks on the API server. A failed prepare
  /// needs none: the framework tells of those itself.
  virtual void pod_event(const std::string& claim_uid, const std::string& reason, const std::string& message,
                         const std::optional<Pod>& pod = std::nullopt) = 0;
  /// For /metrics: one piece of the driver's own work, such as "attach" via "nri". Keep the vocabulary small:
  /// every pair is a time series.
  virtual void operation_finished(std::string_view operation, std::string_view via, std::optional<Code> error,
                                  std::chrono::duration<double> took) = 0;

  // ---- the node

  /// The Node object's internal addresses as they are now, as texts; none is possible. Blocks on the API
  /// server, for ten seconds at most.
  virtual Result<std::vector<std::string>> node_addresses(std::stop_token stop) = 0;

  // ---- slices

  /// Something changed: discover() again soon. Calls in quick succession become one.
  virtual void republish() = 0;
};

}  // namespace fairlead::dra
