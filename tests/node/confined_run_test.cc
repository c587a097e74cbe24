// SPDX-License-Identifier: Apache-2.0
// fairlead with the rights, the file system and the seccomp filter of its DaemonSet (deploy/kubernetes), on
// drydock: the same jobs as without.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/node/drydock_run.h"

namespace fairlead::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kSeccompProfile = "/usr/share/containers/seccomp.json";

const WantedDevice kMacvlan = {"data",
                               "{type: netdev, netdev: {kind: macvlan, interfaceName: data0, master: eth0, "
                               "addresses: [\"192.0.2.10/24\"]}}",
                               ""};

/// The manifest of a pod, for the driver name of the DaemonSet.
std::string pod_of(const std::vector<WantedDevice>& devices, const std::string& script) {
  std::string yaml = pod_manifest(devices, script);
  const std::string from = "dra.example.com";
  for (std::size_t at = yaml.find(from); at != std::string::npos; at = yaml.find(from, at)) {
    yaml.replace(at, from.size(), "net.fairlead.dev");
  }
  return yaml;
}

class ConfinedRun : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_drydock(); !why.empty()) {
      GTEST_SKIP() << why;
    }
    if (::access(kSeccompProfile, R_OK) != 0) {
      GTEST_SKIP() << kSeccompProfile << " is not there (package golang-github-containers-common)";
    }
  }
  /// What the DaemonSet's variables do not say is how to reach drydock's API server. The level of fields is not what
  /// these tests are about (policy_run_test.cc).
  static std::vector<std::string> arguments(const std::string& yaml, const std::vector<std::string>& more,
                                            const std::string& flags = "") {
    std::vector<std::string> out = {
        "--confine",
        source_file("deploy/kubernetes/fairlead.yaml"),
        "--driver",
        fairlead_program() +
            " --kubeconfig {kubeconfig} --state-dir /run/net.fairlead.dev --policy privileged " + flags,
        "-f",
        write_manifest(yaml),
        "--show-log",
        "attached via="};
    out.insert(out.end(), more.begin(), more.end());
    return out;
  }
};

class ConfinedRuntimes : public ConfinedRun, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    ConfinedRun::SetUp();
    if (!IsSkipped() && run_command({GetParam(), "--version"}).exit_status != 0) {
      GTEST_SKIP() << GetParam() << " is not installed";
    }
  }
};

TEST_P(ConfinedRuntimes, Macvlan_IsAttachedThroughNri) {
  const RunOutcome run = run_drydock(
      arguments(pod_of({kMacvlan}, "ip -brief address show dev data0"), {"--runtime", GetParam()}));
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, AllOf(ContainsRegex("data0@.*192.0.2.10/24"), HasSubstr("attached via=nri"),
                                HasSubstr("this machine is as it was")));
}

TEST_P(ConfinedRuntimes, Macvlan_IsAttachedThroughTheInstalledGuard) {
  const RunOutcome run = run_drydock(arguments(pod_of({kMacvlan}, "ip -brief address show dev data0"),
                                               {"--no-nri", "--runtime", GetParam()}));
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, AllOf(ContainsRegex("data0@.*192.0.2.10/24"), HasSubstr("attached via=guard"),
                                Not(HasSubstr("attached via=nri"))));
}

INSTANTIATE_TEST_SUITE_P(Runtimes, ConfinedRuntimes, ::testing::Values("crun", "runc"),
                         [](const auto& param_info) { return std::string(param_info.param); });

/// What the agent writes below its container's /proc/sys, which is read-only there. A pod with the node's
/// network looks.
TEST_P(ConfinedRuntimes, Veth_KeepsTheNodesIpv6OffItsHostEnd) {
  std::string yaml = pod_of({{"ctrl", "{type: netdev, netdev: {kind: veth, interfaceName: ctrl0}}", ""}},
                            "ip -brief link show dev ctrl0; sleep 6");
  yaml += R"(---
apiVersion: v1
kind: Pod
metadata:
  name: looks
spec:
  restartPolicy: Never
  hostNetwork: true
  containers:
  - name: main
    image: iproute2
    command: ["/bin/sh", "-c", 'until ip -brief link show up | grep -q flh; do sleep 0.1; done;
      cd /proc/sys/net/ipv6/conf; for link in flh*; do cat $link/disable_ipv6 $link/accept_ra $link/autoconf; done |
      tr "\n" " " | sed s/^/off-ra-autoconf-/; ip -brief address show | grep flh | sed s/^/address-/']
)";
  const RunOutcome run = run_drydock(arguments(yaml, {"--runtime", GetParam()}));
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, AllOf(ContainsRegex("ctrl0@"), HasSubstr("off-ra-autoconf-1 0 0"),
                                ContainsRegex("address-flh[0-9a-f]+@[^ ]+ +UP"), Not(HasSubstr("fe80"))));
}

/// A NIC of a machine that the test owns, lent to the node, given to a pod by fairlead in its container.
TEST_F(ConfinedRun, LentNic_ServesAPodAndIsHomeAgainAsItWas) {
  const WantedDevice nic = {
      "nic",
      "{type: netdev, netdev: {kind: host-device, interfaceName: fast0, addresses: [\"192.0.2.7/24\"]}}",
      "device.attributes[\"net.fairlead.dev\"].kind == \"host-device\" && "
      "device.attributes[\"net.fairlead.dev\"].ifName == \"nic0\""};
  std::vector<std::string> command = {
      "unshare",
      "-n",
      "sh",
      "-c",
      "set -e; ip link add nic0 type veth peer name far0; ip link set far0 up; "
      "ip link set nic0 mtu 1400 address 02:00:00:00:00:77 up; ip address add 198.51.100.1/24 dev nic0; "
      "state() { ip -4 address show dev nic0; ip -4 route show dev nic0; }; before=$(state); code=0; "
      "\"$@\" || code=$?; test \"$before\" = \"$(state)\" && echo nic0-is-as-it-was || { echo \"$before\"; "
      "state; }; "
      "exit $code",
      "sh",
      drydock_program(),
      "run"};
  for (const auto& word : arguments(pod_of({nic}, "ip -brief address show dev fast0"), {"--lend", "nic0"},
                                    "--host-devices nic0")) {
    command.push_back(word);
  }
  const RunOutcome run = run_command(command);
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, AllOf(ContainsRegex("fast0@.*192.0.2.7/24"), HasSubstr("lent link nic0 is back"),
                                HasSubstr("nic0-is-as-it-was")));
}

}  // namespace
}  // namespace fairlead::testing
