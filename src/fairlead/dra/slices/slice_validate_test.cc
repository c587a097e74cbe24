// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/slices/slice_validate.h"

#include <gmock/gmock.h>

namespace fairlead::dra {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ValidPools check(std::vector<Device> devices) {
  return validate_pools({Pool{.name = "", .devices = std::move(devices)}}, "dra.example.com", "node-1");
}

Device device(const std::string& name = "eth1") {
  Device out;
  out.name = name;
  return out;
}

Device with_attribute(const std::string& key, AttributeValue value) {
  Device out = device();
  out.attributes[key] = std::move(value);
  out.attributes["good"] = true;
  return out;
}

Device with_capacity(Capacity capacity, bool multiple = true, const std::string& key = "slots") {
  Device out = device();
  out.allow_multiple_allocations = multiple;
  out.capacity[key] = std::move(capacity);
  return out;
}

TEST(ValidatePools, GoodDevice_StaysAsItIs) {
  Device good = device();
  good.attributes = {{"type", std::string("netdev")},
                     {"dra.example.com/kind", std::string("virtual")},
                     {"resource.kubernetes.io/pciBusID", std::string("0000:00:05.0")},
                     {"numaNode", std::int64_t{-1}},
                     {"driverVersion", Version{"1.2.3-rc.1+build.5"}},
                     {"rdma", false}};
  good.capacity = {
      {"slots",
       {.value = "128",
        .request_policy = kube::RequestPolicy{
            .default_value = "1", .valid_values = {}, .range_min = {}, .range_max = {}, .range_step = {}}}}};
  good.allow_multiple_allocations = true;
  good.taints = {{.key = "example.com/maintenance",
                  .value = "yes",
                  .effect = "NoSchedule",
                  .time_added = "2026-01-31T12:00:00Z"}};
  const auto out = check({good});
  EXPECT_THAT(out.left_out, IsEmpty());
  ASSERT_THAT(out.pools, SizeIs(1));
  EXPECT_EQ(out.pools[0].name, "node-1");
  EXPECT_THAT(out.pools[0].devices, ElementsAre(good));
}

TEST(ValidatePools, BadAttribute_GoesAlone) {
  const struct {
    const char* key;
    AttributeValue value;
    const char* sentence;
  } cases[] = {
      {"", true, "is not a C identifier"},
      {"a-b", true, "is not a C identifier"},
      {"1a", true, "is not a C identifier"},
      {"a/b/c", true, "is not a C identifier"},
      {"/b", true, "is not a C identifier"},
      {"a/", true, "is not a C identifier"},
      {"Upper.case/b", true, "is not a C identifier"},
      {"abcdefghijabcdefghijabcdefghijabc", true, "is not a C identifier"},
      {"s", std::string(65, 'x'), "the value has 65 bytes, at most 64 are allowed"},
      {"s", std::string("\xff"), "not valid UTF-8"},
      {"s", std::string("\xed\xa0\x80"), "not valid UTF-8"},
      {"s", std::string("\xc0\x80"), "not valid UTF-8"},
      {"s", std::string("a\xc3"), "not valid UTF-8"},
      {"v", Version{"1.2"}, "not a semantic version"},
      {"v", Version{"v1.2.3"}, "not a semantic version"},
      {"v", Version{"1.02.3"}, "not a semantic version"},
      {"v", Version{"1.2.3-"}, "not a semantic version"},
      {"v", Version{"1.2.3-01"}, "not a semantic version"},
      {"v", Version{"1.2.3+"}, "not a semantic version"},
      {"v", Version{""}, "not a semantic version"},
      {"v", Version{"1.2.3-" + std::string(60, 'a')}, "at most 64"},
  };
  for (const auto& c : cases) {
    const auto out = check({with_attribute(c.key, c.value), device("eth2")});
    ASSERT_THAT(out.left_out, SizeIs(1)) << c.key << c.sentence;
    EXPECT_EQ(out.left_out[0].what, "attribute");
    EXPECT_THAT(out.left_out[0].sentence,
                HasSubstr("device \"eth1\": attribute \"" + std::string(c.key) + "\": "));
    EXPECT_THAT(out.left_out[0].sentence, HasSubstr(c.sentence));
    ASSERT_THAT(out.pools[0].devices, SizeIs(2));
    EXPECT_THAT(out.pools[0].devices[0].attributes, SizeIs(1)) << c.sentence;
    EXPECT_TRUE(out.pools[0].devices[0].attributes.contains("good"));
  }
}

TEST(ValidatePools, LimitsAreInclusive) {
  Device good = device(std::string(63, 'd'));
  good.attributes = {{std::string(32, 'a'), std::string(64, 'x')}, {"_", std::string("\xf0\x9f\x98\x80")}};
  good.attributes[std::string(63, 'd') + "/" + std::string(32, 'a')] = true;
  const auto out = check({good});
  EXPECT_THAT(out.left_out, IsEmpty());
  EXPECT_THAT(out.pools[0].devices, ElementsAre(good));
}

TEST(ValidatePools, MoreThan32_CapacityGoesFirst) {
  Device many = device();
  for (int i = 0; i < 32; ++i) {
    many.attributes["a" + std::to_string(i)] = true;
  }
  many.capacity["zz"] = {.value = "1", .request_policy = {}};
  const auto out = check({many});
  ASSERT_THAT(out.left_out, SizeIs(1));
  EXPECT_THAT(out.left_out[0].sentence, HasSubstr("at most 32 attributes and capacities"));
  EXPECT_THAT(out.pools[0].devices[0].attributes, SizeIs(31));
  EXPECT_THAT(out.pools[0].devices[0].capacity, SizeIs(1));
}

TEST(ValidatePools, OneNameWrittenTwoWays_IsTakenOnce) {
  Device twice = device();
  twice.attributes = {{"type", std::string("a")},
                      {"dra.example.com/type", std::string("b")},
                      {"other.example.com/type", std::string("c")}};
  const auto out = check({twice});
  ASSERT_THAT(out.left_out, SizeIs(1));
  EXPECT_THAT(out.left_out[0].sentence, HasSubstr("it is the same as"));
  EXPECT_THAT(out.pools[0].devices[0].attributes, SizeIs(2));
}

TEST(ValidatePools, BadCapacity_GoesAlone) {
  using kube::RequestPolicy;
  const auto policy = [](RequestPolicy p) { return Capacity{.value = "10", .request_policy = std::move(p)}; };
  const auto range = [&](const char* def, std::optional<std::string> min, std::optional<std::string> max,
                         std::optional<std::string> step) {
    return policy({.default_value = def,
                   .valid_values = {},
                   .range_min = std::move(min),
                   .range_max = std::move(max),
                   .range_step = std::move(step)});
  };
  const auto values = [&](const char* def, std::vector<std::string> list) {
    return policy({.default_value = def,
                   .valid_values = std::move(list),
                   .range_min = {},
                   .range_max = {},
                   .range_step = {}});
  };
  const struct {
    Capacity capacity;
    const char* sentence;  // empty: good
  } cases[] = {
      {{.value = "ten", .request_policy = {}}, "\"ten\" is not a quantity"},
      {{.value = "", .request_policy = {}}, "is not a quantity"},
      {values("x", {}), "requestPolicy.default: \"x\" is not a quantity"},
      {values("11", {}), "requestPolicy.default: must not be larger"},
      {values("", {"1"}), "requestPolicy.default: is required"},
      {values("1", {"1", "2", "10"}), ""},
      {values("3", {"1", "2"}), "requestPolicy.default: must be one of validValues"},
      {values("1", {"2", "1"}), "validValues: must ascend"},
      {values("1", {"1", "1000m"}), "validValues: must ascend"},
      {values("1", {"1", "11"}), "validValues: must not be larger"},
      {values("1", {"1", "y"}), "validValues: \"y\" is not a quantity"},
      {values("1", {"1", "2", "3", "4", "5", "6", "7", "8", "9", "9500m", "10"}), "at most 10"},
      {range("1", "1", "9", "2"), ""},
      {range("1", "1", std::nullopt, std::nullopt), ""},
      {range("1", std::nullopt, "9", std::nullopt), "validRange.min: is required"},
      {range("", "1", "9", std::nullopt), "requestPolicy.default: is required"},
      {range("1", "2", "9", std::nullopt), "requestPolicy.default: must be within the range"},
      {range("10", "2", "9", std::nullopt), "requestPolicy.default: must be within the range"},
      {range("1", "1", "11", std::nullopt), "must be min <= max"},
      {range("5", "6", "4", std::nullopt), "must be min <= max"},
      {range("2", "1", "9", "2"), "whole steps above min"},
      {range("1", "1", "8", "2"), "whole steps above min"},
      {range("1", "1", "9", "0"), "step: must be larger than 0"},
      {range("1", "1", "9", "-1"), "step: must be larger than 0"},
      {policy({.default_value = "1",
               .valid_values = {"1"},
               .range_min = "1",
               .range_max = {},
               .range_step = {}}),
       "exclude each other"},
  };
  for (const auto& c : cases) {
    const auto out = check({with_capacity(c.capacity)});
    if (std::string_view(c.sentence).empty()) {
      EXPECT_THAT(out.left_out, IsEmpty());
      continue;
    }
    ASSERT_THAT(out.left_out, SizeIs(1)) << c.sentence;
    EXPECT_EQ(out.left_out[0].what, "capacity");
    EXPECT_THAT(out.left_out[0].sentence, HasSubstr("device \"eth1\": capacity \"slots\": "));
    EXPECT_THAT(out.left_out[0].sentence, HasSubstr(c.sentence));
    ASSERT_THAT(out.pools[0].devices, SizeIs(1));
    EXPECT_THAT(out.pools[0].devices[0].capacity, IsEmpty());
  }
  EXPECT_THAT(check({with_capacity({.value = "1", .request_policy = {}}, true, "a b")}).left_out, SizeIs(1));
}

TEST(ValidatePools, PolicyOnAnExclusiveDevice_GoesAndTheCapacityStays) {
  const auto out = check({with_capacity({.value = "10", .request_policy = kube::RequestPolicy{}}, false)});
  ASSERT_THAT(out.left_out, SizeIs(1));
  EXPECT_THAT(out.left_out[0].sentence, HasSubstr("only for devices with allowMultipleAllocations"));
  const auto& capacity = out.pools[0].devices[0].capacity.at("slots");
  EXPECT_EQ(capacity.value, "10");
  EXPECT_FALSE(capacity.request_policy);
}

TEST(ValidatePools, BadDeviceName_LosesOnlyThatDevice) {
  for (const std::string bad : {"", "Eth1", "eth_1", "eth1.100", "-a", "a-", "eth 1", "\xc3\xa4", "../a"}) {
    const auto out = check({device(bad), device("good")});
    ASSERT_THAT(out.left_out, SizeIs(1)) << bad;
    EXPECT_EQ(out.left_out[0].what, "device");
    EXPECT_THAT(out.left_out[0].sentence, HasSubstr("not a DNS label"));
    EXPECT_THAT(out.pools[0].devices, ElementsAre(device("good")));
  }
  EXPECT_THAT(check({device(std::string(64, 'a'))}).left_out, SizeIs(1));
}

TEST(ValidatePools, SecondDeviceOfAName_IsLeftOut) {
  Device first = device();
  first.attributes["n"] = std::int64_t{1};
  const auto out = check({first, device()});
  ASSERT_THAT(out.left_out, SizeIs(1));
  EXPECT_THAT(out.left_out[0].sentence, HasSubstr("has a device of this name already"));
  EXPECT_THAT(out.pools[0].devices, ElementsAre(first));
}

TEST(ValidatePools, BadTaint_TakesItsDeviceAlong) {
  const kube::Taint good{.key = "k", .value = "", .effect = "NoSchedule", .time_added = ""};
  const kube::Taint bad[] = {{.key = "", .value = "", .effect = "NoSchedule", .time_added = ""},
                             {.key = "a b", .value = "", .effect = "NoSchedule", .time_added = ""},
                             {.key = "a/b/c", .value = "", .effect = "NoSchedule", .time_added = ""},
                             {.key = "k", .value = "a b", .effect = "NoSchedule", .time_added = ""},
                             {.key = "k", .value = "", .effect = "", .time_added = ""},
                             {.key = "k", .value = "", .effect = "PreferNoSchedule", .time_added = ""}};
  for (const kube::Taint& taint : bad) {
    Device tainted = device();
    tainted.taints = {good, taint};
    const auto out = check({tainted, device("eth2")});
    ASSERT_THAT(out.left_out, SizeIs(1)) << taint.key << taint.value << taint.effect;
    EXPECT_EQ(out.left_out[0].what, "device");
    EXPECT_THAT(out.pools[0].devices, ElementsAre(device("eth2")));
  }
  Device many = device();
  many.taints.assign(17, good);
  EXPECT_THAT(check({many}).pools[0].devices, IsEmpty());
  many.taints.assign(16, good);
  EXPECT_THAT(check({many}).pools[0].devices, SizeIs(1));
}

TEST(ValidatePools, BadTaintTime_IsLeftToTheServer) {
  Device tainted = device();
  tainted.taints = {{.key = "k", .value = "", .effect = "None", .time_added = "yesterday"}};
  const auto out = check({tainted});
  ASSERT_THAT(out.left_out, SizeIs(1));
  EXPECT_EQ(out.left_out[0].what, "taint");
  EXPECT_EQ(out.pools[0].devices[0].taints[0].time_added, "");
}

TEST(ValidatePools, Pools) {
  const auto out = validate_pools({{.name = "", .devices = {device("a")}},
                                   {.name = "node-1/rdma", .devices = {device("a")}},
                                   {.name = "Bad_Name", .devices = {device("a")}},
                                   {.name = "a//b", .devices = {}},
                                   {.name = "node-1", .devices = {device("a"), device("b")}},
                                   {.name = "empty.example.com", .devices = {}}},
                                  "dra.example.com", "node-1");
  ASSERT_THAT(out.pools, SizeIs(3));
  EXPECT_EQ(out.pools[0].name, "node-1");
  EXPECT_THAT(out.pools[0].devices, ElementsAre(device("a"), device("b")));
  EXPECT_EQ(out.pools[1].name, "node-1/rdma");
  EXPECT_EQ(out.pools[2].name, "empty.example.com");
  ASSERT_THAT(out.left_out, SizeIs(3));
  EXPECT_EQ(out.left_out[0].what, "pool");
  EXPECT_EQ(out.left_out[1].what, "pool");
  EXPECT_EQ(out.left_out[2].what, "device");
}

}  // namespace
}  // namespace fairlead::dra
