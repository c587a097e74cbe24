// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/oci_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "drydock/node/pod_spec.h"

namespace drydock {
namespace {

using fairlead::Result;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

PodSpec small_pod() {
  PodSpec pod;
  pod.name = "web-0";
  pod.namespace_ = "shop";
  pod.uid = "u-1";
  pod.node_name = "node-a";
  pod.hostname = "web-0";
  pod.labels = {{"app", "web"}};
  pod.containers.push_back({.name = "main", .image = "busybox", .command = {"sh"}});
  return pod;
}

Result<OciSpec> spec_of(const PodSpec& pod, const ImageConfig& image = {}, const PodRuntimeInfo& info = {}) {
  return make_oci_spec(pod, pod.containers[0], image, info);
}

TEST(PodSpec, ReadsWhatTheNodeHonours) {
  const auto pod = parse_pod(R"({"metadata": {"name": "a", "namespace": "b", "uid": "c"},
    "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 3, "securityContext": {"runAsUser": 7},
      "resourceClaims": [{"name": "x", "resourceClaimName": "x1"}, {"name": "y", "resourceClaimTemplateName": "t"}],
      "containers": [{"name": "m", "image": "i", "resources": {"claims": [{"name": "x", "request": "r"}]}}]},
    "status": {"resourceClaimStatuses": [{"name": "y", "resourceClaimName": "a-y-123"}]}})");
  ASSERT_TRUE(pod) << pod.error().what();
  EXPECT_EQ(pod->grace_period.count(), 3);
  EXPECT_EQ(pod->containers[0].security.user, 7);
  EXPECT_EQ(pod->containers[0].claims[0].request, "r");
  EXPECT_EQ(pod->claims[1].claim_name, "a-y-123");
}

TEST(PodSpec, WhatTheNodeCannotHonour_IsNamed) {
  const auto pod = parse_pod(R"({"metadata": {"name": "a"}, "spec": {"volumes": [{"name": "v", "secret": {}}],
    "containers": [{"name": "m", "image": "i"}]}})");
  ASSERT_FALSE(pod);
  EXPECT_THAT(pod.error().what(), HasSubstr("spec.volumes[0]"));
  const auto env =
      parse_pod(R"({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "m", "image": "i",
    "env": [{"name": "E", "valueFrom": {"secretKeyRef": {}}}]}]}})");
  ASSERT_FALSE(env);
  EXPECT_THAT(env.error().what(), HasSubstr("spec.containers[0].env[0].valueFrom"));
}

TEST(OciSpec, CommandAndArgs_FollowKubernetesRules) {
  const ImageConfig image{.entrypoint = {"/entry"}, .command = {"image-arg"}};
  auto pod = small_pod();
  EXPECT_THAT(spec_of(pod, image)->args, ElementsAre("sh"));  // an own command drops the image's arguments
  pod.containers[0].command.clear();
  EXPECT_THAT(spec_of(pod, image)->args, ElementsAre("/entry", "image-arg"));
  pod.containers[0].args = {"mine"};
  EXPECT_THAT(spec_of(pod, image)->args, ElementsAre("/entry", "mine"));
  pod.containers[0].args.clear();
  const auto nothing = spec_of(pod);
  ASSERT_FALSE(nothing);
  EXPECT_THAT(nothing.error().what(), HasSubstr("names no program"));
}

TEST(OciSpec, Env_OwnOverridesImageAndReferencesAreFilled) {
  auto pod = small_pod();
  pod.containers[0].env = {{"A", "one", ""},
                           {"B", "$(A)-$(C)-$$(A)", ""},
                           {"N", "", "metadata.name"},
                           {"L", "", "metadata.labels['app']"},
                           {"IP", "", "status.podIP"}};
  pod.containers[0].args = {"$(B)"};
  const auto spec = spec_of(pod, {.env = {"A=image", "KEEP=1"}}, {.pod_ip = "10.0.0.9"});
  ASSERT_TRUE(spec) << spec.error().what();
  EXPECT_THAT(spec->env, Contains("A=one"));
  EXPECT_THAT(spec->env, Not(Contains("A=image")));
  EXPECT_THAT(spec->env, Contains("B=one-$(C)-$(A)"));
  EXPECT_THAT(spec->env, Contains("N=web-0"));
  EXPECT_THAT(spec->env, Contains("L=web"));
  EXPECT_THAT(spec->env, Contains("IP=10.0.0.9"));
  EXPECT_THAT(spec->env, Contains("KEEP=1"));
  EXPECT_THAT(spec->args, ElementsAre("sh", "one-$(C)-$(A)"));
}

TEST(OciSpec, UnknownFieldReference_IsRefused) {
  auto pod = small_pod();
  pod.containers[0].env = {{"X", "", "status.nonsense"}};
  const auto spec = spec_of(pod);
  ASSERT_FALSE(spec);
  EXPECT_THAT(spec.error().what(), HasSubstr("status.nonsense"));
}

TEST(OciSpec, Capabilities_AddDropAndPrivileged) {
  auto pod = small_pod();
  auto& security = pod.containers[0].security;
  security.drop_capabilities = {"ALL"};
  security.add_capabilities = {"NET_ADMIN"};
  EXPECT_THAT(spec_of(pod)->capabilities, ElementsAre("CAP_NET_ADMIN"));
  security.add_capabilities = {"NET_ADMIM"};
  EXPECT_THAT(spec_of(pod).error().what(), HasSubstr("NET_ADMIM"));
  security = {.privileged = true};
  const auto spec = spec_of(pod);
  EXPECT_THAT(spec->capabilities, Contains("CAP_SYS_ADMIN"));
  EXPECT_THAT(spec->masked_paths, IsEmpty());
}

TEST(OciSpec, VolumeThatIsNotThere_IsNamed) {
  auto pod = small_pod();
  pod.containers[0].mounts = {{.volume = "gone", .path = "/x"}};
  EXPECT_THAT(spec_of(pod).error().what(), HasSubstr("\"gone\""));
}

TEST(OciSpec, Json_JoinsTheSandboxAndNamesNetDevices) {
  auto spec = *spec_of(small_pod(), {}, {.network_namespace = "/run/netns/x"});
  spec.rootfs = "/r";
  spec.net_devices["mv0"] = "data0";
  spec.hooks["createRuntime"].push_back({.path = "/h", .args = {"h"}, .timeout_seconds = 5});
  const auto json = nlohmann::json::parse(to_json(spec));
  bool joined = false;
  for (const auto& ns : json["linux"]["namespaces"]) {
    joined = joined || (ns["type"] == "network" && ns["path"] == "/run/netns/x");
  }
  EXPECT_TRUE(joined);
  EXPECT_EQ(json["linux"]["netDevices"]["mv0"]["name"], "data0");
  EXPECT_EQ(json["hooks"]["createRuntime"][0]["timeout"], 5);
  EXPECT_EQ(json["root"]["path"], "/r");
}

TEST(OciSpec, HostNetwork_HasNoNetworkNamespace) {
  const auto json = nlohmann::json::parse(to_json(*spec_of(small_pod())));
  for (const auto& ns : json["linux"]["namespaces"]) {
    EXPECT_NE(ns["type"], "network");
  }
}

}  // namespace
}  // namespace drydock
