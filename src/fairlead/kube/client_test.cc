// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <mutex>
#include <nlohmann/json.hpp>
#include <ostream>
#include <thread>

#include "fairlead/kube/rate_limit.h"
#include "fairlead/kube/resource.h"
#include "fairlead/kube/resources/claim.h"
#include "fairlead/kube/resources/claim_status.h"
#include "fairlead/kube/resources/event.h"
#include "fairlead/kube/resources/node.h"
#include "fairlead/kube/resources/slice.h"
#include "fairlead/kube/testing/https_test_server.h"

namespace fairlead::kube {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HttpsTestServer;
using ::testing::SizeIs;
using testing::status_json;
using testing::TestCa;
using testing::TestRequest;
using testing::TestResponse;

/// A client whose waits cost no time, of a server that the test writes.
class ClientTest : public ::testing::Test {
 protected:
  void serve(HttpsTestServer::Handler handler, ClientOptions options = {}) {
    server_ = std::make_unique<HttpsTestServer>(ca_, std::move(handler));
    options.clock = &clock_;
    auto client = Client::open(server_->config(ca_), std::move(options));
    ASSERT_TRUE(client) << client.error().what();
    client_ = *std::move(client);
  }
  Client& client() { return *client_; }
  Resource<ResourceClaim> claims() { return Resource<ResourceClaim>(client()); }
  Resource<ResourceSlice> slices() { return Resource<ResourceSlice>(client()); }

  TestCa ca_;
  VirtualClock clock_{VirtualClock::Mode::kJump};
  std::unique_ptr<HttpsTestServer> server_;
  std::unique_ptr<Client> client_;
};

Result<std::string> node_uid(Client& client, const std::string& name, const CallOptions& call = {}) {
  FL_ASSIGN(auto node, Resource<Node>(client).get({.namespace_ = {}, .name = name}, call));
  return std::move(node.meta.uid);
}

ResourceSlice small_slice() {
  ResourceSlice slice;
  slice.meta.name = "s1";
  slice.meta.resource_version = "7";
  slice.meta.uid = "uid-1";
  slice.driver = "net.example.com";
  slice.pool_name = slice.node_name = "n1";
  return slice;
}

TEST_F(ClientTest, GetClaim_AsksForItByNameAndDecodesIt) {
  serve([](const TestRequest&) {
    return TestResponse{.body = R"({"metadata":{"name":"c","namespace":"ns","uid":"u"},"status":{"allocation":
      {"devices":{"results":[{"request":"r","driver":"d","pool":"p","device":"dev"}]}}}})"};
  });
  const auto claim = claims().get({.namespace_ = "ns", .name = "c"});
  ASSERT_TRUE(claim) << claim.error().what();
  EXPECT_EQ(claim->meta.uid, "u");
  EXPECT_EQ(claim->allocation.value_or(Allocation{}).results.at(0).device, "dev");
  const auto request = server_->requests().at(0);
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.path, "/apis/resource.k8s.io/v1/namespaces/ns/resourceclaims/c");
  EXPECT_THAT(request.user_agent, HasSubstr("fairlead/"));
}

TEST_F(ClientTest, GetClaim_NameWithSlashesStaysOneSegment) {
  serve([](const TestRequest&) {
    return TestResponse{.status = 404, .body = status_json(404, "NotFound", "no")};
  });
  EXPECT_EQ(claims().get({.namespace_ = "ns", .name = "../../x"}).error().code(), Code::kNotFound);
  EXPECT_EQ(server_->requests().at(0).path, "/apis/resource.k8s.io/v1/namespaces/ns/resourceclaims/../../x")
      << "the server has decoded %2F; sent unescaped, curl or the server would have walked up";
  EXPECT_EQ(claims().get({.namespace_ = "ns", .name = ""}).error().code(), Code::kInvalid);
}

TEST_F(ClientTest, GetNodeUid_ReadsTheUid) {
  serve([](const TestRequest&) {
    return TestResponse{.body = R"({"metadata":{"name":"n1","uid":"node-uid"}})"};
  });
  const auto uid = node_uid(client(), "n1");
  ASSERT_TRUE(uid) << uid.error().what();
  EXPECT_EQ(*uid, "node-uid");
  EXPECT_EQ(server_->requests().at(0).path, "/api/v1/nodes/n1");
}

TEST_F(ClientTest, GetNodeAddresses_ReadsTheInternalOnes) {
  serve([](const TestRequest&) {
    return TestResponse{.body = R"({"metadata":{"name":"n1"},"status":{"addresses":[
      {"type":"ExternalIP","address":"203.0.113.7"},{"type":"InternalIP","address":"192.0.2.5"},
      {"type":"Hostname","address":"n1"},{"type":"InternalIP","address":"2001:db8::5"}]}})"};
  });
  const auto node = Resource<Node>(client()).get({.namespace_ = {}, .name = "n1"});
  ASSERT_TRUE(node) << node.error().what();
  EXPECT_EQ(node->internal_addresses, (std::vector<std::string>{"192.0.2.5", "2001:db8::5"}));
  EXPECT_EQ(server_->requests().at(0).path, "/api/v1/nodes/n1");
}

struct StatusCase {
  int status;
  const char* reason;
  Code code;
};

// NOLINTNEXTLINE(readability-identifier-naming): gtest's name
void PrintTo(const StatusCase& row, std::ostream* out) { *out << row.status << row.reason; }

class StatusCodes : public ClientTest, public ::testing::WithParamInterface<StatusCase> {};

TEST_P(StatusCodes, BecomeErrorCodes) {
  const StatusCase row = GetParam();
  serve([row](const TestRequest&) {
    return TestResponse{.status = row.status, .body = status_json(row.status, row.reason, "the reason why")};
  });
  const auto claim = claims().get({.namespace_ = "ns", .name = "c"}, {.timeout = seconds(20)});
  ASSERT_FALSE(claim);
  EXPECT_EQ(claim.error().code(), row.code) << claim.error().what();
  EXPECT_THAT(claim.error().what(), HasSubstr("get resourceclaims"));
  EXPECT_THAT(claim.error().what(), HasSubstr("the reason why (HTTP " + std::to_string(row.status) + ")"));
}

INSTANTIATE_TEST_SUITE_P(All, StatusCodes,
                         ::testing::Values(StatusCase{404, "NotFound", Code::kNotFound},
                                           StatusCase{409, "AlreadyExists", Code::kExists},
                                           StatusCase{409, "Conflict", Code::kConflict},
                                           StatusCase{410, "Expired", Code::kGone},
                                           StatusCase{422, "Invalid", Code::kInvalid},
                                           StatusCase{400, "BadRequest", Code::kInvalid},
                                           StatusCase{401, "Unauthorized", Code::kDenied},
                                           StatusCase{403, "Forbidden", Code::kDenied},
                                           StatusCase{429, "TooManyRequests", Code::kUnavailable},
                                           StatusCase{500, "InternalError", Code::kUnavailable},
                                           StatusCase{503, "ServiceUnavailable", Code::kUnavailable}),
                         [](const auto& row) { return std::to_string(row.param.status) + row.param.reason; });

/// "404 page not found" as text: the server, or who stands before it, has no such resource at all.
TEST_F(ClientTest, NotFoundWithoutAStatus_SaysNothingAboutTheObject) {
  for (const std::string& body :
       {std::string("404 page not found\n"), std::string(), status_json(404, "", "the path is not served")}) {
    serve([body](const TestRequest&) { return TestResponse{.status = 404, .body = body}; });
    const auto claim = claims().get({.namespace_ = "ns", .name = "c"}, {.timeout = seconds(20)});
    ASSERT_FALSE(claim);
    EXPECT_EQ(claim.error().code(), Code::kUnsupported) << claim.error().what();
    EXPECT_THAT(claim.error().what(), HasSubstr("(HTTP 404)"));
  }
}

TEST_F(ClientTest, Deadline_DuringARetryTellsWhatTheServerSaidBefore) {
  std::promise<void> go_on;
  auto gate = go_on.get_future().share();
  std::atomic<int> calls = 0;
  serve([&, gate](const TestRequest&) {
    if (++calls > 1) {
      gate.wait();
    }
    return TestResponse{.status = 503, .body = status_json(503, "ServiceUnavailable", "etcd is away")};
  });
  const auto claim = claims().get({.namespace_ = "ns", .name = "c"}, {.timeout = seconds(2), .max_tries = 2});
  EXPECT_EQ(claim.error().code(), Code::kUnavailable);
  EXPECT_THAT(claim.error().what(), HasSubstr("etcd is away"));
  go_on.set_value();
  server_.reset();
}

TEST_F(ClientTest, UpdateSlice_InvalidNamesTheFieldsOfAllCauses) {
  serve([](const TestRequest&) {
    json status = json::parse(status_json(422, "Invalid", "ResourceSlice \"s1\" is invalid"));
    status["details"]["causes"] = {{{"field", "spec.devices[0].name"}, {"message", "must be a DNS label"}},
                                   {{"field", "spec.pool.name"}, {"message", "is immutable"}}};
    return TestResponse{.status = 422, .body = status.dump()};
  });
  const auto updated = slices().update(small_slice());
  ASSERT_FALSE(updated);
  EXPECT_EQ(updated.error().code(), Code::kInvalid);
  EXPECT_EQ(
      updated.error().what(),
      "update resourceslices: ResourceSlice \"s1\" is invalid (spec.devices[0].name: must be a DNS label; "
      "spec.pool.name: is immutable) (HTTP 422)");
}

TEST_F(ClientTest, ErrorPageThatIsNoStatus_IsQuotedShortAndOnOneLine) {
  serve([](const TestRequest&) {
    return TestResponse{.status = 403, .body = "<html>\nproxy says no" + std::string(5000, 'x')};
  });
  const auto claim = claims().get({.namespace_ = "ns", .name = "c"});
  EXPECT_EQ(claim.error().code(), Code::kDenied);
  EXPECT_THAT(claim.error().what(), HasSubstr("<html> proxy says no"));
  EXPECT_LT(claim.error().what().size(), 400U);
}

TEST_F(ClientTest, CreateSlice_PostsAndGivesWhatWasStored) {
  serve([](const TestRequest& request) {
    json stored = json::parse(request.body);
    stored["metadata"]["resourceVersion"] = "1";
    stored["metadata"]["name"] = "0-abc";
    return TestResponse{.status = 201, .body = stored.dump()};
  });
  ResourceSlice slice = small_slice();
  slice.meta = {.generate_name = "0-"};
  slice.devices = {{.name = "eth1", .attributes = {{"mtu", std::int64_t{1500}}}}};
  const auto stored = slices().create(slice);
  ASSERT_TRUE(stored) << stored.error().what();
  EXPECT_EQ(stored->meta.name, "0-abc");
  EXPECT_EQ(stored->devices, slice.devices);
  EXPECT_EQ(server_->requests().at(0).content_type, "application/json");
  EXPECT_EQ(server_->requests().at(0).method, "POST");
}

TEST_F(ClientTest, CreateSlice_GeneratedNameTakenDrawsAgain) {
  std::atomic<int> calls = 0;
  serve([&](const TestRequest& request) {
    return ++calls < 3 ? TestResponse{.status = 409, .body = status_json(409, "AlreadyExists", "taken")}
                       : TestResponse{.status = 201, .body = request.body};
  });
  ResourceSlice slice = small_slice();
  slice.meta = {.generate_name = "0-"};
  EXPECT_TRUE(slices().create(slice));
  EXPECT_EQ(calls, 3);
}

TEST_F(ClientTest, CreateSlice_FixedNameTakenIsExists) {
  serve([](const TestRequest&) {
    return TestResponse{.status = 409, .body = status_json(409, "AlreadyExists", "taken")};
  });
  EXPECT_EQ(slices().create(small_slice()).error().code(), Code::kExists);
  EXPECT_THAT(server_->requests(), SizeIs(1));
}

TEST_F(ClientTest, CreateSlice_ServerErrorIsNotRepeated) {
  serve([](const TestRequest&) {
    return TestResponse{.status = 500, .body = status_json(500, "InternalError", "x")};
  });
  EXPECT_EQ(slices().create(small_slice()).error().code(), Code::kUnavailable);
  EXPECT_THAT(server_->requests(), SizeIs(1)) << "the first POST may have been acted on";
}

TEST_F(ClientTest, UpdateSlice_WithoutVersionIsRefusedHere) {
  serve([](const TestRequest&) { return TestResponse{}; });
  ResourceSlice slice = small_slice();
  slice.meta.resource_version.clear();
  EXPECT_EQ(slices().update(slice).error().code(), Code::kInvalid);
  EXPECT_THAT(server_->requests(), SizeIs(0));
}

TEST_F(ClientTest, DeleteSlice_SendsPreconditions) {
  serve([](const TestRequest&) { return TestResponse{.body = "{}"}; });
  ASSERT_TRUE(slices().remove(small_slice().meta));
  const auto request = server_->requests().at(0);
  EXPECT_EQ(request.method, "DELETE");
  EXPECT_EQ(json::parse(request.body)["preconditions"], (json{{"uid", "uid-1"}, {"resourceVersion", "7"}}));
}

TEST_F(ClientTest, DeleteSlice_GoneIsSuccess) {
  serve([](const TestRequest&) {
    return TestResponse{.status = 404, .body = status_json(404, "NotFound", "x")};
  });
  EXPECT_TRUE(slices().remove(small_slice().meta));
}

TEST_F(ClientTest, DeleteSlice_AnotherObjectOfThatNameIsSuccess) {
  serve([](const TestRequest& request) {
    return request.method == "DELETE"
               ? TestResponse{.status = 409, .body = status_json(409, "Conflict", "Precondition failed")}
               : TestResponse{.body = R"({"metadata":{"name":"s1","uid":"uid-2"}})"};
  });
  EXPECT_TRUE(slices().remove(small_slice().meta));
}

TEST_F(ClientTest, DeleteSlice_ChangedObjectIsConflict) {
  serve([](const TestRequest& request) {
    return request.method == "DELETE"
               ? TestResponse{.status = 409, .body = status_json(409, "Conflict", "Precondition failed")}
               : TestResponse{.body = R"({"metadata":{"name":"s1","uid":"uid-1","resourceVersion":"8"}})"};
  });
  EXPECT_EQ(slices().remove(small_slice().meta).error().code(), Code::kConflict);
}

std::string page_json(const std::string& name, const std::string& next) {
  return json{{"metadata", {{"resourceVersion", "5"}, {"continue", next}}},
              {"items", {{{"metadata", {{"name", name}}}, {"spec", {{"driver", "d"}}}}}}}
      .dump();
}

TEST_F(ClientTest, ListSlices_FollowsContinueAndSelectsOwnOnes) {
  serve([](const TestRequest& request) {
    const bool first = request.parameter("continue").empty();
    return TestResponse{.body = first ? page_json("a", "next/page=") : page_json("b", "")};
  });
  const auto list = slices().list(selection_of({.driver = "d.example.com", .node_name = "n1"}).value());
  ASSERT_TRUE(list) << list.error().what();
  ASSERT_THAT(list->items, SizeIs(2));
  EXPECT_EQ(list->items[1].meta.name, "b");
  EXPECT_EQ(list->resource_version, "5");
  const auto requests = server_->requests();
  EXPECT_EQ(requests.at(0).parameter("fieldSelector"), "spec.driver=d.example.com,spec.nodeName=n1");
  EXPECT_EQ(requests.at(1).parameter("continue"), "next/page=");
}

TEST_F(ClientTest, ListSlices_ExpiredPageStartsOver) {
  std::atomic<int> calls = 0;
  serve([&](const TestRequest& request) {
    if (++calls == 2) {
      return TestResponse{.status = 410, .body = status_json(410, "Expired", "too old")};
    }
    return TestResponse{.body =
                            request.parameter("continue").empty() ? page_json("a", "n") : page_json("b", "")};
  });
  const auto list = slices().list(selection_of({.driver = "d", .node_name = "n1"}).value());
  ASSERT_TRUE(list) << list.error().what();
  EXPECT_THAT(list->items, SizeIs(2)) << "the page of the first try must not be there twice";
  EXPECT_EQ(calls, 4);
}

TEST(SliceSelector, WithoutNodeIsRefused) {
  EXPECT_EQ(selection_of({.driver = "d", .node_name = ""}).error().code(), Code::kInvalid);
}

TEST_F(ClientTest, ApplyClaimStatus_IsAServerSideApplyOfAllEntries) {
  serve([](const TestRequest&) { return TestResponse{.body = "{}"}; });
  const ObjectMeta claim{.name = "c", .namespace_ = "ns", .uid = "u"};
  DeviceStatus device{.driver = "d.example.com", .pool = "p", .device = "eth1"};
  device.ips = {"10.0.0.5/24"};
  ASSERT_TRUE(apply_claim_status(client(), claim, {device}, "d.example.com"));
  const auto request = server_->requests().at(0);
  EXPECT_EQ(request.method, "PATCH");
  EXPECT_EQ(request.path, "/apis/resource.k8s.io/v1/namespaces/ns/resourceclaims/c/status");
  EXPECT_EQ(request.content_type, "application/apply-patch+yaml");
  EXPECT_EQ(request.parameter("fieldManager"), "d.example.com");
  EXPECT_EQ(request.parameter("force"), "true");
  const json body = json::parse(request.body);
  EXPECT_EQ(body["metadata"]["uid"], "u");
  EXPECT_EQ(body["status"]["devices"][0]["networkData"]["ips"][0], "10.0.0.5/24");
}

TEST_F(ClientTest, RetryAfter_IsWaitedFor) {
  std::atomic<int> calls = 0;
  serve([&](const TestRequest&) {
    return ++calls == 1 ? TestResponse{.status = 429, .headers = {{"Retry-After", "3"}}}
                        : TestResponse{.body = R"({"metadata":{"uid":"u"}})"};
  });
  const auto before = clock_.now();
  ASSERT_TRUE(node_uid(client(), "n1"));
  EXPECT_EQ(calls, 2);
  EXPECT_GE(clock_.now() - before, seconds(3));
}

TEST_F(ClientTest, RetryAfter_RepeatsEvenAPost) {
  std::atomic<int> calls = 0;
  serve([&](const TestRequest& request) {
    return ++calls == 1 ? TestResponse{.status = 429, .headers = {{"Retry-After", "1"}}}
                        : TestResponse{.status = 201, .body = request.body};
  });
  EXPECT_TRUE(slices().create(small_slice()));
  EXPECT_EQ(calls, 2);
}

TEST_F(ClientTest, RetryAfter_BeyondTheDeadlineFailsAtOnce) {
  serve([](const TestRequest&) {
    return TestResponse{.status = 503,
                        .body = status_json(503, "ServiceUnavailable", "busy"),
                        .headers = {{"Retry-After", "3600"}}};
  });
  const auto before = clock_.now();
  const auto uid = node_uid(client(), "n1");
  EXPECT_EQ(uid.error().code(), Code::kUnavailable);
  EXPECT_EQ(clock_.now(), before);
  EXPECT_THAT(server_->requests(), SizeIs(1));
}

TEST_F(ClientTest, ServerErrors_AreRetriedWithBackoffUntilOneSucceeds) {
  std::atomic<int> calls = 0;
  serve([&](const TestRequest&) {
    return ++calls < 4 ? TestResponse{.status = 500} : TestResponse{.body = R"({"metadata":{"uid":"u"}})"};
  });
  EXPECT_TRUE(node_uid(client(), "n1"));
  EXPECT_EQ(calls, 4);
}

TEST_F(ClientTest, Overload_WithoutRetryAfterIsLeftAloneForASecond) {
  std::atomic<int> calls = 0;
  serve([&](const TestRequest&) {
    return ++calls == 1 ? TestResponse{.status = 429} : TestResponse{.body = R"({"metadata":{"uid":"u"}})"};
  });
  const auto before = clock_.now();
  ASSERT_TRUE(node_uid(client(), "n1"));
  EXPECT_GE(clock_.now() - before, seconds(1));
}

TEST_F(ClientTest, AnyTries_GoOnForAsLongAsTheCallMayTake) {
  std::atomic<int> calls = 0;
  serve([&](const TestRequest&) {
    return ++calls <= 60 ? TestResponse{.status = 500} : TestResponse{.body = R"({"metadata":{"uid":"u"}})"};
  });
  EXPECT_TRUE(node_uid(client(), "n1", {.timeout = seconds(40), .max_tries = CallOptions::kAnyTries}));
  EXPECT_EQ(calls, 61);
}

TEST_F(ClientTest, ReplaceClaimStatus_ReadsAndPutsProtobuf) {
  // k8s, Unknown{typeMeta{apiVersion, kind}, raw{metadata{uid "u"}}}
  const std::string object = std::string("k8s\0", 4) +
                             "\x0a\x23\x0a\x12resource.k8s.io/v1\x12\x0dResourceClaim" +
                             "\x12\x05\x0a\x03\x2a\x01u";
  serve([&](const TestRequest& request) {
    return request.method == "GET" ? TestResponse{.body = object} : TestResponse{.body = "{}"};
  });
  const ObjectMeta claim{.name = "c", .namespace_ = "ns", .uid = "u"};
  const auto replaced =
      replace_claim_status(client(), claim, {{.driver = "d", .pool = "p", .device = "e"}}, "d");
  ASSERT_TRUE(replaced) << replaced.error().what();
  const auto put = server_->requests().at(1);
  EXPECT_EQ(put.method, "PUT");
  EXPECT_EQ(put.path, "/apis/resource.k8s.io/v1/namespaces/ns/resourceclaims/c/status");
  EXPECT_EQ(put.content_type, "application/vnd.kubernetes.protobuf");
  EXPECT_EQ(put.parameter("fieldManager"), "d");
  const std::string added =
      "\x1a\x0b\x22\x09\x0a\x01"
      "d\x12\x01p\x1a\x01"
      "e";
  EXPECT_EQ(put.body, object.substr(0, object.size() - 7) + "\x12" + "\x12" + "\x0a\x03\x2a\x01u" + added);
}

TEST_F(ClientTest, CreateEvent_PostsItIntoTheNamespaceOfItsObject) {
  serve([](const TestRequest&) { return TestResponse{.status = 201, .body = "{}"}; });
  const Event event{
      .meta = {.name = "web.1", .namespace_ = "shop"},
      .about = {.api_version = "v1", .kind = "Pod", .namespace_ = "shop", .name = "web", .uid = "pod-uid"},
      .type = "Warning",
      .reason = "FailedPrepareClaim",
      .message = "no parent eth9",
      .component = "d.example.com",
      .host = "n1",
      .first_seen = "2026-01-01T00:00:00Z",
      .last_seen = "2026-01-01T00:00:00Z",
      .count = 1};
  ASSERT_TRUE(Resource<Event>(client()).create(event));
  const auto request = server_->requests().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.path, "/api/v1/namespaces/shop/events");
  const json body = json::parse(request.body);
  EXPECT_EQ(body["kind"], "Event");
  EXPECT_EQ(body["metadata"], (json{{"name", "web.1"}, {"namespace", "shop"}}));
  EXPECT_EQ(body["involvedObject"]["uid"], "pod-uid");
  EXPECT_EQ(body["source"], (json{{"component", "d.example.com"}, {"host", "n1"}}));
  EXPECT_EQ(body["reason"], "FailedPrepareClaim");
  EXPECT_EQ(body["count"], 1);
}

TEST_F(ClientTest, PatchEvent_ChangesCountAndTimeOnly) {
  serve([](const TestRequest&) { return TestResponse{.body = "{}"}; });
  Event event;
  event.meta = {.name = "web.1", .namespace_ = "shop"};
  event.count = 7;
  event.last_seen = "2026-01-01T00:05:00Z";
  ASSERT_TRUE(
      Resource<Event>(client()).merge_patch({.namespace_ = "shop", .name = "web.1"}, event_patch(event)));
  const auto request = server_->requests().at(0);
  EXPECT_EQ(request.method, "PATCH");
  EXPECT_EQ(request.path, "/api/v1/namespaces/shop/events/web.1");
  EXPECT_EQ(request.content_type, "application/merge-patch+json");
  EXPECT_EQ(json::parse(request.body), (json{{"count", 7}, {"lastTimestamp", "2026-01-01T00:05:00Z"}}));
}

TEST_F(ClientTest, GetClaimStatus_ReadsTheEntriesOfAllDrivers) {
  serve([](const TestRequest&) {
    return TestResponse{.body = R"({"metadata":{"uid":"u"},"status":{"devices":[
      {"driver":"a","pool":"p","device":"d","shareID":"s","data":{"x":1},
       "conditions":[{"type":"Ready","status":"True","reason":"R","message":"m",
                      "lastTransitionTime":"2026-01-01T00:00:00Z"}],
       "networkData":{"interfaceName":"net1","ips":["10.0.0.5/24"],"hardwareAddress":"02:00:00:00:00:01"}},
      {"driver":"b","pool":"p","device":"e"}]}})"};
  });
  const auto status = Resource<ClaimStatus>(client()).get({.namespace_ = "ns", .name = "c"});
  ASSERT_TRUE(status) << status.error().what();
  EXPECT_EQ(status->uid, "u");
  const DeviceStatus first{.driver = "a",
                           .pool = "p",
                           .device = "d",
                           .share_id = "s",
                           .conditions = {{.type = "Ready",
                                           .status = "True",
                                           .reason = "R",
                                           .message = "m",
                                           .last_transition_time = "2026-01-01T00:00:00Z"}},
                           .data = R"({"x":1})",
                           .interface_name = "net1",
                           .ips = {"10.0.0.5/24"},
                           .hardware_address = "02:00:00:00:00:01"};
  EXPECT_THAT(status->devices, ElementsAre(first, DeviceStatus{.driver = "b", .pool = "p", .device = "e"}));
}

TEST_F(ClientTest, MaxTriesOne_LeavesRetriesToTheCaller) {
  serve([](const TestRequest&) { return TestResponse{.status = 500}; });
  EXPECT_FALSE(node_uid(client(), "n1", {.max_tries = 1}));
  EXPECT_THAT(server_->requests(), SizeIs(1));
}

TEST_F(ClientTest, NoServer_IsUnavailableAndNamesItsAddress) {
  serve([](const TestRequest&) { return TestResponse{}; });
  const std::string url = server_->url();
  server_.reset();
  const auto uid = node_uid(client(), "n1", {.timeout = seconds(20)});
  EXPECT_EQ(uid.error().code(), Code::kUnavailable);
  EXPECT_THAT(uid.error().what(), HasSubstr("get nodes at " + url));
}

TEST_F(ClientTest, MalformedJson_IsCorrupt) {
  serve([](const TestRequest&) { return TestResponse{.body = R"({"metadata":{"name")"}; });
  EXPECT_EQ(claims().get({.namespace_ = "ns", .name = "c"}).error().code(), Code::kCorrupt);
  EXPECT_EQ(node_uid(client(), "n1").error().code(), Code::kCorrupt);
}

TEST_F(ClientTest, Observer_SeesVerbResourceAndCodeOfEachExchange) {
  std::mutex mutex;
  std::vector<std::string> seen;
  serve([](const TestRequest&) { return TestResponse{.status = 404}; },
        {.observer = [&](const RequestRecord& record) {
          const std::lock_guard lock(mutex);
          seen.push_back(std::string(record.verb) + " " + std::string(record.resource) + " " +
                         std::to_string(record.code));
        }});
  (void)claims().get({.namespace_ = "ns", .name = "c"});
  (void)node_uid(client(), "n1");
  (void)slices().list(selection_of({.driver = "d", .node_name = "n1"}).value());
  (void)slices().remove(small_slice().meta);
  (void)apply_claim_status(client(), {.name = "c", .namespace_ = "ns"}, {}, "m");
  (void)client().request({.path = "/healthz"});
  EXPECT_THAT(seen, ElementsAre("get resourceclaims 404", "get nodes 404", "list resourceslices 404",
                                "delete resourceslices 404", "patch resourceclaims 404", "get other 404"));
}

TEST_F(ClientTest, Stop_EndsACallThatWaitsForTheServer) {
  std::promise<void> arrived;
  std::promise<void> go_on;
  serve([&](const TestRequest&) {
    arrived.set_value();
    go_on.get_future().wait();
    return TestResponse{};
  });
  std::stop_source stop;
  auto call = std::async(std::launch::async, [&] {
    return claims().get({.namespace_ = "ns", .name = "c"},
                        {.timeout = std::chrono::minutes(10), .stop = stop.get_token()});
  });
  arrived.get_future().wait();
  stop.request_stop();
  EXPECT_EQ(call.get().error().code(), Code::kCancelled) << "the server has not answered yet";
  go_on.set_value();
  server_.reset();
}

TEST_F(ClientTest, Deadline_EndsACallThatIsNotAnswered) {
  std::promise<void> go_on;
  auto gate = go_on.get_future().share();
  serve([gate](const TestRequest&) {
    gate.wait();
    return TestResponse{};
  });
  const auto claim =
      claims().get({.namespace_ = "ns", .name = "c"}, {.timeout = milliseconds(50), .max_tries = 1});
  EXPECT_EQ(claim.error().code(), Code::kTimeout);
  EXPECT_THAT(claim.error().what(), HasSubstr("no complete answer within 50 ms"));
  go_on.set_value();
}

TEST_F(ClientTest, ManyThreads_ShareOneClient) {
  serve(
      [](const TestRequest& request) {
        return TestResponse{.body = R"({"metadata":{"uid":")" + request.path.substr(14) + R"("}})"};
      },
      {.qps = 0});
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    threads.reserve(6);
    for (int t = 0; t < 6; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 20; ++i) {
          const std::string name = "n" + std::to_string(t * 1000 + i);
          const auto uid = node_uid(client(), name);
          wrong += !uid || *uid != name;
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
}

TEST_F(ClientTest, UnlimitedCall_DoesNotWaitBehindLimitedOnes) {
  serve([](const TestRequest&) { return TestResponse{.body = R"({"metadata":{"name":"c","uid":"u"}})"}; },
        {.qps = 1, .burst = 1});
  ASSERT_TRUE(node_uid(client(), "n1"));
  const auto before = clock_.now();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(claims().get({.namespace_ = "ns", .name = "c"}, {.limited = false}));
  }
  EXPECT_EQ(clock_.now(), before) << "a pod's start waited for our own limit";
  ASSERT_TRUE(node_uid(client(), "n1"));
  EXPECT_EQ(clock_.now(), before + seconds(1)) << "unlimited calls take no tokens from the others";
}

TEST(RateLimiter, BurstIsFreeThenTokensComeAtTheRate) {
  VirtualClock clock(VirtualClock::Mode::kJump);
  RateLimiter limiter(10, 5, clock);
  const auto start = clock.now();
  const auto deadline = start + std::chrono::hours(1);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(limiter.acquire(deadline, {}));
  }
  EXPECT_EQ(clock.now(), start);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(limiter.acquire(deadline, {}));
  }
  EXPECT_NEAR(std::chrono::duration<double>(clock.now() - start).count(), 2.0, 1e-6);
}

TEST(RateLimiter, TokenAfterTheDeadlineIsRefusedAtOnceAndNotTaken) {
  VirtualClock clock;
  RateLimiter limiter(1, 1, clock);
  ASSERT_TRUE(limiter.acquire(clock.now(), {}));
  EXPECT_EQ(limiter.acquire(clock.now() + milliseconds(500), {}).error().code(), Code::kTimeout);
  clock.advance(seconds(1));
  EXPECT_TRUE(limiter.acquire(clock.now(), {})) << "the refused one must not have used up the token";
}

TEST(RateLimiter, StopEndsTheWaitAndGivesTheTokenBack) {
  VirtualClock clock;
  RateLimiter limiter(1, 1, clock);
  ASSERT_TRUE(limiter.acquire(clock.now(), {}));
  std::stop_source stop;
  auto waiting = std::async(std::launch::async, [&] {
    return limiter.acquire(clock.now() + std::chrono::hours(1), stop.get_token());
  });
  clock.await_waiters(1);
  stop.request_stop();
  EXPECT_EQ(waiting.get().error().code(), Code::kCancelled);
  clock.advance(seconds(1));
  EXPECT_TRUE(limiter.acquire(clock.now(), {}));
}

TEST(RateLimiter, UnusedTimeIsKeptOnlyUpToTheBurst) {
  VirtualClock clock(VirtualClock::Mode::kJump);
  RateLimiter limiter(10, 2, clock);
  clock.advance(std::chrono::hours(1));
  const auto start = clock.now();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(limiter.acquire(start + seconds(10), {}));
  }
  EXPECT_GT(clock.now(), start) << "two tokens were there, the third had to be waited for";
}

}  // namespace
}  // namespace fairlead::kube
