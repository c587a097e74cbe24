// SPDX-License-Identifier: Apache-2.0
// The REST API over real HTTPS.
#include "drydock/cluster/api_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "drydock/cluster/testing/test_client.h"
#include "drydock/cluster/testing/test_objects.h"

namespace drydock {
namespace {

using ::testing::AllOf;
using testing::Client;
using ::testing::HasSubstr;
using testing::Reply;
using testing::WatchReader;

const std::string& slices_path() {
  static const std::string path = "/apis/resource.k8s.io/v1/resourceslices";
  return path;
}
const std::string& claims_path() {
  static const std::string path = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
  return path;
}

class ApiServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store_.create(kinds::kNamespace, "", {{"metadata", {{"name", "default"}}}}));
    const auto started = server_.start();
    ASSERT_TRUE(started) << started.error().what();
    client_ = std::make_unique<Client>(server_.port(), server_.token(), server_.ca_pem());
  }
  static Json slice(const std::string& name, const std::string& driver = "d.example") {
    return testing::slice(name, driver, Json::array({testing::device("a")}));
  }
  Json allocated_claim() {
    const Json request = testing::exactly("nic", {{"deviceClassName", "c"}});
    (void)store_.create(kinds::kResourceClaim, "default", testing::claim("c", Json::array({request})));
    (void)store_.modify(kinds::kResourceClaim, "default", "c", Part::kStatus, [](Json& claim) {
      Json results = Json::array();
      for (const char* name : {"a", "b"}) {
        results.push_back({{"request", "nic"}, {"driver", "d.example"}, {"pool", "p"}, {"device", name}});
      }
      claim["status"]["allocation"]["devices"]["results"] = results;
      return true;
    });
    return *store_.get(kinds::kResourceClaim, "default", "c");
  }
  static Json device_status(const std::string& device, const std::string& ip) {
    return {{"driver", "d.example"}, {"pool", "p"}, {"device", device}, {"networkData", {{"ips", {ip}}}}};
  }
  static Json apply_body(const Json& devices) {
    return {{"apiVersion", "resource.k8s.io/v1"},
            {"kind", "ResourceClaim"},
            {"metadata", {{"name", "c"}, {"namespace", "default"}}},
            {"status", {{"devices", devices}}}};
  }
  [[nodiscard]] Reply apply_status(const std::string& manager, const Json& devices,
                                   bool force = false) const {
    return client_->patch(claims_path() + "/c/status?fieldManager=" + manager + (force ? "&force=true" : ""),
                          apply_body(devices), "application/apply-patch+yaml");
  }

  Store store_;
  ApiServer server_{store_, {.bookmark_interval = std::chrono::milliseconds(50)}};
  std::unique_ptr<Client> client_;
};

TEST_F(ApiServerTest, Token_Wrong_IsUnauthorized) {
  Client stranger(server_.port(), "wrong", server_.ca_pem());
  EXPECT_EQ(stranger.get(slices_path()).status, 401);
  EXPECT_EQ(stranger.get("/readyz").text, "ok");
}

TEST_F(ApiServerTest, Certificate_OfAnotherAuthority_IsRefused) {
  ApiServer other(store_, {});
  ASSERT_TRUE(other.start());
  Client wrong(server_.port(), server_.token(), other.ca_pem());
  EXPECT_EQ(wrong.get(slices_path()).status, 0);
}

TEST_F(ApiServerTest, Object_LivesThroughCreateReadUpdateDelete) {
  const Reply created = client_->post(slices_path(), slice("s1"));
  ASSERT_EQ(created.status, 201) << created.text;
  EXPECT_EQ(created.body["metadata"]["generation"], 1);
  Json changed = created.body;
  changed["spec"]["devices"].push_back(testing::device("b"));
  const Reply updated = client_->put(slices_path() + "/s1", changed);
  ASSERT_EQ(updated.status, 200) << updated.text;
  EXPECT_EQ(updated.body["metadata"]["generation"], 2);
  EXPECT_EQ(client_->put(slices_path() + "/s1", changed).status, 409) << "the resourceVersion is old";
  EXPECT_EQ(client_->put(slices_path() + "/s1", updated.body).body["metadata"]["resourceVersion"],
            updated.body["metadata"]["resourceVersion"])
      << "a write that changes nothing is none";
  EXPECT_EQ(client_->get(slices_path() + "/s1").body, updated.body);
  EXPECT_EQ(client_->remove(slices_path() + "/s1", {{"preconditions", {{"uid", "other"}}}}).status, 409);
  EXPECT_EQ(client_->remove(slices_path() + "/s1").status, 200);
  const Reply gone = client_->get(slices_path() + "/s1");
  EXPECT_EQ(gone.status, 404);
  EXPECT_EQ(gone.body["kind"], "Status");
  EXPECT_EQ(gone.body["reason"], "NotFound");
  EXPECT_EQ(gone.body["message"], "resourceslices.resource.k8s.io \"s1\" not found");
}

TEST_F(ApiServerTest, GenerateName_IsCutAndMadeUnique) {
  Json object = slice("");
  object["metadata"] = {{"generateName", std::string(80, 'a')}};
  const Reply created = client_->post(slices_path(), object);
  ASSERT_EQ(created.status, 201) << created.text;
  const auto name = created.body["metadata"]["name"].get<std::string>();
  EXPECT_EQ(name.size(), 63U);
  EXPECT_TRUE(name.starts_with(std::string(58, 'a')));
}

TEST_F(ApiServerTest, Create_Invalid_Is422WithFields) {
  Json object = slice("s1");
  object["spec"]["devices"][0]["name"] = "Not_A_Label";
  const Reply refused = client_->post(slices_path(), object);
  EXPECT_EQ(refused.status, 422);
  EXPECT_EQ(refused.body["details"]["causes"][0]["field"], "spec.devices[0].name");
  object = slice("s1");
  object["spec"]["devices"] = "none";
  EXPECT_EQ(client_->post(slices_path(), object).status, 400) << "a wrong type is a bad request";
}

TEST_F(ApiServerTest, Create_UnknownField_IsDroppedOrRefusedWhenStrict) {
  Json object = slice("s1");
  object["spec"]["novelty"] = 1;
  const Reply strict = client_->post(slices_path() + "?fieldValidation=Strict", object);
  EXPECT_EQ(strict.status, 400);
  EXPECT_THAT(strict.body["message"].get<std::string>(), HasSubstr("unknown field \"spec.novelty\""));
  const Reply created = client_->post(slices_path(), object);
  EXPECT_EQ(created.status, 201);
  EXPECT_FALSE(created.body["spec"].contains("novelty"));
}

TEST_F(ApiServerTest, List_SelectsAndPages) {
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_EQ(client_->post(slices_path(), slice(name)).status, 201);
  }
  ASSERT_EQ(client_->post(slices_path(), slice("other", "o.example")).status, 201);
  const Reply page =
      client_->get(slices_path() + "?fieldSelector=spec.driver%3Dd.example,spec.nodeName%3Ddrydock&limit=2");
  ASSERT_EQ(page.status, 200) << page.text;
  EXPECT_EQ(page.body["kind"], "ResourceSliceList");
  ASSERT_EQ(page.body["items"].size(), 2U);
  EXPECT_FALSE(page.body["items"][0].contains("kind"));
  EXPECT_EQ(page.body["metadata"]["remainingItemCount"], 1);
  const Reply rest = client_->get(slices_path() + "?fieldSelector=spec.driver%3Dd.example&limit=2&continue=" +
                                  page.body["metadata"]["continue"].get<std::string>());
  ASSERT_EQ(rest.body["items"].size(), 1U);
  EXPECT_EQ(rest.body["items"][0]["metadata"]["name"], "c");
  EXPECT_EQ(client_->get(slices_path() + "?fieldSelector=spec.bogus%3D1").status, 400);
}

TEST_F(ApiServerTest, DeleteCollection_TakesTheSelectedOnly) {
  ASSERT_EQ(client_->post(slices_path(), slice("a")).status, 201);
  ASSERT_EQ(client_->post(slices_path(), slice("b", "o.example")).status, 201);
  EXPECT_EQ(client_->remove(slices_path() + "?fieldSelector=spec.driver%3Dd.example").status, 200);
  const Reply left = client_->get(slices_path());
  ASSERT_EQ(left.body["items"].size(), 1U);
  EXPECT_EQ(left.body["items"][0]["metadata"]["name"], "b");
}

TEST_F(ApiServerTest, Watch_TellsChangesOfTheSelection) {
  const std::string version = client_->get(slices_path()).body["metadata"]["resourceVersion"];
  WatchReader watch(*client_, slices_path() + "?watch=true&allowWatchBookmarks=true&resourceVersion=" +
                                  version + "&fieldSelector=spec.driver%3Dd.example");
  ASSERT_EQ(client_->post(slices_path(), slice("other", "o.example")).status, 201);
  const Reply created = client_->post(slices_path(), slice("s1"));
  Json event = watch.wait_type("ADDED");
  EXPECT_EQ(event["object"], created.body);
  Json changed = created.body;
  changed["spec"]["devices"] = Json::array();
  ASSERT_EQ(client_->put(slices_path() + "/s1", changed).status, 200);
  EXPECT_EQ(watch.wait_type("MODIFIED")["object"]["spec"]["devices"], Json::array());
  ASSERT_EQ(client_->remove(slices_path() + "/s1").status, 200);
  EXPECT_EQ(watch.wait_type("DELETED")["object"]["metadata"]["name"], "s1");
  event = watch.wait([&](const Json& one) {
    return one["type"] == "BOOKMARK" &&
           one["object"]["metadata"]["resourceVersion"] == std::to_string(store_.resource_version());
  });
  EXPECT_EQ(event["object"]["kind"], "ResourceSlice");
}

TEST_F(ApiServerTest, Watch_FromNothing_StartsWithAllThatIsThere) {
  ASSERT_EQ(client_->post(slices_path(), slice("s1")).status, 201);
  WatchReader watch(*client_, slices_path() + "?watch=1");
  EXPECT_EQ(watch.wait_type("ADDED")["object"]["metadata"]["name"], "s1");
}

TEST_F(ApiServerTest, Watch_OlderThanHistory_IsGone) {
  ASSERT_EQ(client_->post(slices_path(), slice("s1")).status, 201);
  WatchReader open(*client_, slices_path() + "?watch=1&resourceVersion=1");
  ASSERT_EQ(open.wait_type("ADDED")["object"]["metadata"]["name"], "s1");
  store_.compact();
  EXPECT_EQ(open.wait_type("ERROR")["object"]["code"], 410);
  EXPECT_TRUE(open.wait_end());
  WatchReader late(*client_, slices_path() + "?watch=1&resourceVersion=1");
  EXPECT_EQ(late.wait_type("ERROR")["object"]["reason"], "Expired");
}

TEST_F(ApiServerTest, Watch_TimeoutSeconds_Ends) {
  WatchReader watch(*client_, slices_path() + "?watch=1&timeoutSeconds=1");
  EXPECT_TRUE(watch.wait_end());
}

TEST_F(ApiServerTest, Watch_ManyAtOnce_AllAreServed) {
  std::vector<std::unique_ptr<WatchReader>> watches;
  watches.reserve(30);
  for (int i = 0; i < 30; ++i) {
    watches.push_back(std::make_unique<WatchReader>(*client_, slices_path() + "?watch=1"));
  }
  ASSERT_EQ(client_->post(slices_path(), slice("s1")).status, 201);
  for (const auto& watch : watches) {
    EXPECT_EQ(watch->wait_type("ADDED")["object"]["metadata"]["name"], "s1");
  }
}

TEST_F(ApiServerTest, Stop_EndsWatchesAndStartsAgainOnTheSamePort) {
  const std::uint16_t port = server_.port();
  ASSERT_EQ(client_->post(slices_path(), slice("s1")).status, 201);
  WatchReader watch(*client_, slices_path() + "?watch=1");
  ASSERT_FALSE(watch.wait_type("ADDED").is_null());
  server_.stop();
  EXPECT_TRUE(watch.wait_end());
  EXPECT_EQ(client_->get(slices_path()).status, 0);
  const auto again = server_.start();
  ASSERT_TRUE(again) << again.error().what();
  EXPECT_EQ(server_.port(), port);
  EXPECT_EQ(client_->get(slices_path()).body["items"].size(), 1U);
}

TEST_F(ApiServerTest, Media_OnlyJson) {
  EXPECT_EQ(client_->get(slices_path(), {{"Accept", "application/vnd.kubernetes.protobuf"}}).status, 406);
  EXPECT_EQ(client_->get(slices_path(), {{"Accept", "application/vnd.kubernetes.protobuf,application/json"}})
                .status,
            200);
  EXPECT_EQ(client_->post(slices_path(), slice("s1"), "application/vnd.kubernetes.protobuf").status, 415);
  EXPECT_EQ(client_->get(slices_path() + "?watch=1&sendInitialEvents=true").status, 422);
}

TEST_F(ApiServerTest, Discovery_NamesTheResources) {
  EXPECT_EQ(client_->get("/api").body["versions"][0], "v1");
  EXPECT_THAT(client_->get("/apis").text, HasSubstr("resource.k8s.io/v1"));
  EXPECT_THAT(client_->get("/apis/resource.k8s.io/v1").text, HasSubstr("\"resourceclaims/status\""));
  EXPECT_EQ(client_->get("/api/v1").body["groupVersion"], "v1");
  EXPECT_EQ(client_->get("/version").body["minor"], "36");
  EXPECT_EQ(client_->get("/apis/apps/v1/deployments").status, 404);
}

TEST_F(ApiServerTest, Status_AndSpec_AreWrittenApart) {
  Json claim = allocated_claim();
  Json wrong = claim;
  wrong["status"] = Json::object();
  wrong["metadata"]["labels"] = {{"a", "b"}};
  const Reply spec = client_->put(claims_path() + "/c", wrong);
  ASSERT_EQ(spec.status, 200) << spec.text;
  EXPECT_EQ(spec.body["status"], claim["status"]) << "status comes by /status only";
  EXPECT_EQ(spec.body["metadata"]["labels"]["a"], "b");
  wrong = spec.body;
  wrong["spec"] = {{"devices", Json::object()}};
  wrong["metadata"]["labels"] = Json::object();
  wrong["status"]["reservedFor"] = Json::array({{{"resource", "pods"}, {"name", "p"}, {"uid", "u"}}});
  const Reply status = client_->put(claims_path() + "/c/status", wrong);
  ASSERT_EQ(status.status, 200) << status.text;
  EXPECT_EQ(status.body["spec"], claim["spec"]);
  EXPECT_EQ(status.body["metadata"]["labels"]["a"], "b");
  EXPECT_EQ(status.body["status"]["reservedFor"].size(), 1U);
}

TEST_F(ApiServerTest, Apply_StatusDevices_OwnsItsEntries) {
  (void)allocated_claim();
  Reply reply = apply_status("one", Json::array({device_status("a", "10.0.0.1/24")}));
  ASSERT_EQ(reply.status, 200) << reply.text;
  reply = apply_status("two", Json::array({device_status("b", "10.0.0.2/24")}));
  EXPECT_EQ(reply.body["status"]["devices"].size(), 2U) << "another manager's entry stays";
  reply = apply_status("two", Json::array({device_status("a", "10.0.0.9/24")}));
  EXPECT_EQ(reply.status, 409) << reply.text;
  EXPECT_EQ(reply.body["details"]["causes"][0]["reason"], "FieldManagerConflict");
  reply = apply_status("two", Json::array({device_status("a", "10.0.0.9/24")}), true);
  ASSERT_EQ(reply.status, 200) << reply.text;
  ASSERT_EQ(reply.body["status"]["devices"].size(), 1U) << "what a manager leaves out goes";
  EXPECT_EQ(reply.body["status"]["devices"][0]["networkData"]["ips"][0], "10.0.0.9/24");
  reply = apply_status("one", Json::array());
  EXPECT_EQ(reply.body["status"]["devices"].size(), 1U) << "the entry was taken over";
  reply = apply_status("two", Json::array());
  EXPECT_FALSE(reply.body["status"].contains("devices"));
}

TEST_F(ApiServerTest, Apply_StatusDevices_KnowsTheRules) {
  const Json claim = allocated_claim();
  EXPECT_EQ(apply_status("one", Json::array({device_status("stranger", "10.0.0.1/24")})).status, 422);
  const Reply address = apply_status("one", Json::array({device_status("a", "2001:0DB8::1/64")}));
  EXPECT_EQ(address.status, 422);
  EXPECT_THAT(address.body["message"].get<std::string>(),
              HasSubstr("must be in canonical form (\"2001:db8::1/64\")"));
  Json other = apply_body(Json::array());
  other["metadata"]["uid"] = "another";
  EXPECT_EQ(
      client_->patch(claims_path() + "/c/status?fieldManager=one", other, "application/apply-patch+yaml")
          .status,
      409);
  EXPECT_EQ(
      client_->patch(claims_path() + "/c/status", apply_body(Json::array()), "application/apply-patch+yaml")
          .status,
      400)
      << "a field manager is needed";
}

TEST_F(ApiServerTest, Patch_MergeAndJson) {
  ASSERT_EQ(client_->post(slices_path(), slice("s1")).status, 201);
  const Reply merged = client_->patch(slices_path() + "/s1", {{"metadata", {{"labels", {{"a", "b"}}}}}},
                                      "application/merge-patch+json");
  EXPECT_EQ(merged.body["metadata"]["labels"]["a"], "b");
  const Json operation = {{"op", "remove"}, {"path", "/metadata/labels/a"}};
  const Reply patched =
      client_->patch(slices_path() + "/s1", Json::array({operation}), "application/json-patch+json");
  EXPECT_EQ(patched.body["metadata"]["labels"], Json::object()) << patched.text;
  EXPECT_EQ(
      client_->patch(slices_path() + "/s1", Json::object(), "application/strategic-merge-patch+json").status,
      415);
}

TEST_F(ApiServerTest, Faults_FailOrDropOnOrder) {
  server_.set_faults({.drop_fields = {"allowMultipleAllocations", "requestPolicy"}});
  const Reply created = client_->post(
      slices_path(), testing::slice("s1", "d.example", Json::array({testing::virtual_device("8")})));
  ASSERT_EQ(created.status, 201) << created.text;
  EXPECT_FALSE(created.body["spec"]["devices"][0].contains("allowMultipleAllocations"));
  server_.set_faults({.fail_requests = 1, .status = 429, .retry_after_seconds = 2, .method = "GET"});
  const Reply failed = client_->get(slices_path());
  EXPECT_EQ(failed.status, 429);
  EXPECT_EQ(failed.retry_after, "2");
  EXPECT_EQ(client_->get(slices_path()).status, 200);
  EXPECT_EQ(server_.requests().back().target, slices_path());
}

TEST_F(ApiServerTest, Requests_HaveTheOneWhoseEffectIsInTheStore) {
  std::thread writer([&] {
    for (int i = 0; i < 50; ++i) {
      (void)client_->post(slices_path(), slice("s" + std::to_string(i)));
    }
  });
  for (std::size_t i = 0; i < 50; ++i) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!store_.get(kinds::kResourceSlice, "", "s" + std::to_string(i)) &&
           std::chrono::steady_clock::now() < until) {
    }
    const auto requests = server_.requests();
    EXPECT_GT(requests.size(), i);
    EXPECT_EQ(requests.back().status, 201);
  }
  writer.join();
  server_.clear_requests();
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(ApiServerTest, Body_TooDeepOrNoJson_IsBadRequest) {
  const auto raw = client_->connect()->Post(slices_path(), std::string(100000, '['), "application/json");
  ASSERT_TRUE(raw);
  EXPECT_EQ(raw->status, 400);
  EXPECT_EQ(client_->connect()->Post(slices_path(), "{\"a\":", "application/json")->status, 400);
}

class ApiServerDriver : public ApiServerTest {
 protected:
  void SetUp() override {
    ApiServerTest::SetUp();
    token_ = server_.add_user({.user = "system:serviceaccount:kube-system:d", .node = "n", .drivers = {}});
    server_.allow_driver(token_, "d.example");
    driver_ = std::make_unique<Client>(server_.port(), token_, server_.ca_pem());
  }
  std::string token_;
  std::unique_ptr<Client> driver_;
};

TEST_F(ApiServerDriver, Slices_OfItsOwnNodeOnly) {
  Json own = slice("own");
  own["spec"]["nodeName"] = "n";
  Json foreign = slice("foreign");
  foreign["spec"]["nodeName"] = "other";
  EXPECT_EQ(driver_->post(slices_path(), own).status, 201);
  const Reply refused = driver_->post(slices_path(), foreign);
  EXPECT_EQ(refused.status, 422);
  EXPECT_THAT(refused.body["message"].get<std::string>(), HasSubstr("belong to its node n"));
  ASSERT_EQ(client_->post(slices_path(), foreign).status, 201);
  EXPECT_EQ(driver_->remove(slices_path() + "/foreign").status, 422);
  EXPECT_EQ(client_->get(slices_path() + "/foreign").status, 200);
  EXPECT_EQ(driver_->remove(slices_path() + "/own").status, 200);
}

TEST_F(ApiServerDriver, Status_DevicesOfItsOwnDriverOnly) {
  (void)allocated_claim();
  (void)store_.modify(kinds::kResourceClaim, "default", "c", Part::kStatus, [](Json& claim) {
    claim["status"]["reservedFor"] = Json::array({{{"resource", "pods"}, {"name", "x"}, {"uid", "u"}}});
    return true;
  });
  const std::string path = claims_path() + "/c/status?fieldManager=m";
  const std::string apply = "application/apply-patch+yaml";
  EXPECT_EQ(driver_->patch(path, apply_body(Json::array({device_status("a", "192.0.2.1/24")})), apply).status,
            200);
  Json unallocated = device_status("z", "192.0.2.1/24");
  EXPECT_EQ(driver_->patch(path, apply_body(Json::array({unallocated})), apply).status, 422);
  Json other_pool = device_status("a", "192.0.2.1/24");
  other_pool["pool"] = "elsewhere";
  EXPECT_EQ(driver_->patch(path, apply_body(Json::array({other_pool})), apply).status, 422);

  const std::string stranger_token = server_.add_user(
      {.user = "system:serviceaccount:kube-system:s", .node = "n", .drivers = {"s.example"}});
  const Client stranger(server_.port(), stranger_token, server_.ca_pem());
  const Reply refused = stranger.patch(claims_path() + "/c/status?fieldManager=s&force=true",
                                       apply_body(Json::array({device_status("b", "192.0.2.2/24")})), apply);
  EXPECT_EQ(refused.status, 422);
  EXPECT_THAT(
      refused.body["message"].get<std::string>(),
      AllOf(HasSubstr("status.devices: Forbidden"), HasSubstr("resourceclaims/driver named d.example")));
  EXPECT_EQ(driver_
                ->patch(claims_path() + "/c/status", {{"status", {{"reservedFor", nullptr}}}},
                        "application/merge-patch+json")
                .status,
            422);
}

TEST_F(ApiServerDriver, Status_OfAClaimOnAnotherNode_IsRefused) {
  (void)store_.create(
      kinds::kResourceClaim, "default",
      testing::claim("c", Json::array({testing::exactly("nic", {{"deviceClassName", "c"}})})));
  (void)store_.modify(kinds::kResourceClaim, "default", "c", Part::kStatus, [](Json& claim) {
    claim["status"]["allocation"]["devices"]["results"] =
        Json::array({{{"request", "nic"}, {"driver", "d.example"}, {"pool", "p"}, {"device", "a"}}});
    const Json field = {{"key", "metadata.name"}, {"operator", "In"}, {"values", Json::array({"other"})}};
    const Json term = {{"matchFields", Json::array({field})}};
    claim["status"]["allocation"]["nodeSelector"]["nodeSelectorTerms"] = Json::array({term});
    return true;
  });
  const Reply refused = driver_->patch(claims_path() + "/c/status?fieldManager=m",
                                       apply_body(Json::array({device_status("a", "192.0.2.1/24")})),
                                       "application/apply-patch+yaml");
  EXPECT_EQ(refused.status, 422);
  EXPECT_THAT(refused.body["message"].get<std::string>(), HasSubstr("allocated to node other"));
}

}  // namespace
}  // namespace drydock
