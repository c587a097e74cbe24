// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resources/slice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "fairlead/kube/resource.h"

namespace fairlead::kube {
namespace {

using nlohmann::json;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ResourceSlice full_slice() {
  ResourceSlice slice;
  slice.meta = {
      .name = "s",
      .generate_name = "0-",
      .uid = "u",
      .resource_version = "3",
      .annotations = {{"a", "b"}},
      .labels = {{"l", "m"}},
      .owner_references = {
          {.api_version = "v1", .kind = "Node", .name = "n1", .uid = "node-uid", .controller = true}}};
  slice.driver = "d.example.com";
  slice.pool_name = "n1";
  slice.pool_generation = std::numeric_limits<std::int64_t>::max();
  slice.pool_slice_count = 2;
  slice.node_name = "n1";
  Device device{.name = "eth1"};
  device.attributes = {{"big", std::numeric_limits<std::int64_t>::min()},
                       {"exact", std::int64_t{9007199254740993}},
                       {"up", false},
                       {"resource.kubernetes.io/pciBusID", std::string("0000:01:00.0")},
                       {"firmware", Version{"1.2.3-rc.1"}}};
  device.capacity["slots"] = {
      .value = "128",
      .request_policy = RequestPolicy{
          .default_value = "1", .valid_values = {}, .range_min = "1", .range_max = "128", .range_step = "1"}};
  device.capacity["bandwidth"] = {
      .value = "10G", .request_policy = RequestPolicy{.default_value = "1G", .valid_values = {"1G", "10G"}}};
  device.capacity["plain"] = {.value = "1Gi", .request_policy = {}};
  device.allow_multiple_allocations = true;
  device.taints = {{.key = "k", .value = "v", .effect = "NoSchedule", .time_added = "2026-01-01T00:00:00Z"}};
  slice.devices = {device, Device{.name = "bare"}};
  return slice;
}

TEST(Slice, SurvivesWritingAndReading) {
  const ResourceSlice slice = full_slice();
  const auto read = read_object<ResourceSlice>(ResourceTraits<ResourceSlice>::write(slice));
  ASSERT_TRUE(read) << read.error().what();
  EXPECT_EQ(*read, slice);
}

TEST(Slice, IsWrittenAsTheApiDefinesIt) {
  const json out = json::parse(ResourceTraits<ResourceSlice>::write(full_slice()));
  EXPECT_EQ(out["apiVersion"], "resource.k8s.io/v1");
  EXPECT_EQ(out["kind"], "ResourceSlice");
  EXPECT_EQ(out["spec"]["pool"]["generation"], std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(out["spec"]["nodeName"], "n1");
  const json& device = out["spec"]["devices"][0];
  EXPECT_EQ(device["attributes"]["exact"], json({{"int", 9007199254740993}}));
  EXPECT_EQ(device["attributes"]["up"], json({{"bool", false}}));
  EXPECT_EQ(device["attributes"]["firmware"], json({{"version", "1.2.3-rc.1"}}));
  EXPECT_EQ(device["capacity"]["slots"]["requestPolicy"]["validRange"],
            json({{"min", "1"}, {"max", "128"}, {"step", "1"}}));
  EXPECT_EQ(device["allowMultipleAllocations"], true);
  EXPECT_EQ(out["spec"]["devices"][1], json({{"name", "bare"}})) << "nothing empty is written";
}

TEST(Slice, WithoutDevicesStillHasTheList) {
  const json out = json::parse(ResourceTraits<ResourceSlice>::write(ResourceSlice{}));
  EXPECT_TRUE(out["spec"]["devices"].is_array());
  EXPECT_EQ(out["metadata"], json::object());
}

TEST(Slice, TextThatIsNoUtf8IsMended) {
  ResourceSlice slice;
  slice.devices = {{.name = "x", .attributes = {{"alias", std::string("bad \xff byte")}}}};
  EXPECT_TRUE(read_object<ResourceSlice>(ResourceTraits<ResourceSlice>::write(slice)));
}

TEST(ParseSlice, AttributesOfATypeToComeAreLeftOut) {
  const auto slice = read_object<ResourceSlice>(
      R"({"spec":{"devices":[{"name":"x","attributes":{"l":{"ints":[1,2]},"s":{"string":"y"}}}]}})");
  ASSERT_TRUE(slice) << slice.error().what();
  EXPECT_THAT(slice->devices[0].attributes, SizeIs(1));
}

TEST(ParseSlice, LastManagerIsThatOfTheNewestManagedFields) {
  const auto slice = read_object<ResourceSlice>(R"({"metadata": {"managedFields": [
      {"manager": "fairlead", "operation": "Update", "time": "2026-01-31T12:00:00Z"},
      {"manager": "kubectl-edit", "operation": "Update", "time": "2026-02-01T12:00:00Z"},
      {"manager": "old", "operation": "Apply", "time": "2025-12-31T12:00:00Z"}]}})");
  ASSERT_TRUE(slice);
  EXPECT_EQ(slice->last_manager, "kubectl-edit");
  EXPECT_EQ(read_object<ResourceSlice>(R"({"metadata": {}})")->last_manager, "");
}

TEST(ParseSlice, IntegersOutsideInt64AreRefused) {
  for (const char* number : {"9223372036854775808", "1.5", "1e3", "\"1\""}) {
    const auto slice = read_object<ResourceSlice>(
        R"({"spec":{"devices":[{"name":"x","attributes":{"a":{"int":)" + std::string(number) + "}}}]}}");
    ASSERT_FALSE(slice) << number;
    EXPECT_EQ(slice.error().what(),
              "ResourceSlice: spec.devices[0].attributes.a.int is not a 64-bit integer");
  }
}

TEST(ParseSliceList, HasVersionAndContinue) {
  const auto list =
      read_list<ResourceSlice>(R"({"metadata":{"resourceVersion":"77","continue":"abc"},"items":null})");
  ASSERT_TRUE(list) << list.error().what();
  EXPECT_EQ(list->resource_version, "77");
  EXPECT_EQ(list->continue_token, "abc");
  EXPECT_THAT(list->items, IsEmpty());
}

}  // namespace
}  // namespace fairlead::kube
