// SPDX-License-Identifier: Apache-2.0
// Both ways of one agent as the world uses them: a runtime that speaks NRI, and the real fairlead-guard.
#include "fairlead/agent/ways/attach_ways.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>

#include <memory>
#include <string>
#include <thread>

#include "fairlead/agent/testing/fake_host.h"
#include "fairlead/agent/testing/guard_program.h"
#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/core/fd.h"
#include "fairlead/rpc/nri/runtime.h"
#include "fairlead/sys/files.h"

namespace fairlead::agent {
namespace {

using rpc::NriPod;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kMacvlan = R"("macvlan","master":"eth0","interfaceName":"data0")";

class BothWays : public KernelTest {
 protected:
  void SetUp() override {
    if (::getuid() != 0) {
      GTEST_SKIP() << "needs root: the agent answers nobody else";
    }
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    std::string pattern = ::testing::TempDir() + "fl-ways-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    dra::Claim wanted = claim("u1", {{kMacvlan}});
    wanted.reserved_for = {{.name = "pod-1", .uid = "pod-1"}};
    auto record = prepare(wanted);
    ASSERT_OK(record);
    framework_.add(*std::move(record));
    pause_.emplace(pod_.netns.get());
  }
  void TearDown() override {
    ways_.reset();
    runtime_.reset();
    if (!dir_.empty()) {
      EXPECT_TRUE(sys::remove_tree(dir_));
    }
  }

  [[nodiscard]] std::string nri_socket() const { return dir_ + "/nri/nri.sock"; }
  [[nodiscard]] static steady_clock::time_point later() {
    return steady_clock::now() + std::chrono::seconds(30);
  }

  void start_runtime(rpc::NriInventory inventory = {}, milliseconds limit = milliseconds(20'000)) {
    auto runtime = rpc::NriRuntimeServer::start({.socket = nri_socket(), .request_timeout = limit},
                                                [inventory] { return inventory; });
    ASSERT_OK(runtime);
    runtime_ = std::move(*runtime);
  }

  void open_ways(milliseconds close_time = milliseconds(8'000)) {
    auto service = std::make_unique<AttachService>(driver_->attacher(), framework_, "net.example.com");
    auto ways = AttachWays::create({.guard_socket = dir_ + "/guard.sock",
                                    .nri = rpc::NriPluginOptions{.name = "net.example.com",
                                                                 .socket = nri_socket(),
                                                                 .events = {},
                                                                 .first_retry = milliseconds(10),
                                                                 .last_retry = milliseconds(50)},
                                    .close_time = close_time},
                                   *service);
    ASSERT_OK(ways);
    ways_ = std::move(*ways);  // ends those of the agent before, which use its service
    service_ = std::move(service);
    ways_->open();
  }

  [[nodiscard]] NriPod sandbox(const std::string& id) const {
    return {.id = id,
            .name = "pod-1",
            .uid = "pod-1",
            .namespace_ = "default",
            .pid = static_cast<std::uint32_t>(pause_->pid()),
            .netns = "/proc/" + std::to_string(pause_->pid()) + "/ns/net"};
  }

  [[nodiscard]] Outcome guard() const {
    return run_guard(FAIRLEAD_GUARD, dir_ + "/guard.sock", {.state = oci_state_of(pause_->pid())});
  }

  std::string dir_;
  FakeHost framework_;
  std::unique_ptr<AttachService> service_;
  std::optional<Inhabitant> pause_;
  std::unique_ptr<rpc::NriRuntimeServer> runtime_;
  std::unique_ptr<AttachWays> ways_;
};

TEST_F(BothWays, NriThenGuard_TheInterfaceIsThereOnce) {
  start_runtime();
  open_ways();
  ASSERT_OK(runtime_->wait_for_plugins(1, later()));
  ASSERT_OK(runtime_->run_pod_sandbox(sandbox("s1")));
  const netlink::Link before = link(*pod_.socket, "data0");
  EXPECT_TRUE(before.is_up());
  EXPECT_EQ(guard().status, 0);
  EXPECT_EQ(link(*pod_.socket, "data0"), before);
  EXPECT_THAT(names(*pod_.socket), ElementsAre("data0", "lo"));
  ASSERT_OK(runtime_->stop_pod_sandbox(sandbox("s1")));
  EXPECT_EQ(framework_.state("u1").phase, AttachPhase::kReleased);
}

TEST_F(BothWays, NoRuntimeYet_TheGuardAttaches_AndNriComesLater) {
  open_ways();
  const Outcome outcome = guard();
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_THAT(names(*pod_.socket), Contains("data0"));
  start_runtime();
  ASSERT_OK(runtime_->wait_for_plugins(1, later()));
}

TEST_F(BothWays, RefusedAtNri_IsTheSandboxsError) {
  ASSERT_OK(node_->delete_link(link(*node_, "eth0").index));
  start_runtime();
  open_ways();
  const auto refused = runtime_->run_pod_sandbox(sandbox("s1"));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("the master \"eth0\" is gone from this node"));
  EXPECT_EQ(runtime_->plugins().size(), 1) << "an error in time keeps the connection";
}

TEST_F(BothWays, RuntimeRestarts_WhatItMissedIsReconciled) {
  start_runtime();
  open_ways();
  runtime_.reset();
  start_runtime({.pods = {sandbox("s1")}, .containers = {}});
  ASSERT_OK(runtime_->wait_for_plugins(1, later()));
  EXPECT_EQ(framework_.wait_for_report("u1", "Attached").size(), 1);
  EXPECT_THAT(names(*pod_.socket), Contains("data0"));
  EXPECT_EQ(framework_.state("u1").sandbox, "s1");
}

TEST_F(BothWays, FrozenAgent_TheRuntimeGoesOn_AndTheGuardCatchesIt) {
  // The agent is a process of its own, so that it can be frozen.
  const pid_t agent = ::fork();
  if (agent == 0) {
    open_ways();
    while (true) {
      ::pause();
    }
  }
  const ScopeExit end([&] {
    ::kill(agent, SIGKILL);
    ::waitpid(agent, nullptr, 0);
  });
  start_runtime({}, milliseconds(200));
  ASSERT_OK(runtime_->wait_for_plugins(1, later()));
  ASSERT_EQ(::kill(agent, SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(agent, &status, WUNTRACED), agent);
  ASSERT_OK(runtime_->run_pod_sandbox(sandbox("s1")));  // fail-open: no answer is success
  ASSERT_OK(runtime_->wait_for_plugins(0, later()));
  EXPECT_THAT(names(*pod_.socket), Not(Contains("data0")));

  Outcome outcome;
  std::thread container([&] { outcome = guard(); });  // the container does not start without it
  ASSERT_EQ(::kill(agent, SIGCONT), 0);
  container.join();
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_THAT(names(*pod_.socket), ElementsAre("data0", "lo"));
  ASSERT_OK(runtime_->wait_for_connects(2, later()));
  ASSERT_OK(runtime_->run_pod_sandbox(sandbox("s1")));
  EXPECT_THAT(names(*pod_.socket), ElementsAre("data0", "lo"));
}

TEST_F(BothWays, AgentStopsWhileTheClaimIsBusy_TheGuardAsksTheNextOne) {
  open_ways(milliseconds(1));
  Outcome outcome;
  std::thread container;
  {
    const auto busy = framework_.hold("u1");
    container = std::thread([&] { outcome = guard(); });
    ASSERT_TRUE(framework_.wait_for_updates(1));
    ways_->close();
  }
  open_ways();
  container.join();
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_THAT(names(*pod_.socket), Contains("data0"));
}

TEST_F(BothWays, AgentReplacedWhileAContainerStarts_TheGuardAsksTheNextOne) {
  open_ways();
  ways_->close();
  Outcome outcome;
  std::thread container([&] { outcome = guard(); });
  open_ways();
  container.join();
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_THAT(names(*pod_.socket), Contains("data0"));
}

}  // namespace
}  // namespace fairlead::agent
