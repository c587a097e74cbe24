// SPDX-License-Identifier: Apache-2.0
// The control plane as a node and a driver see it: manifests in, claims allocated, pods bound, all released.
#include "drydock/cluster/cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "drydock/cluster/testing/test_objects.h"

namespace drydock {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kClass = R"(
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata:
  name: network-devices
spec:
  selectors:
  - cel:
      expression: device.driver == "dra.example.com" && device.attributes["dra.example.com"].type == "netdev"
  config:
  - opaque:
      driver: dra.example.com
      parameters: {fromClass: true}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata:
  name: data-net-claim
spec:
  metadata:
    labels: {net: data}
  spec:
    devices:
      requests:
      - name: data-nic
        exactly:
          deviceClassName: network-devices
      config:
      - requests: ["data-nic"]
        opaque:
          driver: dra.example.com
          parameters:
            type: netdev
            netdev: {kind: macvlan, interfaceName: data0}
)";

constexpr std::string_view kPod = R"(
apiVersion: v1
kind: Pod
metadata:
  name: worker
spec:
  restartPolicy: Never
  resourceClaims:
  - name: data-net
    resourceClaimTemplateName: data-net-claim
  containers:
  - name: shell
    image: busybox
    resources:
      claims:
      - name: data-net
)";

class ClusterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto started = Cluster::start({});
    ASSERT_TRUE(started) << started.error().what();
    cluster_ = std::move(*started);
  }

  bool eventually(const std::function<bool()>& condition) {
    const auto deadline = Clock::now() + std::chrono::seconds(20);
    while (true) {
      const std::uint64_t seen = cluster_->change_number();
      if (condition()) {
        return true;
      }
      if (!cluster_->wait_for_change(seen, deadline)) {
        return condition();
      }
    }
  }

  std::vector<AppliedObject> apply(std::string_view yaml) {
    auto applied = cluster_->apply_manifests(yaml, "test.yaml");
    EXPECT_TRUE(applied) << applied.error().what();
    return applied ? std::move(*applied) : std::vector<AppliedObject>();
  }
  std::string apply_error(std::string_view yaml) {
    const auto applied = cluster_->apply_manifests(yaml, "test.yaml");
    return applied ? "applied" : applied.error().what();
  }
  void publish(const Json& devices) {
    const auto made =
        cluster_->store().create(kinds::kResourceSlice, "", testing::slice("s1", "dra.example.com", devices));
    ASSERT_TRUE(made) << made.error().message;
  }
  std::optional<Json> bound(const std::string& name) {
    for (Json& pod : cluster_->bound_pods()) {
      if (pod["metadata"]["name"] == name) {
        return std::move(pod);
      }
    }
    return std::nullopt;
  }
  std::string reason(const std::string& pod_name) {
    const auto pod = cluster_->pod("default", pod_name);
    const auto events =
        pod ? cluster_->events_of((*pod)["metadata"]["uid"].get<std::string>()) : std::vector<Json>();
    return events.empty() ? "" : events.back()["message"].get<std::string>();
  }

  std::unique_ptr<Cluster> cluster_;
};

TEST_F(ClusterTest, Pod_WithTemplateClaim_IsAllocatedAndBound) {
  publish(Json::array({testing::virtual_device("128")}));
  apply(kClass);
  apply(kPod);
  ASSERT_TRUE(eventually([&] { return bound("worker").has_value(); })) << reason("worker");
  const auto claims = cluster_->pod_claims(*bound("worker"));
  ASSERT_EQ(claims.size(), 1U);
  EXPECT_EQ(claims[0].entry, "data-net");
  ASSERT_TRUE(claims[0].claim);
  const Json& claim = *claims[0].claim;
  EXPECT_THAT(claim["metadata"]["name"].get<std::string>(),
              ::testing::MatchesRegex("worker-data-net-[a-z0-9]{5}"));
  EXPECT_EQ(claim["metadata"]["annotations"]["resource.kubernetes.io/pod-claim-name"], "data-net");
  EXPECT_EQ(claim["metadata"]["labels"]["net"], "data");
  EXPECT_EQ(claim["metadata"]["ownerReferences"][0]["kind"], "Pod");
  const Json& allocation = claim["status"]["allocation"];
  const Json& result = allocation["devices"]["results"][0];
  EXPECT_EQ(result["device"], "netdev-virtual");
  EXPECT_EQ(result["consumedCapacity"]["slots"], "1");
  EXPECT_EQ(result["shareID"].get<std::string>().size(), 36U);
  EXPECT_EQ(allocation["nodeSelector"]["nodeSelectorTerms"][0]["matchFields"][0]["values"][0], "drydock");
  ASSERT_EQ(allocation["devices"]["config"].size(), 2U);
  EXPECT_EQ(allocation["devices"]["config"][0]["source"], "FromClass");
  EXPECT_EQ(allocation["devices"]["config"][1]["source"], "FromClaim");
  EXPECT_EQ(claim["status"]["reservedFor"][0]["name"], "worker");
}

TEST_F(ClusterTest, Pod_Deleted_ReleasesItsClaims) {
  publish(Json::array({testing::virtual_device("128")}));
  auto applied = apply(kClass);
  auto pod = apply(kPod);
  ASSERT_TRUE(eventually([&] { return bound("worker").has_value(); }));
  ASSERT_TRUE(cluster_->delete_objects(pod));
  const auto dying = bound("worker");
  ASSERT_TRUE(dying) << "a bound pod must wait for its node";
  EXPECT_TRUE((*dying)["metadata"].contains("deletionTimestamp"));
  ASSERT_TRUE(cluster_->pod_claims(*dying)[0].claim) << "its claim stays until the node is done";
  ASSERT_TRUE(
      cluster_->finish_pod_deletion("default", "worker", (*dying)["metadata"]["uid"].get<std::string>()));
  EXPECT_TRUE(eventually([&] { return cluster_->store().all(kinds::kResourceClaim).empty(); }));
  EXPECT_TRUE(cluster_->delete_objects(pod)) << "twice is no error";
}

TEST_F(ClusterTest, Pod_Succeeded_ReleasesItsClaims) {
  publish(Json::array({testing::virtual_device("128")}));
  apply(kClass);
  apply(kPod);
  ASSERT_TRUE(eventually([&] { return bound("worker").has_value(); }));
  ASSERT_TRUE(cluster_->set_pod_status("default", "worker", {{"phase", "Succeeded"}}));
  EXPECT_TRUE(eventually([&] { return cluster_->store().all(kinds::kResourceClaim).empty(); }));
}

TEST_F(ClusterTest, Pod_WaitingForDevices_IsBoundWhenTheyCome) {
  apply(kClass);
  apply(kPod);
  ASSERT_TRUE(eventually([&] { return !reason("worker").empty(); }));
  EXPECT_THAT(reason("worker"), HasSubstr("0/1 nodes are available"));
  EXPECT_THAT(reason("worker"),
              HasSubstr("1 device is needed, but 0 of 0 devices on node drydock match deviceclass "
                        "\"network-devices\""));
  publish(Json::array({testing::virtual_device("128")}));
  EXPECT_TRUE(eventually([&] { return bound("worker").has_value(); }));
}

TEST_F(ClusterTest, Pod_MoreDevicesThanThereAre_SaysHowMany) {
  publish(Json::array({testing::device("nic0", {{"type", {{"string", "netdev"}}}})}));
  apply(kClass);
  apply(R"(
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: many}
spec:
  devices:
    requests:
    - name: nic
      exactly: {deviceClassName: network-devices, count: 3}
---
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  resourceClaims: [{name: c, resourceClaimName: many}]
  containers: [{name: a, image: busybox}]
)");
  ASSERT_TRUE(eventually([&] { return !reason("greedy").empty(); }));
  EXPECT_EQ(reason("greedy"),
            "0/1 nodes are available: 1 cannot allocate all claims: claim default/many, request \"nic\": 3 "
            "devices are "
            "needed, but 1 of 1 device on node drydock match deviceclass \"network-devices\", and 1 can be "
            "had now (the "
            "rest is in use)");
}

TEST_F(ClusterTest, Pod_MissingClass_SaysSo) {
  publish(Json::array({testing::virtual_device("128")}));
  std::string text(kClass);
  text.replace(text.find("deviceClassName: network-devices"), 32, "deviceClassName: network-device");
  apply(text);
  apply(kPod);
  ASSERT_TRUE(eventually([&] { return !reason("worker").empty(); }));
  EXPECT_THAT(reason("worker"), HasSubstr("deviceclass \"network-device\" not found"));
}

TEST_F(ClusterTest, Deployment_BecomesItsPods) {
  const auto applied = apply(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: a, image: busybox}]
)");
  ASSERT_EQ(applied.size(), 2U);
  EXPECT_EQ(applied[1].to_string(), "pod/web-1 created");
  EXPECT_TRUE(eventually([&] { return cluster_->bound_pods().size() == 2; }));
  EXPECT_EQ((*cluster_->pod("default", "web-0"))["metadata"]["labels"]["app"], "web");
}

TEST_F(ClusterTest, Apply_Twice_IsUnchanged) {
  apply(kClass);
  EXPECT_EQ(apply(kClass)[0].to_string(), "deviceclass.resource.k8s.io/network-devices unchanged");
}

TEST_F(ClusterTest, Apply_BadManifests_SayFileDocumentAndField) {
  EXPECT_EQ(
      apply_error(
          "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\n"
          "metadata: {name: x}\nspec:\n  containers: [{name: a, imagee: b}]\n"),
      "test.yaml, document 2 (Pod \"x\"): spec.containers[0].imagee: unknown field, did you mean \"image\"?");
  EXPECT_FALSE(cluster_->store().get(kinds::kNamespace, "", "a"))
      << "nothing may be applied before all is checked";
  EXPECT_EQ(apply_error("apiVersion: v1\nkind: Pod\nmetadata: {name: x, labels: {zone: no}}\n"),
            "test.yaml, document 1 (Pod \"x\"): metadata.labels[zone]: must be a string, not the bool false; "
            "YAML reads "
            "the plain word no as a bool, write \"no\" in quotes");
  EXPECT_EQ(apply_error("apiVersion: resource.k8s.io/v1beta1\nkind: DeviceClass\nmetadata: {name: x}\n"),
            "test.yaml, document 1 (DeviceClass \"x\"): kind DeviceClass is in resource.k8s.io/v1, not "
            "resource.k8s.io/v1beta1");
  EXPECT_THAT(apply_error("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: x}\n"),
              HasSubstr("kind StatefulSet (apps/v1) is not supported by drydock; it accepts Pod"));
  EXPECT_EQ(apply_error("apiVersion: v1\nkind: Pod\nkind: Pod\n"),
            "test.yaml: document 1, line 3: key \"kind\" is given twice");
  EXPECT_THAT(apply_error("a: [b\n"), HasSubstr("test.yaml: line 2, column 1: "));
  EXPECT_EQ(apply_error("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a}]}\n"),
            "test.yaml, document 1 (Pod \"x\"): spec.containers[0].image: Required value");
}

TEST_F(ClusterTest, Apply_SelectorThatDoesNotCompile_SaysWhere) {
  EXPECT_EQ(apply_error(R"(
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: c}
spec:
  devices:
    requests:
    - name: nic
      exactly:
        deviceClassName: network-devices
        selectors: [{cel: {expression: "1 == 1 &&& 2 == 2"}}]
)"),
            "test.yaml, document 1 (ResourceClaim \"c\"): "
            "spec.devices.requests[0].exactly.selectors[0].cel.expression: "
            "Invalid value: \"1 == 1 &&& 2 == 2\": compilation failed: column 10: unexpected \"&\"");
}

TEST_F(ClusterTest, Event_SameReasonAndMessage_CountsUp) {
  apply(
      "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {nodeName: drydock, containers: [{name: a, "
      "image: b}]}\n");
  const Json pod = *cluster_->pod("default", "x");
  cluster_->record_event(pod, {.reason = "Failed", .message = "no such image"});
  cluster_->record_event(pod, {.reason = "Failed", .message = "no such image"});
  const auto events = cluster_->events_of(pod["metadata"]["uid"].get<std::string>());
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0]["count"], 2);
  EXPECT_EQ(events[0]["type"], "Warning");
}

TEST_F(ClusterTest, LoseState_StartsEmptyWithANewNode) {
  apply(kClass);
  const Json before = *cluster_->store().get(kinds::kNode, "", "drydock");
  const std::uint16_t port = cluster_->port();
  ASSERT_TRUE(cluster_->lose_state());
  EXPECT_EQ(cluster_->port(), port);
  EXPECT_TRUE(cluster_->store().all(kinds::kDeviceClass).empty());
  EXPECT_NE((*cluster_->store().get(kinds::kNode, "", "drydock"))["metadata"]["uid"],
            before["metadata"]["uid"]);
}

TEST_F(ClusterTest, Node_HasTheAddressesThatAKubeletWrites_AlsoAfterALoss) {
  EXPECT_FALSE((*cluster_->store().get(kinds::kNode, "", "drydock"))["status"].contains("addresses"));
  auto started = Cluster::start({.node_addresses = {"198.18.0.2"}});
  ASSERT_TRUE(started) << started.error().what();
  const Json expected = Json::array(
      {{{"type", "InternalIP"}, {"address", "198.18.0.2"}}, {{"type", "Hostname"}, {"address", "drydock"}}});
  EXPECT_EQ((*(*started)->store().get(kinds::kNode, "", "drydock"))["status"]["addresses"], expected);
  ASSERT_TRUE((*started)->lose_state());
  EXPECT_EQ((*(*started)->store().get(kinds::kNode, "", "drydock"))["status"]["addresses"], expected);
}

TEST_F(ClusterTest, NodeDeleted_SlicesItOwnsGo) {
  const Json node = *cluster_->store().get(kinds::kNode, "", "drydock");
  Json slice = testing::slice("s1", "d.example", Json::array({testing::device("a")}));
  slice["metadata"]["ownerReferences"] = Json::array(
      {{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", "drydock"}, {"uid", node["metadata"]["uid"]}}});
  ASSERT_TRUE(cluster_->store().create(kinds::kResourceSlice, "", slice));
  ASSERT_TRUE(cluster_->store().remove(kinds::kNode, "", "drydock"));
  EXPECT_TRUE(eventually([&] { return cluster_->store().all(kinds::kResourceSlice).empty(); }));
}

}  // namespace
}  // namespace drydock
