// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/dra_plugin.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "dra_v1.grpc.pb.h"
#include "dra_v1beta1.grpc.pb.h"
#include "pluginregistration.grpc.pb.h"

namespace drydock {
namespace {

namespace v1 = k8s::io::kubelet::pkg::apis::dra::v1;
namespace v1beta1 = k8s::io::kubelet::pkg::apis::dra::v1beta1;
using Clock = std::chrono::steady_clock;

/// Channels to one path would share a connection, and its back-off, with an earlier instance on that path.
grpc::ChannelArguments own_connection() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

/// The kubelet dials registration sockets with the bare path as target, so :authority is the escaped path.
std::string escaped(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c == '/') {
      out += "%2F";
    } else {
      out += c;
    }
  }
  return out;
}

/// "rpc error: code = Unavailable desc = ...", as the Go client words it.
Error to_error(const grpc::Status& status) {
  static constexpr const char* kNames[] = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  const auto index = static_cast<std::size_t>(status.error_code());
  const std::string name = index < std::size(kNames) ? kNames[index] : std::to_string(index);
  const Code code = status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED ? Code::kTimeout
                    : status.error_code() == grpc::StatusCode::UNAVAILABLE     ? Code::kUnavailable
                                                                               : Code::kInternal;
  return {code, "rpc error: code = " + name + " desc = " + status.error_message()};
}

template <class Request>
Request make_request(std::span<const ClaimId> claims) {
  Request request;
  for (const auto& claim : claims) {
    auto* entry = request.add_claims();
    entry->set_namespace_(claim.namespace_);
    entry->set_uid(claim.uid);
    entry->set_name(claim.name);
  }
  return request;
}

template <class Device>
PreparedDevice read_device(const Device& in) {
  PreparedDevice out;
  out.requests.assign(in.request_names().begin(), in.request_names().end());
  out.pool = in.pool_name();
  out.device = in.device_name();
  out.cdi_ids.assign(in.cdi_device_ids().begin(), in.cdi_device_ids().end());
  if constexpr (requires { in.share_id(); }) {
    out.share_id = in.share_id();
  }
  return out;
}

template <class Response>
ClaimAnswers read_answers(const Response& response) {
  ClaimAnswers out;
  for (const auto& [uid, result] : response.claims()) {
    auto& answer = out[uid];
    answer.error = result.error();
    if constexpr (requires { result.devices(); }) {
      for (const auto& device : result.devices()) {
        answer.devices.push_back(read_device(device));
      }
    }
  }
  return out;
}

}  // namespace

std::string_view to_string(DraVersion version) {
  return version == DraVersion::kV1 ? "v1.DRAPlugin" : "v1beta1.DRAPlugin";
}

struct DraPlugin::Wire {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::DRAPlugin::Stub> v1_stub;
  std::unique_ptr<v1beta1::DRAPlugin::Stub> v1beta1_stub;

  template <class Call>
  Result<ClaimAnswers> call(const Settings& settings, const char* method, const Call& invoke) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + settings.call_timeout);
    ClaimAnswers answers;
    const auto started = Clock::now();
    const grpc::Status status = invoke(context, answers);
    if (settings.stats != nullptr) {
      bool failed = !status.ok();
      for (const auto& [uid, answer] : answers) {
        failed = failed || !answer.error.empty();
      }
      settings.stats->add(
          settings.driver, method,
          {.took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - started),
           .failed = failed});
    }
    if (!status.ok()) {
      return to_error(status).with(method);
    }
    return answers;
  }
};

DraPlugin::DraPlugin(Settings settings) : settings_(std::move(settings)), wire_(std::make_unique<Wire>()) {
  wire_->channel = grpc::CreateCustomChannel("unix:" + settings_.endpoint, grpc::InsecureChannelCredentials(),
                                             own_connection());
  wire_->v1_stub = v1::DRAPlugin::NewStub(wire_->channel);
  wire_->v1beta1_stub = v1beta1::DRAPlugin::NewStub(wire_->channel);
  watcher_ = std::jthread([this](const std::stop_token& stop) { watch_connection(stop); });
}

DraPlugin::~DraPlugin() = default;

void DraPlugin::watch_connection(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    // Asking connects: an idle channel would not notice a driver that came back.
    const auto state = wire_->channel->GetState(true);
    const bool connected = state == GRPC_CHANNEL_READY;
    if (connected_.exchange(connected) != connected && settings_.on_connection_change) {
      settings_.on_connection_change();
    }
    (void)wire_->channel->WaitForStateChange(
        state, std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  }
}

Result<ClaimAnswers> DraPlugin::prepare(std::span<const ClaimId> claims) {
  return wire_->call(settings_, "NodePrepareResources",
                     [&](grpc::ClientContext& context, ClaimAnswers& answers) {
                       grpc::Status status;
                       if (settings_.version == DraVersion::kV1) {
                         v1::NodePrepareResourcesResponse response;
                         status = wire_->v1_stub->NodePrepareResources(
                             &context, make_request<v1::NodePrepareResourcesRequest>(claims), &response);
                         answers = read_answers(response);
                       } else {
                         v1beta1::NodePrepareResourcesResponse response;
                         status = wire_->v1beta1_stub->NodePrepareResources(
                             &context, make_request<v1beta1::NodePrepareResourcesRequest>(claims), &response);
                         answers = read_answers(response);
                       }
                       return status;
                     });
}

Result<ClaimAnswers> DraPlugin::unprepare(std::span<const ClaimId> claims) {
  return wire_->call(
      settings_, "NodeUnprepareResources", [&](grpc::ClientContext& context, ClaimAnswers& answers) {
        grpc::Status status;
        if (settings_.version == DraVersion::kV1) {
          v1::NodeUnprepareResourcesResponse response;
          status = wire_->v1_stub->NodeUnprepareResources(
              &context, make_request<v1::NodeUnprepareResourcesRequest>(claims), &response);
          answers = read_answers(response);
        } else {
          v1beta1::NodeUnprepareResourcesResponse response;
          status = wire_->v1beta1_stub->NodeUnprepareResources(
              &context, make_request<v1beta1::NodeUnprepareResourcesRequest>(claims), &response);
          answers = read_answers(response);
        }
        return status;
      });
}

struct RegistrationClient::Wire {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<pluginregistration::Registration::Stub> stub;
};

RegistrationClient::RegistrationClient(std::unique_ptr<Wire> wire) : wire_(std::move(wire)) {}
RegistrationClient::RegistrationClient(RegistrationClient&&) noexcept = default;
RegistrationClient& RegistrationClient::operator=(RegistrationClient&&) noexcept = default;
RegistrationClient::~RegistrationClient() = default;

Result<RegistrationClient> RegistrationClient::dial(const std::string& socket,
                                                    std::chrono::milliseconds timeout) {
  auto arguments = own_connection();
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, escaped(socket));
  // bind(2) shows the socket before listen(2): a refused connection is tried again soon.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 20);
  auto wire = std::make_unique<Wire>();
  wire->channel = grpc::CreateCustomChannel("unix:" + socket, grpc::InsecureChannelCredentials(), arguments);
  wire->stub = pluginregistration::Registration::NewStub(wire->channel);
  if (!wire->channel->WaitForConnected(std::chrono::system_clock::now() + timeout)) {
    return Error(Code::kTimeout, "failed to dial socket " + socket + ", err: context deadline exceeded");
  }
  return RegistrationClient(std::move(wire));
}

Result<PluginInfo> RegistrationClient::get_info(std::chrono::milliseconds timeout) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  pluginregistration::PluginInfo answer;
  const auto status = wire_->stub->GetInfo(&context, pluginregistration::InfoRequest(), &answer);
  if (!status.ok()) {
    return to_error(status).with("failed to get plugin info using RPC GetInfo");
  }
  PluginInfo out{.type = answer.type(), .name = answer.name(), .endpoint = answer.endpoint(), .versions = {}};
  out.versions.assign(answer.supported_versions().begin(), answer.supported_versions().end());
  return out;
}

Result<> RegistrationClient::notify(const std::string& error, std::chrono::milliseconds timeout) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  pluginregistration::RegistrationStatus request;
  request.set_plugin_registered(error.empty());
  request.set_error(error);
  pluginregistration::RegistrationStatusResponse response;
  const auto status = wire_->stub->NotifyRegistrationStatus(&context, request, &response);
  if (!status.ok()) {
    return to_error(status).with("NotifyRegistrationStatus");
  }
  return {};
}

}  // namespace drydock
