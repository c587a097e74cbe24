// SPDX-License-Identifier: Apache-2.0
// An object of a kind that the library does not have, described in this file alone: reads, lists, writes, watches.
#include "fairlead/kube/resource.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <nlohmann/json.hpp>

#include "fairlead/kube/reflector.h"
#include "fairlead/kube/testing/https_test_server.h"

namespace fairlead::kube {

struct ConfigMap {
  ObjectMeta meta;
  std::map<std::string, std::string> data;
  std::string text;  // as the server sent it
};

template <>
struct ResourceTraits<ConfigMap> {
  static constexpr ResourceType kType{
      .group = "", .version = "v1", .plural = "configmaps", .kind = "ConfigMap"};
  static ConfigMap read(const JsonReader& in, std::string_view text) {
    return {
        .meta = read_meta(in.object("metadata")), .data = in.string_map("data"), .text = std::string(text)};
  }
  static std::string write(const ConfigMap& map) {
    nlohmann::json metadata = {{"namespace", map.meta.namespace_}};
    if (!map.meta.name.empty()) {
      metadata["name"] = map.meta.name;
    }
    return nlohmann::json{
        {"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"metadata", metadata}, {"data", map.data}}
        .dump();
  }
};

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::HttpsTestServer;
using ::testing::Pair;
using ::testing::SizeIs;
using testing::TestCa;
using testing::TestRequest;
using testing::TestResponse;
using testing::TestStream;

class ResourceTest : public ::testing::Test {
 protected:
  Resource<ConfigMap> serve(HttpsTestServer::Handler handler) {
    server_ = std::make_unique<HttpsTestServer>(ca_, std::move(handler));
    auto client = Client::open(server_->config(ca_), {.qps = 0, .clock = &clock_});
    EXPECT_TRUE(client) << client.error().what();
    client_ = *std::move(client);
    return Resource<ConfigMap>(*client_);
  }

  TestCa ca_;
  VirtualClock clock_{VirtualClock::Mode::kJump};
  std::unique_ptr<HttpsTestServer> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(ResourceTest, Get_ReadsTheObjectAndItsText) {
  const std::string body = R"({"metadata": {"name":"a"}, "data": {"k":"v"}})";
  const auto maps = serve([&](const TestRequest&) { return TestResponse{.body = body}; });
  const auto map = maps.get({.namespace_ = "shop", .name = "a"});
  ASSERT_TRUE(map) << map.error().what();
  EXPECT_THAT(map->data, ElementsAre(Pair("k", "v")));
  EXPECT_EQ(map->text, body);
  EXPECT_EQ(server_->requests().at(0).path, "/api/v1/namespaces/shop/configmaps/a");
}

TEST_F(ResourceTest, Get_WrongTypeNamesTheKindAndTheField) {
  const auto maps = serve([](const TestRequest&) { return TestResponse{.body = R"({"data":{"k":1}})"}; });
  const auto map = maps.get({.namespace_ = "shop", .name = "a"});
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().code(), Code::kCorrupt);
  EXPECT_EQ(map.error().what(), "get configmaps: ConfigMap: data.k is not a string");
}

TEST_F(ResourceTest, Get_WithoutNamespaceOrNameIsRefusedHere) {
  const auto maps = serve([](const TestRequest&) { return TestResponse{.body = "{}"}; });
  EXPECT_EQ(maps.get({.namespace_ = "", .name = "a"}).error().code(), Code::kInvalid);
  EXPECT_EQ(maps.get({.namespace_ = "shop", .name = ""}).error().code(), Code::kInvalid);
  EXPECT_THAT(server_->requests(), SizeIs(0));
}

TEST_F(ResourceTest, List_SelectsAndKeepsEachObjectsText) {
  const auto maps = serve([](const TestRequest&) {
    return TestResponse{
        .body = R"({"metadata":{"resourceVersion":"5"},"items":[{"data": {}},{"data":{"x" : "y"}}]})"};
  });
  const auto list = maps.list({.namespace_ = "shop", .field_selector = "f=1", .label_selector = "l=2"});
  ASSERT_TRUE(list) << list.error().what();
  ASSERT_THAT(list->items, SizeIs(2));
  EXPECT_EQ(list->items[1].text, R"({"data":{"x" : "y"}})");
  EXPECT_EQ(list->resource_version, "5");
  const auto request = server_->requests().at(0);
  EXPECT_EQ(request.path, "/api/v1/namespaces/shop/configmaps");
  EXPECT_EQ(request.parameter("fieldSelector"), "f=1");
  EXPECT_EQ(request.parameter("labelSelector"), "l=2");
}

TEST_F(ResourceTest, List_OfAllNamespaces) {
  const auto maps = serve([](const TestRequest&) { return TestResponse{.body = R"({"items":[]})"}; });
  ASSERT_TRUE(maps.list({}));
  EXPECT_EQ(server_->requests().at(0).path, "/api/v1/configmaps");
}

TEST_F(ResourceTest, CreateAndUpdate_SendWhatTheTraitsWrite) {
  const auto maps = serve([](const TestRequest& request) { return TestResponse{.body = request.body}; });
  ConfigMap map;
  map.meta = {.name = "a", .namespace_ = "shop", .resource_version = "3"};
  map.data = {{"k", "v"}};
  const auto created = maps.create(map);
  ASSERT_TRUE(created) << created.error().what();
  EXPECT_EQ(created->data, map.data);
  ASSERT_TRUE(maps.update(map));
  const auto requests = server_->requests();
  EXPECT_EQ(requests.at(0).method + " " + requests.at(0).path, "POST /api/v1/namespaces/shop/configmaps");
  EXPECT_EQ(requests.at(1).method + " " + requests.at(1).path, "PUT /api/v1/namespaces/shop/configmaps/a");
}

TEST_F(ResourceTest, Create_WithoutNameOrNamespaceIsRefusedHere) {
  const auto maps = serve([](const TestRequest&) { return TestResponse{.body = "{}"}; });
  ConfigMap map;
  map.meta = {.name = "a"};
  EXPECT_THAT(maps.create(map).error().what(), HasSubstr("create configmaps: metadata.namespace is empty"));
  map.meta = {.namespace_ = "shop"};
  EXPECT_THAT(maps.create(map).error().what(), HasSubstr("create configmaps: metadata.name is empty"));
  EXPECT_THAT(server_->requests(), SizeIs(0));
}

TEST_F(ResourceTest, ApplyAndMergePatch_HaveTheirMediaTypes) {
  const auto maps = serve([](const TestRequest&) { return TestResponse{.body = "{}"}; });
  ASSERT_TRUE(maps.apply({.namespace_ = "shop", .name = "a"}, "", "{}", "me"));
  ASSERT_TRUE(maps.apply({.namespace_ = "shop", .name = "a"}, "status", "{}", "me"));
  ASSERT_TRUE(maps.merge_patch({.namespace_ = "shop", .name = "a"}, "{}"));
  const auto requests = server_->requests();
  EXPECT_EQ(requests.at(0).path, "/api/v1/namespaces/shop/configmaps/a");
  EXPECT_EQ(requests.at(0).content_type, "application/apply-patch+yaml");
  EXPECT_EQ(requests.at(0).parameter("fieldManager"), "me");
  EXPECT_EQ(requests.at(1).path, "/api/v1/namespaces/shop/configmaps/a/status");
  EXPECT_EQ(requests.at(2).content_type, "application/merge-patch+json");
  EXPECT_EQ(maps.apply({.namespace_ = "shop", .name = "a"}, "", "{}", "").error().code(), Code::kInvalid);
}

TEST_F(ResourceTest, Reflector_DeliversObjectsOfTheKind) {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::string> seen;
  const auto add = [&](std::string entry) {
    const std::lock_guard lock(mutex);
    seen.push_back(std::move(entry));
    changed.notify_all();
  };
  auto shared = std::make_shared<TestStream>();
  (void)serve([&](const TestRequest& request) {
    if (request.parameter("watch") == "true") {
      return TestResponse{.stream = shared};
    }
    return TestResponse{.body =
                            R"({"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"a"}}]})"};
  });
  TypedReflector<ConfigMap> reflector(
      *client_, {.namespace_ = "shop", .field_selector = {}, .label_selector = {}},
      {.on_sync = [&](const std::vector<ConfigMap>& all) { add("sync " + all.at(0).meta.name); },
       .on_event = [&](EventType, const ConfigMap& map) { add("event " + map.data.at("k")); }});
  reflector.start();
  shared->write(
      R"({"type":"ADDED","object":{"metadata":{"name":"b","resourceVersion":"2"},"data":{"k":"v"}}})"
      "\n");
  {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::seconds(60), [&] { return seen.size() >= 2; });
  }
  reflector.stop();
  shared->end();
  EXPECT_THAT(seen, ElementsAre("sync a", "event v"));
  EXPECT_EQ(server_->requests().at(0).path, "/api/v1/namespaces/shop/configmaps");
}

}  // namespace
}  // namespace fairlead::kube
