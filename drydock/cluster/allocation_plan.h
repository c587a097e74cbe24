// SPDX-License-Identifier: Apache-2.0
// What claims ask for: their requests with the devices that match each, before any is chosen. Only for the files of
// the allocator.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "drydock/cluster/allocator.h"
#include "drydock/cluster/device_pool.h"
#include "fairlead/core/result.h"

namespace drydock::allocation {

struct Candidate {
  std::size_t device = 0;  // index in DevicePools::devices
  Amounts amounts;
};

/// One way to serve a request: the `exactly` of it, or one of its firstAvailable.
struct Alternative {
  std::string name;               // "main" or "main/sub"
  const Json* request = nullptr;  // ExactDeviceRequest or DeviceSubRequest
  const Json* device_class = nullptr;
  std::vector<Candidate> candidates;  // devices that match, free or not
  std::size_t matched = 0;            // by the selectors alone
  std::size_t tolerable = 0;          // of these, without a taint in the way
  bool all = false;
  bool admin = false;
  std::size_t count = 1;
};

struct Request {
  std::vector<Alternative> alternatives;
};

struct Constraint {
  std::vector<std::string> requests;  // empty: all
  std::string attribute;
  bool distinct = false;
};

struct ClaimPlan {
  const Json* claim = nullptr;
  std::vector<Request> requests;
  std::vector<Constraint> constraints;
  [[nodiscard]] std::string title() const;  // "claim default/x"
};

/// Classes found, selectors compiled and run over every device. Input, pools and claims must outlive the plans.
fairlead::Result<std::vector<ClaimPlan>> make_plans(const AllocationInput& input, const DevicePools& pools,
                                                    std::span<const Json> claims);

/// The scheduler's words for pods that must wait.
fairlead::Error denied(const std::string& why);
std::string in_quotes(std::string_view text);

}  // namespace drydock::allocation
