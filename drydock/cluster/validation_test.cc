// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/validation.h"

#include <gtest/gtest.h>

#include <set>

#include "drydock/cluster/field_check.h"
#include "drydock/cluster/testing/test_objects.h"

namespace drydock {
namespace {

Json good_slice() {
  Json slice = testing::slice("s", "d.example", Json::array({testing::virtual_device("8")}));
  slice["metadata"]["uid"] = "u";
  return slice;
}
Json good_claim() {
  Json claim = testing::claim("c", Json::array({testing::exactly("nic", {{"deviceClassName", "nics"}})}));
  claim["spec"]["devices"]["config"] =
      Json::parse(R"([{"requests": ["nic"], "opaque": {"driver": "d.example", "parameters": {"a": 1}}}])");
  return claim;
}
Json good_pod() {
  return Json::parse(R"({"metadata": {"name": "p", "namespace": "default"}, "spec": {
    "resourceClaims": [{"name": "n", "resourceClaimName": "c"}],
    "containers": [{"name": "a", "image": "busybox", "resources": {"claims": [{"name": "n"}]}}]}})");
}
Json good_class() { return testing::device_class("c", "device.driver == 'd.example'"); }

struct Case {
  const char* what;
  const Kind* kind;
  const char* pointer;  // JSON pointer to set
  const char* value;    // JSON, "" removes
  const char* field;    // of the first cause; "" when it is fine; "400" for a bad request
  const char* message;  // the beginning of it
};

class ValidationTable : public ::testing::TestWithParam<Case> {};

TEST_P(ValidationTable, Object_HasCause) {
  const Case& test = GetParam();
  Json object = test.kind == &kinds::kResourceSlice   ? good_slice()
                : test.kind == &kinds::kResourceClaim ? good_claim()
                : test.kind == &kinds::kPod           ? good_pod()
                                                      : good_class();
  const Json::json_pointer pointer{test.pointer};
  if (*test.value == '\0') {
    object[pointer.parent_pointer()].erase(pointer.back());
  } else {
    object[pointer] = Json::parse(test.value);
  }
  const auto verdict = admit_create(*test.kind, object);
  if (verdict) {
    EXPECT_STREQ(test.field, "") << "accepted";
    return;
  }
  if (verdict.error().code == 400) {
    EXPECT_STREQ(test.field, "400") << verdict.error().message;
    return;
  }
  ASSERT_FALSE(verdict.error().causes.empty());
  EXPECT_EQ(verdict.error().causes[0].field, test.field) << verdict.error().message;
  EXPECT_EQ(verdict.error().causes[0].message.substr(0, std::string(test.message).size()), test.message)
      << verdict.error().message;
}

std::string name_of_case(const ::testing::TestParamInfo<Case>& info) { return info.param.what; }

constexpr const Kind* kSlice = &kinds::kResourceSlice;

INSTANTIATE_TEST_SUITE_P(
    Slice, ValidationTable,
    ::testing::Values(
        Case{"Good", kSlice, "/spec/driver", R"("d.example")", "", ""},
        Case{"NoDriver", kSlice, "/spec/driver", "", "spec.driver", "Required value"},
        Case{"BadDriver", kSlice, "/spec/driver", R"("d_example")", "spec.driver",
             "Invalid value: \"d_example\": a lowercase"},
        Case{"PoolNameWithSlash", kSlice, "/spec/pool/name", R"("node/nics")", "", ""},
        Case{"PoolNameBad", kSlice, "/spec/pool/name", R"("node//nics")", "spec.pool.name", "Invalid value"},
        Case{"NegativeGeneration", kSlice, "/spec/pool/generation", "-1", "spec.pool.generation",
             "Invalid value: -1: must be greater than or equal to zero"},
        Case{"CountZero", kSlice, "/spec/pool/resourceSliceCount", "0", "spec.pool.resourceSliceCount",
             "Invalid value: 0: must be greater than zero"},
        Case{"NoPlace", kSlice, "/spec/nodeName", "", "spec", "Required value: exactly one of"},
        Case{"TwoPlaces", kSlice, "/spec/allNodes", "true", "spec",
             "Invalid value: \"drydock\": exactly one of"},
        Case{"BothDevicesAndCounters", kSlice, "/spec/sharedCounters", "[]", "spec",
             "Invalid value: \"\": only one of"},
        Case{"WrongType", kSlice, "/spec/devices", R"("x")", "400", ""},
        Case{"DeviceName", kSlice, "/spec/devices/0/name", R"("A")", "spec.devices[0].name",
             "Invalid value: \"A\": a lowercase RFC 1123 label"},
        Case{"DuplicateName", kSlice, "/spec/devices/1", R"({"name": "netdev-virtual"})",
             "spec.devices[1].name", "Duplicate value: \"netdev-virtual\""},
        Case{"AttributeKeyBad", kSlice, "/spec/devices/0/attributes/a-b", R"({"int": 1})",
             "spec.devices[0].attributes[a-b]", "Invalid value: \"a-b\": a valid C identifier"},
        Case{"AttributeKeyLong", kSlice, "/spec/devices/0/attributes/a23456789012345678901234567890123",
             R"({"int": 1})", "spec.devices[0].attributes[a23456789012345678901234567890123]",
             "Too long: may not be more than 32"},
        Case{"AttributeDomain", kSlice, "/spec/devices/0/attributes/resource.kubernetes.io~1numaNode",
             R"({"int": 1})", "", ""},
        Case{"AttributeEmpty", kSlice, "/spec/devices/0/attributes/x", "{}", "spec.devices[0].attributes[x]",
             "Required value: exactly one value"},
        Case{"AttributeTwo", kSlice, "/spec/devices/0/attributes/x", R"({"int": 1, "bool": true})",
             "spec.devices[0].attributes[x]", "Invalid value"},
        Case{"AttributeLong", kSlice, "/spec/devices/0/attributes/x",
             R"({"string": "01234567890123456789012345678901234567890123456789012345678901234"})",
             "spec.devices[0].attributes[x].string", "Too long: may not be more than 64"},
        Case{"VersionBad", kSlice, "/spec/devices/0/attributes/x", R"({"version": "v1.2"})",
             "spec.devices[0].attributes[x].version", "Invalid value: \"v1.2\""},
        Case{"VersionGood", kSlice, "/spec/devices/0/attributes/x", R"({"version": "1.2.3-rc.1+b"})", "", ""},
        Case{"PolicyOnExclusive", kSlice, "/spec/devices/0/allowMultipleAllocations", "false",
             "spec.devices[0].capacity[slots].requestPolicy", "Forbidden"},
        Case{"PolicyBoth", kSlice, "/spec/devices/0/capacity/slots/requestPolicy",
             R"({"default": "1", "validValues": ["1"], "validRange": {"min": "1"}})",
             "spec.devices[0].capacity[slots].requestPolicy", "Forbidden"},
        Case{"PolicyNoDefault", kSlice, "/spec/devices/0/capacity/slots/requestPolicy",
             R"({"validValues": ["1"]})", "spec.devices[0].capacity[slots].requestPolicy.default",
             "Required value"},
        Case{"PolicyUnsorted", kSlice, "/spec/devices/0/capacity/slots/requestPolicy",
             R"({"default": "1", "validValues": ["2", "1"]})",
             "spec.devices[0].capacity[slots].requestPolicy.validValues[1]",
             "Invalid value: \"1\": values must be sorted"},
        Case{"PolicyTooLarge", kSlice, "/spec/devices/0/capacity/slots/requestPolicy",
             R"({"default": "1", "validValues": ["1", "9"]})",
             "spec.devices[0].capacity[slots].requestPolicy.validValues[1]",
             "Invalid value: \"9\": option is larger"},
        Case{"PolicyRangeStep", kSlice, "/spec/devices/0/capacity/slots/requestPolicy",
             R"({"default": "2", "validRange": {"min": "1", "max": "7", "step": "2"}})",
             "spec.devices[0].capacity[slots].requestPolicy.default",
             "Invalid value: \"2\": value is not a multiple"},
        Case{"PolicyRangeGood", kSlice, "/spec/devices/0/capacity/slots/requestPolicy",
             R"({"default": "3", "validRange": {"min": "1", "max": "7", "step": "2"}})", "", ""},
        Case{"TaintNoEffect", kSlice, "/spec/devices/0/taints", R"([{"key": "a/b"}])",
             "spec.devices[0].taints[0].effect", "Required value"},
        Case{"TaintEffect", kSlice, "/spec/devices/0/taints", R"([{"key": "a/b", "effect": "Never"}])",
             "spec.devices[0].taints[0].effect",
             "Unsupported value: \"Never\": supported values: \"NoExecute\", \"NoSchedule\", \"None\""},
        Case{"ConditionsAlone", kSlice, "/spec/devices/0/bindingConditions", R"(["Ready"])",
             "spec.devices[0].bindingConditions", "Invalid value"},
        Case{"PlaceOfDevice", kSlice, "/spec/devices/0/nodeName", R"("a")", "spec.devices[0].nodeName",
             "Invalid value: \"a\": can only be specified if"}),
    name_of_case);

constexpr const Kind* kClaim = &kinds::kResourceClaim;

INSTANTIATE_TEST_SUITE_P(
    Claim, ValidationTable,
    ::testing::Values(
        Case{"Good", kClaim, "/metadata/name", R"("c")", "", ""},
        Case{"Name", kClaim, "/metadata/name", R"("C")", "metadata.name",
             "Invalid value: \"C\": a lowercase RFC 1123 subdomain"},
        Case{"RequestName", kClaim, "/spec/devices/requests/0/name", R"("n_c")",
             "spec.devices.requests[0].name", "Invalid value"},
        Case{"NoClass", kClaim, "/spec/devices/requests/0/exactly/deviceClassName", "",
             "spec.devices.requests[0].exactly.deviceClassName", "Required value"},
        Case{"NoRequest", kClaim, "/spec/devices/requests/0/exactly", "", "spec.devices.requests[0]",
             "Required value: exactly one of"},
        Case{"CountZero", kClaim, "/spec/devices/requests/0/exactly/count", "0",
             "spec.devices.requests[0].exactly.count", "Invalid value: 0: must be greater than zero"},
        Case{"Mode", kClaim, "/spec/devices/requests/0/exactly/allocationMode", R"("Some")",
             "spec.devices.requests[0].exactly.allocationMode",
             "Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\""},
        Case{"Selector", kClaim, "/spec/devices/requests/0/exactly/selectors",
             R"([{"cel": {"expression": "device.x"}}])",
             "spec.devices.requests[0].exactly.selectors[0].cel.expression",
             "Invalid value: \"device.x\": compilation failed: column 8"},
        Case{"DuplicateRequest", kClaim, "/spec/devices/requests/1",
             R"({"name": "nic", "exactly": {"deviceClassName": "a"}})", "spec.devices.requests[1].name",
             "Duplicate value: \"nic\""},
        Case{"ConfigOfNobody", kClaim, "/spec/devices/config/0/requests/0", R"("nick")",
             "spec.devices.config[0].requests[0]", "Invalid value: \"nick\": must be the name of a request"},
        Case{"ConfigNoObject", kClaim, "/spec/devices/config/0/opaque/parameters", "[1]",
             "spec.devices.config[0].opaque.parameters",
             "Invalid value: \"<value omitted>\": must be a valid JSON object"},
        Case{"ConfigNoDriver", kClaim, "/spec/devices/config/0/opaque/driver", "",
             "spec.devices.config[0].opaque.driver", "Required value"},
        Case{"ConfigEmpty", kClaim, "/spec/devices/config/0/opaque", "", "spec.devices.config[0]",
             "Required value"},
        Case{"Constraint", kClaim, "/spec/devices/constraints", R"([{"matchAttribute": "numa"}])",
             "spec.devices.constraints[0].matchAttribute", "Invalid value: \"numa\": a fully qualified name"},
        Case{"ConstraintEmpty", kClaim, "/spec/devices/constraints", "[{}]", "spec.devices.constraints[0]",
             "Required value"},
        Case{"Toleration", kClaim, "/spec/devices/requests/0/exactly/tolerations", "[{}]",
             "spec.devices.requests[0].exactly.tolerations[0].operator", "Invalid value"},
        Case{"QuantityBad", kClaim, "/spec/devices/requests/0/exactly/capacity",
             R"({"requests": {"slots": "many"}})", "400", ""}),
    name_of_case);

constexpr const Kind* kPod = &kinds::kPod;

INSTANTIATE_TEST_SUITE_P(
    Pod, ValidationTable,
    ::testing::Values(
        Case{"Good", kPod, "/metadata/name", R"("p")", "", ""},
        Case{"NoContainers", kPod, "/spec/containers", "[]", "spec.containers", "Required value"},
        Case{"NoImage", kPod, "/spec/containers/0/image", "", "spec.containers[0].image", "Required value"},
        Case{"UnknownClaim", kPod, "/spec/containers/0/resources/claims/0/name", R"("x")",
             "spec.containers[0].resources.claims[0]", "Not found: \"x\""},
        Case{"ClaimTwoSources", kPod, "/spec/resourceClaims/0/resourceClaimTemplateName", R"("t")",
             "spec.resourceClaims[0]", "Invalid value"},
        Case{"RestartPolicy", kPod, "/spec/restartPolicy", R"("Sometimes")", "spec.restartPolicy",
             "Unsupported value"},
        Case{"LabelBad", kPod, "/metadata/labels", R"({"a": "b c"})", "metadata.labels",
             "Invalid value: \"b c\""}),
    name_of_case);

INSTANTIATE_TEST_SUITE_P(Class, ValidationTable,
                         ::testing::Values(Case{"Good", &kinds::kDeviceClass, "/metadata/name", R"("c")", "",
                                                ""},
                                           Case{"NoExpression", &kinds::kDeviceClass, "/spec/selectors/0/cel",
                                                "{}", "spec.selectors[0].cel.expression", "Required value"}),
                         name_of_case);

TEST(Validation, Slice_TooManyDevices) {
  Json slice = good_slice();
  for (int i = 0; i < 128; ++i) {
    slice["spec"]["devices"].push_back({{"name", "d" + std::to_string(i)}});
  }
  const auto verdict = admit_create(kinds::kResourceSlice, slice);
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().causes[0].message, "Too many: 129: must have at most 128 items");
  slice["spec"]["devices"][0]["taints"] = Json::parse(R"([{"key": "a/b", "effect": "None"}])");
  EXPECT_EQ(admit_create(kinds::kResourceSlice, slice).error().causes[0].message,
            "Too many: 129: must have at most 64 items");
}

TEST(Validation, Slice_TooManyAttributes) {
  Json slice = good_slice();
  for (int i = 0; i < 31; ++i) {
    slice["spec"]["devices"][0]["attributes"]["a" + std::to_string(i)] = {{"int", i}};
  }
  const auto verdict = admit_create(kinds::kResourceSlice, slice);
  ASSERT_FALSE(verdict);
  EXPECT_EQ(verdict.error().message,
            "ResourceSlice.resource.k8s.io \"s\" is invalid: spec.devices[0]: Invalid value: 33: the total "
            "number of "
            "attributes and capacities must not exceed 32");
}

TEST(Validation, Slice_ImmutableFields) {
  Json before = good_slice();
  ASSERT_TRUE(admit_create(kinds::kResourceSlice, before));
  for (const char* field : {"driver", "nodeName"}) {
    Json after = before;
    after["spec"][field] = "other";
    const auto verdict = admit_update(kinds::kResourceSlice, before, after, Part::kSpec);
    ASSERT_FALSE(verdict);
    EXPECT_EQ(verdict.error().causes[0].message, "Invalid value: \"other\": field is immutable");
  }
}

TEST(Validation, Slice_DefaultsTaintTimesAndQuantities) {
  Json slice = good_slice();
  slice["spec"]["devices"][0]["capacity"]["slots"] = {{"value", "1024Mi"}};
  slice["spec"]["devices"][0]["taints"] = Json::parse(R"([{"key": "a/b", "effect": "NoSchedule"}])");
  ASSERT_TRUE(admit_create(kinds::kResourceSlice, slice));
  EXPECT_EQ(slice["spec"]["devices"][0]["capacity"]["slots"]["value"], "1Gi");
  const Json added = slice["spec"]["devices"][0]["taints"][0]["timeAdded"];
  EXPECT_TRUE(added.is_string());
  Json before = slice;
  before["spec"]["devices"][0]["taints"][0]["timeAdded"] = "2020-01-01T00:00:00Z";
  Json after = slice;
  after["spec"]["devices"][0]["taints"][0].erase("timeAdded");
  ASSERT_TRUE(admit_update(kinds::kResourceSlice, before, after, Part::kSpec));
  EXPECT_EQ(after["spec"]["devices"][0]["taints"][0]["timeAdded"], "2020-01-01T00:00:00Z");
}

TEST(Validation, Claim_DefaultsModeAndCount) {
  Json claim = good_claim();
  ASSERT_TRUE(admit_create(kinds::kResourceClaim, claim));
  EXPECT_EQ(claim["spec"]["devices"]["requests"][0]["exactly"]["allocationMode"], "ExactCount");
  EXPECT_EQ(claim["spec"]["devices"]["requests"][0]["exactly"]["count"], 1);
}

TEST(Validation, Claim_SpecIsImmutableAndDeallocationDropsReports) {
  Json before = good_claim();
  before["status"] = Json::parse(R"({"allocation": {"devices": {"results":
    [{"request": "nic", "driver": "d.example", "pool": "p", "device": "a"}]}}})");
  Json after = before;
  after["spec"]["devices"]["config"] = Json::array();
  EXPECT_FALSE(admit_update(kinds::kResourceClaim, before, after, Part::kSpec));
  after = before;
  after["status"]["devices"] = Json::parse(R"([{"driver": "d.example", "pool": "p", "device": "a"}])");
  ASSERT_TRUE(admit_update(kinds::kResourceClaim, before, after, Part::kStatus));
  Json moved = before;
  moved["status"]["allocation"]["devices"]["results"][0]["device"] = "b";
  EXPECT_FALSE(admit_update(kinds::kResourceClaim, before, moved, Part::kStatus))
      << "an allocation is immutable";
  Json released = after;
  released["status"].erase("allocation");
  ASSERT_TRUE(admit_update(kinds::kResourceClaim, after, released, Part::kStatus));
  EXPECT_FALSE(released["status"].contains("devices"));
}

TEST(Validation, Pod_SpecIsFrozenButTheNode) {
  Json before = good_pod();
  ASSERT_TRUE(admit_create(kinds::kPod, before));
  Json after = before;
  after["spec"]["nodeName"] = "drydock";
  ASSERT_TRUE(admit_update(kinds::kPod, before, after, Part::kSpec));
  Json moved = after;
  moved["spec"]["nodeName"] = "elsewhere";
  EXPECT_FALSE(admit_update(kinds::kPod, after, moved, Part::kSpec));
  moved = after;
  moved["spec"]["resourceClaims"] = Json::array();
  EXPECT_FALSE(admit_update(kinds::kPod, after, moved, Part::kSpec));
}

/// Every place of a good object holds every wrong thing once: the answer is a verdict, never an exception.
TEST(Validation, Objects_OfAnyShape_GetAVerdict) {
  const Json junk =
      Json::parse(R"([null, 1, -1, 1.5, "x", "", true, [], {}, [null], [[]], [{}], {"a": null}, {"a": {}}])");
  const std::vector<std::pair<const Kind*, Json>> objects{{&kinds::kResourceSlice, good_slice()},
                                                          {&kinds::kResourceClaim, good_claim()},
                                                          {&kinds::kPod, good_pod()},
                                                          {&kinds::kDeviceClass, good_class()}};
  for (const auto& [kind, good] : objects) {
    std::set<std::string> places;
    const Json flat = good.flatten();
    for (const auto& [place, value] : flat.items()) {
      for (Json::json_pointer pointer(place); !pointer.empty(); pointer.pop_back()) {
        places.insert(pointer.to_string());
      }
    }
    Json stored = good;
    ASSERT_TRUE(admit_create(*kind, stored));
    for (const std::string& place : places) {
      for (const Json& value : junk) {
        Json object = good;
        object[Json::json_pointer(place)] = value;
        Json updated = object;
        EXPECT_NO_THROW((void)admit_create(*kind, object)) << kind->name << " " << place << " " << value;
        EXPECT_NO_THROW((void)admit_update(*kind, stored, updated, Part::kSpec))
            << kind->name << " " << place << value;
        updated["status"] = value;
        EXPECT_NO_THROW((void)admit_update(*kind, stored, updated, Part::kStatus)) << kind->name << value;
      }
    }
  }
}

struct Address {
  const char* text;
  bool good;
};
class AddressTable : public ::testing::TestWithParam<Address> {};

TEST_P(AddressTable, Cidr_MustBeCanonical) {
  Json before = good_claim();
  before["status"] = Json::parse(R"({"allocation": {"devices": {"results":
    [{"request": "nic", "driver": "d.example", "pool": "p", "device": "a"}]}}})");
  Json after = before;
  after["status"]["devices"] = Json::parse(R"([{"driver": "d.example", "pool": "p", "device": "a"}])");
  after["status"]["devices"][0]["networkData"]["ips"] = {GetParam().text};
  EXPECT_EQ(admit_update(kinds::kResourceClaim, before, after, Part::kStatus).has_value(), GetParam().good)
      << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(All, AddressTable,
                         ::testing::Values(Address{"10.0.0.5/24", true}, Address{"2001:db8::1/64", true},
                                           Address{"::1/128", true}, Address{"10.0.0.5", false},
                                           Address{"10.0.0.05/24", false}, Address{"10.0.0.5/33", false},
                                           Address{"10.0.0.5/024", false}, Address{"2001:DB8::1/64", false},
                                           Address{"2001:db8:0::1/64", false},
                                           Address{"::ffff:10.0.0.1/120", false}, Address{"eth0/24", false}));

TEST(Semver, Strict) {
  for (const char* good : {"1.2.3", "0.0.0", "1.2.3-a.1", "1.2.3+001", "1.2.3-a+b"}) {
    EXPECT_TRUE(is_semver(good)) << good;
  }
  for (const char* bad : {"v1.2.3", "1.2", "01.2.3", "1.2.3-", "1.2.3-01", "1.2.3+", "1.2.3.4", ""}) {
    EXPECT_FALSE(is_semver(bad)) << bad;
  }
}

}  // namespace
}  // namespace drydock
