// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resources/claim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>

#include "fairlead/kube/resource.h"

namespace fairlead::kube {
namespace {

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
  const auto claim = read_object<ResourceClaim>(kClaim);
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
  const auto claim = read_object<ResourceClaim>(kClaim);
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
  const auto list = read_list<ResourceClaim>(R"({"metadata":{"resourceVersion":"9"},"items":[)" +
                                             one(R"({"a":1,"a":2})") + ", " + one(R"({"b" : 3})") + "]}");
  ASSERT_TRUE(list) << list.error().what();
  ASSERT_THAT(list->items, SizeIs(2));
  EXPECT_EQ(list->items[0].allocation->config[0].parameters, R"({"a":1,"a":2})");
  EXPECT_EQ(list->items[1].allocation->config[0].parameters, R"({"b" : 3})");
}

TEST(ParseClaim, TellsWhichDriversHaveReported) {
  const auto claim = read_object<ResourceClaim>(
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
    const auto claim = read_object<ResourceClaim>(text);
    ASSERT_TRUE(claim) << claim.error().what();
    EXPECT_FALSE(claim->allocation) << text;
  }
}

TEST(ParseClaim, NodeNameOnlyFromTheOneSimpleSelector) {
  const auto node_of = [](const std::string& terms) {
    const auto claim = read_object<ResourceClaim>(
        R"({"status":{"allocation":{"nodeSelector":{"nodeSelectorTerms":)" + terms + "}}}}");
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
  const auto claim = read_object<ResourceClaim>(GetParam().text);
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

}  // namespace
}  // namespace fairlead::kube
