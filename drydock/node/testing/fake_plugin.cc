// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/testing/fake_plugin.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <filesystem>
#include <utility>

#include "dra_v1.grpc.pb.h"
#include "dra_v1beta1.grpc.pb.h"
#include "fairlead/core/mutex.h"
#include "pluginregistration.grpc.pb.h"

namespace drydock {

namespace v1 = k8s::io::kubelet::pkg::apis::dra::v1;
namespace v1beta1 = k8s::io::kubelet::pkg::apis::dra::v1beta1;
using fairlead::Lock;

struct FakePlugin::State {
  fairlead::Mutex mutex;
  fairlead::ConditionVariable changed;
  std::vector<std::string> calls FL_GUARDED_BY(mutex);
  std::string error FL_GUARDED_BY(mutex);
  std::string authority FL_GUARDED_BY(mutex);
  bool omit FL_GUARDED_BY(mutex) = false;
  bool unknown FL_GUARDED_BY(mutex) = false;
  int refusals FL_GUARDED_BY(mutex) = 0;

  void note(std::string call) FL_REQUIRES(mutex) {
    calls.push_back(std::move(call));
    changed.notify_all();
  }
};

namespace {

template <class Request>
std::string names_of(const Request& request) {
  std::string out;
  for (const auto& claim : request.claims()) {
    out += (out.empty() ? "" : ",") + claim.name();
  }
  return out;
}

}  // namespace

struct FakePlugin::Servers {
  // NOLINTBEGIN(readability-identifier-naming): gRPC's names
  template <class Base, class PrepareRequest, class PrepareResponse, class UnprepareRequest,
            class UnprepareResponse>
  struct Dra final : Base {
    Dra(State& state_in, std::string version_in) : state(state_in), version(std::move(version_in)) {}
    grpc::Status NodePrepareResources(grpc::ServerContext*, const PrepareRequest* request,
                                      PrepareResponse* response) override {
      const Lock lock(state.mutex);
      for (const auto& claim : request->claims()) {
        if (state.omit) {
          continue;
        }
        auto& answer = (*response->mutable_claims())[claim.uid()];
        answer.set_error(state.error);
        auto* device = answer.add_devices();
        device->add_request_names("one");
        device->add_cdi_device_ids("v.com/c=" + claim.name());
      }
      if (state.unknown) {
        (*response->mutable_claims())["nobody"];
      }
      state.note("prepare " + version + " " + names_of(*request));
      return grpc::Status::OK;
    }
    grpc::Status NodeUnprepareResources(grpc::ServerContext*, const UnprepareRequest* request,
                                        UnprepareResponse* response) override {
      const Lock lock(state.mutex);
      for (const auto& claim : request->claims()) {
        (*response->mutable_claims())[claim.uid()].set_error(state.error);
      }
      state.note("unprepare " + version + " " + names_of(*request));
      return grpc::Status::OK;
    }
    State& state;
    std::string version;
  };
  struct Registration final : pluginregistration::Registration::Service {
    Registration(State& state_in, Settings settings_in) : state(state_in), settings(std::move(settings_in)) {}
    grpc::Status GetInfo(grpc::ServerContext* context, const pluginregistration::InfoRequest*,
                         pluginregistration::PluginInfo* info) override {
      info->set_type(settings.type);
      info->set_name(settings.name);
      info->set_endpoint(settings.announced_endpoint.empty() ? settings.endpoint
                                                             : settings.announced_endpoint);
      for (const auto& one : settings.versions) {
        info->add_supported_versions(one);
      }
      const Lock lock(state.mutex);
      const auto authority = context->ExperimentalGetAuthority();
      state.authority.assign(authority.data(), authority.size());
      state.note("GetInfo");
      return grpc::Status::OK;
    }
    grpc::Status NotifyRegistrationStatus(grpc::ServerContext*,
                                          const pluginregistration::RegistrationStatus* status,
                                          pluginregistration::RegistrationStatusResponse*) override {
      const Lock lock(state.mutex);
      state.note(status->plugin_registered() ? "Notify true" : "Notify false: " + status->error());
      if (state.refusals > 0) {
        --state.refusals;
        return {grpc::StatusCode::INTERNAL, "not now"};
      }
      return grpc::Status::OK;
    }
    State& state;
    Settings settings;
  };
  // NOLINTEND(readability-identifier-naming)

  Servers(State& state, const Settings& settings)
      : sockets{settings.endpoint, settings.registration_socket},
        v1_service(state, "v1"),
        v1beta1_service(state, "v1beta1"),
        registration(state, settings) {
    std::error_code ignored;
    std::filesystem::remove(settings.endpoint, ignored);
    std::filesystem::remove(settings.registration_socket, ignored);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + settings.endpoint, grpc::InsecureServerCredentials());
    builder.RegisterService(&v1_service);
    builder.RegisterService(&v1beta1_service);
    dra_server = builder.BuildAndStart();
    grpc::ServerBuilder registration_builder;
    registration_builder.AddListeningPort("unix:" + settings.registration_socket,
                                          grpc::InsecureServerCredentials());
    registration_builder.RegisterService(&registration);
    registration_server = registration_builder.BuildAndStart();
  }

  std::vector<std::string> sockets;
  Dra<v1::DRAPlugin::Service, v1::NodePrepareResourcesRequest, v1::NodePrepareResourcesResponse,
      v1::NodeUnprepareResourcesRequest, v1::NodeUnprepareResourcesResponse>
      v1_service;
  Dra<v1beta1::DRAPlugin::Service, v1beta1::NodePrepareResourcesRequest,
      v1beta1::NodePrepareResourcesResponse, v1beta1::NodeUnprepareResourcesRequest,
      v1beta1::NodeUnprepareResourcesResponse>
      v1beta1_service;
  Registration registration;
  std::unique_ptr<grpc::Server> dra_server, registration_server;
};

FakePlugin::FakePlugin(Settings settings)
    : state_(std::make_shared<State>()), servers_(std::make_unique<Servers>(*state_, settings)) {}

FakePlugin::~FakePlugin() {
  if (!servers_) {
    return;
  }
  const auto sockets = servers_->sockets;
  std::error_code ignored;
  std::filesystem::remove(sockets[1], ignored);
  servers_.reset();
  std::filesystem::remove(sockets[0], ignored);
}

void FakePlugin::stop_serving() { servers_->dra_server->Shutdown(std::chrono::system_clock::now()); }

void FakePlugin::answer_with(const std::string& error) {
  const Lock lock(state_->mutex);
  state_->error = error;
}
void FakePlugin::omit_answers() {
  const Lock lock(state_->mutex);
  state_->omit = true;
}
void FakePlugin::add_unknown_answer() {
  const Lock lock(state_->mutex);
  state_->unknown = true;
}
void FakePlugin::refuse_notices(int count) {
  const Lock lock(state_->mutex);
  state_->refusals = count;
}

std::vector<std::string> FakePlugin::calls() const {
  const Lock lock(state_->mutex);
  return state_->calls;
}

bool FakePlugin::wait_until(const std::function<bool(const std::vector<std::string>&)>& done) const {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  Lock lock(state_->mutex);
  while (!done(state_->calls)) {
    if (state_->changed.wait_until(state_->mutex, deadline) == std::cv_status::timeout) {
      return done(state_->calls);
    }
  }
  return true;
}

std::string FakePlugin::authority() const {
  const Lock lock(state_->mutex);
  return state_->authority;
}

}  // namespace drydock
