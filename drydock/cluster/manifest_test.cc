// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/manifest.h"

#include <gtest/gtest.h>

#include "drydock/cluster/schema.h"

namespace drydock {
namespace {

struct Scalar {
  const char* yaml;
  const char* json;
};
class ScalarTable : public testing::TestWithParam<Scalar> {};

TEST_P(ScalarTable, Yaml_IsReadAsKubernetesDoes) {
  const auto documents = parse_yaml(std::string("a: ") + GetParam().yaml + "\n");
  ASSERT_TRUE(documents) << documents.error().what();
  EXPECT_EQ((*documents)[0].value["a"].dump(), GetParam().json) << GetParam().yaml;
}

INSTANTIATE_TEST_SUITE_P(
    All, ScalarTable,
    testing::Values(Scalar{"yes", "true"}, Scalar{"n", "false"}, Scalar{"on", "true"}, Scalar{"Off", "false"},
                    Scalar{"\"no\"", "\"no\""}, Scalar{"'1'", "\"1\""}, Scalar{"!!str 1", "\"1\""},
                    Scalar{"~", "null"}, Scalar{"", "null"}, Scalar{"12", "12"}, Scalar{"-7", "-7"},
                    Scalar{"0x1f", "31"}, Scalar{"017", "15"}, Scalar{"0b11", "3"}, Scalar{"1_000", "1000"},
                    Scalar{"1.5", "1.5"}, Scalar{"1e3", "1000.0"}, Scalar{"1.2.3", "\"1.2.3\""},
                    Scalar{"08", "8.0"}, Scalar{"9223372036854775807", "9223372036854775807"},
                    Scalar{"10.0.0.1/24", "\"10.0.0.1/24\""},
                    Scalar{"02:00:00:00:00:01", "\"02:00:00:00:00:01\""}, Scalar{"\n- ", "[null]"},
                    Scalar{"1Gi", "\"1Gi\""}, Scalar{"{b: [1, x]}", R"({"b":[1,"x"]})"}));

TEST(Yaml, Anchors_AndMergeKeysWork) {
  const auto documents = parse_yaml("base: &b {x: 1, y: 2}\nmore:\n  <<: *b\n  z: 3\n  x: 9\n");
  ASSERT_TRUE(documents) << documents.error().what();
  EXPECT_EQ((*documents)[0].value["more"].dump(), R"({"x":9,"y":2,"z":3})");
}

TEST(Yaml, Documents_EmptyOnesAreLeftOutButCounted) {
  const auto documents = parse_yaml("---\n# nothing\n---\na: 1\n---\nb: 2\n");
  ASSERT_TRUE(documents);
  ASSERT_EQ(documents->size(), 2U);
  EXPECT_EQ((*documents)[0].number, 2U);
}

TEST(Yaml, HostileText_IsRefused) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last;
    for (int j = 0; j < 9; ++j) {
      bomb += ", " + last;
    }
    bomb += "]\n";
  }
  EXPECT_FALSE(parse_yaml(bomb));
  EXPECT_FALSE(parse_yaml(std::string(150, '[') + std::string(150, ']')));
  EXPECT_FALSE(parse_yaml("a: 1\na: 2\n"));
  EXPECT_FALSE(parse_yaml("{a: 1}: 2\n"));
}

TEST(Json, Nesting) {
  EXPECT_TRUE(nesting_is_sane(R"({"a": "[[[[\"[[", "b": [{}]})"));
  EXPECT_FALSE(nesting_is_sane(std::string(101, '[')));
}

TEST(Manifests, List_IsItsItems) {
  const auto manifests = read_manifests(
      "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n"
      "- {apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: a}}\n",
      "list.yaml");
  ASSERT_TRUE(manifests) << manifests.error().what();
  ASSERT_EQ(manifests->size(), 2U);
  EXPECT_EQ((*manifests)[1].ns, "a");
}

TEST(Manifests, Job_CompletionsArePods) {
  const auto manifests = read_manifests(R"(
apiVersion: batch/v1
kind: Job
metadata: {name: j, namespace: batch}
spec:
  completions: 3
  template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}
)",
                                        "job.yaml");
  ASSERT_TRUE(manifests) << manifests.error().what();
  ASSERT_EQ(manifests->size(), 3U);
  EXPECT_EQ((*manifests)[2].object["metadata"]["name"], "j-2");
  EXPECT_EQ((*manifests)[2].ns, "batch");
}

struct Mistake {
  const char* type;
  const char* json;
  const char* path;
  const char* message;
};
class FieldTable : public testing::TestWithParam<Mistake> {};

TEST_P(FieldTable, Problem_IsNamed) {
  const auto problems = check_fields(GetParam().type, Json::parse(GetParam().json));
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].path, GetParam().path);
  EXPECT_EQ(problems[0].message, GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, FieldTable,
    testing::Values(
        Mistake{"ResourceClaim", R"({"spec": {"device": {}}})", "spec.device",
                "unknown field, did you mean \"devices\"?"},
        Mistake{"ResourceClaim",
                R"({"spec": {"devices": {"requests": [{"exactly": {"deviceClass": "a"}}]}}})",
                "spec.devices.requests[0].exactly.deviceClass",
                "unknown field, did you mean \"deviceClassName\"?"},
        Mistake{"ResourceClaim", R"({"spec": {"devices": {"requests": [{"deviceClassName": "a"}]}}})",
                "spec.devices.requests[0].deviceClassName", "unknown field, it belongs under \"exactly\""},
        Mistake{"Pod", R"({"spec": {"containers": {}}})", "spec.containers", "must be a list, not an object"},
        Mistake{"Pod", R"({"spec": {"restartPolice": "Never"}})", "spec.restartPolice",
                "unknown field, did you mean \"restartPolicy\"?"},
        Mistake{"Pod", R"({"metadata": {"labels": {"a": 1}}})", "metadata.labels[a]",
                "must be a string, not the number 1"},
        Mistake{"Pod", R"({"spec": {"containers": [null]}})", "spec.containers[0]",
                "must be a value, not null"},
        Mistake{"DeviceClass", R"({"spec": 3})", "spec", "must be an object, not the number 3"},
        Mistake{"ResourceSlice", R"({"spec": {"devices": [{"capacity": {"a": {"value": "1x"}}}]}})",
                "spec.devices[0].capacity[a].value",
                "must be a quantity such as \"1\", \"500m\" or \"1Gi\", not \"1x\""}));

}  // namespace
}  // namespace drydock
