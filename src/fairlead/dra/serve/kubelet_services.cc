// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/serve/kubelet_services.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "dra_v1.grpc.pb.h"
#include "dra_v1beta1.grpc.pb.h"
#include "fairlead/core/log.h"
#include "pluginregistration.grpc.pb.h"

namespace fairlead::dra {
namespace {

namespace v1 = ::k8s::io::kubelet::pkg::apis::dra::v1;
namespace v1beta1 = ::k8s::io::kubelet::pkg::apis::dra::v1beta1;

// ---- registration ----

class RegistrationService final : public pluginregistration::Registration::CallbackService {
 public:
  explicit RegistrationService(Registration registration) : registration_(std::move(registration)) {}

  grpc::ServerUnaryReactor* GetInfo(grpc::CallbackServerContext* context,
                                    const pluginregistration::InfoRequest* /*request*/,
                                    pluginregistration::PluginInfo* info) override {
    info->set_type("DRAPlugin");
    info->set_name(registration_.driver_name);
    info->set_endpoint(registration_.endpoint);
    info->add_supported_versions("v1.DRAPlugin");  // the kubelet takes the first one it knows
    info->add_supported_versions("v1beta1.DRAPlugin");
    return finished(context);
  }

  grpc::ServerUnaryReactor* NotifyRegistrationStatus(
      grpc::CallbackServerContext* context, const pluginregistration::RegistrationStatus* request,
      pluginregistration::RegistrationStatusResponse* /*response*/) override {
    registration_.on_status(request->plugin_registered(), request->error());
    return finished(context);
  }

 private:
  static grpc::ServerUnaryReactor* finished(grpc::CallbackServerContext* context) {
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  const Registration registration_;
};

// ---- DRA ----

/// Lives until gRPC is done with the call. The work may outlive the client: the response stays valid until
/// Finish().
class CallReactor final : public grpc::ServerUnaryReactor {
 public:
  void OnCancel() override { cancelled_.request_stop(); }
  void OnDone() override { delete this; }
  [[nodiscard]] std::stop_token cancelled() const { return cancelled_.get_token(); }

 private:
  std::stop_source cancelled_;
};

std::chrono::steady_clock::time_point deadline_of(const grpc::CallbackServerContext& context) {
  using std::chrono::steady_clock;
  const auto left = context.deadline() - std::chrono::system_clock::now();
  if (left > std::chrono::hours(24)) {
    return steady_clock::time_point::max();
  }
  return steady_clock::now() + std::chrono::duration_cast<steady_clock::duration>(left);
}

template <class Request>
std::vector<ClaimRef> claims_of(const Request& request) {
  std::vector<ClaimRef> claims;
  claims.reserve(static_cast<std::size_t>(request.claims_size()));
  for (const auto& claim : request.claims()) {
    claims.push_back({.namespace_ = claim.namespace_(), .name = claim.name(), .uid = claim.uid()});
  }
  return claims;
}

/// share_id is in v1 only.
void set_share_id(v1::Device& device, const std::string& share_id) {
  if (!share_id.empty()) {
    device.set_share_id(share_id);
  }
}
void set_share_id(v1beta1::Device& /*device*/, const std::string& /*share_id*/) {}

template <class Entry>
void fill(Entry& entry, const Result<std::vector<ServedDevice>>& answer) {
  if (!answer) {
    entry.set_error(answer.error().what());
    return;
  }
  for (const ServedDevice& from : *answer) {
    auto& device = *entry.add_devices();
    device.add_request_names(from.request);
    device.set_pool_name(from.pool);
    device.set_device_name(from.device);
    for (const std::string& id : from.cdi_ids) {
      device.add_cdi_device_ids(id);
    }
    set_share_id(device, from.share_id);
  }
}

/// Base is the generated callback service of one version; the messages of both look alike.
template <class Base, class PrepareRequest, class PrepareResponse, class UnprepareRequest,
          class UnprepareResponse>
class DraService final : public Base {
 public:
  explicit DraService(ClaimService& claims) : claims_(claims) {}

  grpc::ServerUnaryReactor* NodePrepareResources(grpc::CallbackServerContext* context,
                                                 const PrepareRequest* request,
                                                 PrepareResponse* response) override {
    auto* reactor = new CallReactor;
    claims_.prepare(claims_of(*request),
                    {.deadline = deadline_of(*context), .cancelled = reactor->cancelled()},
                    [reactor, response](const PrepareAnswers& answers) {
                      for (const auto& [uid, answer] : answers) {
                        fill((*response->mutable_claims())[uid], answer);
                      }
                      reactor->Finish(grpc::Status::OK);
                    });
    return reactor;
  }

  grpc::ServerUnaryReactor* NodeUnprepareResources(grpc::CallbackServerContext* context,
                                                   const UnprepareRequest* request,
                                                   UnprepareResponse* response) override {
    auto* reactor = new CallReactor;
    claims_.unprepare(claims_of(*request),
                      {.deadline = deadline_of(*context), .cancelled = reactor->cancelled()},
                      [reactor, response](const UnprepareAnswers& answers) {
                        for (const auto& [uid, answer] : answers) {
                          auto& entry = (*response->mutable_claims())[uid];
                          if (!answer) {
                            entry.set_error(answer.error().what());
                          }
                        }
                        reactor->Finish(grpc::Status::OK);
                      });
    return reactor;
  }

 private:
  ClaimService& claims_;
};

using DraV1 = DraService<v1::DRAPlugin::CallbackService, v1::NodePrepareResourcesRequest,
                         v1::NodePrepareResourcesResponse, v1::NodeUnprepareResourcesRequest,
                         v1::NodeUnprepareResourcesResponse>;
using DraV1beta1 = DraService<v1beta1::DRAPlugin::CallbackService, v1beta1::NodePrepareResourcesRequest,
                              v1beta1::NodePrepareResourcesResponse, v1beta1::NodeUnprepareResourcesRequest,
                              v1beta1::NodeUnprepareResourcesResponse>;

}  // namespace

std::unique_ptr<grpc::Service> make_registration_service(Registration registration) {
  return std::make_unique<RegistrationService>(std::move(registration));
}

std::unique_ptr<grpc::Service> make_dra_v1_service(ClaimService& claims) {
  return std::make_unique<DraV1>(claims);
}

std::unique_ptr<grpc::Service> make_dra_v1beta1_service(ClaimService& claims) {
  return std::make_unique<DraV1beta1>(claims);
}

Result<> probe_sockets(const std::string& registration_path, const std::string& dra_path,
                       std::chrono::milliseconds timeout) {
  const auto probe = [timeout](const std::string& path, auto call) -> Result<> {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a new connection each time: that is the point
    const auto channel =
        grpc::CreateCustomChannel("unix:" + path, grpc::InsecureChannelCredentials(), arguments);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    const grpc::Status status = call(channel, context);
    return status.ok()
               ? Result<>()
               : Error(Code::kUnavailable, "socket " + path + " does not respond: " + status.error_message());
  };
  FL_TRY(probe(registration_path,
               [](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext& context) {
                 pluginregistration::PluginInfo info;
                 return pluginregistration::Registration::NewStub(channel)->GetInfo(&context, {}, &info);
               }));
  return probe(dra_path, [](const std::shared_ptr<grpc::Channel>& channel, grpc::ClientContext& context) {
    v1::NodePrepareResourcesResponse response;
    return v1::DRAPlugin::NewStub(channel)->NodePrepareResources(&context, {}, &response);
  });
}

}  // namespace fairlead::dra
