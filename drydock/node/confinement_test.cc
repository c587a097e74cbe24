// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/confinement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "drydock/node/host_path.h"
#include "drydock/node/testing/temp_folder.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

using fairlead::Result;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string daemon_set(const std::string& container, const std::string& spec = "hostNetwork: true") {
  return R"(apiVersion: v1
kind: Namespace
metadata: {name: x}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: driver, namespace: x}
spec:
  selector: {matchLabels: {app: driver}}
  template:
    metadata: {labels: {app: driver}}
    spec:
      )" +
         spec + R"(
      containers:
      - name: main
        image: example/driver
        )" +
         container + "\n";
}

const std::string kStrict = R"(securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          seccompProfile: {type: RuntimeDefault}
          capabilities: {drop: ["ALL"], add: ["NET_ADMIN", "SYS_ADMIN"]})";

Result<Confinement> read(const std::string& yaml) { return read_confinement(yaml, "driver.yaml"); }

std::string refusal(const std::string& yaml) {
  const auto out = read(yaml);
  return out ? "not refused" : out.error().what();
}

Result<OciSpec> spec_of(const std::string& yaml, DriverPlace place = {}) {
  FL_ASSIGN(const auto confinement, read(yaml));
  place.env.insert({{"POD_NAMESPACE", "kube-system"}, {"NODE_IP", "198.18.0.2"}});
  place.node_name = "node-a";
  place.pod_uid = "uid-1";
  return make_driver_spec(confinement, place);
}

TEST(Confinement, TheDaemonSetAmongOtherDocumentsIsRead) {
  const auto out = read(daemon_set(kStrict));
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_EQ(out->container().name, "main");
  EXPECT_TRUE(out->default_seccomp);
  EXPECT_FALSE(out->host_pid);
  EXPECT_THAT(out->not_played, IsEmpty());
}

TEST(Confinement, NoneOrTwoDaemonSets_AreRefused) {
  EXPECT_THAT(
      refusal("kind: Namespace\napiVersion: v1\nmetadata: {name: x}\n"),
      HasSubstr("driver.yaml: --confine needs a manifest with exactly one DaemonSet, this one has none"));
  EXPECT_THAT(refusal(daemon_set(kStrict) + "---\n" + daemon_set(kStrict)), HasSubstr("this one has 2"));
}

TEST(Confinement, MisspeltField_IsRefusedWithItsPath) {
  EXPECT_THAT(refusal(daemon_set("securityContext: {readOnlyRootFilesytem: true}")),
              HasSubstr("securityContext.readOnlyRootFilesytem"));
}

TEST(Confinement, WhatReadingCanTell_IsRefusedAtOnce) {
  const auto volumes = [](const std::string& type) {
    return "volumes: [{name: v, hostPath: {path: /x, type: " + type + "}}]";
  };
  const auto mount = [](const std::string& more) {
    return "volumeMounts: [{name: v, mountPath: /v" + more + "}]";
  };
  EXPECT_THAT(
      refusal(daemon_set("securityContext: {capabilities: {add: [NET_ADMN]}}")),
      HasSubstr("driver.yaml: container main: securityContext.capabilities.add: there is no \"NET_ADMN\""));
  EXPECT_THAT(refusal(daemon_set(mount(""))),
              HasSubstr("name the volume \"v\", which spec.volumes does not have"));
  EXPECT_THAT(refusal(daemon_set(mount(""), volumes("Folder"))),
              HasSubstr("driver.yaml: volume v: there is no hostPath.type \"Folder\""));
  EXPECT_THAT(refusal(daemon_set(mount(", mountPropagation: Shared"), volumes("Directory"))),
              HasSubstr("volumeMount v: there is no mountPropagation \"Shared\""));
  EXPECT_THAT(refusal(daemon_set("securityContext: {runAsUser: -1}")),
              HasSubstr("container main: securityContext.runAsUser is -1"));
  EXPECT_THAT(refusal(daemon_set("securityContext: {runAsGroup: 4294967296}")),
              HasSubstr("securityContext.runAsGroup is 4294967296"));
  EXPECT_EQ(refusal(daemon_set(mount(", mountPropagation: HostToContainer"), volumes("Directory"))),
            "not refused");
}

TEST(Confinement, GracePeriodIsThePodsWithinBounds) {
  using std::chrono::seconds;
  const auto grace = [](const std::string& value) {
    return read(daemon_set(kStrict, "hostNetwork: true\n      terminationGracePeriodSeconds: " + value));
  };
  EXPECT_EQ(read(daemon_set(kStrict))->grace(), seconds(30)) << "the API server's default";
  EXPECT_EQ(grace("75")->grace(), seconds(75));
  EXPECT_EQ(grace("0")->grace(), Confinement::kShortestGrace);
  EXPECT_THAT(grace("75")->not_played, IsEmpty());
  const auto long_one = grace("3600");
  EXPECT_EQ(long_one->grace(), Confinement::kLongestGrace);
  EXPECT_THAT(long_one->not_played, ElementsAre("terminationGracePeriodSeconds 3600 (at most 120 here)"));
  const auto negative = grace("-1");
  ASSERT_FALSE(negative);
  EXPECT_THAT(negative.error().what(),
              HasSubstr("spec.terminationGracePeriodSeconds is -1, it must not be negative"));
}

TEST(Confinement, LocalSeccompProfile_IsRefusedNotLeftOut) {
  EXPECT_THAT(
      refusal(daemon_set("securityContext: {seccompProfile: {type: Localhost, localhostProfile: x.json}}")),
      HasSubstr("seccompProfile.type Localhost"));
}

TEST(Confinement, SeccompProfileOfThePod_CountsForItsContainer) {
  const auto out = read(daemon_set("{}", "securityContext: {seccompProfile: {type: RuntimeDefault}}"));
  EXPECT_FALSE(out) << "an empty flow mapping is no field";
  const auto pod =
      read(daemon_set("command: [x]", "securityContext: {seccompProfile: {type: RuntimeDefault}}"));
  ASSERT_TRUE(pod) << pod.error().what();
  EXPECT_TRUE(pod->default_seccomp);
}

TEST(Confinement, PrivilegedContainer_HasNoSeccompFilter) {
  const auto out =
      read(daemon_set("securityContext: {privileged: true, seccompProfile: {type: RuntimeDefault}}"));
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_FALSE(out->default_seccomp);
}

TEST(Confinement, WhatIsNotPlayed_IsListed) {
  const auto out = read(daemon_set(R"(livenessProbe: {exec: {command: [x]}}
        resources: {requests: {cpu: 10m}}
        env:
        - {name: A, value: b}
        - {name: SECRET, valueFrom: {secretKeyRef: {name: s, key: k}}}
        volumeMounts:
        - {name: config, mountPath: /config}
      - {name: second, image: other})",
                                   R"(initContainers: [{name: first, image: other}]
      volumes: [{name: config, configMap: {name: c}}])"));
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(out->not_played,
              ::testing::UnorderedElementsAre(
                  "spec.initContainers", "a network namespace of the pod's own (hostNetwork is not true)",
                  "container second", "containers[0].livenessProbe", "containers[0].resources",
                  "a writable root (readOnlyRootFilesystem is not true)", "env SECRET", "volume config"));
  EXPECT_THAT(out->container().mounts, IsEmpty());
  ASSERT_EQ(out->container().env.size(), 1U);
}

TEST(DriverSpec, SecurityIsTheManifests) {
  const auto out = spec_of(daemon_set(kStrict));
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(out->capabilities, ElementsAre("CAP_NET_ADMIN", "CAP_SYS_ADMIN"));
  EXPECT_TRUE(out->read_only_root);
  EXPECT_TRUE(out->no_new_privileges);
  EXPECT_THAT(out->read_only_paths, Contains("/proc/sys"));
  EXPECT_THAT(out->masked_paths, Contains("/sys/firmware"));
  const auto sys = std::ranges::find(out->mounts, "/sys", &OciMount::destination);
  ASSERT_NE(sys, out->mounts.end());
  EXPECT_THAT(sys->options, ElementsAre("nosuid", "noexec", "nodev", "ro"));
  EXPECT_EQ(out->network_namespace, "") << "the driver is on the node's network";
}

TEST(DriverSpec, PrivilegedHasAllCapabilitiesAndNothingMasked) {
  const auto out = spec_of(daemon_set("securityContext: {privileged: true}"));
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(out->capabilities, ::testing::IsSupersetOf({"CAP_NET_RAW", "CAP_CHOWN", "CAP_MKNOD"}));
  EXPECT_THAT(out->masked_paths, IsEmpty());
}

TEST(DriverSpec, HostPid_SharesTheNodesProcesses) {
  const auto own = spec_of(daemon_set(kStrict));
  const auto shared = spec_of(daemon_set(kStrict, "hostPID: true"));
  ASSERT_TRUE(own && shared);
  EXPECT_THAT(to_json(*own), HasSubstr("\"type\": \"pid\""));
  EXPECT_THAT(to_json(*shared), Not(HasSubstr("\"type\": \"pid\"")));
}

TEST(DriverSpec, CommandIsTheShellsAndNotExpanded) {
  const auto out = spec_of(daemon_set("args: [ignored]"), {.command = "driver --node $(hostname)"});
  ASSERT_TRUE(out) << out.error().what();
  EXPECT_THAT(out->args, ElementsAre("/bin/sh", "-c", "driver --node $(hostname)"));
}

TEST(DriverSpec, DrydocksVariablesWinOverTheManifests) {
  const auto out = spec_of(daemon_set(R"(env:
        - {name: PLAIN, value: "yes"}
        - {name: NODE_NAME, value: mine}
        - {name: UID_OF_POD, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
        - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: WHERE, value: $(POD_NAMESPACE)/driver})"),
                           {.env = {{"NODE_NAME", "node-a"}}});
  ASSERT_TRUE(out) << out.error().what();
  for (const auto* entry : {"PLAIN=yes", "NODE_NAME=node-a", "UID_OF_POD=uid-1", "POD_NAMESPACE=kube-system",
                            "WHERE=kube-system/driver"}) {
    EXPECT_THAT(out->env, Contains(entry));
  }
}

TEST(DriverSpec, MachineFirstThenTheRuntimesMountsThenHiddenFoldersThenVolumes) {
  const auto out = spec_of(daemon_set(R"(volumeMounts:
        - {name: netns, mountPath: /run/netns, mountPropagation: HostToContainer}
        - {name: host, mountPath: /host, readOnly: true})",
                                      R"(volumes:
      - {name: netns, hostPath: {path: /run/netns}}
      - {name: host, hostPath: {path: /}})"),
                           {.machine = {{"/home", "bind", "/home", {"bind", "ro"}}},
                            .hidden = {"/run"},
                            .readable = {"/run/drydock/kubeconfig-1"},
                            .writable = {"/run/drydock/state/1"},
                            .volumes = {{"netns", "/run/netns"}, {"host", "/"}}});
  ASSERT_TRUE(out) << out.error().what();
  std::vector<std::string> order;
  for (const auto& mount : out->mounts) {
    order.push_back(mount.destination);
  }
  EXPECT_THAT(order,
              ElementsAre("/home", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/run",
                          "/run/drydock/kubeconfig-1", "/run/drydock/state/1", "/run/netns", "/host"));
  EXPECT_THAT(out->mounts[7].options, Contains("ro"));
  EXPECT_THAT(out->mounts[8].options, Contains("ro"));
  EXPECT_THAT(out->mounts[9].options, Contains("rw"));
  EXPECT_THAT(out->mounts[10].options, ElementsAre("rbind", "rslave", "rw"));
  EXPECT_THAT(out->mounts[11].options, ElementsAre("rbind", "rprivate", "ro"));
  EXPECT_EQ(out->rootfs_propagation, "rslave");
}

TEST(DriverSpec, SeccompIsPartOfTheConfiguration) {
  OciSpec spec;
  spec.seccomp = R"({"defaultAction": "SCMP_ACT_ERRNO"})";
  const auto json = nlohmann::json::parse(to_json(spec));
  EXPECT_EQ(json["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
}

class HostPath : public ::testing::Test {
 protected:
  [[nodiscard]] Result<> prepare(const std::string& name, const std::string& type) const {
    return prepare_host_path({.name = "v",
                              .kind = Volume::Kind::kHostPath,
                              .host_path = folder_.path() + "/" + name,
                              .host_path_type = type});
  }
  TempFolder folder_;
};

TEST_F(HostPath, OrCreateTypesAreMade) {
  struct stat info{};
  ASSERT_TRUE(prepare("a/b", "DirectoryOrCreate"));
  ASSERT_EQ(::stat((folder_.path() + "/a/b").c_str(), &info), 0);
  EXPECT_TRUE(S_ISDIR(info.st_mode));
  ASSERT_TRUE(prepare("f", "FileOrCreate"));
  ASSERT_EQ(::stat((folder_.path() + "/f").c_str(), &info), 0);
  EXPECT_TRUE(S_ISREG(info.st_mode));
}
TEST_F(HostPath, OthersMustBeThereAndOfTheirKind) {
  folder_.write("file", "x");
  EXPECT_FALSE(prepare("none", "Directory"));
  EXPECT_FALSE(prepare("none", ""));
  EXPECT_TRUE(prepare("file", "File"));
  EXPECT_TRUE(prepare("file", ""));
  const auto wrong = prepare("file", "Directory");
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().what(), HasSubstr("is not a directory"));
  EXPECT_FALSE(prepare("file", "DirectoryOrCreate"));
  EXPECT_FALSE(prepare("file", "Socket"));
  EXPECT_FALSE(prepare("file", "Folder"));
}

}  // namespace
}  // namespace drydock
