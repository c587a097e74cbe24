// SPDX-License-Identifier: Apache-2.0
// dra::Host: the functions of the framework that a driver may call. The framework implements it (dra::Plugin)
// and passes it to the driver's factory, see Plugin::create(); tests implement it with values in memory.
//
// Any thread may call any function. Unless noted otherwise, a function may also be called from within Driver
// calls. Before the plugin has started no claim is known.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/dra/base/driver.h"

namespace fairlead::dra {

class Host : public RecordSource {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  /// Returns the new Prepared::state of the given record.
  using Change = std::function<Result<std::string>(const ClaimRecord&)>;

  // ---- claims of this node

  /// A copy of the record, if the claim is known.
  [[nodiscard]] virtual std::optional<ClaimRecord> find(const std::string& claim_uid) const = 0;
  /// All records; one whose file cannot be read now is included as it was last read. An error never means
  /// "none": kUnavailable before the records are open, otherwise the reason why they cannot be read.
  [[nodiscard]] virtual Result<std::vector<ClaimRecord>> records() const = 0;
  /// records() without copies: as long as a record does not change, it is the same object in every call, so that what
  /// was worked out of it can be kept beside it.
  using RecordPtr = dra::RecordPtr;
  [[nodiscard]] virtual Result<std::vector<RecordPtr>> shared_records() const {
    FL_ASSIGN(const auto copies, records());
    std::vector<RecordPtr> shared;
    shared.reserve(copies.size());
    for (const ClaimRecord& record : copies) {
      shared.push_back(std::make_shared<const ClaimRecord>(record));
    }
    return shared;
  }
  /// See RecordSource. This default has no history: all records in every call.
  [[nodiscard]] Result<RecordChanges> changes_since(std::uint64_t /*generation*/) const override {
    FL_ASSIGN(auto all, shared_records());
    return RecordChanges{.generation = 0, .all = true, .changed = std::move(all), .removed = {}};
  }
  /// The records of the claims that are reserved for this pod, in the order of the claims' names. Fast enough
  /// for a pod's start. Errors as of records(), and kCorrupt if a damaged record was the pod's.
  [[nodiscard]] virtual Result<std::vector<ClaimRecord>> records_of_pod(const std::string& pod_uid) const = 0;
  /// Runs `change` with the claim's record while no prepare, unprepare or other change of this claim runs
  /// (waits until `deadline`: kTimeout), and stores the text it returns as the record's Prepared::state, on
  /// disk before this returns. kNotFound if the claim is not known. Not from within Driver calls of the same
  /// claim.
  virtual Result<> update(const std::string& claim_uid, TimePoint deadline, const Change& change) = 0;
  /// Runs `action` if no claim of this uid has a record, while no instance of the driver on this node begins,
  /// changes or ends it; returns whether it ran. kTimeout: another instance is working on it until
  /// `deadline`. For leftovers of an unknown claim: another instance may just be making them. May be called
  /// from Driver::restored(), but not from other Driver calls.
  virtual Result<bool> if_unknown(const std::string& claim_uid, TimePoint deadline,
                                  const std::function<void()>& action) = 0;

  // ---- what people see

  /// One entry per device of the claim's record, in that order; an empty list removes earlier reports.
  /// Written to the claim's status within a second if it differs from the current one, retried for as long as
  /// the claim is prepared; only the newest report of a claim counts. Report the current state again after a
  /// restart: unchanged entries are not written again. Never blocks.
  virtual void report(const std::string& claim_uid, std::vector<DeviceReport> reports) = 0;
  /// Reports a problem that the authors of the claim's pods can fix: a Warning at each pod the claim is
  /// reserved for, or at `pod` alone (of the claim's namespace; it need not be reserved). `reason` is one
  /// CamelCase word. The same report again increases the count of the same Event. Never blocks on the API
  /// server. Not needed for a failed prepare: the framework reports those itself.
  virtual void pod_event(const std::string& claim_uid, const std::string& reason, const std::string& message,
                         const std::optional<Pod>& pod = std::nullopt) = 0;
  /// For /metrics: one piece of the driver's own work, such as "attach" via "nri". Keep the vocabulary small:
  /// every pair is a time series.
  virtual void operation_finished(std::string_view operation, std::string_view via, std::optional<Code> error,
                                  std::chrono::duration<double> took) = 0;

  // ---- the node

  /// The Node object's current internal addresses, as texts; may be empty. Blocks on the API server, for ten
  /// seconds at most.
  virtual Result<std::vector<std::string>> node_addresses(std::stop_token stop) = 0;

  // ---- slices

  /// The devices changed: discover() is called again soon. Calls in quick succession become one.
  virtual void republish() = 0;
};

}  // namespace fairlead::dra
