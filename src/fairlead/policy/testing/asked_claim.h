// SPDX-License-Identifier: Apache-2.0
// A claim with its allocation, made entry by entry, and the policy's decision about its first device; for tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "fairlead/devices/all_kinds.h"
#include "fairlead/dra/claims/config_resolve.h"
#include "fairlead/policy/policy.h"

namespace fairlead::policy::testing {

inline constexpr const char* kDriver = "net.example.com";
inline constexpr const char* kOtherDriver = "gpu.example.com";

inline std::string netdev(const std::string& members) {
  return R"({"type":"netdev","netdev":{)" + members + "}}";
}

inline std::string field_policy(const std::string& claim_may, const std::string& namespaces,
                                const std::string& bounds = "") {
  return R"({"apiVersion":"fairlead.dev/v1alpha1","kind":"FieldPolicy","claimMay":[)" + claim_may +
         R"(],"namespaces":[)" + namespaces + "]" + (bounds.empty() ? "" : R"(,"bounds":{)" + bounds + "}") +
         "}";
}

/// Of namespace "lab", with one request "nic" of the class "net".
class AskedClaim {
 public:
  explicit AskedClaim(const std::string& request = "nic") {
    claim_.meta.namespace_ = "lab";
    claim_.meta.name = "claim";
    claim_.meta.uid = "11111111-2222-3333-4444-555555555555";
    claim_.allocation.emplace();
    add_request(request, "net", kDriver);
  }

  void add_request(const std::string& name, const std::string& device_class, const std::string& driver) {
    claim_.request_names.push_back(name);
    claim_.request_classes[name] = device_class;
    claim_.allocation->results.push_back(
        {.request = name, .driver = driver, .pool = "node-a", .device = "netdev-virtual"});
  }
  void of_class(const std::string& parameters, std::vector<std::string> requests = {"nic"},
                const std::string& driver = kDriver) {
    claim_.allocation->config.push_back(
        {.from_class = true, .requests = std::move(requests), .driver = driver, .parameters = parameters});
  }
  void of_claim(const std::string& parameters, std::vector<std::string> requests = {}) {
    kube::AllocationConfig config{
        .requests = std::move(requests), .driver = kDriver, .parameters = parameters};
    claim_.config.push_back(config);
    claim_.allocation->config.push_back(std::move(config));
  }

  [[nodiscard]] Result<Decision> ask(const Policy& policy, const devices::Registry& kinds,
                                     const devices::Kind* without_parameters = nullptr) const {
    const auto claim = dra::resolve_config(claim_, kDriver);
    if (!claim) {
      return claim.error();
    }
    return decide({.kinds = &kinds,
                   .policy = &policy,
                   .claim_namespace = claim->namespace_,
                   .device = &claim->devices.front(),
                   .kind_without_parameters = without_parameters});
  }

 private:
  kube::ResourceClaim claim_;
};

}  // namespace fairlead::policy::testing
