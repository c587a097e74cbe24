// SPDX-License-Identifier: Apache-2.0
// Who may write which field, as a pod's author and an admin see it: drydock with fairlead at a level.
#include <gmock/gmock.h>
#include <unistd.h>

#include <regex>

#include "fairlead/sys/files.h"
#include "tests/node/drydock_run.h"

namespace fairlead::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// POLICY in the DaemonSet of deploy/kubernetes.
std::string shipped_level() {
  const auto manifest = sys::read_file(source_file("deploy/kubernetes/fairlead.yaml"));
  std::smatch level;
  const std::regex variable("\\n +- name: POLICY\\n +value: ([a-z]+)\\n");
  return manifest && std::regex_search(*manifest, level, variable) ? level[1].str() : "";
}

std::string file_of(const std::string& level) {
  return "apiVersion: fairlead.dev/v1alpha1\nkind: PolicyConfiguration\nlevel: " + level + "\n";
}

const WantedDevice kMacvlan = {
    "data", "{type: netdev, netdev: {kind: macvlan, interfaceName: data0, master: eth0}}", ""};
constexpr const char* kRefusal =
    "opaque.parameters.netdev.master: a claim of namespace \"default\" may not write it at level baseline "
    "(risk: "
    "node); leave it out, or ask your admin for a DeviceClass that sets it or has a FieldPolicy with "
    "claimMay "
    "netdev.master for \"default\"";

/// The class of pod_manifest() sets master, and opens mac and addresses.
std::string with_class_values(std::string yaml) {
  const std::string selectors = "spec:\n  selectors:\n";
  yaml.insert(yaml.find(selectors) + std::string("spec:\n").size(), R"(  config:
  - opaque:
      driver: dra.example.com
      parameters: {type: netdev, netdev: {kind: macvlan, master: eth0, mode: bridge}}
  - opaque:
      driver: dra.example.com
      parameters:
        apiVersion: fairlead.dev/v1alpha1
        kind: FieldPolicy
        claimMay: [netdev.mac, netdev.addresses]
        namespaces: [default]
        bounds: {addresses: [192.0.2.0/24]}
)");
  return yaml;
}

class PolicyRun : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_drydock(); !why.empty()) {
      GTEST_SKIP() << why;
    }
    ASSERT_EQ(run_command({"mkdir", "-p", folder_}).exit_status, 0);
  }
  void TearDown() override { (void)run_command({"rm", "-r", "-f", folder_}); }

  void write(const std::string& name, const std::string& text) const {
    ASSERT_TRUE(sys::replace_file(folder_, name, text));
  }

  const std::string folder_ = ::testing::TempDir() + "fairlead-policy-" + std::to_string(::getpid());
};

TEST_F(PolicyRun, ShippedLevel_RefusesAParentOfTheClaim_AndNothingIsLeft) {
  ASSERT_EQ(shipped_level(), "baseline");
  const RunOutcome run = run_fairlead(pod_manifest({kMacvlan}, "echo container-ran"), {"--timeout", "15s"},
                                      "--policy " + shipped_level());
  EXPECT_EQ(run.exit_status, 1) << run.output;
  EXPECT_THAT(run.output, AllOf(HasSubstr(kRefusal), Not(HasSubstr("container-ran\n"))));
}

TEST_F(PolicyRun, ClassThatSetsTheParentAndOpensFields_IsEnoughAtTheShippedLevel) {
  const WantedDevice device = {"data",
                               R"({type: netdev, netdev: {kind: macvlan, interfaceName: data0, mtu: 1400,
                  mac: "02:00:00:00:00:0a", addresses: ["192.0.2.10/24"]}})",
                               ""};
  const RunOutcome run =
      run_fairlead(with_class_values(pod_manifest({device}, "ip -d address show dev data0")), {},
                   "--policy " + shipped_level());
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, AllOf(HasSubstr("macvlan mode bridge"), HasSubstr("192.0.2.10/24"),
                                HasSubstr("02:00:00:00:00:0a"), HasSubstr("mtu 1400")));
}

TEST_F(PolicyRun, ValueOutsideOfWhatTheClassOpens_IsRefused) {
  const WantedDevice device = {
      "data", R"({type: netdev, netdev: {kind: macvlan, addresses: ["198.51.100.10/24"]}})", ""};
  const RunOutcome run = run_fairlead(with_class_values(pod_manifest({device}, "echo container-ran")),
                                      {"--timeout", "15s"}, "--policy baseline");
  EXPECT_EQ(run.exit_status, 1) << run.output;
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("opaque.parameters.netdev.addresses[0]: \"198.51.100.10/24\" is outside "
                              "what DeviceClass network-devices opens for claims at level baseline "
                              "(addresses 192.0.2.0/24); take one of these"),
                    Not(HasSubstr("container-ran\n"))));
}

TEST_F(PolicyRun, PolicyFileThatChanges_CountsForTheNextPrepare) {
  write("policy.yaml", file_of("baseline"));
  write("next", file_of("privileged"));
  // The claim is refused first; then the file is replaced, as it is in a ConfigMap's folder.
  const std::string change = "(until grep -q 'may not write it' {log}; do sleep 0.05; done; mv " + folder_ +
                             "/next " + folder_ + "/policy.yaml) & ";
  const RunOutcome run = run_drydock(
      {"--driver", change + "exec " + fairlead_command("--policy-file " + folder_ + "/policy.yaml"),
       "--retries", "60", "--show-log", "the policy file is in force", "-f",
       write_manifest(pod_manifest({kMacvlan}, "ip -brief link show dev data0"))});
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output,
              AllOf(HasSubstr("level=baseline"), HasSubstr("level=privileged"), HasSubstr("data0@")));
}

TEST_F(PolicyRun, ContainerOfAPreparedClaim_StartsAgainUnderAStricterPolicy) {
  write("policy.yaml", file_of("privileged"));
  write("next", file_of("restricted"));
  const std::string change = "(until grep -q 'claim attached' {log}; do sleep 0.05; done; mv " + folder_ +
                             "/next " + folder_ + "/policy.yaml) & ";
  std::string yaml = pod_manifest(
      {kMacvlan}, "ip -brief link show dev data0; test -e /v/again || { touch /v/again; sleep 3; exit 1; }");
  const auto replace = [&](const std::string& what, const std::string& with) {
    ASSERT_NE(yaml.find(what), std::string::npos);
    yaml.replace(yaml.find(what), what.size(), with);
  };
  replace("restartPolicy: Never", "restartPolicy: OnFailure\n  volumes: [{name: v, emptyDir: {}}]");
  replace("    resources:\n", "    volumeMounts: [{name: v, mountPath: /v}]\n    resources:\n");
  const RunOutcome run = run_drydock(
      {"--driver", change + "exec " + fairlead_command("--policy-file " + folder_ + "/policy.yaml"),
       "--show-log", "the policy file is in force", "-f", write_manifest(yaml)});
  EXPECT_EQ(run.exit_status, 0) << run.output;
  EXPECT_THAT(run.output, AllOf(HasSubstr("level=restricted"), HasSubstr("started again (restart 1)")));
}

TEST_F(PolicyRun, FirstPolicyFileIsBad_NoClaimIsPrepared) {
  write("policy.yaml", "level: baseline\n");
  const RunOutcome run = run_fairlead(pod_manifest({kMacvlan}, "echo container-ran"), {"--timeout", "15s"},
                                      "--policy-file " + folder_ + "/policy.yaml");
  EXPECT_EQ(run.exit_status, 1) << run.output;
  EXPECT_THAT(run.output, AllOf(HasSubstr("what claims may write on this node is not known: " + folder_ +
                                          "/policy.yaml:1: apiVersion: this field is required"),
                                Not(HasSubstr("container-ran\n"))));
}

}  // namespace
}  // namespace fairlead::testing
