// SPDX-License-Identifier: Apache-2.0
// Every way of attaching, and each of them with the agent killed at every moment of a pod's life, its
// connection to the runtime cut, or the agent standing still: never a running pod without its interfaces, and
// nothing left at the end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <tuple>
#include <vector>

#include "fairlead/core/fault.h"
#include "tests/node/drydock_run.h"

namespace fairlead::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// Two interfaces; the container looks at them again and again for as long as it runs.
std::string watching_pod() {
  return pod_manifest(
      {{"data", R"({type: netdev, netdev: {kind: macvlan, interfaceName: data0, master: eth0,
                   addresses: ["192.0.2.10/24"]}})",
        ""},
       {"ctrl", "{type: netdev, netdev: {kind: veth, interfaceName: ctrl0}}", ""}},
      "for i in 1 2 3 4 5; do ip -brief address show dev data0 | grep -q 192.0.2.10/24 || exit 9; "
      "ip -brief link show dev ctrl0 | grep -q ctrl0 || exit 8; sleep 0.1; done; echo interfaces-stayed");
}

const char* newer_crun() { return std::getenv("FAIRLEAD_NEWER_CRUN"); }  // NOLINT(concurrency-mt-unsafe)

class AttachWays : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_drydock(); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
  static RunOutcome run(const std::string& driver, const std::string& mode,
                        std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"--driver", driver, "-f", write_manifest(watching_pod())};
    if (mode == "netdevices") {
      arguments.insert(arguments.end(), {"--runtime", newer_crun()});
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_drydock(arguments);
  }
  static std::string agent(const std::string& mode) { return fairlead_command("--attach " + mode); }
};

class EveryWay : public AttachWays, public ::testing::WithParamInterface<const char*> {};

TEST_P(EveryWay, InterfacesAreThere_AndTheClaimsStatusSaysSo) {
  const std::string mode = GetParam();
  if (mode == "netdevices" && newer_crun() == nullptr) {
    GTEST_SKIP() << "FAIRLEAD_NEWER_CRUN names no crun >= 1.22 (tools/newer_crun.sh fetches one)";
  }
  const RunOutcome done = run(agent(mode), mode);
  EXPECT_EQ(done.exit_status, 0) << done.output;
  EXPECT_THAT(done.output, HasSubstr("interfaces-stayed"));
  EXPECT_THAT(done.output, ::testing::ContainsRegex("claim test-pod-data-[a-z0-9]+: data: data0, "));
  const bool by_nri = mode == "auto";
  EXPECT_EQ(done.output.find("RunPodSandbox") != std::string::npos, by_nri) << done.output;
}
INSTANTIATE_TEST_SUITE_P(Modes, EveryWay, ::testing::Values("auto", "guard", "netdevices"),
                         [](const auto& param_info) { return std::string(param_info.param); });

TEST_F(AttachWays, Auto_OnARuntimeWithoutNri_TheGuardAttaches) {
  const RunOutcome done = run(agent("auto"), "auto", {"--no-nri"});
  EXPECT_EQ(done.exit_status, 0) << done.output;
  EXPECT_THAT(done.output, HasSubstr("interfaces-stayed"));
}

/// A claim that only watches NICs gets nothing attached; its status says so within the pod's life.
TEST_F(AttachWays, AdminAccess_TheClaimsStatusSaysMonitoring) {
  const std::string manifest = write_manifest(R"(
apiVersion: v1
kind: Namespace
metadata: {name: ops, labels: {resource.kubernetes.io/admin-access: "true"}}
---
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: nics}
spec:
  selectors:
  - cel: {expression: 'device.driver == "dra.example.com" && device.attributes["dra.example.com"].kind == "host-device"'}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: watch, namespace: ops}
spec:
  spec: {devices: {requests: [{name: nic, exactly: {deviceClassName: nics, adminAccess: true, allocationMode: All}}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: monitor, namespace: ops}
spec:
  restartPolicy: Never
  resourceClaims: [{name: nics, resourceClaimTemplateName: watch}]
  containers:
  - name: c
    image: iproute2
    command: [sh, -c, sleep 2]
    resources: {claims: [{name: nics}]}
)");
  const RunOutcome run =
      run_drydock({"--driver", fairlead_command("--host-devices 'nic*'"), "--nic", "nic0", "-f", manifest});
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("nic: Ready (Monitoring"));
}

TEST_F(AttachWays, Auto_OnAnOlderRuntime_IsToldByStateChange) {
  const RunOutcome done = run(agent("auto"), "auto", {"--nri-dialect", "0.11"});
  EXPECT_EQ(done.exit_status, 0) << done.output;
  EXPECT_THAT(done.output, AllOf(HasSubstr("interfaces-stayed"), HasSubstr("RunPodSandbox")));
}

void replace(std::string& text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
}

class SandboxLost : public AttachWays, public ::testing::WithParamInterface<const char*> {};

TEST_P(SandboxLost, TheNextOneHasTheInterfaceToo) {
  // The second time it ends.
  std::string yaml =
      pod_manifest({{"data", R"({type: netdev, netdev: {kind: macvlan, interfaceName: data0, master: eth0,
                   addresses: ["192.0.2.10/24"]}})",
                     ""}},
                   "ip -brief address show dev data0; test -e /v/seen && exit 0; touch /v/seen; sleep 60");
  replace(yaml, "restartPolicy: Never", "restartPolicy: OnFailure\n  volumes: [{name: v, emptyDir: {}}]");
  replace(yaml, "    resources:\n      claims:\n      - name: data",
          "    volumeMounts: [{name: v, mountPath: /v}]\n    resources:\n      claims:\n      - name: data");
  const RunOutcome done =
      run_drydock({"--driver", agent(GetParam()), "-f", write_manifest(yaml), "--lose-sandbox", "2s"});
  EXPECT_EQ(done.exit_status, 0) << done.output;
  const std::size_t first = done.output.find("192.0.2.10/24 ");
  const std::size_t changed = done.output.find("SandboxChanged");
  ASSERT_NE(changed, std::string::npos) << done.output;
  EXPECT_LT(first, changed) << done.output;
  EXPECT_NE(done.output.find("data0@", changed), std::string::npos) << done.output;
}
INSTANTIATE_TEST_SUITE_P(Modes, SandboxLost, ::testing::Values("auto", "guard"),
                         [](const auto& param_info) { return std::string(param_info.param); });

struct Moment {
  const char* mode;
  const char* point;
};

class AgentKilled : public AttachWays, public ::testing::WithParamInterface<Moment> {};

TEST_P(AgentKilled, PodGetsItsInterfacesAllTheSame) {
  if (!fault_points_enabled()) {
    GTEST_SKIP() << "this build has no fault points (FAIRLEAD_FAULTS)";
  }
  const std::string mode = GetParam().mode;
  if (mode == "netdevices" && newer_crun() == nullptr) {
    GTEST_SKIP() << "FAIRLEAD_NEWER_CRUN names no crun >= 1.22 (tools/newer_crun.sh fetches one)";
  }
  const RunOutcome done = run(killed_once(GetParam().point, agent(mode)), mode, {"--restart-driver"});
  EXPECT_EQ(done.exit_status, 0) << done.output;
  EXPECT_THAT(done.output, AllOf(HasSubstr("driver 1 ended with signal 9 (Killed), it is started again"),
                                 HasSubstr("interfaces-stayed"), HasSubstr("nothing of the pods is left")));
}
INSTANTIATE_TEST_SUITE_P(
    Moments, AgentKilled,
    ::testing::Values(Moment{"auto", "after-intent"}, Moment{"auto", "after-prepare"},
                      Moment{"auto", "after-cdi"}, Moment{"auto", "after-record"},
                      Moment{"auto", "nri-before-attach"}, Moment{"auto", "nri-after-attach"},
                      Moment{"auto", "nri-after-record"}, Moment{"auto", "guard-before-attach"},
                      Moment{"auto", "guard-after-attach"}, Moment{"auto", "guard-after-record"},
                      Moment{"auto", "before-status-write"}, Moment{"auto", "after-status-write"},
                      Moment{"auto", "before-unprepare-effect"}, Moment{"auto", "after-unprepare-effect"},
                      Moment{"auto", "after-cdi-removed"}, Moment{"auto", "after-record-removed"},
                      Moment{"guard", "after-record"}, Moment{"guard", "guard-before-attach"},
                      Moment{"guard", "guard-after-attach"}, Moment{"guard", "guard-after-record"},
                      Moment{"guard", "before-unprepare-effect"}, Moment{"guard", "after-unprepare-effect"},
                      Moment{"netdevices", "after-intent"}, Moment{"netdevices", "after-prepare"},
                      Moment{"netdevices", "after-cdi"}, Moment{"netdevices", "after-record"},
                      Moment{"netdevices", "guard-before-attach"}, Moment{"netdevices", "guard-after-attach"},
                      Moment{"netdevices", "guard-after-record"},
                      Moment{"netdevices", "before-unprepare-effect"},
                      Moment{"netdevices", "after-unprepare-effect"}),
    [](const auto& param_info) {
      std::string name = std::string(param_info.param.mode) + "_" + param_info.param.point;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

class AgentFrozen : public AttachWays, public ::testing::WithParamInterface<const char*> {};

TEST_P(AgentFrozen, RuntimeGoesOnWithoutIt_TheGuardDoesNot) {
  if (!fault_points_enabled()) {
    GTEST_SKIP() << "this build has no fault points (FAIRLEAD_FAULTS)";
  }
  const RunOutcome done = run(frozen_once(GetParam(), agent("auto")), "auto");
  EXPECT_EQ(done.exit_status, 0) << done.output;
  EXPECT_THAT(
      done.output,
      AllOf(HasSubstr("did not answer RunPodSandbox within 2.0 s and was disconnected; the pod goes on"),
            HasSubstr("interfaces-stayed")));
}
INSTANTIATE_TEST_SUITE_P(Moments, AgentFrozen,
                         ::testing::Values("nri-before-attach", "nri-after-attach", "nri-after-record"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

class ConnectionCut : public AttachWays, public ::testing::WithParamInterface<const char*> {};

TEST_P(ConnectionCut, PodGetsItsInterfacesAllTheSame) {
  const RunOutcome done = run(agent("auto"), "auto", {"--nri-cut", GetParam()});
  EXPECT_EQ(done.exit_status, 0) << done.output;
  EXPECT_THAT(done.output, AllOf(HasSubstr(std::string("lose their connection before ") + GetParam()),
                                 HasSubstr("interfaces-stayed"), HasSubstr("nothing of the pods is left")));
}
INSTANTIATE_TEST_SUITE_P(Moments, ConnectionCut,
                         ::testing::Values("RunPodSandbox", "CreateContainer", "PostCreateContainer",
                                           "StartContainer", "PostStartContainer", "StopContainer",
                                           "StopPodSandbox", "RemoveContainer", "RemovePodSandbox"),
                         [](const auto& param_info) { return std::string(param_info.param); });

}  // namespace
}  // namespace fairlead::testing
