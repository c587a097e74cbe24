// SPDX-License-Identifier: Apache-2.0
// A whole NIC, with the agent killed at every moment of its way into the pod: the pod has it, and it is home
// afterwards as it was (drydock compares the node's links before and after a run).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "fairlead/core/fault.h"
#include "tests/node/drydock_run.h"

namespace fairlead::testing {
namespace {

using ::testing::HasSubstr;

const WantedDevice kNic = {
    "nic",
    R"({type: netdev, netdev: {kind: host-device, interfaceName: fast0, addresses: ["192.0.2.7/24"]}})",
    R"(device.attributes["dra.example.com"].kind == "host-device")"};

struct Moment {
  const char* mode;
  const char* point;
};

class NicAgentKilled : public ::testing::TestWithParam<Moment> {};

TEST_P(NicAgentKilled, PodHasTheNic_AndItComesHome) {
  if (const std::string why = why_no_drydock(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  if (!fault_points_enabled()) {
    GTEST_SKIP() << "this build has no fault points (FAIRLEAD_FAULTS)";
  }
  const std::string agent =
      fairlead_command("--host-devices 'nic*' --attach " + std::string(GetParam().mode));
  const RunOutcome run =
      run_drydock({"--driver", killed_once(GetParam().point, agent), "-f",
                   write_manifest(pod_manifest({kNic}, "ip -brief address show dev fast0")), "--nic", "nic0",
                   "--restart-driver"});
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("192.0.2.7/24"));
  EXPECT_THAT(run.output, HasSubstr("started again"));
}

INSTANTIATE_TEST_SUITE_P(
    Moments, NicAgentKilled,
    ::testing::Values(Moment{"auto", "nri-before-attach"}, Moment{"auto", "nri-after-begin"},
                      Moment{"guard", "guard-after-begin"}, Moment{"auto", "release-after-effect"},
                      Moment{"auto", "nri-after-attach"}, Moment{"auto", "nri-after-record"},
                      Moment{"auto", "guard-after-attach"}, Moment{"guard", "guard-before-attach"},
                      Moment{"guard", "guard-after-attach"}, Moment{"guard", "guard-after-record"},
                      Moment{"auto", "before-unprepare-effect"}, Moment{"auto", "after-unprepare-effect"}),
    [](const auto& param_info) {
      std::string name = std::string(param_info.param.mode) + "_" + param_info.param.point;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

class NicAgentFrozen : public ::testing::TestWithParam<const char*> {};

TEST_P(NicAgentFrozen, RuntimeGoesOn_TheGuardGetsTheNic_AndItComesHome) {
  if (const std::string why = why_no_drydock(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  if (!fault_points_enabled()) {
    GTEST_SKIP() << "this build has no fault points (FAIRLEAD_FAULTS)";
  }
  const RunOutcome run = run_drydock(
      {"--driver", frozen_once(GetParam(), fairlead_command("--host-devices 'nic*' --attach auto")), "-f",
       write_manifest(pod_manifest({kNic}, "ip -brief address show dev fast0")), "--nic", "nic0"});
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("192.0.2.7/24"));
}

INSTANTIATE_TEST_SUITE_P(Moments, NicAgentFrozen,
                         ::testing::Values("nri-after-begin", "nri-after-attach", "release-after-effect"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

/// What a reboot is compared with: it must stand in the API server while the pod runs, whoever attached it.
TEST(NicStatus, SaysWhichNicTheClaimHas) {
  if (const std::string why = why_no_drydock(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const RunOutcome run =
      run_drydock({"--driver", fairlead_command("--host-devices 'nic*'"), "-f",
                   write_manifest(pod_manifest({kNic}, "ip -brief link show dev fast0; sleep 1")), "--nic",
                   "nic0", "--json"});
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, ::testing::ContainsRegex(
                              R"("data": *\{[[:space:]]*"identity": *\{[[:space:]]*"name": *"nic0")"));
}

}  // namespace
}  // namespace fairlead::testing
