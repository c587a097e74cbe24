// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/serve/admin_http.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/dra/serve/http_listener.h"
#include "fairlead/sys/unix_socket.h"

namespace fairlead::dra {
namespace {

using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

UniqueFd connect_to(int port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(static_cast<std::uint16_t>(port));
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in), 0);
  return fd;
}

std::string talk(int port, const std::string& request) {
  const UniqueFd fd = connect_to(port);
  (void)::send(fd.get(), request.data(), request.size(),
               MSG_NOSIGNAL);  // a server may refuse before it read all
  std::string out;
  std::array<char, 4096> chunk{};
  for (ssize_t got = 0; (got = ::recv(fd.get(), chunk.data(), chunk.size(), 0)) > 0;) {
    out.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return out;
}

std::string get(int port, const std::string& path) {
  return talk(port, "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
}

AdminHttp::Sources sources() {
  return {.metrics = [] { return std::string("a 1\n"); },
          .health = [] { return Result<>{}; },
          .ready = [] { return Result<>(Error(Code::kUnavailable, "not registered with the kubelet yet")); }};
}

TEST(AdminHttp, ServesItsThreePages) {
  const auto server = AdminHttp::start("127.0.0.1:0", sources());
  ASSERT_TRUE(server) << server.error().what();
  const int port = (*server)->port();
  EXPECT_THAT(get(port, "/metrics"), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(get(port, "/metrics"), HasSubstr("text/plain; version=0.0.4"));
  EXPECT_THAT(get(port, "/metrics"), EndsWith("\r\n\r\na 1\n"));
  EXPECT_THAT(get(port, "/healthz?verbose=1"), EndsWith("\r\n\r\nok\n"));
  EXPECT_THAT(get(port, "/readyz"), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(get(port, "/readyz"), EndsWith("\r\n\r\nnot registered with the kubelet yet\n"));
  EXPECT_THAT(get(port, "/"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(get(port, "/../etc/passwd"), StartsWith("HTTP/1.1 404 "));
}

TEST(AdminHttp, AnswersAProbeOverAUnixSocketThatOnlyRootMayOpen) {
  const std::string path = ::testing::TempDir() + "admin" + std::to_string(::getpid()) + ".sock";
  const std::string listen = "unix:" + path + ",127.0.0.1:0";
  {
    const auto stale = AdminHttp::start(listen, sources());
    ASSERT_TRUE(stale) << stale.error().what();
  }
  const auto server = AdminHttp::start(listen, sources());  // the file of the first is still there
  ASSERT_TRUE(server) << server.error().what();
  struct stat file{};
  ASSERT_EQ(::stat(path.c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777U, 0600U);
  const auto health = AdminHttp::ask(listen, "/healthz");
  ASSERT_TRUE(health) << health.error().what();
  EXPECT_EQ(*health, "ok\n");
  const auto ready = AdminHttp::ask(listen, "/readyz");
  ASSERT_FALSE(ready);
  EXPECT_EQ(ready.error().what(), "not registered with the kubelet yet");
  EXPECT_THAT(get((*server)->port(), "/healthz"), EndsWith("\r\n\r\nok\n"));
  (void)::unlink(path.c_str());
}

TEST(AdminHttp, TellsWhereNobodyAnswers) {
  const auto answer = AdminHttp::ask("unix:/nowhere/admin.sock", "/healthz");
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().what(), HasSubstr("unix:/nowhere/admin.sock"));
}

TEST(AdminHttp, TwoInstancesOfARollingUpdateShareThePort) {
  const auto old = AdminHttp::start("127.0.0.1:0", sources(), AdminHttp::Port::kShared);
  ASSERT_TRUE(old) << old.error().what();
  const std::string listen = "127.0.0.1:" + std::to_string((*old)->port());
  EXPECT_TRUE(AdminHttp::start(listen, sources(), AdminHttp::Port::kShared));
  const auto stranger = AdminHttp::start(listen, sources());
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().code(), Code::kBusy);
}

TEST(AdminHttp, OnlyReading) {
  const auto server = AdminHttp::start("127.0.0.1:0", sources());
  ASSERT_TRUE(server) << server.error().what();
  const int port = (*server)->port();
  const std::string close = "Connection: close\r\n\r\n";
  EXPECT_THAT(talk(port, "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n" + close),
              ContainsRegex("^HTTP/1.1 (405|501) "));
  EXPECT_THAT(talk(port, "DELETE /metrics HTTP/1.1\r\n" + close), ContainsRegex("^HTTP/1.1 (405|501) "));
  EXPECT_THAT(talk(port, "HEAD /metrics HTTP/1.1\r\n" + close), ContainsRegex("^HTTP/1.1 (405|501) "));
  EXPECT_THAT(talk(port, "nonsense\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
}

TEST(AdminHttp, RequestWithTooMuch_IsRefused) {
  const auto server = AdminHttp::start("127.0.0.1:0", sources());
  ASSERT_TRUE(server) << server.error().what();
  EXPECT_THAT(talk((*server)->port(), "GET /" + std::string(9000, 'x') + " HTTP/1.1\r\n\r\n"),
              Not(HasSubstr("200 OK")));
  EXPECT_THAT(talk((*server)->port(),
                   "GET /metrics HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + std::string(100000, 'x')),
              Not(HasSubstr("200 OK")));
}

TEST(AdminHttp, ManyClients) {
  std::atomic<int> calls = 0;
  auto own = sources();
  own.metrics = [&] { return std::to_string(++calls); };
  const auto server = AdminHttp::start("127.0.0.1:0", own);
  ASSERT_TRUE(server) << server.error().what();
  std::vector<std::jthread> clients;
  clients.reserve(8);
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      for (int n = 0; n < 20; ++n) {
        EXPECT_THAT(get((*server)->port(), "/metrics"), StartsWith("HTTP/1.1 200 OK\r\n"));
      }
    });
  }
  clients.clear();
  EXPECT_EQ(calls, 160);
}

/// How many sockets this process has.
std::size_t open_sockets() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    count += std::filesystem::read_symlink(entry.path(), gone).string().starts_with("socket:") ? 1 : 0;
  }
  return count;
}

class AdminHttpUnderSiege : public ::testing::Test {
 protected:
  void SetUp() override {
    own_.health = [this]() -> Result<> {
      ++asked_;
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !blocked_ || ++let_through_ > 1; });
      return {};
    };
  }
  void TearDown() override { (void)::unlink(path_.c_str()); }

  const std::string path_ = ::testing::TempDir() + "siege" + std::to_string(::getpid()) + ".sock";
  const std::string listen_ = "unix:" + path_ + ",127.0.0.1:0";
  AdminHttp::Sources own_ = sources();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> asked_ = 0;
  bool blocked_ = false;
  int let_through_ = 0;
};

TEST_F(AdminHttpUnderSiege, IdleConnectionsAreFewAndKeepNobodyOut) {
  const auto server = AdminHttp::start(listen_, own_);
  ASSERT_TRUE(server) << server.error().what();
  const int port = (*server)->port();
  const std::size_t before = open_sockets();
  std::vector<UniqueFd> strangers;
  for (int i = 0; i < 300; ++i) {
    strangers.push_back(connect_to(port));
    (void)::send(strangers.back().get(), "G", 1, MSG_NOSIGNAL);
  }
  EXPECT_THAT(get(port, "/metrics"), EndsWith("\r\n\r\na 1\n")) << "behind all of them";
  ASSERT_TRUE(AdminHttp::ask(listen_, "/healthz"));
  EXPECT_LE(open_sockets() - before - strangers.size(), 40U);
  int ended = 0;
  for (const UniqueFd& stranger : strangers) {
    char byte = 0;
    const ssize_t n = ::recv(stranger.get(), &byte, 1, MSG_DONTWAIT);
    ended += n == 0 || (n < 0 && errno != EAGAIN) ? 1 : 0;
  }
  EXPECT_GE(ended, 250) << "the oldest went first";
}

TEST_F(AdminHttpUnderSiege, HealthThatBlocksByTcp_DelaysNoProbe) {
  blocked_ = true;
  const auto server = AdminHttp::start(listen_, own_);
  ASSERT_TRUE(server) << server.error().what();
  std::jthread stranger([&] { (void)get((*server)->port(), "/healthz"); });
  while (asked_ == 0) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(AdminHttp::ask(listen_, "/healthz")) << "the first one still waits";
  const std::lock_guard lock(mutex_);
  blocked_ = false;
  changed_.notify_all();
}

TEST_F(AdminHttpUnderSiege, ManyQuestionsByTcp_CostFewOfHealth) {
  const auto server = AdminHttp::start(listen_, own_);
  ASSERT_TRUE(server) << server.error().what();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 50; ++i) {
    EXPECT_THAT(get((*server)->port(), "/healthz"), EndsWith("\r\n\r\nok\n"));
  }
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_LE(asked_, seconds + 1);
}

TEST(AdminHttp, BytesThatTrickle_GainNoTime) {
  const std::string path = ::testing::TempDir() + "trickle" + std::to_string(::getpid()) + ".sock";
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto address = sys::unix_address(path).value();
  ASSERT_EQ(::bind(socket.get(), sys::as_sockaddr(address), sizeof address), 0);
  ASSERT_EQ(::listen(socket.get(), 1), 0);
  const auto listener =
      HttpListener::start(std::move(socket), [](std::string_view) { return HttpAnswer{.body = "never"}; },
                          {.time = std::chrono::milliseconds(100)});
  ASSERT_TRUE(listener);
  const auto client = sys::connect_unix(path);
  ASSERT_TRUE(client) << client.error().what();
  while (::send(client->get(), "x", 1, MSG_NOSIGNAL) == 1) {  // until it is cut off
    std::this_thread::yield();
    pollfd readable{.fd = client->get(), .events = POLLIN, .revents = 0};
    if (::poll(&readable, 1, 1) > 0) {
      break;
    }
  }
  std::string out(64, ' ');
  EXPECT_LE(::recv(client->get(), out.data(), out.size(), 0), 0) << out;
  (void)::unlink(path.c_str());
}

TEST(AdminHttp, ClientThatGoesInTheMiddleOfTheAnswer_EndsNothing) {
  // Not as pid 1, which ignores every signal that it does not handle.
  const pid_t child = ::fork();
  if (child == 0) {
    (void)::signal(SIGPIPE, SIG_DFL);
    auto own = sources();
    own.metrics = [] { return std::string(std::size_t{8} << 20, 'x'); };
    const auto server = AdminHttp::start("127.0.0.1:0", own);
    for (int i = 0; server && i < 20; ++i) {
      UniqueFd rude = connect_to((*server)->port());
      const std::string ask = "GET /metrics HTTP/1.1\r\n\r\n";
      (void)::send(rude.get(), ask.data(), ask.size(), MSG_NOSIGNAL);
      char byte = 0;
      (void)::recv(rude.get(), &byte, 1, 0);  // it is on its way
      const linger now{.l_onoff = 1, .l_linger = 0};
      (void)::setsockopt(rude.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
      rude.reset();  // RST
      (void)get((*server)->port(), "/readyz");
    }
    ::_exit(server ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(AdminHttp, Stop_DoesNotWaitForSilentClients) {
  auto server = AdminHttp::start("127.0.0.1:0", sources());
  ASSERT_TRUE(server) << server.error().what();
  const UniqueFd one = connect_to((*server)->port());
  const UniqueFd two = connect_to((*server)->port());
  const UniqueFd three = connect_to((*server)->port());
  server->reset();
  char byte = 0;
  EXPECT_LE(::recv(three.get(), &byte, 1, 0), 0);
}

TEST(AdminHttp, PortInUse_SaysSo) {
  const auto first = AdminHttp::start("127.0.0.1:0", sources());
  ASSERT_TRUE(first) << first.error().what();
  const std::string listen = "127.0.0.1:" + std::to_string((*first)->port());
  const auto second = AdminHttp::start(listen, sources());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kBusy);
  EXPECT_EQ(
      second.error().what(),
      "listen on " + listen +
          ": Address already in use (another program, or another instance of this driver, has the port)");
}

TEST(AdminHttp, AddressOfNobody_SaysSo) {
  const auto server = AdminHttp::start("192.0.2.1:0", sources());
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code(), Code::kUnavailable);
  EXPECT_THAT(server.error().what(), HasSubstr("no interface of this node has the address"));
}

TEST(AdminHttp, BadListenAddress_SaysWhatIsRight) {
  for (const char* listen :
       {"", "9095", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1",
        "node.example.com:9095", "::1:9095", "[::1]", "[]:1", "1.2.3:80", "127.0.0.1:80 "}) {
    const auto server = AdminHttp::start(listen, sources());
    ASSERT_FALSE(server) << listen;
    EXPECT_EQ(server.error().code(), Code::kInvalid) << listen;
    EXPECT_THAT(server.error().what(), HasSubstr("such as 127.0.0.1:9095")) << listen;
  }
}

}  // namespace
}  // namespace fairlead::dra
