// SPDX-License-Identifier: Apache-2.0
// What the doors need of the framework: dra::Plugin's functions, in app/main.cc; tests give their own.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/dra/driver.h"

namespace fairlead::agent {

/// Each as in dra::Plugin, under the same name there. Any thread; what only tells somebody may be empty.
struct Claims {
  using Change = std::function<Result<std::string>(const dra::ClaimRecord&)>;

  std::function<Result<std::vector<dra::ClaimRecord>>(const std::string& pod_uid)> records_of_pod;
  std::function<std::optional<dra::ClaimRecord>(const std::string& claim_uid)> find;
  std::function<Result<>(const std::string& claim_uid, std::chrono::steady_clock::time_point deadline,
                         const Change& change)>
      update;

  std::function<void(const std::string& claim_uid, std::vector<dra::DeviceReport> reports)> report;
  std::function<void(const std::string& claim_uid, const std::string& reason, const std::string& message,
                     const std::optional<dra::Pod>& pod)>
      pod_event;
  std::function<void(std::string_view operation, std::string_view via, std::optional<Code> error,
                     std::chrono::duration<double> duration)>
      operation_finished;
};

}  // namespace fairlead::agent
