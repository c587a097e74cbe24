// SPDX-License-Identifier: Apache-2.0
// The manifests in examples/manifests do what their first lines say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/node/drydock_run.h"

namespace fairlead::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class Examples : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_drydock(); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
  static RunOutcome run(const std::string& name, const std::vector<std::string>& more = {},
                        const std::string& flags = "") {
    std::vector<std::string> arguments = {"--driver", fairlead_command(flags), "-f", example_manifest(name)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_drydock(arguments);
  }
};

TEST_F(Examples, Macvlan) {
  const RunOutcome done = run("macvlan");
  EXPECT_EQ(done.exit_status, 0) << done.output;
  EXPECT_THAT(done.output, AllOf(HasSubstr("macvlan mode bridge"), HasSubstr("mtu 1400"),
                                 HasSubstr("02:00:00:00:00:0a"), HasSubstr("inet 192.0.2.10/24")));
}

TEST_F(Examples, Veth) {
  const RunOutcome done = run("veth");
  EXPECT_EQ(done.exit_status, 0) << done.output;
  EXPECT_THAT(done.output, ContainsRegex("ctrl0@.* 192.0.2.20/24"));
}

TEST_F(Examples, HostDevice_LeavesAndComesHome) {
  const RunOutcome done = run("host-device", {"--nic", "nic0"}, "--host-devices nic*");
  EXPECT_EQ(done.exit_status, 0) << done.output;
  EXPECT_THAT(done.output, AllOf(ContainsRegex("fast0@.* 192.0.2.30/24"),
                                 HasSubstr("nothing of the pods is left: links")));
}

class HostNetwork : public Examples, public ::testing::WithParamInterface<const char*> {};

TEST_P(HostNetwork, IsRefusedWithTheReason) {
  const RunOutcome done = run("host-network", {"--retries", "0"}, std::string("--attach ") + GetParam());
  EXPECT_EQ(done.exit_status, 1) << done.output;
  EXPECT_THAT(done.output, AllOf(HasSubstr("hostNetwork: true"), Not(HasSubstr("container-ran\n")),
                                 HasSubstr("nothing of the pods is left")));
}
INSTANTIATE_TEST_SUITE_P(Modes, HostNetwork, ::testing::Values("auto", "guard"),
                         [](const auto& param_info) { return std::string(param_info.param); });

class SharedClaim : public Examples, public ::testing::WithParamInterface<const char*> {};

TEST_P(SharedClaim, SecondPodIsRefusedWithTheReason) {
  const RunOutcome done = run("shared-claim", {"--retries", "0"}, std::string("--attach ") + GetParam());
  EXPECT_EQ(done.exit_status, 1) << done.output;
  EXPECT_THAT(done.output, AllOf(ContainsRegex("pod (first|second): (FailedCreatePodSandBox|Failed)"),
                                 HasSubstr("two pods"), HasSubstr("nothing of the pods is left")));
}
INSTANTIATE_TEST_SUITE_P(Modes, SharedClaim, ::testing::Values("auto", "guard"),
                         [](const auto& param_info) { return std::string(param_info.param); });

class ContainerRestart : public Examples, public ::testing::WithParamInterface<const char*> {};

TEST_P(ContainerRestart, KeepsTheInterface) {
  const RunOutcome done = run("container-restart", {}, std::string("--attach ") + GetParam());
  EXPECT_EQ(done.exit_status, 0) << done.output;
  EXPECT_THAT(done.output, HasSubstr("container shell started again (restart 1)"));
}
INSTANTIATE_TEST_SUITE_P(Modes, ContainerRestart, ::testing::Values("auto", "guard"),
                         [](const auto& param_info) { return std::string(param_info.param); });

}  // namespace
}  // namespace fairlead::testing
