// SPDX-License-Identifier: Apache-2.0
// The main job, whole: claim, allocation, Prepare, a real container with a real interface, and nothing left
// afterwards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "fairlead/sys/files.h"
#include "tests/node/drydock_run.h"

namespace fairlead::testing {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class FairleadRun : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_drydock(); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
};

const WantedDevice kMacvlan = {
    "data", R"({type: netdev, netdev: {kind: macvlan, interfaceName: data0, master: eth0, mode: bridge,
                addresses: ["192.0.2.10/24"], mtu: 1400, mac: "02:00:00:00:00:0a"}})",
    ""};
const WantedDevice kVeth = {"ctrl", "{type: netdev, netdev: {kind: veth, interfaceName: ctrl0}}", ""};

TEST_F(FairleadRun, MacvlanAndVeth_AreInTheContainerWithAllThatWasAsked) {
  const RunOutcome run = run_fairlead(
      pod_manifest({kMacvlan, kVeth}, "ip -d address show dev data0; ip -brief link show dev ctrl0"));
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output,
              AllOf(ContainsRegex("data0@"), HasSubstr("macvlan mode bridge"), HasSubstr("192.0.2.10/24"),
                    HasSubstr("mtu 1400"), HasSubstr("02:00:00:00:00:0a"), ContainsRegex("ctrl0@")));
}

class EveryRuntime : public FairleadRun, public ::testing::WithParamInterface<const char*> {};

TEST_P(EveryRuntime, Guard_AttachesBeforeTheFirstProcess) {
  if (run_command({GetParam(), "--version"}).exit_status != 0) {
    GTEST_SKIP() << GetParam() << " is not installed";
  }
  const RunOutcome run =
      run_fairlead(pod_manifest({kMacvlan}, "ip -brief address show dev data0"), {"--runtime", GetParam()});
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("192.0.2.10/24"));
}
INSTANTIATE_TEST_SUITE_P(Runtimes, EveryRuntime, ::testing::Values("crun", "runc"),
                         [](const auto& param_info) { return std::string(param_info.param); });

TEST_F(FairleadRun, Netdevices_TheRuntimeMovesTheLink) {
  const char* runtime = std::getenv("FAIRLEAD_NEWER_CRUN");  // NOLINT(concurrency-mt-unsafe): no thread yet
  if (runtime == nullptr) {
    GTEST_SKIP() << "FAIRLEAD_NEWER_CRUN names no crun >= 1.22 (tools/newer_crun.sh fetches one)";
  }
  const RunOutcome run = run_fairlead(
      pod_manifest({kMacvlan, kVeth}, "ip -d address show dev data0; ip -brief link show dev ctrl0"),
      {"--runtime", runtime}, "--attach netdevices");
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("macvlan mode bridge"), HasSubstr("192.0.2.10/24"), ContainsRegex("ctrl0@")));
}

TEST_F(FairleadRun, Netdevices_TheGuardAddsAddressesAndRoutes) {
  const char* runtime = std::getenv("FAIRLEAD_NEWER_CRUN");  // NOLINT(concurrency-mt-unsafe): no thread yet
  if (runtime == nullptr) {
    GTEST_SKIP() << "FAIRLEAD_NEWER_CRUN names no crun >= 1.22 (tools/newer_crun.sh fetches one)";
  }
  const WantedDevice routed = {"data",
                               R"({type: netdev, netdev: {kind: macvlan, interfaceName: data0, master: eth0,
                  addresses: ["192.0.2.10/24", "fd00::5/64"], routes: [{dst: 10.9.0.0/16, gw: 192.0.2.1}]}})",
                               ""};
  const RunOutcome run =
      run_fairlead(pod_manifest({routed}, "ip -brief address show dev data0; ip route show dev data0"),
                   {"--runtime", runtime, "--show-log", "attached via="}, "--attach netdevices");
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, AllOf(HasSubstr("192.0.2.10/24"), HasSubstr("fd00::5/64"),
                                ContainsRegex("10.9.0.0/16 via 192.0.2.1"), HasSubstr("attached via=guard")));
}

TEST_F(FairleadRun, Netdevices_WithARuntimeThatCannot_SaysSo) {
  const RunOutcome run =
      run_fairlead(pod_manifest({kMacvlan}, "true"), {"--timeout", "20s"}, "--attach netdevices");
  EXPECT_EQ(run.exit_status, 1) << run.output;
  EXPECT_THAT(run.output, HasSubstr("netDevices"));
}

TEST_F(FairleadRun, HostDevice_LeavesAndComesHome) {
  const WantedDevice nic = {
      "nic",
      "{type: netdev, netdev: {kind: host-device, interfaceName: fast0, addresses: [\"192.0.2.7/24\"]}}",
      // The kind first: netdev-virtual has no ifName, and CEL's error about that would fail the allocation.
      "device.attributes[\"dra.example.com\"].kind == \"host-device\" && "
      "device.attributes[\"dra.example.com\"].ifName == \"nic0\""};
  const RunOutcome run = run_fairlead(pod_manifest({nic}, "ip -brief address show dev fast0"),
                                      {"--nic", "nic0"}, "--host-devices nic*");
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("192.0.2.7/24"));
}

TEST_F(FairleadRun, Probe_AsksTheAgentThatRuns) {
  const std::string listen = "--http-listen unix:{state}/admin.sock";
  const std::string program = fairlead_program();
  const std::string agent = program + " run" + fairlead_command(listen).substr(program.size());
  const std::string answers = ::testing::TempDir() + "/answers-" + std::to_string(::getpid());
  // The second form is that of version 0.1.
  const std::string ask = "(until " + program + " probe readyz " + listen +
                          "; do sleep 0.05; done; echo status=$?; " + program + " " + listen +
                          " --probe healthz; echo status=$?; " + program + " probe metrics " + listen +
                          ") >" + answers + " 2>&1";
  const RunOutcome run =
      run_drydock({"--driver", "(" + ask + ") & exec " + agent, "-f",
                   write_manifest(pod_manifest({kMacvlan}, "ip -brief address show dev data0; sleep 2"))});
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, HasSubstr("192.0.2.10/24"));
  const auto said = sys::read_file(answers);
  ASSERT_TRUE(said) << said.error().what();
  EXPECT_THAT(*said,
              AllOf(HasSubstr("ok\nstatus=0\nok\nstatus=0\n"), HasSubstr("\nfairlead_dra_registered{")));
}

TEST_F(FairleadRun, TwoContainersOfAPod_BothSeeTheInterface) {
  std::string yaml = pod_manifest({kMacvlan}, "ip -brief link show dev data0 | sed s/^/first-/");
  yaml += R"(  - name: second
    image: iproute2
    command: ["/bin/sh", "-c", "ip -brief link show dev data0 | sed s/^/second-/"]
    resources:
      claims:
      - name: data
)";
  const RunOutcome run = run_fairlead(yaml);
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, AllOf(HasSubstr("first-data0"), HasSubstr("second-data0")));
}

struct BadClaim {
  const char* name;
  std::vector<WantedDevice> devices;
  std::vector<const char*> says;
};

class BadInput : public FairleadRun, public ::testing::WithParamInterface<BadClaim> {};

TEST_P(BadInput, PodIsRefusedWithOneSentenceAndNothingIsLeft) {
  const RunOutcome run =
      run_fairlead(pod_manifest(GetParam().devices, "echo container-ran"), {"--timeout", "15s"});
  EXPECT_EQ(run.exit_status, 1) << run.output;
  EXPECT_THAT(run.output, Not(HasSubstr("container-ran\n"))) << "the container must not have started";
  for (const char* words : GetParam().says) {
    EXPECT_THAT(run.output, HasSubstr(words));
  }
}

WantedDevice data(const std::string& parameters) { return {"data", parameters, ""}; }

INSTANTIATE_TEST_SUITE_P(
    Claims, BadInput,
    ::testing::Values(
        BadClaim{"UnknownField",
                 {data("{type: netdev, netdev: {kind: veth, interfaceNam: a}}")},
                 {"netdev.interfaceNam", "interfaceName"}},
        BadClaim{"WrongType",
                 {data("{type: netdev, netdev: {kind: macvlan, master: eth0, mtu: \"big\"}}")},
                 {"netdev.mtu", "big"}},
        BadClaim{"MissingKind", {data("{type: netdev, netdev: {interfaceName: a}}")}, {"netdev.kind"}},
        BadClaim{"UnknownKind",
                 {data("{type: netdev, netdev: {kind: warp}}")},
                 {"netdev.kind", "warp", "macvlan"}},
        BadClaim{"NameOfSixteen",
                 {data("{type: netdev, netdev: {kind: veth, interfaceName: abcdefghijklmnop}}")},
                 {"netdev.interfaceName", "15"}},
        BadClaim{"NameWithDots",
                 {data("{type: netdev, netdev: {kind: veth, interfaceName: ../a}}")},
                 {"netdev.interfaceName"}},
        BadClaim{"NameWithNul",
                 {data("{type: netdev, netdev: {kind: veth, interfaceName: \"a\\0b\"}}")},
                 {"netdev.interfaceName"}},
        BadClaim{"NoSuchParent",
                 {data("{type: netdev, netdev: {kind: macvlan, interfaceName: a, master: eth9}}")},
                 {"netdev.master", "eth9"}},
        BadClaim{"HostDeviceNamesTheUplink",
                 {data("{type: netdev, netdev: {kind: host-device, device: eth0}}")},
                 {"netdev.device", "eth0", "uplink"}},
        BadClaim{"NameTakenInTheContainer",
                 {data("{type: netdev, netdev: {kind: veth, interfaceName: eth0}}")},
                 {"eth0"}},
        BadClaim{"TwoDevicesOneName",
                 {{"one", "{type: netdev, netdev: {kind: veth, interfaceName: same}}", ""},
                  {"two", "{type: netdev, netdev: {kind: veth, interfaceName: same}}", ""}},
                 {"same"}}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

TEST_F(FairleadRun, UplinkFlagThatNamesNothing_OffersNoNic_AndVirtualLinksGoOn) {
  const RunOutcome run = run_fairlead(pod_manifest({kMacvlan}, "ip -brief address show dev data0"),
                                      {"--nic", "nic0", "--show-log", "no NIC of this node is offered"},
                                      "--host-devices nic* --uplink bond7");
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, AllOf(HasSubstr("192.0.2.10/24"),
                                HasSubstr("--uplink names bond7, and this node has no such link"),
                                Not(HasSubstr("ifName=nic0"))));
}

TEST_F(FairleadRun, NicUnderAMacvlan_GoesToNobodyAsAWhole) {
  const WantedDevice shared = {"shared",
                               "{type: netdev, netdev: {kind: macvlan, interfaceName: data0, master: nic0}}",
                               "device.attributes[\"dra.example.com\"].kind == \"virtual\""};
  const WantedDevice whole = {"whole", "{type: netdev, netdev: {kind: host-device, interfaceName: fast0}}",
                              "device.attributes[\"dra.example.com\"].kind == \"host-device\" && "
                              "device.attributes[\"dra.example.com\"].ifName == \"nic0\""};
  const RunOutcome run = run_fairlead(pod_manifest({shared, whole}, "echo container-ran"),
                                      {"--nic", "nic0", "--retries", "0"}, "--host-devices nic*");
  EXPECT_EQ(run.exit_status, 1) << run.output;
  EXPECT_THAT(run.output, Not(HasSubstr("container-ran\n")));
  // Claims are planned at once, so either may be the second.
  EXPECT_THAT(run.output, ::testing::AnyOf(HasSubstr("an interface of the claim test-pod-shared"),
                                           HasSubstr("\"nic0\" belongs to the claim test-pod-whole")));
}

TEST_F(FairleadRun, MoreSlotsThanThereAre_ThePodStaysPendingAndSaysWhy) {
  const RunOutcome run =
      run_fairlead(pod_manifest({kMacvlan, kVeth}, "true"), {"--timeout", "15s"}, "--slots 1");
  EXPECT_EQ(run.exit_status, 1) << run.output;
  EXPECT_THAT(run.output, HasSubstr("0/1 nodes are available"));
}

struct BadManifest {
  const char* name;
  const char* from;  // replaced in a good manifest
  const char* to;
  std::vector<const char*> says;
  int exit_status = 1;  // 2: the file itself tells
};

class BadManifests : public FairleadRun, public ::testing::WithParamInterface<BadManifest> {};

TEST_P(BadManifests, AreRefusedWithTheField) {
  std::string yaml = pod_manifest({kVeth}, "echo container-ran");
  const std::string from = GetParam().from;
  const std::size_t at = yaml.rfind(from);
  ASSERT_NE(at, std::string::npos);
  yaml.replace(at, from.size(), GetParam().to);
  const RunOutcome run = run_fairlead(yaml, {"--timeout", "15s"});
  EXPECT_EQ(run.exit_status, GetParam().exit_status) << run.output;
  EXPECT_THAT(run.output, Not(HasSubstr("container-ran\n")));
  for (const char* words : GetParam().says) {
    EXPECT_THAT(run.output, HasSubstr(words));
  }
}
INSTANTIATE_TEST_SUITE_P(
    Manifests, BadManifests,
    ::testing::Values(
        BadManifest{"MisspeltField", "    image:", "    imagee:", {"spec.containers[0].imagee", "image"}, 2},
        BadManifest{"NoSuchClass",
                    "deviceClassName: network-devices",
                    "deviceClassName: nothing",
                    {"nothing", "not found"}},
        BadManifest{"SelectorDoesNotCompile",
                    "device.driver ==",
                    "device.driver &&& ",
                    {"spec.selectors[0].cel.expression"}},
        BadManifest{"MoreDevicesThanThereAre",
                    "deviceClassName: network-devices",
                    "deviceClassName: network-devices\n          count: 1000",
                    {"0/1 nodes are available"}},
        BadManifest{
            "NoSuchImage", "image: iproute2", "image: nowhere/nothing:1", {"nowhere/nothing:1", "--image"}}),
    [](const auto& param_info) { return std::string(param_info.param.name); });

}  // namespace
}  // namespace fairlead::testing
