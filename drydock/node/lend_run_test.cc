// SPDX-License-Identifier: Apache-2.0
// drydock --lend as its users start it. "The machine" is a network namespace that the test owns.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "drydock/node/processes.h"
#include "drydock/node/testing/temp_folder.h"
#include "fairlead/core/fault.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netns.h"

namespace drydock {
namespace {

using namespace std::chrono_literals;
namespace sys = fairlead::sys;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kBin = DRYDOCK_BIN_DIR;

/// A pod on the node's network; with a claim a hook of the driver runs for it.
std::string pod(const std::string& script, bool with_claim = false) {
  const std::string claim = R"(apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: things}
spec: {}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: thing}
spec: {spec: {devices: {requests: [{name: one, exactly: {deviceClassName: things}}]}}}
---
)";
  return (with_claim ? claim : "") + R"(apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  restartPolicy: Never
)" +
         (with_claim ? "  resourceClaims: [{name: t, resourceClaimTemplateName: thing}]\n"
                     : "  hostNetwork: true\n") +
         R"(  containers:
  - name: main
    image: iproute2
    command: [sh, -c, ')" +
         script + "']\n" + (with_claim ? "    resources: {claims: [{name: t}]}\n" : "");
}

class LendRun : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "drydock needs root for its namespaces";
    }
    if (!find_program({"crun", "runc"})) {
      GTEST_SKIP() << "neither crun nor runc is installed";
    }
    machine_ = *sys::create_netns();
    shell(
        "ip link add nic0 type veth peer name far0 && ip link set far0 up && "
        "ip link property add dev nic0 altname port-that-leads-outside && "
        "ip link set nic0 mtu 1400 address 02:00:00:00:00:77 promisc on up && "
        "ip address add 192.0.2.1/24 dev nic0 && ip address add 192.0.2.2/24 dev nic0 && "
        "ip route add 198.51.100.0/24 via 192.0.2.9 metric 50");
    before_ = state();
    ASSERT_THAT(before_, HasSubstr("198.51.100.0/24"));
  }

  /// On the machine.
  std::string shell(const std::string& script) const {
    const auto done =
        sys::on_netns_thread(machine_.get(), [&] { return run({.argv = {"/bin/sh", "-c", script}}, 20s); });
    EXPECT_TRUE(done && done->status.ok()) << script << (done ? done->out : done.error().what());
    return done ? done->out : "";
  }
  /// All that the link was, in the words of ip(8).
  [[nodiscard]] std::string state() const {
    return shell("ip -d -4 address show dev nic0 2>&1; ip -4 route show dev nic0 2>&1; true");
  }
  [[nodiscard]] std::vector<std::string> command(const std::string& yaml,
                                                 const std::vector<std::string>& more,
                                                 const std::string& flags) const {
    folder_.write("pods.yaml", yaml);
    std::vector<std::string> argv = {kBin + "/drydock",
                                     "run",
                                     "--driver",
                                     kBin + "/drydock_test_driver " + flags,
                                     "-f",
                                     folder_.path() + "/pods.yaml",
                                     "--lend",
                                     "nic0"};
    argv.insert(argv.end(), more.begin(), more.end());
    return argv;
  }
  Output start(const std::string& yaml, const std::vector<std::string>& more = {},
               const std::string& flags = "") const {
    auto done =
        sys::on_netns_thread(machine_.get(), [&] { return run({.argv = command(yaml, more, flags)}, 100s); });
    EXPECT_TRUE(done) << done.error().what();
    return done ? *done : Output();
  }
  /// Starts it, in a process group of its own, and waits until it has printed `text`.
  [[nodiscard]] pid_t start_until(const std::string& text, const std::string& yaml,
                                  const std::map<std::string, std::string>& env = {}) const {
    const auto out = sys::open_file(folder_.path() + "/log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    EXPECT_TRUE(out);
    const auto pid = sys::on_netns_thread(machine_.get(), [&] {
      return spawn({.argv = command(yaml, {}, ""),
                    .env = env,
                    .out = out->get(),
                    .err = out->get(),
                    .own_group = true});
    });
    EXPECT_TRUE(pid);
    EXPECT_TRUE(wait_until([&] { return printed().contains(text); })) << printed();
    return *pid;
  }
  [[nodiscard]] std::string printed() const {
    const auto text = sys::read_file_if_exists(folder_.path() + "/log");
    return text && *text ? **text : "";
  }
  template <class Condition>
  static bool wait_until(const Condition& condition) {
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) {
        return false;
      }
      std::this_thread::yield();
    }
    return true;
  }
  /// drydock is dead; its keeper says when it is done.
  void expect_kept() const {
    EXPECT_TRUE(wait_until([&] { return printed().contains("lent link nic0 is back"); })) << printed();
    EXPECT_THAT(printed(), HasSubstr("its keeper, process"));
    EXPECT_EQ(state(), before_);
  }

  TempFolder folder_;
  UniqueFd machine_;
  std::string before_;
};

TEST_F(LendRun, LentLink_IsInTheNodeAsTheMachineHadItAndHomeAfterSuccess) {
  const auto done = start(pod("ip -d address show dev nic0; ls /sys/class/net; ls /sys/bus/pci"));
  EXPECT_EQ(done.status.code, 0) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("lent nic0"), HasSubstr("mtu 1400"), HasSubstr("PROMISC,UP"),
                              HasSubstr("02:00:00:00:00:77"), HasSubstr("192.0.2.1/24"),
                              HasSubstr("192.0.2.2/24"), HasSubstr("altname port-that-leads-outside"),
                              HasSubstr("one/main: nic0\n"), HasSubstr("one/main: devices\n")));
  EXPECT_THAT(done.out, AllOf(HasSubstr("lent link nic0 is back"), HasSubstr("this machine is as it was")));
  EXPECT_EQ(state(), before_);
}

TEST_F(LendRun, FailingPod_LinkIsHome) {
  const auto done = start(pod("exit 3"));
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, HasSubstr("lent link nic0 is back"));
  EXPECT_EQ(state(), before_);
}

TEST_F(LendRun, FailingDriver_LinkIsHome) {
  const auto done = start(pod("true"), {"--timeout", "1s"}, "--no-register");
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(done.out, HasSubstr("lent link nic0 is back"));
  EXPECT_EQ(state(), before_);
}

TEST_F(LendRun, DriverMovedItToAPodAndBackUnderAnotherName_LinkIsHome) {
  const std::string hook =
      "--hook 'pid=$(sed -n \"s/.*\\\"pid\\\": *\\([0-9]*\\).*/\\1/p\"); set -e; "
      "ip link set nic0 netns $pid name fast0; "
      "nsenter --net=/proc/$pid/ns/net ip link set fast0 address 02:00:00:00:00:99 mtu 1300 netns 1 name "
      "odd0'";
  const auto done = start(pod("echo container-ran", true), {}, hook);
  EXPECT_EQ(done.status.code, 1) << "the node has a link that it did not have before the pod:" << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("container-ran"), HasSubstr("on the node: link odd0"),
                              HasSubstr("lent link nic0 is back")));
  EXPECT_EQ(state(), before_);
}

TEST_F(LendRun, DriverLeftAVirtualLinkInAPod_ItIsSaidToBeGone) {
  const std::string hook =
      "--hook 'pid=$(sed -n \"s/.*\\\"pid\\\": *\\([0-9]*\\).*/\\1/p\"); ip link set nic0 netns $pid name "
      "fast0'";
  const auto done = start(pod("ip link show dev fast0", true), {}, hook);
  EXPECT_EQ(done.status.code, 1) << done.out;
  EXPECT_THAT(
      done.out,
      AllOf(HasSubstr("lent link nic0: it is gone: deleted in the node, or with the network namespace"),
            Not(HasSubstr("this machine is as it was"))));
}

TEST_F(LendRun, Sigterm_LinkIsHome) {
  const auto pid = start_until("container main started", pod("sleep 600"));
  ASSERT_EQ(::kill(pid, SIGTERM), 0);
  const auto status = wait_for_exit(pid);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->code, 130) << printed();
  EXPECT_THAT(printed(), AllOf(HasSubstr("lent link nic0 is back"), HasSubstr("this machine is as it was"),
                               Not(HasSubstr("keeper"))));
  EXPECT_EQ(state(), before_);
}

TEST_F(LendRun, KillNineOfDrydock_KeeperBringsTheLinkHome) {
  const auto pid = start_until("container main started", pod("sleep 600"));
  EXPECT_THAT(state(), HasSubstr("does not exist"));
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  ASSERT_TRUE(wait_for_exit(pid));
  expect_kept();
}

TEST_F(LendRun, KillNineOfTheProcessGroup_KeeperBringsTheLinkHome) {
  const auto pid = start_until("container main started", pod("sleep 600"));
  ASSERT_EQ(::kill(-pid, SIGKILL), 0);
  ASSERT_TRUE(wait_for_exit(pid));
  expect_kept();
}

/// Of a process, without the keeper.
std::vector<pid_t> children_of(pid_t pid) {
  const auto at = "/proc/" + std::to_string(pid);
  const auto text = sys::read_file(at + "/task/" + std::to_string(pid) + "/children");
  std::istringstream words(text ? *text : "");
  std::vector<pid_t> out;
  for (pid_t child = 0; words >> child;) {
    const auto name = sys::read_file("/proc/" + std::to_string(child) + "/comm");
    if (name && *name != "drydock-keeper\n") {
      out.push_back(child);
    }
  }
  return out;
}

TEST_F(LendRun, KillNineOfTheNode_DrydockBringsTheLinkHome) {
  const auto pid = start_until("container main started", pod("sleep 600"));
  const auto init = children_of(pid);
  ASSERT_EQ(init.size(), 1U);
  const auto node = children_of(init[0]);
  ASSERT_FALSE(node.empty());
  ASSERT_EQ(::kill(node[0], SIGKILL), 0);
  const auto status = wait_for_exit(pid);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->code, 137) << printed();
  EXPECT_THAT(printed(), AllOf(HasSubstr("lent link nic0 is back"), Not(HasSubstr("keeper"))));
  EXPECT_EQ(state(), before_);
}

TEST_F(LendRun, Refusal_IsWrongUsageAndTouchesNothing) {
  const auto done = start(pod("true"), {"--lend", "lo"});
  EXPECT_EQ(done.status.code, 2) << done.out;
  EXPECT_THAT(done.out, AllOf(HasSubstr("--lend lo: lo is the loopback link"), Not(HasSubstr("node up"))));
  EXPECT_EQ(state(), before_);
}

TEST_F(LendRun, NameOfANicOfTheNode_IsWrongUsage) {
  const auto done = start(pod("true"), {"--nic", "nic0"});
  EXPECT_EQ(done.status.code, 2) << done.out;
  EXPECT_THAT(done.out, HasSubstr("the node has a link nic0 of its own"));
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t out = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) {
    ++out;
  }
  return out;
}

TEST_F(LendRun, WrongFile_IsWrongUsageSaidOnceBeforeTheLinkMoves) {
  folder_.write("wrong.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n");
  const auto wrong = folder_.path() + "/wrong.yaml";
  const auto confined = start(pod("true"), {"--confine", wrong});
  const auto misspelt = start("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containrs: []}\n");
  for (const auto& [done, text] :
       {std::pair(confined, "exactly one DaemonSet"), std::pair(misspelt, "containrs")}) {
    EXPECT_EQ(done.status.code, 2) << done.out;
    EXPECT_EQ(count(done.out, text), 1U) << done.out;
    EXPECT_THAT(done.out, AllOf(Not(HasSubstr("is back")), Not(HasSubstr("node up"))));
  }
  EXPECT_EQ(state(), before_);
}

TEST_F(LendRun, WrongNicNames_AreWrongUsageBeforeTheLinkMoves) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"--nic", "a/b"}, "--nic: "},
      {{"--nic", "eth0"}, "--nic eth0: the node has a link of that name itself"},
      {{"--nic", "pod7"}, "--nic pod7: the node has a link of that name itself"},
      {{"--nic", "x0", "--nic", "x0"}, "--nic x0 is given twice"}};
  for (const auto& [more, text] : wrong) {
    const auto done = start(pod("true"), more);
    EXPECT_EQ(done.status.code, 2) << done.out;
    EXPECT_EQ(count(done.out, text), 1U) << done.out;
    EXPECT_THAT(done.out, AllOf(Not(HasSubstr("is back")), Not(HasSubstr("node up"))));
  }
  EXPECT_EQ(state(), before_);
}

class LendCrash : public LendRun, public ::testing::WithParamInterface<const char*> {};

TEST_P(LendCrash, DrydockDiesThere_KeeperBringsTheLinkHome) {
  if (!fairlead::fault_points_enabled()) {
    GTEST_SKIP() << "this build has no fault points (FAIRLEAD_FAULTS)";
  }
  const auto pid =
      start_until("its keeper, process", pod("true"),
                  {{"FAIRLEAD_FAULT", std::string(GetParam()) + ":kill:once=" + folder_.path() + "/died"}});
  const auto status = wait_for_exit(pid);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->signal, SIGKILL) << printed();
  expect_kept();
}
INSTANTIATE_TEST_SUITE_P(Points, LendCrash,
                         ::testing::Values("lend-before-move", "lend-after-move", "return-begin",
                                           "return-before-move", "return-after-move"),
                         [](const auto& param_info) {
                           std::string name = param_info.param;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace drydock
