// SPDX-License-Identifier: Apache-2.0
// What a claim's routes, addresses and names become in a pod that has the network of a cluster, and what its
// author is told when they cannot be: whole runs of fairlead on drydock.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "tests/node/drydock_run.h"

namespace fairlead::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class NetworkRun : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_drydock(); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
};

WantedDevice macvlan(const std::string& fields, const std::string& request = "nic") {
  return {request,
          "{type: netdev, netdev: {kind: macvlan, interfaceName: data0, master: eth0, " + fields + "}}", ""};
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

constexpr auto kDefaultRoute = "addresses: [\"192.0.2.10/24\"], routes: [{dst: 0.0.0.0/0, gw: 192.0.2.1}]";

TEST_F(NetworkRun, DefaultRoute_GoesBehindTheClusters) {
  const RunOutcome run = run_fairlead(pod_manifest({macvlan(kDefaultRoute)}, "ip route show default"));
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("default via 192.0.2.1 dev data0 proto static metric 1024"));
  EXPECT_LT(run.output.find("dev eth0"), run.output.find("dev data0")) << run.output;
}

/// Both claims have a request of one name, as claims of templates from one mould have.
TEST_F(NetworkRun, TwoClaimsOfAPod_EachHaveAVariableAndAnInterface) {
  const std::string yaml =
      replaced(pod_manifest({{"one", "{type: netdev, netdev: {kind: veth}}", ""},
                             {"two", "{type: netdev, netdev: {kind: veth}}", ""}},
                            "env | grep ^FAIRLEAD_; ls /sys/class/net"),
               "      - name: two\n        exactly", "      - name: one\n        exactly");
  const RunOutcome run = run_fairlead(replaced(yaml, "requests: [two]", "requests: [one]"));
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, AllOf(HasSubstr("FAIRLEAD_ONE_ONE=net"), HasSubstr("FAIRLEAD_TWO_ONE=net"),
                                HasSubstr("=net1"), HasSubstr("=net2")));
}

struct Refused {
  const char* name;
  std::string fields;
  std::vector<const char*> says;
};

class ToldAtPrepare : public NetworkRun, public ::testing::WithParamInterface<Refused> {};

TEST_P(ToldAtPrepare, WithTheFieldOfTheAuthorsOwnIndex) {
  const RunOutcome run =
      run_fairlead(pod_manifest({macvlan(GetParam().fields)}, "echo container-ran"), {"--timeout", "15s"});
  EXPECT_EQ(run.exit_status, 1) << run.output;
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("FailedPrepareDynamicResources"), Not(HasSubstr("container-ran\n"))));
  for (const char* words : GetParam().says) {
    EXPECT_THAT(run.output, HasSubstr(words));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Claims, ToldAtPrepare,
    ::testing::Values(
        Refused{
            "GatewayThatNobodyReaches",
            "addresses: [\"192.0.2.10/24\"], routes: [{dst: 10.99.0.0/16, gw: 198.51.100.1}]",
            {"config[0] of the claim: opaque.parameters.netdev.routes[0].gw: 198.51.100.1 is in no network"}},
        Refused{
            "AddressOfTheNodeItself",
            "addresses: [\"198.18.0.2/24\"]",
            {"config[0] of the claim: opaque.parameters.netdev.addresses[0]: 198.18.0.2 is the node's own"}},
        Refused{"GatewayOfTheNode",
                "addresses: [\"198.18.0.1/24\"]",
                {"opaque.parameters.netdev.addresses[0]: 198.18.0.1 is a gateway of the node, on eth0"}},
        Refused{"MtuTooSmallForIpv6",
                "mtu: 1000, addresses: [\"2001:db8:8::10/64\"]",
                {"config[0] of the claim: opaque.parameters.netdev.mtu: 1000", "1280"}}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST_F(NetworkRun, MistakeInTheClass_IsToldOfTheClass) {
  const std::string of_class =
      "  config:\n  - opaque:\n      driver: dra.example.com\n      parameters: {type: netdev, netdev: "
      "{kind: "
      "macvlan, mtu: CLASS}}\n  selectors:";
  const auto run = [&](const std::string& class_mtu, const std::string& claim_fields) {
    const std::string yaml = pod_manifest({macvlan(claim_fields)}, "echo container-ran");
    return run_fairlead(
        replaced(yaml, "  selectors:\n  - cel", replaced(of_class, "CLASS", class_mtu) + "\n  - cel"),
        {"--timeout", "15s"});
  };
  EXPECT_THAT(run("big", "mode: bridge").output,
              HasSubstr("config[0] of DeviceClass network-devices: opaque.parameters.netdev.mtu: "));
  EXPECT_THAT(run("1400", "mtu: big").output,
              HasSubstr("config[0] of the claim: opaque.parameters.netdev.mtu: "));
}

TEST_F(NetworkRun, MacOfAnotherClaim_IsToldAtPrepare) {
  const WantedDevice fixed = macvlan("mac: \"02:00:00:00:00:0a\"");
  const std::string second = pod_manifest({fixed}, "sleep 5", "iproute2", "second");
  const std::string both =
      pod_manifest({fixed}, "sleep 5", "iproute2", "first") +
      second.substr(second.find("---\napiVersion: resource.k8s.io/v1\nkind: ResourceClaimT"));
  const RunOutcome run = run_fairlead(both, {"--timeout", "15s"});
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("FailedPrepareDynamicResources"),
                    HasSubstr("netdev.mac: the MAC address 02:00:00:00:00:0a is taken on eth0, by claim ")));
}

/// What only the kernel can know: the pod has a route of its own there.
TEST_F(NetworkRun, RouteThatIsInTheWay_IsAnEventOfTheDriver) {
  const RunOutcome run = run_fairlead(
      pod_manifest({macvlan("addresses: [\"192.0.2.10/24\"], routes: [{dst: 10.85.0.0/24, gw: 192.0.2.1}]")},
                   "echo container-ran"),
      {"--timeout", "15s"});
  EXPECT_EQ(run.exit_status, 1) << run.output;
  EXPECT_THAT(
      run.output,
      AllOf(HasSubstr("AttachFailed"), Not(HasSubstr("container-ran\n")),
            HasSubstr("the route to 10.85.0.0/24 with the metric 0 is in the pod already through eth0")));
}

/// Whether as a process with all rights or in its container as shipped, where /proc/sys is read-only.
class Ipv6Run : public NetworkRun, public ::testing::WithParamInterface<bool> {};

TEST_P(Ipv6Run, IsSwitchedOnForTheInterface_WhereThePodHasItOff) {
  const bool confined = GetParam();
  if (confined && ::access("/usr/share/containers/seccomp.json", R_OK) != 0) {
    GTEST_SKIP()
        << "/usr/share/containers/seccomp.json is not there (package golang-github-containers-common)";
  }
  std::string yaml = pod_manifest({macvlan("addresses: [\"2001:db8:41::10/64\"]")},
                                  "ip -6 address show dev data0; "
                                  "echo ndisc-notify-$(cat /proc/sys/net/ipv6/conf/data0/ndisc_notify)");
  // As a cluster network without IPv6 leaves it. The guard attaches after this container.
  yaml = replaced(yaml, "  containers:\n", R"(  initContainers:
  - name: before
    image: iproute2
    securityContext: {capabilities: {add: ["SYS_ADMIN", "NET_ADMIN"]}}
    command:
    - sh
    - -c
    - |
      mkdir -p /tmp/p; mount -t proc proc /tmp/p; echo 1 > /tmp/p/sys/net/ipv6/conf/default/disable_ipv6
      echo off-$(cat /tmp/p/sys/net/ipv6/conf/default/disable_ipv6)
  containers:
)");
  RunOutcome run;
  if (confined) {
    run = run_drydock({"--confine", source_file("deploy/kubernetes/fairlead.yaml"), "--driver",
                       fairlead_program() +
                           " --kubeconfig {kubeconfig} --state-dir /run/net.fairlead.dev --policy privileged",
                       "-f", write_manifest(replaced(yaml, "dra.example.com", "net.fairlead.dev")),
                       "--no-nri"});
  } else {
    run = run_fairlead(yaml, {"--no-nri"});
  }
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("off-1"), HasSubstr("2001:db8:41::10/64"), HasSubstr("ndisc-notify-1")));
}

INSTANTIATE_TEST_SUITE_P(Rights, Ipv6Run, ::testing::Bool(),
                         [](const auto& param_info) { return param_info.param ? "AsShipped" : "AllRights"; });

}  // namespace
}  // namespace fairlead::testing
