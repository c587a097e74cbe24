// SPDX-License-Identifier: Apache-2.0
// RetryDelay: how long to wait after a failure of the API server, by what failed.
//
// While the server cannot be reached, probes are cheap for it and everything waits for the first that gets
// through: they go on often, for as long as it takes. What it refuses will be refused again: those tries grow
// far apart. A server that is overloaded says when to come back (Retry-After), and the kube client waits for
// that before it reports the failure at all.
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
