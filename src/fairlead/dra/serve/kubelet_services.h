// SPDX-License-Identifier: Apache-2.0
// The gRPC services that the kubelet calls: registration, and DRA v1 and v1beta1 on one implementation. Thin:
// they translate, ClaimService decides.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fairlead/core/result.h"
#include "fairlead/dra/claims/claim_service.h"

namespace grpc {
class Service;
}  // namespace grpc

namespace fairlead::dra {

struct Registration {
  std::string driver_name;
  std::string endpoint;  // absolute path of the DRA socket
  /// The kubelet reported the result of the registration; `error` is its reason for a refusal. Must not
  /// block.
  std::function<void(bool registered, const std::string& error)> on_status;
};

std::unique_ptr<grpc::Service> make_registration_service(Registration registration);
/// `claims` must outlive the services.
std::unique_ptr<grpc::Service> make_dra_v1_service(ClaimService& claims);
std::unique_ptr<grpc::Service> make_dra_v1beta1_service(ClaimService& claims);

/// Calls GetInfo and prepares no claims on our own sockets: checks the complete path through gRPC.
Result<> probe_sockets(const std::string& registration_path, const std::string& dra_path,
                       std::chrono::milliseconds timeout);

}  // namespace fairlead::dra
