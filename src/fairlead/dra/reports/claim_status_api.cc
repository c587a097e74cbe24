// SPDX-License-Identifier: Apache-2.0
// ClaimStatusApi on a real API server.
#include <set>
#include <string>
#include <utility>

#include "fairlead/dra/reports/claim_reporter.h"
#include "fairlead/kube/resource.h"
#include "fairlead/kube/resources/claim_status.h"

namespace fairlead::dra {
namespace {

constexpr std::chrono::seconds kTimeout{5};

class KubeClaimStatusApi final : public ClaimStatusApi {
 public:
  KubeClaimStatusApi(kube::Client& client, std::string driver_name)
      : client_(client), field_manager_(std::move(driver_name)) {}

  Result<kube::ClaimStatus> read(const Claim& claim, const std::stop_token& stop) override {
    return kube::Resource<kube::ClaimStatus>(client_).get(
        {.namespace_ = claim.namespace_, .name = claim.name},
        {.timeout = kTimeout, .stop = stop, .max_tries = 1});
  }
  Result<> apply(const Claim& claim, const std::vector<kube::DeviceStatus>& devices,
                 const std::stop_token& stop) override {
    kube::ObjectMeta meta;
    meta.namespace_ = claim.namespace_;
    meta.name = claim.name;
    meta.uid = claim.uid;
    const kube::CallOptions call{.timeout = kTimeout, .stop = stop, .max_tries = 1};
    if (!must_be_replaced_.contains(claim.uid)) {
      auto applied = kube::apply_claim_status(client_, meta, devices, field_manager_, call);
      if (applied || !is_about_the_allocation(applied.error())) {
        return applied;
      }
      remember(claim.uid);
    }
    return replace(meta, devices, call);
  }

 private:
  /// The server saw a change of the allocation, which we did not send: its opaque parameters are written in a
  /// form that JSON cannot carry (kube/resources/claim_proto.h).
  static bool is_about_the_allocation(const Error& error) {
    return error.code() == Code::kInvalid && error.what().find("status.allocation") != std::string::npos;
  }
  void remember(const std::string& uid) {
    if (must_be_replaced_.size() >= kMaxRemembered) {
      must_be_replaced_.clear();  // costs one refused request each
    }
    must_be_replaced_.insert(uid);
  }
  Result<> replace(const kube::ObjectMeta& meta, const std::vector<kube::DeviceStatus>& devices,
                   const kube::CallOptions& call) {
    for (int tries = 1;; ++tries) {
      auto replaced = kube::replace_claim_status(client_, meta, devices, field_manager_, call);
      const bool overtaken = !replaced && replaced.error().code() == Code::kConflict;
      if (!overtaken) {
        return replaced;
      }
      if (tries == kMaxOvertaken) {
        // Not kConflict, which says that the claim is another one.
        return Error(Code::kBusy, replaced.error().what());
      }
    }
  }

  static constexpr std::size_t kMaxRemembered = 1000;
  static constexpr int kMaxOvertaken = 5;

  kube::Client& client_;
  const std::string field_manager_;
  std::set<std::string> must_be_replaced_;  // uids; of the reporter's thread
};

}  // namespace

std::unique_ptr<ClaimStatusApi> make_claim_status_api(kube::Client& client, const std::string& driver_name) {
  return std::make_unique<KubeClaimStatusApi>(client, driver_name);
}

}  // namespace fairlead::dra
