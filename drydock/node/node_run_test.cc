// SPDX-License-Identifier: Apache-2.0
// The drydock program as its users start it, with a small driver that misbehaves on request.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "drydock/node/machine_state.h"
#include "drydock/node/processes.h"
#include "drydock/node/testing/temp_folder.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

const std::string kBin = DRYDOCK_BIN_DIR;

std::string device_class(const std::string& driver = "test.example.com") {
  return R"(apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: things}
spec:
  selectors:
  - cel: {expression: 'device.driver == ")" +
         driver + R"("'}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: thing}
spec:
  spec:
    devices:
      requests:
      - name: one
        exactly: {deviceClassName: things}
---
)";
}

std::string pod(const std::string& name, const std::string& script,
                const std::string& claim = "resourceClaimTemplateName: thing") {
  return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + R"(}
spec:
  restartPolicy: Never
  resourceClaims:
  - {name: t, )" +
         claim + R"(}
  containers:
  - name: main
    image: busybox
    command: [sh, -c, ')" +
         script + R"(']
    resources: {claims: [{name: t}]}
---
)";
}

class DrydockRun : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "drydock needs root for its namespaces";
    }
    if (!find_program({"crun", "runc"})) {
      GTEST_SKIP() << "neither crun nor runc is installed";
    }
  }

  [[nodiscard]] static std::string driver(const std::string& flags = "") {
    return kBin + "/drydock_test_driver " + flags;
  }
  [[nodiscard]] std::vector<std::string> command(const std::string& yaml, const std::string& driver_command,
                                                 const std::vector<std::string>& more) const {
    folder_.write("pods.yaml", yaml);
    std::vector<std::string> argv = {
        kBin + "/drydock", "run", "--driver",  driver_command, "-f", folder_.path() + "/pods.yaml",
        "--retries",       "1",   "--timeout", "30s"};
    argv.insert(argv.end(), more.begin(), more.end());
    return argv;
  }
  Output start(const std::string& yaml, const std::string& driver_command = driver(),
               const std::vector<std::string>& more = {}) const {
    auto done = run({.argv = command(yaml, driver_command, more)}, 100s);
    EXPECT_TRUE(done) << done.error().what();
    return done ? *done : Output();
  }
  /// Starts it and waits until it has printed `text`.
  [[nodiscard]] pid_t start_until(const std::string& text, const std::string& yaml,
                                  const std::vector<std::string>& more) const {
    const std::string log = folder_.path() + "/log";
    const auto out = fairlead::sys::open_file(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    EXPECT_TRUE(out);
    const auto pid = spawn({.argv = command(yaml, driver(), more), .out = out->get(), .err = out->get()});
    EXPECT_TRUE(pid);
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (printed().find(text) == std::string::npos && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    EXPECT_THAT(printed(), HasSubstr(text));
    return *pid;
  }
  [[nodiscard]] std::string printed() const {
    const auto text = fairlead::sys::read_file_if_exists(folder_.path() + "/log");
    return text && *text ? **text : "";
  }

  TempFolder folder_;
};

TEST_F(DrydockRun, Claim_ReachesTheContainerAndNothingIsLeft) {
  const auto done = start(device_class() + pod("one", "echo claim=$CLAIM"));
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out,
              AllOf(ContainsRegex("claim=one-t-[a-z0-9]+"), HasSubstr("nothing of the pods is left"),
                    HasSubstr("this machine is as it was"), ContainsRegex("NodePrepareResources +1 ")));
}

TEST_F(DrydockRun, OlderDriver_IsCalledWithV1beta1) {
  const auto done =
      start(device_class() + pod("one", "echo claim=$CLAIM"), driver("--versions v1beta1.DRAPlugin"));
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("v1beta1.DRAPlugin"), HasSubstr("claim=one-t-")));
}

TEST_F(DrydockRun, TwoDrivers_EachGetTheirOwnClaims) {
  const auto done = start(device_class() + pod("one", "echo claim=$CLAIM"), driver(),
                          {"--driver", driver("--name other.example.com")});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("driver other.example.com registered"),
                              HasSubstr("driver test.example.com registered")));
}

TEST_F(DrydockRun, PrepareError_IsTheEventsText) {
  const auto done =
      start(device_class() + pod("one", "echo container-ran"), driver("--prepare-error \"no cable here\""));
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out,
              ContainsRegex("FailedPrepareDynamicResources: Failed to prepare dynamic resources: "
                            "NodePrepareResources failed for ResourceClaim one-t-[a-z0-9]+: no cable here"));
  EXPECT_THAT(done.out, Not(HasSubstr("container-ran")));
  EXPECT_THAT(done.out, HasSubstr("nothing of the pods is left"));
}

TEST_F(DrydockRun, PrepareErrorOnce_IsTriedAgain) {
  const auto done = start(device_class() + pod("one", "echo claim=$CLAIM"),
                          driver("--prepare-error later --prepare-failures 1"));
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr(": later"), HasSubstr("claim=one-t-")));
}

TEST_F(DrydockRun, AnswerWithoutTheClaim_IsRefused) {
  const auto done = start(device_class() + pod("one", "true"), driver("--omit-answers"));
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, HasSubstr("NodePrepareResources skipped 1 ResourceClaims"));
}

TEST_F(DrydockRun, FileLeftByTheDriver_FailsTheRun) {
  const auto done = start(device_class() + pod("one", "true"), driver("--leave-files"));
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, ContainsRegex("CDI file /var/run/cdi/test.example.com_[-0-9a-f]+.json is left"));
}

TEST_F(DrydockRun, DriverThatExits_ShowsTheEndOfItsLog) {
  const auto done = start(device_class() + pod("one", "true"), "echo the license has expired; exit 4");
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out,
              AllOf(HasSubstr("driver 1 exited with exit status 4"), HasSubstr("the license has expired")));
}

TEST_F(DrydockRun, DriverThatDoesNotPublish_IsNotWaitedForForEver) {
  const auto done = start(device_class() + pod("one", "true"), driver("--no-publish"), {"--timeout", "4s"});
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, HasSubstr("no complete pool of ResourceSlices"));
}

TEST_F(DrydockRun, DriverThatDoesNotRegister_IsNotWaitedForForEver) {
  const auto done = start(device_class() + pod("one", "true"), driver("--no-register"), {"--timeout", "1s"});
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, HasSubstr("1 driver not registered within 1.0 s"));
}

TEST_F(DrydockRun, ContainerThatFails_FailsTheRun) {
  const auto done = start(device_class() + pod("one", "exit 3"));
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("container main ended with exit status 3"), HasSubstr("is left:")));
}

/// A pod that is independent of the failed one does its work to the end, as in a cluster.
TEST_F(DrydockRun, PodThatFails_PodsThatRunToCompletionEndFirst) {
  const auto done = start(device_class() + pod("one", "sleep 1; exit 3") +
                          pod("two", "echo begun; sleep 3; echo complete"));
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("one: container main ended with exit status 3"),
                              HasSubstr("two/main: begun"), HasSubstr("two/main: complete")));
}

TEST_F(DrydockRun, PodThatFails_ServersAreEndedAtOnce) {
  std::string server = pod("two", "echo begun; sleep 20; echo complete");
  server.replace(server.find("restartPolicy: Never"), std::string("restartPolicy: Never").size(),
                 "restartPolicy: Always");
  const auto done = start(device_class() + pod("one", "sleep 1; exit 3") + server);
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, Not(HasSubstr("two/main: complete")));
}

TEST_F(DrydockRun, MoreDevicesThanThereAre_SaysWhyThePodWaits) {
  const auto done = start(device_class() + pod("one", "sleep 30") + pod("two", "sleep 30"),
                          driver("--devices 1"), {"--timeout", "8s"});
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, HasSubstr("0/1 nodes are available"));
}

TEST_F(DrydockRun, PodsThatDoNotEnd_AreStoppedAfterTheTimeGiven) {
  const auto done = start(device_class() + pod("one", "echo up; sleep 600"), driver(), {"--for", "200ms"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out,
              AllOf(HasSubstr("the pods ran for 200.0 ms"), HasSubstr("nothing of the pods is left")));
}

TEST_F(DrydockRun, SharedClaim_IsUnpreparedOnceWithItsLastPod) {
  const std::string claim = R"(apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: common}
spec:
  devices:
    requests:
    - name: one
      exactly: {deviceClassName: things}
---
)";
  const auto done =
      start(device_class() + claim + pod("one", "echo $CLAIM; sleep 1", "resourceClaimName: common") +
                pod("two", "echo $CLAIM; sleep 1", "resourceClaimName: common"),
            driver(), {"--json"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  const auto json = nlohmann::json::parse(done.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << done.out;
  EXPECT_EQ(json["succeeded"], true);
  EXPECT_EQ(json["pods"].size(), 2U);
  EXPECT_EQ(json["pods"][0]["containers"][0]["output"][0], "common");
  for (const auto& call : json["calls"]) {
    EXPECT_EQ(call["failed"], 0);
    // Pods that start at the same moment may both ask for Prepare, as with the kubelet, which does not hold
    // its lock during calls.
    EXPECT_LE(call["count"], call["method"] == "NodePrepareResources" ? 2 : 1) << call;
  }
}

TEST_F(DrydockRun, InitContainersComeFirst_VolumesAreShared) {
  const auto done = start(device_class() + R"(apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  restartPolicy: Never
  volumes:
  - {name: common, emptyDir: {}}
  initContainers:
  - {name: first, image: busybox, command: [sh, -c, 'echo 1 > /v/order'], volumeMounts: [{name: common, mountPath: /v}]}
  - {name: second, image: busybox, command: [sh, -c, 'echo 2 >> /v/order'], volumeMounts: [{name: common, mountPath: /v}]}
  containers:
  - {name: main, image: busybox, command: [sh, -c, 'echo order=$(cat /v/order)'], volumeMounts: [{name: common, mountPath: /v}]}
)");
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, HasSubstr("order=1 2"));
}

TEST_F(DrydockRun, NetDevices_WithARuntimeThatCannot_SaysSo) {
  const auto features = run({.argv = {"crun", "features"}}, 10s);
  if (!features || features->out.find("netDevices") != std::string::npos) {
    GTEST_SKIP() << "crun is not installed, or can move network devices";
  }
  const auto done = start(device_class() + pod("one", "echo container-ran"), driver("--net-device eth0"),
                          {"--runtime", "crun"});
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out,
              AllOf(HasSubstr("netDevices"), HasSubstr("--runtime PATH"), Not(HasSubstr("container-ran"))));
}

class Runtimes : public DrydockRun, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    DrydockRun::SetUp();
    if (!find_program({GetParam()})) {
      GTEST_SKIP() << GetParam() << " is not installed";
    }
  }
};

TEST_P(Runtimes, HookThatFails_ItsWordsAreTheReason) {
  const auto done = start(device_class() + pod("one", "echo container-ran"),
                          driver("--hook 'echo the cable is broken >&2; exit 1'"), {"--runtime", GetParam()});
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("Failed: Error: "), HasSubstr("the cable is broken"),
                              Not(HasSubstr("container-ran")), HasSubstr("nothing of the pods is left")));
}

TEST_P(Runtimes, Hook_FindsTheContainersNetwork) {
  // A createRuntime hook gets the state as JSON on stdin; its pid leads to the pod's namespace.
  const auto done =
      start(device_class() + pod("one", "ip link show dev tied0"),
            driver("--hook 'pid=$(sed -n \"s/.*\\\"pid\\\": *\\([0-9]*\\).*/\\1/p\"); ip link add tied0 "
                   "netns /proc/$pid/ns/net type veth peer name hooked0'"),
            {"--runtime", GetParam()});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, HasSubstr("tied0"));
}

INSTANTIATE_TEST_SUITE_P(Each, Runtimes, ::testing::Values("crun", "runc"),
                         [](const auto& param_info) { return std::string(param_info.param); });

const char* const kLabelledPod = R"(apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: web}, annotations: {note: hi}}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: busybox, command: [sh, -c, 'echo FROM=$FROM; ls -d /from-nri/bin /dev/nri-null; echo container-ran']}
)";

/// The lines of the plugin, in order: "RunPodSandbox one netns=there ...".
std::vector<std::string> told(const std::string& output) {
  std::vector<std::string> out;
  std::istringstream lines(output);
  const std::string mark = ": nri ";
  for (std::string line; std::getline(lines, line);) {
    if (const auto at = line.find(mark); at != std::string::npos && line.find("│") != std::string::npos) {
      out.push_back(line.substr(at + mark.size()));
    }
  }
  return out;
}

class NriRun : public DrydockRun {
 protected:
  [[nodiscard]] static std::string plugin(const std::string& flags = "") {
    return kBin + "/drydock_test_nri --socket {nri} " + flags + " & exec " + driver();
  }
};

class NriDialects : public NriRun,
                    public ::testing::WithParamInterface<std::tuple<const char*, const char*>> {};

TEST_P(NriDialects, Plugin_IsToldOfEverythingInContainerdsOrder) {
  const auto& [dialect, runtime] = GetParam();
  if (!find_program({runtime})) {
    GTEST_SKIP() << runtime << " is not installed";
  }
  const auto done =
      start(kLabelledPod, plugin("--env FROM=nri"), {"-v", "--nri-dialect", dialect, "--runtime", runtime});
  EXPECT_EQ(done.status.code, 0) << done.out;
  const std::string old = std::string(dialect) == "0.11" ? "old" : "v0.12.0";
  EXPECT_THAT(told(done.out),
              ::testing::ElementsAre(
                  "Configure nri=" + old, "Synchronize pods=0 containers=0",
                  "RunPodSandbox one netns=there pid=alive ips=1 label=web annotation=hi",
                  "CreateContainer one/main cdi=0", "PostCreateContainer one/main", "StartContainer one/main",
                  "PostStartContainer one/main", "StopContainer one/main",
                  "StopPodSandbox one netns=there pid=dead ips=1", "RemoveContainer one/main",
                  "RemovePodSandbox one netns=none pid=dead ips=1", ::testing::StartsWith("disconnected")))
      << done.out;
  EXPECT_THAT(done.out,
              AllOf(HasSubstr("FROM=nri"), HasSubstr("/from-nri/bin\n"), HasSubstr("/dev/nri-null\n"),
                    ContainsRegex("NRI 50-test .*CreateContainer +1 ")));
}
INSTANTIATE_TEST_SUITE_P(Each, NriDialects,
                         ::testing::Combine(::testing::Values("0.11", "0.12"),
                                            ::testing::Values("crun", "runc")),
                         [](const auto& param_info) {
                           return std::string(std::get<1>(param_info.param)) +
                                  (std::string(std::get<0>(param_info.param)) == "0.11" ? "Old" : "New");
                         });

TEST_F(NriRun, RefusedSandbox_IsStoppedRemovedAndTriedAgain) {
  const auto done = start(kLabelledPod, plugin("--refuse RunPodSandbox --failures 1"), {"-v"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, HasSubstr("FailedCreatePodSandBox: Failed to create pod sandbox: NRI RunPodSandbox "
                                  "failed: plugin 50-test: no cable"));
  const auto lines = told(done.out);
  ASSERT_GE(lines.size(), 6U);
  EXPECT_THAT(lines[3], HasSubstr("StopPodSandbox one netns=there"));
  EXPECT_THAT(lines[4], HasSubstr("RemovePodSandbox one"));
  EXPECT_THAT(lines[5], HasSubstr("RunPodSandbox one netns=there"));
}

TEST_F(NriRun, RefusedContainer_IsTheEventsText) {
  const auto done = start(kLabelledPod, plugin("--refuse CreateContainer"));
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out,
              AllOf(HasSubstr("Failed: Error: NRI CreateContainer failed: plugin 50-test: no cable"),
                    HasSubstr("nothing of the pods is left"), Not(HasSubstr("container-ran\n"))));
}

TEST_F(NriRun, SilentPlugin_IsDisconnectedAndThePodGoesOn) {
  const auto done = start(kLabelledPod, plugin("--freeze RunPodSandbox --failures 1"));
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out,
              AllOf(HasSubstr("NRI plugin 50-test did not answer RunPodSandbox within 2.0 s and was "
                              "disconnected; the pod goes on"),
                    HasSubstr("container-ran")));
}

TEST_F(NriRun, RequestTimeout_IsTheOperators) {
  const auto done =
      start(kLabelledPod, plugin("--freeze RunPodSandbox --failures 1"), {"--nri-request-timeout", "300ms"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, HasSubstr("did not answer RunPodSandbox within 300.0 ms and was disconnected"));
}

TEST_F(NriRun, PluginThatDies_ThePodGoesOn) {
  const auto done = start(kLabelledPod, plugin("--die RunPodSandbox"));
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out,
              AllOf(HasSubstr("NRI plugin 50-test lost its connection during RunPodSandbox; the pod goes on"),
                    HasSubstr("container-ran")));
}

TEST_F(NriRun, Cut_PluginIsSynchronizedAgainWithWhatThereIs) {
  const auto done = start(kLabelledPod, plugin(), {"-v", "--nri-cut", "StopPodSandbox"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, HasSubstr("NRI: all plugins lose their connection before StopPodSandbox"));
}

TEST_F(NriRun, NoNri_NobodyListens) {
  const auto done = start(kLabelledPod, plugin(), {"-v", "--no-nri"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(told(done.out), IsEmpty());
}

TEST_F(NriRun, HostNetwork_HasNoNamespaceOfItsOwn) {
  std::string yaml = kLabelledPod;
  yaml.replace(yaml.find("restartPolicy"), 0, "hostNetwork: true\n  ");
  yaml.replace(yaml.find("echo FROM"), 0, "hostname; ls /sys/class/net; ");
  const auto done = start(yaml, plugin(), {"-v", "--node-name", "node-a"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("RunPodSandbox one netns=none pid=alive ips=0"), HasSubstr("pods0"),
                              HasSubstr("one/main: node-a")));
}

std::string restarting(const std::string& policy, const std::string& script) {
  return "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec:\n  restartPolicy: " + policy + R"(
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - name: main
    image: busybox
    command: [sh, -c, ')" +
         script + R"(']
    volumeMounts: [{name: v, mountPath: /v}]
)";
}

TEST_F(NriRun, ContainerThatFails_IsStartedAgainInTheSameSandbox) {
  const auto done = start(restarting("OnFailure", "echo x >> /v/n; test $(wc -l < /v/n) -ge 3"), plugin(),
                          {"-v", "--retries", "3"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  const auto lines = told(done.out);
  const auto count = [&](const std::string& head) {
    return std::count_if(lines.begin(), lines.end(),
                         [&](const auto& line) { return line.starts_with(head); });
  };
  EXPECT_EQ(count("RunPodSandbox"), 1) << done.out;
  for (const auto* event : {"CreateContainer", "StartContainer", "StopContainer", "RemoveContainer"}) {
    EXPECT_EQ(count(event), 3) << event << "\n" << done.out;
  }
  EXPECT_THAT(done.out, HasSubstr("container main started again (restart 2)"));
}

TEST_F(NriRun, ContainerThatAlwaysFails_IsGivenUp) {
  const auto done = start(restarting("Always", "exit 3"), driver(), {"--retries", "2"});
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, HasSubstr("container main ended with exit status 3, back-off restarting failed "
                                  "container (2 restarts)"));
}

TEST_F(NriRun, RestartPolicyAlways_StartsAgainWhatEndedWell) {
  const auto done = start(restarting("Always", "echo x >> /v/n; test $(wc -l < /v/n) -le 2 || sleep 60"),
                          driver(), {"--for", "6s"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, HasSubstr("container main started again (restart 2)"));
}

TEST_F(NriRun, SandboxThatDies_IsMadeAgainForTheSamePod) {
  // The second time it ends.
  const auto done = start(restarting("OnFailure", "test -e /v/seen && exit 0; touch /v/seen; sleep 60"),
                          plugin(), {"-v", "--lose-sandbox", "2s"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  std::vector<std::string> sandboxes;
  for (const auto& line : told(done.out)) {
    if (line.find("PodSandbox") != std::string::npos) {
      sandboxes.push_back(line.substr(0, line.find(" pid=")));
    }
  }
  EXPECT_THAT(sandboxes,
              ::testing::ElementsAre("RunPodSandbox one netns=there", "StopPodSandbox one netns=there",
                                     "RunPodSandbox one netns=there", "StopPodSandbox one netns=there",
                                     "RemovePodSandbox one netns=none", "RemovePodSandbox one netns=none"));
  EXPECT_THAT(done.out, HasSubstr("SandboxChanged"));
}

TEST_F(NriRun, SandboxThatDies_WithRestartPolicyNever_FailsThePod) {
  const auto done = start(restarting("Never", "exec sleep 60"), plugin(), {"--lose-sandbox", "50ms"});
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, HasSubstr("the pod's sandbox has died; restartPolicy is Never"));
}

TEST_F(DrydockRun, DriverThatDies_IsStartedAgainOnRequest) {
  const std::string command =
      "test -e {state}/died || { (sleep 2; touch {state}/died; kill -9 0) & } ; exec " + driver();
  const auto done = start(device_class() + pod("one", "sleep 4; echo claim=$CLAIM"), command,
                          {"--restart-driver", "--json"});
  EXPECT_EQ(done.status.code, 0) << done.out;
  const auto json = nlohmann::json::parse(done.out, nullptr, false);
  ASSERT_TRUE(json.is_object()) << done.out;
  EXPECT_EQ(json["drivers"][0]["restarts"], 1);
}

TEST_F(DrydockRun, Sigterm_TakesAllDown) {
  const auto pid = start_until("container main started", device_class() + pod("one", "sleep 600"), {});
  ASSERT_EQ(::kill(pid, SIGTERM), 0);
  const auto status = wait_for_exit(pid);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->code, 130) << printed();
  EXPECT_THAT(printed(),
              AllOf(HasSubstr("nothing of the pods is left"), HasSubstr("this machine is as it was")));
}

TEST_F(DrydockRun, KillNine_EndsEverything) {
  const auto before = MachineState::read("none");
  const auto pid = start_until("container main started", device_class() + pod("one", "sleep 600"),
                               {"--runtime", "crun", "--node-name", "kill-nine"});
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  ASSERT_TRUE(wait_for_exit(pid));
  const auto remains = [] {
    const auto entries = fairlead::sys::list_dir("/proc");
    for (const auto& entry : *entries) {
      const auto text = fairlead::sys::read_file_if_exists("/proc/" + entry + "/environ");
      if (entry[0] >= '0' && entry[0] <= '9' && text && *text &&
          (*text)->find("NODE_NAME=kill-nine") != std::string::npos) {
        return true;
      }
    }
    return false;
  };
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (remains() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_FALSE(remains()) << "the driver outlived drydock";
  EXPECT_THAT(differences(*before, *MachineState::read("none")), IsEmpty());
}

TEST_F(DrydockRun, WrongUsage_IsToldApart) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{},
        {"run"},
        {"run", "--driver", "x", "-f", "/no/such.yaml"},
        {"fly"},
        {"run", "--driver", "x", "-f", kBin + "/drydock", "--timeout", "soon"}}) {
    std::vector<std::string> argv = {kBin + "/drydock"};
    argv.insert(argv.end(), words.begin(), words.end());
    const auto done = run({.argv = argv}, 20s);
    ASSERT_TRUE(done);
    EXPECT_EQ(done->status.code, 2) << done->out;
  }
}

}  // namespace
}  // namespace drydock
