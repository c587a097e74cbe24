// SPDX-License-Identifier: Apache-2.0
// Undoes claims: unprepare on the kubelet's call, after a failed prepare, and at start. An undo that fails is retried.
//
//   intent on disk (unpreparing) ─► Driver::unprepare ─► CDI file gone ─► record gone
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "fairlead/core/executor.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/core/timer.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/claims/claim_store.h"

namespace fairlead::dra {

/// Any thread.
class ClaimUndo : private Pinned {
 public:
  struct Options {
    std::string driver_name, cdi_dir;
    std::chrono::milliseconds budget;                    // for one undo that is not the kubelet's call
    std::chrono::milliseconds retry_min;                 // doubles each time up to a minute
    std::function<void(const std::string& uid)> undone;  // may be null
  };

  /// All must outlive it; `executor` ends before it is destroyed.
  ClaimUndo(Options options, Driver& driver, ClaimStore& store, Executor& executor, Timer& timer)
      : options_(std::move(options)), driver_(driver), store_(store), executor_(executor), timer_(timer) {}

  /// The caller holds the keys of the claim and its devices.
  Result<> undo(ClaimRecord record, const CallContext& context);
  /// For an undo that is not the kubelet's call.
  [[nodiscard]] CallContext own_context() const;
  /// Undoes it later, if its record is still "unpreparing" then, and until it has succeeded.
  void retry_later(const std::string& uid) { schedule_retry(uid, 0); }

 private:
  void schedule_retry(const std::string& uid, unsigned attempt);
  void retry(Executor::Turn& turn, const std::string& uid, unsigned attempt);

  const Options options_;
  Driver& driver_;
  ClaimStore& store_;
  Executor& executor_;
  Timer& timer_;
};

}  // namespace fairlead::dra
