// SPDX-License-Identifier: Apache-2.0
// drydock --confine as its users start it: a small driver in the container of its DaemonSet.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "drydock/node/processes.h"
#include "drydock/node/seccomp_profile.h"
#include "drydock/node/testing/temp_folder.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kBin = DRYDOCK_BIN_DIR;

struct Manifest {
  std::string security = R"(allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          seccompProfile: {type: RuntimeDefault}
          capabilities: {drop: ["ALL"], add: ["NET_ADMIN"]})";
  std::string spec = "hostNetwork: true";
  std::string registry = "/var/lib/kubelet/plugins_registry";  // where the kubelet's folder is mounted
};

std::string daemon_set(const Manifest& manifest) {
  return R"(apiVersion: apps/v1
kind: DaemonSet
metadata: {name: driver}
spec:
  selector: {matchLabels: {app: driver}}
  template:
    metadata: {labels: {app: driver}}
    spec:
      )" +
         manifest.spec + R"(
      containers:
      - name: driver
        image: example/driver
        env: [{name: FROM_MANIFEST, value: "1"}]
        securityContext:
          )" +
         manifest.security + R"(
        volumeMounts:
        - {name: plugins, mountPath: /var/lib/kubelet/plugins}
        - {name: registry, mountPath: )" +
         manifest.registry + R"(}
        - {name: cdi, mountPath: /var/run/cdi}
        - {name: shared, mountPath: /run/shared}
        - {name: shared, mountPath: /run/shared-ro, readOnly: true}
        - {name: scratch, mountPath: /scratch}
      volumes:
      - {name: plugins, hostPath: {path: /var/lib/kubelet/plugins, type: Directory}}
      - {name: registry, hostPath: {path: /var/lib/kubelet/plugins_registry, type: Directory}}
      - {name: cdi, hostPath: {path: /var/run/cdi, type: DirectoryOrCreate}}
      - {name: shared, hostPath: {path: /run/made-by-the-kubelet, type: DirectoryOrCreate}}
      - {name: scratch, emptyDir: {medium: Memory}}
)";
}

/// A pod with a device of the driver and the driver's hostPath folder.
std::string pod(const std::string& script) {
  return R"(apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: things}
spec: {}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: thing}
spec: {spec: {devices: {requests: [{name: one, exactly: {deviceClassName: things}}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  restartPolicy: Never
  resourceClaims: [{name: t, resourceClaimTemplateName: thing}]
  volumes: [{name: shared, hostPath: {path: /run/made-by-the-kubelet}}]
  containers:
  - name: main
    image: busybox
    command: [sh, -c, ')" +
         script + R"(']
    resources: {claims: [{name: t}]}
    volumeMounts: [{name: shared, mountPath: /shared}]
)";
}

class ConfineRun : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "drydock needs root for its namespaces";
    }
    if (!find_program({"crun", "runc"})) {
      GTEST_SKIP() << "neither crun nor runc is installed";
    }
    if (::access(kSeccompProfile, R_OK) != 0) {
      GTEST_SKIP() << kSeccompProfile << " is not there (package " << kSeccompPackage << ")";
    }
  }
  Output start(const Manifest& manifest, const std::string& flags = "",
               const std::vector<std::string>& more = {}, const std::string& script = "echo claim=$CLAIM",
               const std::string& before = "", const std::vector<std::string>& wrapper = {}) const {
    folder_.write("daemonset.yaml", daemon_set(manifest));
    folder_.write("pod.yaml", pod(script));
    auto argv = wrapper;
    argv.insert(argv.end(), {kBin + "/drydock", "run", "--confine", folder_.path() + "/daemonset.yaml",
                             "--driver", before + "exec " + kBin + "/drydock_test_driver " + flags, "-f",
                             folder_.path() + "/pod.yaml", "--show-log", "try "});
    argv.insert(argv.end(), more.begin(), more.end());
    auto done = run({.argv = argv}, 100s);
    EXPECT_TRUE(done) << done.error().what();
    return done ? *done : Output();
  }
  TempFolder folder_;
};

class ConfineRuntimes : public ConfineRun, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    ConfineRun::SetUp();
    if (!find_program({GetParam()})) {
      GTEST_SKIP() << GetParam() << " is not installed";
    }
  }
};

TEST_P(ConfineRuntimes, Driver_WritesOnlyWhereItsVolumesAre) {
  const auto done =
      start({},
            "--write /new-file,/usr/new-file,/tmp/new-file,/run/new-file,/var/lib/kubelet/new-file,"
            "/etc/cdi/new-file,/proc/sys/net/ipv4/ip_forward,/sys/class/net/eth0/mtu,"
            "/run/shared-ro/new-file,{kubeconfig},/run/shared/new-file,/scratch/new-file,"
            "{state}/new-file",
            {"--runtime", GetParam()});
  EXPECT_EQ(done.status.code, 0) << done.out;
  for (const auto* path :
       {"/new-file", "/usr/new-file", "/tmp/new-file", "/run/new-file", "/var/lib/kubelet/new-file",
        "/etc/cdi/new-file", "/proc/sys/net/ipv4/ip_forward", "/sys/class/net/eth0/mtu",
        "/run/shared-ro/new-file", "/run/drydock/kubeconfig-1"}) {
    EXPECT_THAT(done.out, HasSubstr(std::string("try write ") + path + ": EROFS"));
  }
  for (const auto* path : {"/run/shared/new-file", "/scratch/new-file", "/run/drydock/state/1/new-file"}) {
    EXPECT_THAT(done.out, HasSubstr(std::string("try write ") + path + ": fine"));
  }
}

TEST_P(ConfineRuntimes, Driver_HasExactlyTheManifestsRights) {
  const auto done = start({}, "--show-limits", {"--runtime", GetParam()});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out,
              AllOf(HasSubstr("try CapEff: 0000000000001000\n"), HasSubstr("try CapBnd: 0000000000001000\n"),
                    HasSubstr("try NoNewPrivs: 1\n"), HasSubstr("try Seccomp: 2\n"),
                    HasSubstr("try kcmp: EPERM\n"), HasSubstr("try pid 1\n")));
  EXPECT_THAT(done.out,
              AllOf(ContainsRegex("claim=one-t-[a-z0-9]+"), HasSubstr("nothing of the pods is left"),
                    HasSubstr("this machine is as it was")));
}

TEST_P(ConfineRuntimes, SeccompRulesFollowTheCapabilities) {
  Manifest manifest;
  manifest.security.replace(manifest.security.find("NET_ADMIN"), 9, "SYS_PTRACE");
  const auto done = start(manifest, "--show-limits", {"--runtime", GetParam()});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("try Seccomp: 2\n"), HasSubstr("try kcmp: fine\n")));
}

/// The bounding set of this process, as /proc shows it.
std::string own_capabilities() {
  const auto text = fairlead::sys::read_file("/proc/self/status");
  const std::string head = "CapBnd:\t";
  const auto at = text ? text->find(head) : std::string::npos;
  return at == std::string::npos ? "unknown" : text->substr(at + head.size(), 16);
}

TEST_P(ConfineRuntimes, PrivilegedDriver_IsNotFiltered) {
  const auto done = start({.security = "privileged: true"},
                          "--show-limits --write /proc/sys/net/ipv4/ip_forward", {"--runtime", GetParam()});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("try CapEff: " + own_capabilities() + "\n"),
                              HasSubstr("try Seccomp: 0\n"), HasSubstr("try kcmp: fine\n"),
                              HasSubstr("try write /proc/sys/net/ipv4/ip_forward: fine")));
}

TEST_P(ConfineRuntimes, HostPathVolume_IsTheNodesFolder) {
  const auto done = start({}, "", {"--runtime", GetParam()}, "cat /shared/word",
                          "echo from-the-driver > /run/shared/word; ");
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, HasSubstr("one/main: from-the-driver"));
}

TEST_P(ConfineRuntimes, DriverThatDies_IsStartedAgainInAnotherContainer) {
  // Its first life ends after a second; the second one finds what the pod's emptyDir kept.
  const std::string first_life =
      "test -e {state}/died || { touch {state}/died /scratch/first; timeout -s KILL 1 " + kBin +
      "/drydock_test_driver; exit 9; }; test -e /scratch/first || exit 8; ";
  const auto done = start({}, "", {"--runtime", GetParam(), "--restart-driver", "--json"},
                          "sleep 3; echo $CLAIM", first_life);
  EXPECT_EQ(done.status.code, 0) << done.out;
  const auto json = nlohmann::json::parse(done.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << done.out;
  EXPECT_EQ(json["drivers"][0]["restarts"], 1);
  EXPECT_EQ(json["drivers"][0]["name"], "test.example.com")
      << "whose socket it is is found out across pid namespaces";
  EXPECT_GT(json["drivers"][0]["cpuMicroseconds"], 0);
  EXPECT_GT(json["drivers"][0]["peakResidentKiB"], 1000);
}

TEST_P(ConfineRuntimes, DriverThatIgnoresSigterm_IsKilled) {
  Manifest manifest;
  manifest.spec += "\n      terminationGracePeriodSeconds: 3";
  const auto done = start(manifest, "--ignore-sigterm", {"--runtime", GetParam()});
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("driver 1 did not end within 3.0 s of SIGTERM"),
                              HasSubstr("this machine is as it was")));
}

INSTANTIATE_TEST_SUITE_P(Each, ConfineRuntimes, ::testing::Values("crun", "runc"),
                         [](const auto& param_info) { return std::string(param_info.param); });

TEST_F(ConfineRun, HostPid_DriverSeesTheNodesProcesses) {
  Manifest manifest;
  manifest.spec += "\n      hostPID: true";
  const auto done = start(manifest, "--show-limits");
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("try pid "), Not(HasSubstr("try pid 1\n"))));
}

TEST_F(ConfineRun, RegistryMountedElsewhere_DriverCannotRegister) {
  const auto done = start({.registry = "/elsewhere"}, "", {"--timeout", "1s"});
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, HasSubstr("1 driver not registered within 1.0 s"));
}

TEST_F(ConfineRun, WhatIsNotPlayed_IsSaidAtOnce) {
  const auto done = start({.security = "readOnlyRootFilesystem: false", .spec = "hostNetwork: false"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(
      done.out,
      HasSubstr(
          "not played: a network namespace of the pod's own (hostNetwork is not true), a writable root"));
}

TEST_F(ConfineRun, WithoutTheProfilesPackage_RuntimeDefaultIsRefused) {
  const auto done =
      start({}, "", {}, "true", "",
            {"unshare", "-m", "sh", "-c", "mount -t tmpfs none /usr/share/containers && exec \"$@\"", "sh"});
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out,
              AllOf(HasSubstr("seccompProfile RuntimeDefault needs /usr/share/containers/seccomp.json"),
                    HasSubstr("golang-github-containers-common"), Not(HasSubstr("registered"))));
}

}  // namespace
}  // namespace drydock
