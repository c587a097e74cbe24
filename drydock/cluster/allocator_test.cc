// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/allocator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drydock/cluster/testing/test_objects.h"

namespace drydock {
namespace {

using testing::claim;
using testing::device;
using ::testing::ElementsAre;
using testing::exactly;
using ::testing::HasSubstr;

constexpr const char* kDriver = "d.example";

Json nic(const std::string& name, int numa, const std::string& type = "netdev") {
  return device(name, {{"type", {{"string", type}}}, {"numa", {{"int", numa}}}});
}

class AllocatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    input_.node = {{"metadata", {{"name", "drydock"}, {"labels", {{"zone", "a"}}}}}};
    input_.classes = {testing::device_class("nic", R"(device.driver == "d.example")")};
    input_.slices = {testing::slice("s1", kDriver, Json::array({nic("a", 0), nic("b", 1), nic("c", 1)}))};
  }
  std::string reason(const Json& wanted) {
    const auto out = allocate(input_, std::vector{wanted});
    return out ? "allocated" : out.error().what();
  }
  /// "request=device" of each result.
  std::vector<std::string> results(const std::vector<Json>& wanted) {
    const auto out = allocate(input_, wanted);
    EXPECT_TRUE(out) << out.error().what();
    std::vector<std::string> text;
    for (const Json& allocation : out ? *out : std::vector<Json>()) {
      for (const Json& result : allocation["devices"]["results"]) {
        text.push_back(result["request"].get<std::string>() + "=" + result["device"].get<std::string>());
      }
    }
    return text;
  }
  /// Gives a claim what it asks for, as the scheduler would.
  void hold(Json wanted) {
    const auto out = allocate(input_, std::vector{wanted});
    ASSERT_TRUE(out) << out.error().what();
    wanted["status"]["allocation"] = (*out)[0];
    input_.claims.push_back(wanted);
  }
  static Json request(const std::string& name, Json more = Json::object()) {
    more["deviceClassName"] = "nic";
    return exactly(name, std::move(more));
  }
  static Json with_selector(const std::string& expression) {
    const Json selector = {{"cel", {{"expression", expression}}}};
    return {{"selectors", Json::array({selector})}};
  }
  static Json one(const Json& request) { return claim("x", Json::array({request})); }

  AllocationInput input_;
};

TEST_F(AllocatorTest, ExactCount_TakesTheFirstOnes) {
  EXPECT_THAT(results({one(request("r"))}), ElementsAre("r=a"));
  EXPECT_THAT(results({one(request("r", {{"count", 2}}))}), ElementsAre("r=a", "r=b"));
}

TEST_F(AllocatorTest, DevicesInUse_AreLeftOut) {
  hold(one(request("r")));
  EXPECT_THAT(results({one(request("r"))}), ElementsAre("r=b"));
  EXPECT_THAT(
      reason(one(request("r", {{"count", 3}}))),
      HasSubstr("request \"r\": 3 devices are needed, but 3 of 3 devices on node drydock match deviceclass "
                "\"nic\", and 2 can be had now (the rest is in use)"));
}

TEST_F(AllocatorTest, All_TakesEveryMatchAndNeedsEachFree) {
  Json all = with_selector("device.attributes['d.example'].numa == 1");
  all["allocationMode"] = "All";
  EXPECT_THAT(results({one(request("r", all))}), ElementsAre("r=b", "r=c"));
  hold(one(request("r", with_selector("device.attributes['d.example'].numa == 1"))));
  EXPECT_THAT(reason(one(request("r", all))),
              HasSubstr("all matching devices are needed, but 2 of 3 devices"));
}

TEST_F(AllocatorTest, Selectors_ClassAndRequestMustBothMatch) {
  EXPECT_THAT(results({one(request("r", with_selector("device.attributes['d.example'].numa == 1")))}),
              ElementsAre("r=b"));
  EXPECT_THAT(
      reason(one(request("r", with_selector("device.attributes['d.example'].numa == 7")))),
      HasSubstr(
          "1 device is needed, but 0 of 3 devices on node drydock match deviceclass \"nic\" and selector "
          "`device.attributes['d.example'].numa == 7`"));
}

TEST_F(AllocatorTest, Selector_RuntimeError_EndsTheAllocation) {
  EXPECT_EQ(reason(one(request("r", with_selector("device.attributes['d.example'].speed > 1")))),
            "0/1 nodes are available: 1 cannot allocate all claims: claim default/x, request \"r\": "
            "spec.devices.requests[0].exactly.selectors[0].cel.expression: on device d.example/drydock/a: "
            "CEL runtime "
            "error: no such key: speed");
}

TEST_F(AllocatorTest, Class_Missing_IsNamed) {
  input_.classes.clear();
  EXPECT_THAT(reason(one(request("r"))), HasSubstr("request \"r\": deviceclass \"nic\" not found"));
}

TEST_F(AllocatorTest, Constraint_MatchAttribute_BacktracksToAPair) {
  Json wanted = claim("x", Json::array({request("one"), request("two")}));
  wanted["spec"]["devices"]["constraints"] =
      Json::array({{{"requests", {"one", "two"}}, {"matchAttribute", "d.example/numa"}}});
  EXPECT_THAT(results({wanted}), ElementsAre("one=b", "two=c"));
  hold(one(request("r", with_selector("device.attributes['d.example'].numa == 1"))));
  EXPECT_THAT(reason(wanted),
              HasSubstr("claim default/x (matchAttribute \"d.example/numa\"): each request alone could be "
                        "served, but not all together"));
}

TEST_F(AllocatorTest, Constraint_DistinctAttribute_KeepsThemApart) {
  Json wanted = one(request("r", {{"count", 2}}));
  wanted["spec"]["devices"]["constraints"] = Json::array({{{"distinctAttribute", "d.example/numa"}}});
  EXPECT_THAT(results({wanted}), ElementsAre("r=a", "r=b"));
  wanted = one(request("r", {{"count", 3}}));
  wanted["spec"]["devices"]["constraints"] = Json::array({{{"distinctAttribute", "d.example/numa"}}});
  EXPECT_THAT(reason(wanted), HasSubstr("not all together"));
}

TEST_F(AllocatorTest, FirstAvailable_TakesTheFirstThatFits) {
  Json big = {{"name", "big"}, {"deviceClassName", "nic"}, {"count", 9}};
  Json small = {{"name", "small"}, {"deviceClassName", "nic"}};
  Json wanted = claim("x", Json::array({{{"name", "r"}, {"firstAvailable", {big, small}}}}));
  wanted["spec"]["devices"]["config"] =
      Json::array({{{"requests", {"r/big"}}, {"opaque", {{"driver", kDriver}, {"parameters", {{"n", 1}}}}}},
                   {{"requests", {"r"}}, {"opaque", {{"driver", kDriver}, {"parameters", {{"n", 2}}}}}}});
  EXPECT_THAT(results({wanted}), ElementsAre("r/small=a"));
  const auto out = allocate(input_, std::vector{wanted});
  ASSERT_EQ((*out)[0]["devices"]["config"].size(), 1U) << "only what concerns the chosen one";
  EXPECT_EQ((*out)[0]["devices"]["config"][0]["opaque"]["parameters"]["n"], 2);
}

TEST_F(AllocatorTest, AdminAccess_SharesWhatIsInUse) {
  hold(one(request("r", {{"count", 3}})));
  const auto out = allocate(input_, std::vector{one(request("r", {{"adminAccess", true}}))});
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_EQ((*out)[0]["devices"]["results"][0]["adminAccess"], true);
}

TEST_F(AllocatorTest, Claims_OfOnePod_AreChosenTogether) {
  // Alone the first claim would take b, and the second could not have it.
  const Json first = one(request("first", with_selector("device.attributes['d.example'].numa == 1")));
  const Json second =
      claim("y", Json::array({request("second", with_selector("device.attributes['d.example'].numa == 1"))}));
  EXPECT_THAT(results({first, second}), ElementsAre("first=b", "second=c"));
}

TEST_F(AllocatorTest, Taints_KeepAwayWhoDoesNotTolerate) {
  for (Json& one_device : input_.slices[0]["spec"]["devices"]) {
    one_device["taints"] = Json::array({{{"key", "d.example/broken"}, {"effect", "NoSchedule"}}});
  }
  EXPECT_THAT(reason(one(request("r"))),
              HasSubstr("3 of 3 devices on node drydock match deviceclass \"nic\", 3 of them "
                        "tainted"));
  const Json toleration = {{"key", "d.example/broken"}, {"operator", "Exists"}};
  EXPECT_THAT(results({one(request("r", {{"tolerations", Json::array({toleration})}}))}), ElementsAre("r=a"));
}

TEST_F(AllocatorTest, Pools_OldGenerationsAndIncompleteOnesAreNotUsed) {
  Json newer = testing::slice("s2", kDriver, Json::array({nic("new", 0)}));
  newer["spec"]["pool"]["generation"] = 2;
  input_.slices.push_back(newer);
  EXPECT_THAT(results({one(request("r"))}), ElementsAre("r=new"));
  input_.slices[1]["spec"]["pool"]["resourceSliceCount"] = 2;
  EXPECT_THAT(reason(one(request("r"))), HasSubstr("pool d.example/drydock is being updated and not used"));
}

TEST_F(AllocatorTest, Slices_OfOtherNodesAreNotSeen) {
  input_.slices[0]["spec"]["nodeName"] = "elsewhere";
  EXPECT_THAT(reason(one(request("r"))), HasSubstr("0 of 0 devices"));
  input_.slices[0]["spec"].erase("nodeName");
  const Json rule = {{"key", "zone"}, {"operator", "In"}, {"values", {"a"}}};
  const Json term = {{"matchExpressions", Json::array({rule})}};
  input_.slices[0]["spec"]["nodeSelector"]["nodeSelectorTerms"] = Json::array({term});
  EXPECT_THAT(results({one(request("r"))}), ElementsAre("r=a"));
  input_.slices[0]["spec"].erase("nodeSelector");
  input_.slices[0]["spec"]["allNodes"] = true;
  const auto out = allocate(input_, std::vector{one(request("r"))});
  ASSERT_TRUE(out);
  EXPECT_FALSE((*out)[0].contains("nodeSelector")) << "usable on every node";
}

TEST_F(AllocatorTest, Slices_AreTriedByNameDevicesInOrder) {
  Json later = testing::slice("s0", kDriver, Json::array({nic("z", 0)}));
  later["spec"]["pool"]["resourceSliceCount"] = 2;
  input_.slices[0]["spec"]["pool"]["resourceSliceCount"] = 2;
  input_.slices.push_back(later);
  EXPECT_THAT(results({one(request("r", {{"count", 2}}))}), ElementsAre("r=z", "r=a"));
}

TEST_F(AllocatorTest, SharedDevice_ServesManyUntilItsCapacityIsGone) {
  input_.slices = {testing::slice("s1", kDriver, Json::array({testing::virtual_device("3")}))};
  const auto out = allocate(input_, std::vector{one(request("r", {{"count", 2}}))});
  ASSERT_TRUE(out) << out.error().what();
  const Json& results = (*out)[0]["devices"]["results"];
  ASSERT_EQ(results.size(), 2U);
  EXPECT_NE(results[0]["shareID"], results[1]["shareID"]);
  EXPECT_EQ(results[0]["consumedCapacity"]["slots"], "1");
  hold(one(request("r", {{"count", 2}})));
  hold(one(request("r")));
  EXPECT_THAT(reason(one(request("r"))),
              HasSubstr("1 of 1 device on node drydock match deviceclass \"nic\", and 0 can be "
                        "had now (the rest is in use)"));
}

struct Rounding {
  const char* policy;
  const char* asked;     // "" for nothing
  const char* consumed;  // "" when it does not fit
};
class CapacityTable : public AllocatorTest, public ::testing::WithParamInterface<Rounding> {};

TEST_P(CapacityTable, Request_IsRoundedAsThePolicySays) {
  Json shared = testing::virtual_device("100");
  const std::string policy = GetParam().policy;
  if (policy.empty()) {
    shared["capacity"]["slots"].erase("requestPolicy");
  } else {
    shared["capacity"]["slots"]["requestPolicy"] = Json::parse(policy);
  }
  input_.slices = {testing::slice("s1", kDriver, Json::array({shared}))};
  Json more = Json::object();
  if (*GetParam().asked != '\0') {
    more["capacity"]["requests"]["d.example/slots"] = GetParam().asked;
  }
  const auto out = allocate(input_, std::vector{one(request("r", more))});
  const std::string consumed =
      out ? (*out)[0]["devices"]["results"][0]["consumedCapacity"]["slots"].get<std::string>() : "";
  EXPECT_EQ(consumed, GetParam().consumed);
}

INSTANTIATE_TEST_SUITE_P(
    All, CapacityTable,
    ::testing::Values(
        Rounding{"", "", "100"}, Rounding{"", "30", "30"}, Rounding{"", "101", ""},
        Rounding{R"({"default": "2"})", "", "2"}, Rounding{R"({"default": "2"})", "7", "7"},
        Rounding{R"({"default": "10", "validValues": ["10", "50"]})", "11", "50"},
        Rounding{R"({"default": "10", "validValues": ["10", "50"]})", "51", ""},
        Rounding{R"({"default": "10", "validRange": {"min": "10", "max": "40", "step": "5"}})", "1", "10"},
        Rounding{R"({"default": "10", "validRange": {"min": "10", "max": "40", "step": "5"}})", "12", "15"},
        Rounding{R"({"default": "10", "validRange": {"min": "10", "max": "40", "step": "5"}})", "41", ""}));

TEST_F(AllocatorTest, ExclusiveDevice_MustHaveTheRequestedCapacity) {
  input_.slices[0]["spec"]["devices"][1]["capacity"] = {{"bandwidth", {{"value", "25G"}}}};
  EXPECT_THAT(results({one(request("r", {{"capacity", {{"requests", {{"bandwidth", "10G"}}}}}}))}),
              ElementsAre("r=b"));
  EXPECT_THAT(reason(one(request("r", {{"capacity", {{"requests", {{"bandwidth", "100G"}}}}}}))),
              HasSubstr("3 of them without the requested capacity"));
}

TEST_F(AllocatorTest, ImpossibleSearch_GivesUp) {
  Json devices = Json::array();
  for (int i = 0; i < 60; ++i) {
    devices.push_back(nic("n" + std::to_string(i), i));
  }
  input_.slices = {testing::slice("s1", kDriver, devices)};
  Json wanted = one(request("r", {{"count", 20}}));
  wanted["spec"]["devices"]["requests"].push_back(request("last", with_selector("false")));
  const std::string why = reason(wanted);
  EXPECT_TRUE(why.find("given up") != std::string::npos || why.find("request \"last\"") != std::string::npos)
      << why;
}

}  // namespace
}  // namespace drydock
