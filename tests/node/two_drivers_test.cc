// SPDX-License-Identifier: Apache-2.0
// Two agents of different driver names on one node with one NIC: whole runs of both on drydock. The
// scheduler knows of two devices, so only the agents can keep the two pods apart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "fairlead/core/fault.h"
#include "tests/node/drydock_run.h"

namespace fairlead::testing {
namespace {

class TwoDriversRun : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_drydock(); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }

  static std::string agent(const std::string& driver, const std::string& nri_index) {
    return fairlead_program() + " --driver-name " + driver +
           " --kubeconfig {kubeconfig} --node-name {node} --registry-dir {registry} --plugin-dir {plugins}/" +
           driver + " --cdi-dir {cdi} --nri-socket {nri} --nri-index " + nri_index +
           " --state-dir {state} --host-devices 'nic*'";
  }
  /// A pod that holds the driver's NIC for a moment.
  static std::string pod(const std::string& name, const std::string& driver, const std::string& netdev) {
    return R"(apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: class-)" +
           name + R"(}
spec:
  selectors:
  - cel:
      expression: device.driver == ")" +
           driver + R"(" && device.attributes[")" + driver + R"("].kind == "host-device"
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: nic-)" +
           name + R"(}
spec:
  spec:
    devices:
      requests:
      - name: nic
        exactly: {deviceClassName: class-)" +
           name + R"(}
      config:
      - requests: [nic]
        opaque:
          driver: )" +
           driver + R"(
          parameters: {type: netdev, netdev: {)" +
           netdev + R"(, interfaceName: fast0}}
---
apiVersion: v1
kind: Pod
metadata: {name: )" +
           name + R"(}
spec:
  restartPolicy: Never
  containers:
  - name: shell
    image: iproute2
    command: [sh, -c, "ip -brief link show dev fast0; sleep 1"]
    resources: {claims: [{name: nic}]}
  resourceClaims:
  - {name: nic, resourceClaimTemplateName: nic-)" +
           name + R"(}
)";
  }
  static std::string both_pods(const std::string& kind_of_one = "macvlan") {
    return pod("one", "a.example.com", "kind: " + kind_of_one) + "---\n" +
           pod("two", "b.example.com", "kind: host-device");
  }
  static void expect_one_after_the_other(const RunOutcome& run) {
    ASSERT_EQ(run.exit_status, 0) << run.output;
    const auto at = [&](const std::string& text) { return run.output.find(text); };
    const auto one_starts = at("pod one: container shell started");
    const auto one_ends = at("pod one: container shell ended");
    const auto two_starts = at("pod two: container shell started");
    const auto two_ends = at("pod two: container shell ended");
    ASSERT_NE(one_starts, std::string::npos) << run.output;
    ASSERT_NE(two_starts, std::string::npos) << run.output;
    EXPECT_TRUE(one_ends < two_starts || two_ends < one_starts) << run.output;
  }
};

TEST_F(TwoDriversRun, OneNic_GoesToOnePodAfterTheOther) {
  expect_one_after_the_other(
      run_drydock({"--driver", agent("a.example.com", "50"), "--driver", agent("b.example.com", "51"), "-f",
                   write_manifest(both_pods()), "--nic", "nic0", "--retries", "30"}));
}

struct Killed {
  std::string kind, point;
};

class TwoDriversKilled : public TwoDriversRun, public ::testing::WithParamInterface<Killed> {};

TEST_P(TwoDriversKilled, NicIsNotLost) {
  if (!fault_points_enabled()) {
    GTEST_SKIP() << "this build has no fault points (FAIRLEAD_FAULTS)";
  }
  const RunOutcome run =
      run_drydock({"--driver", killed_once(GetParam().point, agent("a.example.com", "50")), "--driver",
                   agent("b.example.com", "51"), "-f", write_manifest(both_pods(GetParam().kind)), "--nic",
                   "nic0", "--retries", "30", "--restart-driver"});
  expect_one_after_the_other(run);
  EXPECT_THAT(run.output, ::testing::HasSubstr("started again"));
  // The one that was killed does not wait for what is the other's by now.
  EXPECT_THAT(run.output, ::testing::Not(::testing::HasSubstr("has not returned")));
}

INSTANTIATE_TEST_SUITE_P(Moments, TwoDriversKilled,
                         ::testing::Values(Killed{"macvlan", "after-admission"},
                                           Killed{"macvlan", "after-admission-record"},
                                           Killed{"macvlan", "after-unprepare-effect"},
                                           Killed{"host-device", "after-admission"},
                                           Killed{"host-device", "after-admission-record"},
                                           Killed{"host-device", "after-unprepare-effect"}),
                         [](const auto& param_info) {
                           std::string name = param_info.param.kind + "_" + param_info.param.point;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace fairlead::testing
