// SPDX-License-Identifier: Apache-2.0
// ClaimStatusApi on a real API server.
#include "fairlead/dra/claim_reporter.h"
#include "fairlead/kube/client.h"

namespace fairlead::dra {
namespace {

constexpr std::chrono::seconds kTimeout{5};

class KubeClaimStatusApi final : public ClaimStatusApi {
 public:
  KubeClaimStatusApi(kube::Client& client, const std::string& driver_name)
      : client_(client), field_manager_(driver_name) {}

  Result<kube::ClaimStatus> read(const Claim& claim, const std::stop_token& stop) override {
    return client_.get_claim_status(claim.namespace_, claim.name,
                                    {.timeout = kTimeout, .stop = stop, .max_tries = 1});
  }
  Result<> apply(const Claim& claim, const std::vector<kube::DeviceStatus>& devices,
                 const std::stop_token& stop) override {
    kube::ObjectMeta meta;
    meta.namespace_ = claim.namespace_;
    meta.name = claim.name;
    meta.uid = claim.uid;
    return client_.apply_claim_status(meta, devices, field_manager_,
                                      {.timeout = kTimeout, .stop = stop, .max_tries = 1});
  }

 private:
  kube::Client& client_;
  const std::string field_manager_;
};

}  // namespace

std::unique_ptr<ClaimStatusApi> make_claim_status_api(kube::Client& client, const std::string& driver_name) {
  return std::make_unique<KubeClaimStatusApi>(client, driver_name);
}

}  // namespace fairlead::dra
