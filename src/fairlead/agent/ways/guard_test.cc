// SPDX-License-Identifier: Apache-2.0
// The guard from both ends: the real fairlead-guard program against the agent's server.
#include "fairlead/agent/ways/guard_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>

#include "fairlead/agent/testing/guard_program.h"
#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/unix_socket.h"

namespace fairlead::agent {
namespace {

using ::testing::HasSubstr;

class Guard : public KernelTest {
 protected:
  void SetUp() override {
    if (::getuid() != 0) {
      GTEST_SKIP() << "needs root: the agent answers nobody else";
    }
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    std::string pattern = ::testing::TempDir() + "fl-guard-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override {
    server_.reset();
    if (!dir_.empty()) {
      EXPECT_TRUE(sys::remove_tree(dir_));
    }
  }

  [[nodiscard]] std::string socket_path() const { return dir_ + "/state/guard.sock"; }

  void serve(GuardServer::Attach attach) {
    auto server = GuardServer::open(
        {.path = socket_path(), .workers = 4, .read_timeout = std::chrono::milliseconds(200)},
        std::move(attach));
    ASSERT_OK(server);
    server_ = std::move(*server);
    server_->serve();
  }

  Outcome guard(const std::string& state, const std::string& claim = "u1",
                const char* patience_ms = "28000") {
    return run_guard(FAIRLEAD_GUARD, socket_path(),
                     {.state = state, .claim = claim, .patience_ms = patience_ms});
  }

  static std::string state_of(pid_t pid) { return oci_state_of(pid); }

  /// Sends bytes of our own and reads what comes back.
  std::string talk(const std::string& text) {
    const auto fd = sys::connect_unix(socket_path());
    if (!fd) {
      ADD_FAILURE() << fd.error().what();
      return {};
    }
    (void)::send(fd->get(), text.data(), text.size(), MSG_NOSIGNAL);
    ::shutdown(fd->get(), SHUT_WR);
    std::string answer;
    std::array<char, 512> buffer = {};
    for (ssize_t n = 0; (n = ::read(fd->get(), buffer.data(), buffer.size())) > 0;) {
      answer.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return answer;
  }

  std::string dir_;
  std::unique_ptr<GuardServer> server_;
};

TEST_F(Guard, HandsTheContainersNamespaceOver_AndTheInterfaceIsThere) {
  auto record = prepare(claim("u1", {{R"("macvlan","master":"eth0","interfaceName":"data0")"}}));
  ASSERT_OK(record);
  const int node = node_netns_.get();
  serve([&](const GuardCall& call) -> Result<> {
    EXPECT_EQ(call.claim_uid, "u1");
    EXPECT_EQ(call.container, "c1");
    return sys::with_netns(node, [&]() -> Result<> {
      FL_ASSIGN(record->prepared.state, driver_->attacher().attach(*record, {.netns = call.netns.get(),
                                                                             .container = call.container}));
      return {};
    });
  });
  const Inhabitant container(pod_.netns.get());
  const Outcome outcome = guard(state_of(container.pid()));
  EXPECT_EQ(outcome.status, 0) << outcome.error;
  EXPECT_EQ(outcome.error, "");
  EXPECT_TRUE(link(*pod_.socket, "data0").is_up());
  EXPECT_EQ(guard(state_of(container.pid())).status, 0);
}

TEST_F(Guard, AgentsSentence_IsTheReason) {
  serve([](const GuardCall&) -> Result<> { return Error(Code::kExists, "the name \"data0\" is\ntaken"); });
  const Inhabitant container(pod_.netns.get());
  const Outcome outcome = guard(state_of(container.pid()));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.error, "fairlead-guard: the name \"data0\" is taken\n");
}

TEST_F(Guard, AgentAway_FailsTheContainer) {
  const Inhabitant container(pod_.netns.get());
  const Outcome outcome = guard(state_of(container.pid()), "u1", "200");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_EQ(outcome.error,
            "fairlead-guard: the fairlead agent is not running on this node (no process listens on " +
                socket_path() + ")\n");
}

TEST_F(Guard, AgentThatEndsBeforeItAnswers_ItsSuccessorIsAsked) {
  ASSERT_OK(sys::make_dirs(dir_ + "/state"));
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = sys::unix_address(socket_path()).value();
  ASSERT_EQ(::bind(listener.get(), sys::as_sockaddr(address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 8), 0);
  const Inhabitant container(pod_.netns.get());
  Outcome outcome;
  std::thread asking([&] { outcome = guard(state_of(container.pid())); });
  UniqueFd connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_TRUE(connection.valid());
  connection.reset();  // as a process that is killed
  listener.reset();
  ASSERT_OK(sys::remove_file(socket_path()));
  serve([](const GuardCall&) -> Result<> { return {}; });
  asking.join();
  EXPECT_EQ(outcome.status, 0) << outcome.error;
}

TEST_F(Guard, WrongState_FailsTheContainer) {
  serve([](const GuardCall&) -> Result<> { return {}; });
  for (const char* state : {"", "{}", "hello", R"({"pid":0})"}) {
    const Outcome outcome = guard(state);
    EXPECT_EQ(outcome.status, 1);
    EXPECT_THAT(outcome.error, HasSubstr("stdin is not an OCI container state"));
  }
  EXPECT_THAT(guard(state_of(999'999'999)).error, HasSubstr("no such process"));
}

TEST_F(Guard, ManyAtOnce_AllGetTheirAnswer) {
  std::atomic<int> calls = 0;
  serve([&](const GuardCall&) -> Result<> {
    ++calls;
    return {};
  });
  const Inhabitant container(pod_.netns.get());
  std::vector<std::thread> threads;
  std::atomic<int> passed = 0;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] { passed += guard(state_of(container.pid())).status == 0 ? 1 : 0; });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(passed, 16);
  EXPECT_EQ(calls, 16);
}

TEST_F(Guard, Garbage_IsAnsweredAndSurvived) {
  std::atomic<int> calls = 0;
  serve([&](const GuardCall&) -> Result<> {
    ++calls;
    return {};
  });
  EXPECT_THAT(talk("GET / HTTP/1.1\r\n\r\n"), HasSubstr("error the guard's message is not understood"));
  EXPECT_EQ(talk(""), "");
  EXPECT_THAT(talk("fairlead-guard 1\nclaim ../../x\ncontainer c\n"), HasSubstr("is not understood"));
  EXPECT_THAT(talk("fairlead-guard 1\nclaim u1\ncontainer c\n"),
              HasSubstr("error the guard sent no network namespace"));
  EXPECT_THAT(talk(std::string(100'000, 'x')), HasSubstr("error the guard's message is too long"));
  EXPECT_EQ(calls, 0);
  const Inhabitant container(pod_.netns.get());
  EXPECT_EQ(guard(state_of(container.pid())).status, 0);
}

TEST_F(Guard, Socket_IsRootsAlone) {
  serve([](const GuardCall&) -> Result<> { return {}; });
  struct stat info = {};
  ASSERT_EQ(::stat(socket_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  ASSERT_EQ(::stat((dir_ + "/state").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0750U);
  server_->stop();
  EXPECT_NE(::stat(socket_path().c_str(), &info), 0);
}

TEST_F(Guard, SocketThatSomebodyRemoves_IsThereAgain) {
  serve([](const GuardCall&) { return Result<>(); });
  for (int round = 0; round < 2; ++round) {
    ASSERT_EQ(::unlink(socket_path().c_str()), 0);
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (::access(socket_path().c_str(), F_OK) != 0 && std::chrono::steady_clock::now() < until) {
      std::this_thread::yield();
    }
    const Inhabitant container(pod_.netns.get());
    const Outcome outcome = guard(state_of(container.pid()));
    EXPECT_EQ(outcome.status, 0) << outcome.error;
  }
  struct stat info = {};
  ASSERT_EQ(::stat(socket_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
  server_.reset();
  EXPECT_NE(::access(socket_path().c_str(), F_OK), 0) << "and goes with its server";
}

TEST_F(Guard, SocketThatAnotherInstanceTookAndLeft_IsThereAgain) {
  serve([](const GuardCall&) { return Result<>(); });
  ASSERT_EQ(::unlink(socket_path().c_str()), 0);
  {
    auto thief = GuardServer::open({.path = socket_path()}, [](const GuardCall&) { return Result<>(); });
    ASSERT_OK(thief);
    (*thief)->serve();
  }
  const Inhabitant container(pod_.netns.get());
  const Outcome outcome = guard(state_of(container.pid()));
  EXPECT_EQ(outcome.status, 0) << outcome.error;
}

TEST_F(Guard, SecondInstance_TakesOverWhenTheFirstEnds) {
  serve([](const GuardCall&) -> Result<> { return Error(Code::kInternal, "the first"); });
  std::atomic<bool> second_called = false;
  auto second = GuardServer::open({.path = socket_path()}, [&](const GuardCall&) -> Result<> {
    second_called = true;
    return {};
  });
  ASSERT_OK(second);
  (*second)->serve();
  const Inhabitant container(pod_.netns.get());
  EXPECT_THAT(guard(state_of(container.pid())).error, HasSubstr("the first"));
  server_->stop();
  // The guard itself waits for an agent that is being replaced.
  EXPECT_EQ(guard(state_of(container.pid())).status, 0);
  EXPECT_TRUE(second_called);
}

}  // namespace
}  // namespace fairlead::agent
