// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/claim_names.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

namespace fairlead::agent {

using devices::DevicePlan;

namespace {

/// As environment variables are written: letters and digits in upper case, all else a "_".
std::string in_capitals(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const bool lower = c >= 'a' && c <= 'z';
    const bool kept = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z');
    out += lower ? static_cast<char>(c - 'a' + 'A') : (kept ? c : '_');
  }
  return out;
}

/// "request x (count 2)"
std::string request_of(const dra::Claim& claim, std::size_t device) {
  const std::string request = claim.devices[device].main_request();
  const auto count = std::ranges::count_if(
      claim.devices, [&](const dra::AllocatedDevice& other) { return other.main_request() == request; });
  return "request " + request + (count > 1 ? " (count " + std::to_string(count) + ")" : "");
}

std::string name_in_pod(const DevicePlan& device) {
  return device.body == nullptr ? "" : device.body->name_in_pod();
}

}  // namespace

std::vector<std::string> environment_names(const dra::Claim& claim) {
  const std::string& called = claim.pod_claim_name.empty() ? claim.name : claim.pod_claim_name;
  std::map<std::string, int> total;
  for (const dra::AllocatedDevice& device : claim.devices) {
    ++total[device.main_request()];
  }
  std::map<std::string, int> count;
  std::vector<std::string> names;
  for (const dra::AllocatedDevice& device : claim.devices) {
    const std::string request = device.main_request();
    std::string name = "FAIRLEAD_" + in_capitals(called) + "_" + in_capitals(request);
    if (total[request] > 1) {
      name += "_" + std::to_string(++count[request]);
    }
    names.push_back(std::move(name));
  }
  return names;
}

std::vector<std::string> variables_of(const dra::Claim& claim) {
  std::vector<std::string> variables = environment_names(claim);
  for (std::size_t i = 0; i < variables.size(); ++i) {
    if (claim.devices[i].admin_access) {
      variables[i].clear();
    }
  }
  return variables;
}

Result<> check_variables(const dra::Claim& claim, const PlannedClaims& in_its_pods) {
  const std::vector<std::string> variables = variables_of(claim);
  const auto both = [](const std::string& one, const std::string& other, const std::string& variable,
                       const std::string& what_to_do) {
    return Error(Code::kInvalid, one + " and " + other + " would both be " + variable +
                                     " in the environment of a container; give " + what_to_do);
  };
  for (std::size_t i = 0; i < variables.size(); ++i) {
    if (variables[i].empty()) {
      continue;
    }
    const auto first = std::ranges::find(variables, variables[i]) - variables.begin();
    if (const auto before = static_cast<std::size_t>(first); before < i) {
      return both(request_of(claim, i), request_of(claim, before) + " of claim " + claim.name, variables[i],
                  "one of the requests another name");
    }
    for (const auto& other : in_its_pods) {
      const auto found = std::ranges::find(other->variables, variables[i]);
      if (found == other->variables.end()) {
        continue;
      }
      const auto at = static_cast<std::size_t>(found - other->variables.begin());
      const std::string request =
          at < other->devices.size() ? "request " + other->devices[at].request + " of " : "";
      return both(request_of(claim, i) + " of claim " + claim.name,
                  request + "claim " + other->name + " of the same pod", variables[i],
                  "one of the requests, or of the claims in the pod, another name");
    }
  }
  return {};
}

devices::netdev::TakenNames names_of(const PlannedClaims& in_its_pods) {
  devices::netdev::TakenNames names;
  for (const auto& other : in_its_pods) {
    for (const DevicePlan& device : other->devices) {
      if (device.body != nullptr && !device.body->name_in_pod().empty()) {
        names.emplace(device.body->name_in_pod(), other->name);
      }
    }
  }
  return names;
}

std::string taken_in_pod(const devices::PlannedClaim& own, const devices::PlannedClaim& theirs) {
  for (const DevicePlan& device : own.devices) {
    const std::string name = name_in_pod(device);
    if (!name.empty() && std::ranges::find(theirs.devices, name, name_in_pod) != theirs.devices.end()) {
      return "the interface name \"" + name + "\"";
    }
  }
  const auto variable = std::ranges::find_if(own.variables, [&](const std::string& one) {
    return !one.empty() && std::ranges::find(theirs.variables, one) != theirs.variables.end();
  });
  return variable == own.variables.end() ? "" : "the variable " + *variable;
}

}  // namespace fairlead::agent
