// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_api.h"

#include <chrono>
#include <stop_token>
#include <string>

#include "fairlead/kube/client.h"
#include "fairlead/kube/resource.h"
#include "fairlead/kube/resources/claim.h"

namespace fairlead::dra {
namespace {

class KubeClaimSource final : public ClaimSource {
 public:
  KubeClaimSource(kube::Client& client, Urgency urgency) : client_(client), urgency_(urgency) {}
  Result<kube::ResourceClaim> get_claim(const std::string& namespace_, const std::string& name,
                                        std::chrono::milliseconds timeout,
                                        const std::stop_token& stop) override {
    return kube::Resource<kube::ResourceClaim>(client_).get({.namespace_ = namespace_, .name = name},
                                                            {.timeout = timeout,
                                                             .stop = stop,
                                                             .max_tries = kube::CallOptions::kAnyTries,
                                                             .limited = urgency_ == Urgency::kBackground});
  }

 private:
  kube::Client& client_;
  Urgency urgency_;
};

}  // namespace

std::unique_ptr<ClaimSource> make_claim_source(kube::Client& client, Urgency urgency) {
  return std::make_unique<KubeClaimSource>(client, urgency);
}

}  // namespace fairlead::dra
