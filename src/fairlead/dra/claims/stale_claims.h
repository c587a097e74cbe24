// SPDX-License-Identifier: Apache-2.0
// Handles records whose claim the API server no longer has. The kubelet unprepares the claims that it knows;
// one that lost its state does not know them, and the devices of such a record would be held forever.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "fairlead/core/clock.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/core/worker.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/dra/claims/claim_service.h"

namespace fairlead::dra {

/// Checks all records periodically. Owns one thread from start() to stop().
class StaleClaims : private Pinned {
 public:
  struct Options {
    /// Between two rounds: a claim counts as gone if two rounds in a row do not find it.
    std::chrono::seconds period{300};
    /// For one request to the API server.
    std::chrono::milliseconds get_timeout{10'000};
    Clock* clock = &real_clock();
  };
  /// Its dependencies; called from its thread.
  struct Calls {
    std::function<Result<std::vector<ClaimRecord>>()> records;
    /// Driver::use_of.
    std::function<ClaimUse(const ClaimRecord& record)> use_of;
    /// An ordinary unprepare of the claim.
    std::function<Result<>(const ClaimRecord& record)> undo;
    /// The claim is gone and it is unknown whether its pod still runs: called once for each record.
    std::function<void(const ClaimRecord& record, const std::string& sentence)> tell;
    /// The current number of those.
    std::function<void(std::size_t count)> count;
  };

  /// `source` must outlive it.
  StaleClaims(Options options, ClaimSource& source, Calls calls);
  /// stop().
  ~StaleClaims();

  void start();
  void stop();
  /// One round of the thread; for tests, which do not call start().
  void check(const std::stop_token& stop = {});

 private:
  enum class Seen : std::uint8_t { kThere, kGone, kNotKnown };
  Seen look_up(const ClaimRecord& record, const std::stop_token& stop);
  /// True: the record is kept, because it is unknown whether the pod runs.
  bool deal_with(const ClaimRecord& record);

  struct Gone {
    Clock::TimePoint since;
    bool told = false;
  };
  const Options options_;
  ClaimSource* source_;
  const Calls calls_;
  std::map<std::string, Gone> gone_;  // by the claim's uid
  Worker worker_;                     // last: it uses all of the above
};

}  // namespace fairlead::dra
