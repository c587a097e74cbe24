// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "drydock/cluster/testing/test_objects.h"

namespace drydock {
namespace {

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(store_.create(kinds::kNamespace, "", {{"metadata", {{"name", "default"}}}}));
  }
  static Json config_map(const std::string& name, const std::string& value) {
    return {{"metadata", {{"name", name}}}, {"data", {{"key", value}}}};
  }
  Store store_{{.history = 8}};
};

TEST_F(StoreTest, Create_InMissingNamespace_IsNotFound) {
  const auto made = store_.create(kinds::kConfigMap, "nowhere", config_map("a", "1"));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, 404);
  EXPECT_EQ(made.error().message, "namespaces \"nowhere\" not found");
}

TEST_F(StoreTest, Create_Twice_AlreadyExists) {
  ASSERT_TRUE(store_.create(kinds::kConfigMap, "default", config_map("a", "1")));
  const auto again = store_.create(kinds::kConfigMap, "default", config_map("a", "1"));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason, "AlreadyExists");
}

TEST_F(StoreTest, Remove_WithFinalizer_WaitsForIt) {
  Json object = config_map("a", "1");
  object["metadata"]["finalizers"] = {"example.com/keep"};
  ASSERT_TRUE(store_.create(kinds::kConfigMap, "default", object));
  const auto removed = store_.remove(kinds::kConfigMap, "default", "a");
  ASSERT_TRUE(removed);
  EXPECT_TRUE((*removed)["metadata"].contains("deletionTimestamp"));
  ASSERT_TRUE(store_.get(kinds::kConfigMap, "default", "a"));
  ASSERT_TRUE(store_.modify(kinds::kConfigMap, "default", "a", Part::kSpec, [](Json& stored) {
    stored["metadata"]["finalizers"] = Json::array();
    return true;
  }));
  EXPECT_FALSE(store_.get(kinds::kConfigMap, "default", "a"));
}

TEST_F(StoreTest, Watch_HistoryTooShort_IsExpired) {
  const std::uint64_t start = store_.resource_version();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(store_.create(kinds::kConfigMap, "default", config_map("m" + std::to_string(i), "1")));
  }
  const auto late = store_.watch(kinds::kConfigMap, {}, start);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, 410);
  auto recent = store_.watch(kinds::kConfigMap, {}, store_.resource_version() - 8);
  ASSERT_TRUE(recent);
  EXPECT_EQ(recent->next(Clock::now())->size(), 8U);
}

TEST_F(StoreTest, Watch_FromTheFuture_IsTooLarge) {
  const auto future = store_.watch(kinds::kConfigMap, {}, 1'000'000);
  ASSERT_FALSE(future);
  EXPECT_EQ(future.error().code, 504);
}

TEST_F(StoreTest, Watch_LeavingTheSelection_IsDeleted) {
  Json object = config_map("a", "1");
  object["metadata"]["labels"] = {{"on", "yes"}};
  const auto rules = parse_label_selector("on=yes");
  ASSERT_TRUE(rules);
  auto watch =
      store_.watch(kinds::kConfigMap,
                   {.ns = "", .selector = {.fields = {}, .labels = *rules}, .limit = 0, .continue_token = ""},
                   store_.resource_version());
  ASSERT_TRUE(watch);
  ASSERT_TRUE(store_.create(kinds::kConfigMap, "default", object));
  ASSERT_TRUE(store_.modify(kinds::kConfigMap, "default", "a", Part::kSpec, [](Json& stored) {
    stored["metadata"].erase("labels");
    return true;
  }));
  const auto events = watch->next(Clock::now());
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 2U);
  EXPECT_EQ((*events)[0].type, WatchEvent::Type::kAdded);
  EXPECT_EQ((*events)[1].type, WatchEvent::Type::kDeleted);
}

TEST_F(StoreTest, Watch_CancelledFromAnotherThread_Returns) {
  auto watch = store_.watch(kinds::kConfigMap, {}, store_.resource_version());
  ASSERT_TRUE(watch);
  std::thread canceller([&] { watch->cancel(); });
  const auto events = watch->next(Clock::now() + std::chrono::seconds(20));
  canceller.join();
  ASSERT_TRUE(events);
  EXPECT_TRUE(events->empty());
  EXPECT_TRUE(watch->cancelled());
}

TEST_F(StoreTest, Writers_Many_EachGetsItsVersion) {
  ASSERT_TRUE(store_.create(kinds::kConfigMap, "default", config_map("counter", "0")));
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this] {
      for (int i = 0; i < 25; ++i) {
        (void)store_.modify(kinds::kConfigMap, "default", "counter", Part::kSpec, [](Json& stored) {
          stored["data"]["key"] = std::to_string(std::stoi(stored["data"]["key"].get<std::string>()) + 1);
          return true;
        });
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ((*store_.get(kinds::kConfigMap, "default", "counter"))["data"]["key"], "100");
}

TEST_F(StoreTest, Selectors_BadText_IsBadRequest) {
  EXPECT_EQ(parse_field_selector(kinds::kResourceSlice, "spec.nodeName").error().code, 400);
  EXPECT_EQ(parse_field_selector(kinds::kConfigMap, "spec.nodeName=a").error().message,
            "field label not supported: spec.nodeName");
  EXPECT_EQ(parse_label_selector("a in (b)").error().code, 400);
}

TEST_F(StoreTest, AdminAccess_NeedsTheNamespaceLabel) {
  const Json request = testing::exactly("r", {{"deviceClassName", "c"}, {"adminAccess", true}});
  const auto refused =
      store_.create(kinds::kResourceClaim, "default", testing::claim("c", Json::array({request})));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, 422);
  ASSERT_TRUE(store_.modify(kinds::kNamespace, "", "default", Part::kSpec, [](Json& ns) {
    ns["metadata"]["labels"]["resource.kubernetes.io/admin-access"] = "true";
    return true;
  }));
  EXPECT_TRUE(store_.create(kinds::kResourceClaim, "default", testing::claim("c", Json::array({request}))));
}

}  // namespace
}  // namespace drydock
