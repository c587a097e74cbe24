// SPDX-License-Identifier: Apache-2.0
// RetryDelay: the delay after a failure of the API server, depending on the failure.
//
// While the server cannot be reached, probes are cheap for it and all work waits for the first that succeeds:
// they continue at short intervals, for as long as it takes. A refused request will be refused again: those
// retries become rare. An overloaded server sends Retry-After, and the kube client waits for that before it
// reports the failure.
#pragma once

#include <chrono>

#include "fairlead/core/backoff.h"
#include "fairlead/core/result.h"

namespace fairlead {

/// A value type; one owner, no locking.
class RetryDelay {
 public:
  /// With the time of the round itself well under the second in which all must be back.
  static constexpr std::chrono::milliseconds kMaxOutage{500};

  explicit RetryDelay(Backoff::Options refused)
      : outage_({.initial = std::min<Backoff::Duration>(refused.initial, kMaxOutage), .max = kMaxOutage}),
        refused_(refused) {}

  [[nodiscard]] static bool is_outage(Code code) {
    return code == Code::kUnavailable || code == Code::kTimeout;
  }
  /// The delay before the next try, evenly drawn from a range that grows with each failure of a kind.
  [[nodiscard]] Backoff::Duration next(Code code) {
    return is_outage(code) ? outage_.next() : refused_.next();
  }
  /// After a success.
  void reset() {
    outage_.reset();
    refused_.reset();
  }

 private:
  Backoff outage_, refused_;
};

}  // namespace fairlead
