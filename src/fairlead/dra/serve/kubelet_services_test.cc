// SPDX-License-Identifier: Apache-2.0
// The kubelet's side over real sockets. What the calls mean is tested in claim_service_test.cc.
#include "fairlead/dra/serve/kubelet_services.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "dra_v1.grpc.pb.h"
#include "dra_v1beta1.grpc.pb.h"
#include "fairlead/dra/testing/claim_node.h"
#include "fairlead/rpc/grpc_server.h"
#include "pluginregistration.grpc.pb.h"

namespace fairlead::dra::testing {
namespace {

namespace v1 = ::k8s::io::kubelet::pkg::apis::dra::v1;
namespace v1beta1 = ::k8s::io::kubelet::pkg::apis::dra::v1beta1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Kubelet {
  explicit Kubelet(Node& of) : node(of), claims(of.open()) {
    auto started = rpc::GrpcServer::start(node.dir / "dra.sock", {dra_v1.get(), dra_v1beta1.get()});
    EXPECT_TRUE(started);
    server = std::move(*started);
    channel = grpc::CreateChannel("unix:" + (node.dir / "dra.sock"), grpc::InsecureChannelCredentials());
  }

  template <class Stub, class Response, class Request>
  grpc::Status prepare(const Request& request, Response& response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(45));
    return Stub::NewStub(channel)->NodePrepareResources(&context, request, &response);
  }

  Node& node;
  std::unique_ptr<ClaimService> claims;
  std::unique_ptr<grpc::Service> dra_v1 = make_dra_v1_service(*claims);
  std::unique_ptr<grpc::Service> dra_v1beta1 = make_dra_v1beta1_service(*claims);
  std::unique_ptr<rpc::GrpcServer> server;
  std::shared_ptr<grpc::Channel> channel;
};

template <class Request>
Request request_for(const std::vector<std::string>& names) {
  Request request;
  for (const std::string& name : names) {
    auto* claim = request.add_claims();
    claim->set_namespace_("default");
    claim->set_name(name);
    claim->set_uid(name + "-uid");
  }
  return request;
}

TEST(DraService, V1_AnswersEveryClaimAndItsShare) {
  Node node;
  auto shared = claim_of("a", {result_of("eth1", "main/sub")});
  shared.allocation->results[0].share_id = "11111111-0000-4000-8000-000000000000";
  node.claims.put(shared);
  Kubelet kubelet(node);
  v1::NodePrepareResourcesResponse response;
  const auto status = kubelet.prepare<v1::DRAPlugin>(
      request_for<v1::NodePrepareResourcesRequest>({"a", "missing"}), response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.claims_size(), 2);
  EXPECT_THAT(response.claims().at("missing-uid").error(), HasSubstr("not found"));
  const auto& answer = response.claims().at("a-uid");
  EXPECT_EQ(answer.error(), "");
  ASSERT_EQ(answer.devices_size(), 1);
  EXPECT_THAT(answer.devices(0).request_names(), ElementsAre("main"));
  EXPECT_EQ(answer.devices(0).pool_name(), kNode);
  EXPECT_EQ(answer.devices(0).device_name(), "eth1");
  EXPECT_THAT(answer.devices(0).cdi_device_ids(), ElementsAre("dra.example.com/claim=claim-a-uid-0"));
  EXPECT_EQ(answer.devices(0).share_id(), "11111111-0000-4000-8000-000000000000");
}

TEST(DraService, V1beta1_AnswersWithoutTheShare) {
  Node node;
  auto shared = claim_of("a", {result_of("eth1")});
  shared.allocation->results[0].share_id = "11111111-0000-4000-8000-000000000000";
  node.claims.put(shared);
  Kubelet kubelet(node);
  v1beta1::NodePrepareResourcesResponse response;
  const auto status =
      kubelet.prepare<v1beta1::DRAPlugin>(request_for<v1beta1::NodePrepareResourcesRequest>({"a"}), response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.claims().at("a-uid").devices_size(), 1);
  v1::NodePrepareResourcesResponse as_v1;  // v1beta1 has no such field, so look at the bytes
  ASSERT_TRUE(as_v1.ParseFromString(response.SerializeAsString()));
  EXPECT_FALSE(as_v1.claims().at("a-uid").devices(0).has_share_id());
}

TEST(DraService, DeviceOfItsOwn_HasNoShare) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  Kubelet kubelet(node);
  v1::NodePrepareResourcesResponse response;
  ASSERT_TRUE(
      kubelet.prepare<v1::DRAPlugin>(request_for<v1::NodePrepareResourcesRequest>({"a"}), response).ok());
  EXPECT_FALSE(response.claims().at("a-uid").devices(0).has_share_id());
}

TEST(DraService, EmptyBatch_GetsAnEmptyMap) {
  Node node;
  Kubelet kubelet(node);
  v1::NodePrepareResourcesResponse response;
  ASSERT_TRUE(kubelet.prepare<v1::DRAPlugin>(v1::NodePrepareResourcesRequest(), response).ok());
  EXPECT_EQ(response.claims_size(), 0);
}

TEST(DraService, Unprepare_AnswersEveryClaim) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  Kubelet kubelet(node);
  v1::NodePrepareResourcesResponse prepared;
  ASSERT_TRUE(
      kubelet.prepare<v1::DRAPlugin>(request_for<v1::NodePrepareResourcesRequest>({"a"}), prepared).ok());
  node.driver.on_unprepare = [](const ClaimRecord&, const CallContext&) -> Result<> {
    return Error(Code::kBusy, "link is busy");
  };
  grpc::ClientContext context;
  v1::NodeUnprepareResourcesResponse response;
  const auto status =
      v1::DRAPlugin::NewStub(kubelet.channel)
          ->NodeUnprepareResources(&context, request_for<v1::NodeUnprepareResourcesRequest>({"a", "unknown"}),
                                   &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.claims_size(), 2);
  EXPECT_EQ(response.claims().at("a-uid").error(), "link is busy");
  EXPECT_EQ(response.claims().at("unknown-uid").error(), "");
}

TEST(DraService, CancelledCall_CancelsTheWork) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  std::promise<void> undone;
  node.driver.on_prepare = [](const Claim&, const CallContext& context) -> Result<> {
    std::promise<void> cancelled;
    const std::stop_callback seen(context.cancelled, [&cancelled] { cancelled.set_value(); });
    cancelled.get_future().wait();
    return Error(Code::kCancelled, "cancelled");
  };
  node.driver.on_unprepare = [&undone](const ClaimRecord&, const CallContext&) -> Result<> {
    undone.set_value();
    return {};
  };
  Kubelet kubelet(node);
  grpc::ClientContext context;
  auto call = std::async(std::launch::async, [&] {
    v1::NodePrepareResourcesResponse response;
    return v1::DRAPlugin::NewStub(kubelet.channel)
        ->NodePrepareResources(&context, request_for<v1::NodePrepareResourcesRequest>({"a"}), &response);
  });
  node.driver.await("prepare a-uid");
  context.TryCancel();
  EXPECT_EQ(call.get().error_code(), grpc::StatusCode::CANCELLED);
  undone.get_future().wait();
}

TEST(DraService, DeadlineOfTheCall_ReachesTheDriver) {
  Node node;
  node.claims.put(claim_of("a", {result_of("eth1")}));
  std::chrono::steady_clock::time_point seen;
  node.driver.on_prepare = [&seen](const Claim&, const CallContext& context) -> Result<> {
    seen = context.deadline;
    return {};
  };
  Kubelet kubelet(node);
  const auto before = std::chrono::steady_clock::now();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  v1::NodePrepareResourcesResponse response;
  ASSERT_TRUE(
      v1::DRAPlugin::NewStub(kubelet.channel)
          ->NodePrepareResources(&context, request_for<v1::NodePrepareResourcesRequest>({"a"}), &response)
          .ok());
  EXPECT_LT(seen, before + std::chrono::seconds(20));
}

TEST(DraService, HundredCallsOnOneConnection_AreAllAnswered) {
  Node node;
  constexpr int kCalls = 100;
  for (int i = 0; i < kCalls; ++i) {
    node.claims.put(claim_of("c" + std::to_string(i), {result_of("eth" + std::to_string(i))}));
  }
  Kubelet kubelet(node);
  const auto stub = v1::DRAPlugin::NewStub(kubelet.channel);
  struct Call {
    grpc::ClientContext context;
    v1::NodePrepareResourcesRequest request;
    v1::NodePrepareResourcesResponse response;
    bool ok = false;
  };
  std::vector<Call> calls(kCalls);
  std::latch done(kCalls);
  for (int i = 0; i < kCalls; ++i) {
    Call& call = calls[static_cast<std::size_t>(i)];
    call.request = request_for<v1::NodePrepareResourcesRequest>({"c" + std::to_string(i)});
    stub->async()->NodePrepareResources(&call.context, &call.request, &call.response,
                                        [&call, &done](const grpc::Status& status) {
                                          call.ok = status.ok();
                                          done.count_down();
                                        });
  }
  done.wait();
  for (int i = 0; i < kCalls; ++i) {
    const Call& call = calls[static_cast<std::size_t>(i)];
    ASSERT_TRUE(call.ok);
    EXPECT_EQ(call.response.claims().at("c" + std::to_string(i) + "-uid").error(), "");
  }
}

TEST(Registration, TellsTheKubeletWhoAndWhere) {
  const TemporaryDir dir;
  std::vector<std::string> statuses;
  const auto service =
      make_registration_service({.driver_name = kDriver,
                                 .endpoint = "/plugins/dra.sock",
                                 .on_status = [&statuses](bool registered, const std::string& error) {
                                   statuses.push_back(registered ? "registered" : "refused: " + error);
                                 }});
  const auto server = rpc::GrpcServer::start(dir / "reg.sock", {service.get()});
  ASSERT_TRUE(server);
  const auto stub = pluginregistration::Registration::NewStub(
      grpc::CreateChannel("unix:" + (dir / "reg.sock"), grpc::InsecureChannelCredentials()));
  pluginregistration::PluginInfo info;
  grpc::ClientContext first;
  ASSERT_TRUE(stub->GetInfo(&first, {}, &info).ok());
  EXPECT_EQ(info.type(), "DRAPlugin");
  EXPECT_EQ(info.name(), kDriver);
  EXPECT_EQ(info.endpoint(), "/plugins/dra.sock");
  EXPECT_THAT(info.supported_versions(), ElementsAre("v1.DRAPlugin", "v1beta1.DRAPlugin"));
  for (const bool registered : {true, false}) {
    pluginregistration::RegistrationStatus status;
    pluginregistration::RegistrationStatusResponse response;
    status.set_plugin_registered(registered);
    status.set_error(registered ? "" : "no such version");
    grpc::ClientContext context;
    EXPECT_TRUE(stub->NotifyRegistrationStatus(&context, status, &response).ok());
  }
  EXPECT_THAT(statuses, ElementsAre("registered", "refused: no such version"));
}

TEST(ProbeSockets, SaysWhichSocketIsDead) {
  Node node;
  Kubelet kubelet(node);
  const auto service = make_registration_service({.driver_name = kDriver, .endpoint = "/x", .on_status = {}});
  const auto server = rpc::GrpcServer::start(node.dir / "reg.sock", {service.get()});
  ASSERT_TRUE(server);
  const std::chrono::seconds patience(30);
  EXPECT_TRUE(probe_sockets(node.dir / "reg.sock", node.dir / "dra.sock", patience));
  const auto dead = probe_sockets(node.dir / "reg.sock", node.dir / "gone.sock", patience);
  ASSERT_FALSE(dead);
  EXPECT_THAT(dead.error().what(), HasSubstr("gone.sock does not respond"));
}

}  // namespace
}  // namespace fairlead::dra::testing
