// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/api_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <ostream>

namespace fairlead::kube {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr const char* kClaim = R"({
  "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "somethingNew": [1],
  "metadata": {"name": "c", "namespace": "ns", "uid": "u", "resourceVersion": "12",
               "annotations": {"k": "v"}, "managedFields": [{"x": 1}]},
  "spec": {"devices": {"requests": [
     {"name": "main", "exactly": {"deviceClassName": "x"}},
     {"name": "alt", "firstAvailable": [{"name": "fast", "deviceClassName": "y"}, {"name": "slow"}]}],
     "config": [{"opaque": {"driver": "other.example.com", "parameters": {"x" :1}}},
                {"requests": ["main", "alt/slow"], "opaque": {"parameters": {}, "driver": "d.example.com"}}]}},
  "status": {
    "allocation": {
      "devices": {
        "results": [
          {"request": "main", "driver": "d.example.com", "pool": "p", "device": "dev", "shareID": "s-1",
           "adminAccess": true, "consumedCapacity": {"d.example.com/slots": "1"}},
          {"request": "alt/slow", "driver": "other.example.com", "pool": "p2", "device": "dev2"}],
        "config": [
          {"source": "FromClass", "opaque": {"driver": "d.example.com", "parameters":
              { "type":"netdev" , "type" : "again", "t\u0065xt":"\u00e9 \"}\" \\", "n": 1.0, "a":[ {},[ ] ] } }},
          {"source": "FromClaim", "requests": ["main", "alt/slow"],
           "opaque": {"parameters": {}, "driver": "d.example.com"}},
          {"source": "FromClaim"}]},
      "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [
          {"key": "metadata.name", "operator": "In", "values": ["n1"]}]}]}},
    "reservedFor": [{"resource": "pods", "name": "pod-1", "uid": "pod-uid"}]}})";

TEST(ParseClaim, ReadsWhatADriverNeeds) {
  const auto claim = parse_claim(kClaim);
  ASSERT_TRUE(claim) << claim.error().what();
  EXPECT_EQ(claim->meta.name, "c");
  EXPECT_EQ(claim->meta.namespace_, "ns");
  EXPECT_EQ(claim->meta.uid, "u");
  EXPECT_EQ(claim->meta.resource_version, "12");
  EXPECT_EQ(claim->meta.annotations.at("k"), "v");
  EXPECT_THAT(claim->request_names, ElementsAre("main", "alt", "alt/fast", "alt/slow"));
  EXPECT_THAT(claim->request_classes, ElementsAre(Pair("alt/fast", "y"), Pair("main", "x")));
  ASSERT_THAT(claim->config, SizeIs(2));
  EXPECT_EQ(claim->config[0].parameters, R"({"x" :1})");
  EXPECT_FALSE(claim->config[1].from_class);
  EXPECT_EQ(claim->config[1].driver, "d.example.com");
  EXPECT_THAT(claim->config[1].requests, ElementsAre("main", "alt/slow"));
  ASSERT_TRUE(claim->allocation);
  ASSERT_THAT(claim->allocation->results, SizeIs(2));
  const AllocationResult& result = claim->allocation->results[0];
  EXPECT_EQ(result.request, "main");
  EXPECT_EQ(result.driver, "d.example.com");
  EXPECT_EQ(result.pool, "p");
  EXPECT_EQ(result.device, "dev");
  EXPECT_EQ(result.share_id, "s-1");
  EXPECT_TRUE(result.admin_access);
  EXPECT_EQ(result.consumed_capacity.at("d.example.com/slots"), "1");
  EXPECT_FALSE(claim->allocation->results[1].admin_access);
  EXPECT_EQ(claim->allocation->node_name, "n1");
  ASSERT_THAT(claim->reserved_for, SizeIs(1));
  EXPECT_EQ(claim->reserved_for[0].uid, "pod-uid");
}

TEST(ParseClaim, ParametersAreTheServersBytes) {
  const auto claim = parse_claim(kClaim);
  ASSERT_TRUE(claim) << claim.error().what();
  const auto& config = claim->allocation->config;
  ASSERT_THAT(config, SizeIs(3));
  EXPECT_TRUE(config[0].from_class);
  EXPECT_EQ(
      config[0].parameters,
      R"({ "type":"netdev" , "type" : "again", "t\u0065xt":"\u00e9 \"}\" \\", "n": 1.0, "a":[ {},[ ] ] })");
  EXPECT_THAT(config[0].requests, IsEmpty());
  EXPECT_FALSE(config[1].from_class);
  EXPECT_EQ(config[1].parameters, "{}");
  EXPECT_THAT(config[1].requests, ElementsAre("main", "alt/slow"));
  EXPECT_EQ(config[2].parameters, "");
}

TEST(ParseClaimList, EachClaimKeepsItsOwnParameters) {
  const auto one = [](const std::string& parameters) {
    return R"({"status":{"allocation":{"devices":{"config":[{"opaque":{"driver":"d","parameters":)" +
           parameters + "}}]}}}}";
  };
  const auto list = parse_claim_list(R"({"metadata":{"resourceVersion":"9"},"items":[)" +
                                     one(R"({"a":1,"a":2})") + ", " + one(R"({"b" : 3})") + "]}");
  ASSERT_TRUE(list) << list.error().what();
  ASSERT_THAT(list->items, SizeIs(2));
  EXPECT_EQ(list->items[0].allocation->config[0].parameters, R"({"a":1,"a":2})");
  EXPECT_EQ(list->items[1].allocation->config[0].parameters, R"({"b" : 3})");
}

TEST(ParseClaim, TellsWhichDriversHaveReported) {
  const auto claim = parse_claim(
      R"({"metadata":{"uid":"u"},"status":{"devices":[{"driver":"a.example.com","pool":"p","device":"d"},
          {"driver":"b.example.com","pool":"p","device":"e", "shareID":"s",
           "data":{"x": [1]}}]}})");
  ASSERT_TRUE(claim) << claim.error().what();
  ASSERT_EQ(claim->reported.size(), 1U);
  EXPECT_EQ(claim->reported[0].driver, "b.example.com");
  EXPECT_EQ(claim->reported[0].device, "e");
  EXPECT_EQ(claim->reported[0].share_id, "s");
  EXPECT_EQ(claim->reported[0].data, R"({"x":[1]})");
  EXPECT_EQ(claim->reporting_drivers, (std::vector<std::string>{"a.example.com", "b.example.com"}));
}

TEST(ParseClaim, NotAllocatedIsNoAllocation) {
  for (const char* text : {"{}", R"({"status":null})", R"({"status":{"allocation":null}})"}) {
    const auto claim = parse_claim(text);
    ASSERT_TRUE(claim) << claim.error().what();
    EXPECT_FALSE(claim->allocation) << text;
  }
}

TEST(ParseClaim, NodeNameOnlyFromTheOneSimpleSelector) {
  const auto node_of = [](const std::string& terms) {
    const auto claim =
        parse_claim(R"({"status":{"allocation":{"nodeSelector":{"nodeSelectorTerms":)" + terms + "}}}}");
    return claim ? claim->allocation->node_name : claim.error().what();
  };
  const std::string field = R"({"key":"metadata.name","operator":"In","values":["n1"]})";
  EXPECT_EQ(node_of(R"([{"matchFields":[)" + field + "]}]"), "n1");
  EXPECT_EQ(node_of(R"([{"matchFields":[)" + field + R"(]},{"matchFields":[)" + field + "]}]"), "");
  EXPECT_EQ(node_of(R"([{"matchFields":[)" + field + R"(],"matchExpressions":[{"key":"a"}]}])"), "");
  EXPECT_EQ(node_of(R"([{"matchFields":[{"key":"metadata.name","operator":"NotIn","values":["n1"]}]}])"), "");
  EXPECT_EQ(node_of(R"([{"matchFields":[{"key":"metadata.name","operator":"In","values":["n1","n2"]}]}])"),
            "");
  EXPECT_EQ(node_of("[]"), "");
}

struct BadCase {
  const char* text;
  const char* message;
};

// NOLINTNEXTLINE(readability-identifier-naming): gtest's name
void PrintTo(const BadCase& row, std::ostream* out) { *out << row.text; }

class BadClaim : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadClaim, IsCorruptAndNamesTheField) {
  const auto claim = parse_claim(GetParam().text);
  ASSERT_FALSE(claim);
  EXPECT_EQ(claim.error().code(), Code::kCorrupt);
  EXPECT_THAT(claim.error().what(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadClaim,
    ::testing::Values(BadCase{"", "ResourceClaim: this is not JSON"}, BadCase{"{", "not JSON"},
                      BadCase{"[]", "the document is not an object"},
                      BadCase{R"({"metadata":7})", "metadata is not an object"},
                      BadCase{R"({"metadata":{"uid":7}})", "metadata.uid is not a string"},
                      BadCase{R"({"metadata":{"annotations":{"k":1}}})",
                              "metadata.annotations.k is not a string"},
                      BadCase{R"({"status":{"allocation":{"devices":{"results":[{},{"adminAccess":1}]}}}})",
                              "status.allocation.devices.results[1].adminAccess is not true or false"},
                      BadCase{R"({"status":{"allocation":{"devices":{"config":{}}}}})",
                              "status.allocation.devices.config is not an array"},
                      BadCase{R"({"status":{"allocation":{"devices":{"config":[{"requests":[1]}]}}}})",
                              "status.allocation.devices.config[0].requests is not an array of strings"}));

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
  const auto read = parse_slice(slice_to_json(slice));
  ASSERT_TRUE(read) << read.error().what();
  EXPECT_EQ(*read, slice);
}

TEST(Slice, IsWrittenAsTheApiDefinesIt) {
  const json out = json::parse(slice_to_json(full_slice()));
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
  const json out = json::parse(slice_to_json(ResourceSlice{}));
  EXPECT_TRUE(out["spec"]["devices"].is_array());
  EXPECT_EQ(out["metadata"], json::object());
}

TEST(Slice, TextThatIsNoUtf8IsMended) {
  ResourceSlice slice;
  slice.devices = {{.name = "x", .attributes = {{"alias", std::string("bad \xff byte")}}}};
  EXPECT_TRUE(parse_slice(slice_to_json(slice)));
}

TEST(ParseSlice, AttributesOfATypeToComeAreLeftOut) {
  const auto slice = parse_slice(
      R"({"spec":{"devices":[{"name":"x","attributes":{"l":{"ints":[1,2]},"s":{"string":"y"}}}]}})");
  ASSERT_TRUE(slice) << slice.error().what();
  EXPECT_THAT(slice->devices[0].attributes, SizeIs(1));
}

TEST(ParseSlice, IntegersOutsideInt64AreRefused) {
  for (const char* number : {"9223372036854775808", "1.5", "1e3", "\"1\""}) {
    const auto slice = parse_slice(R"({"spec":{"devices":[{"name":"x","attributes":{"a":{"int":)" +
                                   std::string(number) + "}}}]}}");
    ASSERT_FALSE(slice) << number;
    EXPECT_EQ(slice.error().what(),
              "ResourceSlice: spec.devices[0].attributes.a.int is not a 64-bit integer");
  }
}

TEST(ParseSliceList, HasVersionAndContinue) {
  const auto list =
      parse_slice_list(R"({"metadata":{"resourceVersion":"77","continue":"abc"},"items":null})");
  ASSERT_TRUE(list) << list.error().what();
  EXPECT_EQ(list->resource_version, "77");
  EXPECT_EQ(list->continue_token, "abc");
  EXPECT_THAT(list->items, IsEmpty());
}

TEST(ClaimStatus, HoldsAllEntriesOfTheDriver) {
  DeviceStatus device{.driver = "d.example.com", .pool = "p", .device = "eth1", .share_id = "s"};
  device.conditions = {{.type = "Ready",
                        .status = "True",
                        .reason = "Attached",
                        .message = "data0 is up",
                        .last_transition_time = "2026-01-01T00:00:00Z"}};
  device.data = R"({"mtu":9000})";
  device.interface_name = "data0";
  device.ips = {"10.0.0.5/24", "2001:db8::1/64"};
  device.hardware_address = "02:00:00:00:00:01";
  const auto text = claim_status_to_json("ns", "c", "u", {device});
  ASSERT_TRUE(text) << text.error().what();
  const json expected = json::parse(R"({"apiVersion":"resource.k8s.io/v1","kind":"ResourceClaim",
    "metadata":{"name":"c","namespace":"ns","uid":"u"},
    "status":{"devices":[{"driver":"d.example.com","pool":"p","device":"eth1","shareID":"s",
      "conditions":[{"type":"Ready","status":"True","reason":"Attached","message":"data0 is up",
                     "lastTransitionTime":"2026-01-01T00:00:00Z"}],
      "data":{"mtu":9000},
      "networkData":{"interfaceName":"data0","ips":["10.0.0.5/24","2001:db8::1/64"],
                     "hardwareAddress":"02:00:00:00:00:01"}}]}})");
  EXPECT_EQ(json::parse(*text), expected);
}

TEST(ClaimStatus, DataThatIsNoObjectIsRefused) {
  const auto text = claim_status_to_json("ns", "c", "u", {{.device = "eth1", .data = "[1]"}});
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code(), Code::kInvalid);
}

}  // namespace
}  // namespace fairlead::kube
