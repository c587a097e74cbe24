// SPDX-License-Identifier: Apache-2.0
// Records whose claim the API server no longer has. The kubelet unprepares what it knows of; one that lost
// its own state knows nothing, and then the devices of such a record would be held for ever.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "fairlead/core/clock.h"
#include "fairlead/core/mutex.h"
#include "fairlead/core/result.h"
#include "fairlead/dra/claim_service.h"
#include "fairlead/dra/driver.h"

namespace fairlead::dra {

/// Looks at all records once in a while. Owns one thread from start() to stop().
class StaleClaims {
 public:
  struct Options {
    /// Between two rounds: a claim counts as gone when two rounds in a row find it so.
    std::chrono::seconds period{300};
    /// For one question to the API server.
    std::chrono::milliseconds get_timeout{10'000};
    Clock* clock = &real_clock();
  };
  /// What it needs; called from its thread.
  struct Calls {
    std::function<Result<std::vector<ClaimRecord>>()> records;
    /// Driver::use_of.
    std::function<ClaimUse(const ClaimRecord& record)> use_of;
    /// An ordinary unprepare of the claim.
    std::function<Result<>(const ClaimRecord& record)> undo;
    /// The claim is gone and nobody knows whether its pod still runs: told once for each record.
    std::function<void(const ClaimRecord& record, const std::string& sentence)> tell;
    /// How many of those there are now.
    std::function<void(std::size_t count)> count;
  };

  /// `source` must outlive it.
  StaleClaims(Options options, ClaimSource& source, Calls calls);
  StaleClaims(const StaleClaims&) = delete;
  StaleClaims& operator=(const StaleClaims&) = delete;
  StaleClaims(StaleClaims&&) = delete;
  StaleClaims& operator=(StaleClaims&&) = delete;
  /// stop().
  ~StaleClaims();

  void start();
  void stop();
  /// One round, as the thread makes it; for tests, which do not start().
  void check(const std::stop_token& stop = {});

 private:
  enum class Seen : std::uint8_t { kThere, kGone, kNotKnown };
  Seen look_up(const ClaimRecord& record, const std::stop_token& stop);
  /// True: it stays, because nobody knows.
  bool deal_with(const ClaimRecord& record);

  struct Gone {
    Clock::TimePoint since;
    bool told = false;
  };
  const Options options_;
  ClaimSource* source_;
  const Calls calls_;
  std::map<std::string, Gone> gone_;  // by the claim's uid
  std::jthread thread_;               // last: it uses all of the above
};

}  // namespace fairlead::dra
