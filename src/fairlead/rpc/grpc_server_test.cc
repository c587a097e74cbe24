// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/grpc_server.h"
#include "fairlead/core/pinned.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <barrier>
#include <cstring>
#include <future>
#include <latch>
#include <thread>
#include <vector>

#include "fairlead/core/mutex.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/unix_socket.h"
#include "pluginregistration.grpc.pb.h"

namespace fairlead::rpc {
namespace {

namespace pb = pluginregistration;

class TemporaryDir : private Pinned {
 public:
  TemporaryDir() { EXPECT_NE(::mkdtemp(path_.data()), nullptr); }
  ~TemporaryDir() { (void)sys::remove_tree(path_); }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_ = "/tmp/fl-rpc-XXXXXX";
};

/// Answers GetInfo at once; NotifyRegistrationStatus when `calls` of them are here, or when cancelled.
class TestService final : public pb::Registration::CallbackService {
 public:
  explicit TestService(int calls = 1) : expected_(calls) {}

  grpc::ServerUnaryReactor* GetInfo(grpc::CallbackServerContext* context, const pb::InfoRequest* /*request*/,
                                    pb::PluginInfo* info) override {
    info->set_name("test");
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerUnaryReactor* NotifyRegistrationStatus(grpc::CallbackServerContext* /*context*/,
                                                     const pb::RegistrationStatus* /*request*/,
                                                     pb::RegistrationStatusResponse* /*response*/) override {
    class Reactor final : public grpc::ServerUnaryReactor {
     public:
      explicit Reactor(TestService& service) : service_(service) {}
      void OnDone() override { delete this; }
      void OnCancel() override {
        service_.finish_all(grpc::Status(grpc::StatusCode::CANCELLED, "cancelled"));
      }

     private:
      TestService& service_;
    };
    auto* reactor = new Reactor(*this);
    bool complete = false;
    {
      const Lock lock(mutex_);
      waiting_.push_back(reactor);
      complete = static_cast<int>(waiting_.size()) == expected_;
      arrived_.notify_all();
    }
    if (complete) {
      finish_all(grpc::Status::OK);
    }
    return reactor;
  }

  void wait_for_calls(std::size_t count) {
    const Lock lock(mutex_);
    while (waiting_.size() < count) {
      arrived_.wait(mutex_);
    }
  }

  void finish_all(const grpc::Status& status) {
    std::vector<grpc::ServerUnaryReactor*> all;
    {
      const Lock lock(mutex_);
      all.swap(waiting_);
    }
    for (auto* reactor : all) {
      reactor->Finish(status);
    }
  }

 private:
  const int expected_;
  Mutex mutex_;
  ConditionVariable arrived_;
  std::vector<grpc::ServerUnaryReactor*> waiting_ FL_GUARDED_BY(mutex_);
};

std::unique_ptr<GrpcServer> must_start(const std::string& path, grpc::Service& service) {
  auto server = GrpcServer::start(path, {&service});
  EXPECT_TRUE(server) << (server ? "" : server.error().what());
  return server ? std::move(*server) : nullptr;
}

grpc::Status get_info(const std::string& path, const std::string& authority = "") {
  grpc::ChannelArguments arguments;
  if (!authority.empty()) {
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, authority);
  }
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto channel =
      grpc::CreateCustomChannel("unix:" + path, grpc::InsecureChannelCredentials(), arguments);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  context.set_wait_for_ready(true);
  pb::PluginInfo info;
  const auto status = pb::Registration::NewStub(channel)->GetInfo(&context, {}, &info);
  EXPECT_EQ(info.name(), status.ok() ? "test" : "");
  return status;
}

UniqueFd connect_raw(const std::string& path) {
  auto fd = sys::connect_unix(path);
  EXPECT_TRUE(fd) << fd.error().what();
  return fd ? std::move(*fd) : UniqueFd();
}

TEST(GrpcServer, Socket_IsPrivateInAPrivateFolder) {
  const TemporaryDir dir;
  TestService service;
  const mode_t old = ::umask(0);
  const auto server = must_start(dir / "new/deeper/dra.sock", service);
  ::umask(old);
  struct stat info = {};
  ASSERT_EQ(::stat((dir / "new/deeper/dra.sock").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
  ASSERT_EQ(::stat((dir / "new").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0750U);
}

TEST(GrpcServer, Stop_RemovesTheSocket) {
  const TemporaryDir dir;
  TestService service;
  const auto server = must_start(dir / "s", service);
  EXPECT_TRUE(get_info(dir / "s").ok());
  server->stop(std::chrono::seconds(1));
  EXPECT_NE(::access((dir / "s").c_str(), F_OK), 0);
  server->stop(std::chrono::seconds(1));
}

TEST(GrpcServer, Stop_LeavesASocketThatIsNotItsOwn) {
  const TemporaryDir dir;
  TestService service;
  const auto server = must_start(dir / "s", service);
  ASSERT_EQ(::unlink((dir / "s").c_str()), 0);
  const auto other = must_start(dir / "s", service);
  server->stop(std::chrono::seconds(0));
  EXPECT_TRUE(get_info(dir / "s").ok());
}

TEST(GrpcServer, AnyAuthority_IsAccepted) {
  const TemporaryDir dir;
  TestService service;
  const auto server = must_start(dir / "s", service);
  for (const char* authority :
       {"localhost", "%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2Fx-reg.sock", "x:1"}) {
    const auto status = get_info(dir / "s", authority);
    EXPECT_TRUE(status.ok()) << authority << ": " << status.error_message();
  }
}

TEST(GrpcServer, HundredCallsOnOneConnection_AllRunAtOnce) {
  const TemporaryDir dir;
  constexpr int kCalls = 100;
  TestService service(kCalls);
  const auto server = must_start(dir / "s", service);
  const auto channel = grpc::CreateChannel("unix:" + (dir / "s"), grpc::InsecureChannelCredentials());
  const auto stub = pb::Registration::NewStub(channel);
  std::latch done(kCalls);
  struct Call {
    grpc::ClientContext context;
    pb::RegistrationStatus request;
    pb::RegistrationStatusResponse response;
    bool ok = false;
  };
  std::vector<Call> calls(kCalls);
  for (Call& call : calls) {
    call.context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    stub->async()->NotifyRegistrationStatus(&call.context, &call.request, &call.response,
                                            [&](const grpc::Status& status) {
                                              call.ok = status.ok();
                                              done.count_down();
                                            });
  }
  done.wait();
  for (const Call& call : calls) {
    EXPECT_TRUE(call.ok);
  }
}

TEST(GrpcServer, ClientThatNeverCalls_DisturbsNobodyNorTheStop) {
  const TemporaryDir dir;
  TestService service;
  const auto server = must_start(dir / "s", service);
  const UniqueFd silent = connect_raw(dir / "s");
  EXPECT_TRUE(get_info(dir / "s").ok());
  server->stop(std::chrono::milliseconds(100));
  EXPECT_NE(::access((dir / "s").c_str(), F_OK), 0);
}

TEST(GrpcServer, Stop_LetsCallsInFlightFinish) {
  const TemporaryDir dir;
  TestService service(2);
  const auto server = must_start(dir / "s", service);
  const auto channel = grpc::CreateChannel("unix:" + (dir / "s"), grpc::InsecureChannelCredentials());
  auto call = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    pb::RegistrationStatusResponse response;
    return pb::Registration::NewStub(channel)->NotifyRegistrationStatus(&context, {}, &response);
  });
  service.wait_for_calls(1);
  auto stopped = std::async(std::launch::async, [&] { server->stop(std::chrono::seconds(60)); });
  service.finish_all(grpc::Status::OK);
  EXPECT_TRUE(call.get().ok());
  stopped.get();
}

TEST(GrpcServer, StopPastItsGrace_CancelsCallsInFlight) {
  const TemporaryDir dir;
  TestService service(2);
  const auto server = must_start(dir / "s", service);
  const auto channel = grpc::CreateChannel("unix:" + (dir / "s"), grpc::InsecureChannelCredentials());
  auto call = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    pb::RegistrationStatusResponse response;
    return pb::Registration::NewStub(channel)->NotifyRegistrationStatus(&context, {}, &response);
  });
  service.wait_for_calls(1);
  server->stop(std::chrono::milliseconds(1));
  EXPECT_FALSE(call.get().ok());
}

TEST(UnixListener, SocketOfADeadProcess_IsReplaced) {
  const TemporaryDir dir;
  {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = sys::unix_address(dir / "s").value();
    ASSERT_EQ(::bind(dead.get(), sys::as_sockaddr(address), sizeof address), 0);
  }
  ASSERT_EQ(::access((dir / "s").c_str(), F_OK), 0);
  EXPECT_TRUE(UnixListener::open(dir / "s"));
}

TEST(UnixListener, SocketInUse_IsLeftAloneAndSaidSo) {
  const TemporaryDir dir;
  TestService service;
  const auto server = must_start(dir / "s", service);
  const auto second = UnixListener::open(dir / "s");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Code::kBusy);
  EXPECT_EQ(second.error().what(), "another instance is running: it listens on " + (dir / "s"));
  EXPECT_TRUE(get_info(dir / "s").ok());
}

bool leads_somewhere(const std::string& path) { return sys::connect_unix(path).has_value(); }

TEST(UnixListener, TwoThatOpenAtOnceBesideADeadSocket_NoneTakesTheOthers) {
  const TemporaryDir dir;
  const std::string path = dir / "s";
  for (int round = 0; round < 300; ++round) {
    {
      auto dead = UnixListener::open(path);
      ASSERT_TRUE(dead) << dead.error().what();
      ASSERT_EQ(::rename(path.c_str(), (dir / "kept").c_str()), 0);
      dead->close();
      ASSERT_EQ(::rename((dir / "kept").c_str(), path.c_str()), 0);
    }
    std::barrier begin(2);
    std::array<Result<UnixListener>, 2> opened = {Error(Code::kInternal, "not yet"),
                                                  Error(Code::kInternal, "not yet")};
    {
      std::vector<std::jthread> threads;
      for (auto& mine : opened) {
        threads.emplace_back([&] {
          begin.arrive_and_wait();
          mine = UnixListener::open(path);
        });
      }
    }
    ASSERT_EQ(opened[0].has_value() + opened[1].has_value(), 1) << "round " << round;
    ASSERT_TRUE(leads_somewhere(path)) << "round " << round;
  }
}

TEST(UnixListener, FolderThatSomebodyKeepsLocked_IsNoReasonNotToStart) {
  const TemporaryDir dir;
  const UniqueFd stranger(::open((dir / "").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(::flock(stranger.get(), LOCK_EX), 0);
  const auto listener = UnixListener::open(dir / "s");
  EXPECT_TRUE(listener);
}

TEST(UnixListener, WhoseNameIsRemovedOrReplaced_Notices) {
  const TemporaryDir dir;
  auto listener = UnixListener::open(dir / "s");
  ASSERT_TRUE(listener);
  EXPECT_TRUE(listener->is_in_place());
  ASSERT_EQ(::unlink((dir / "s").c_str()), 0);
  EXPECT_FALSE(listener->is_in_place());
  const auto other = UnixListener::open(dir / "s");
  ASSERT_TRUE(other);
  EXPECT_FALSE(listener->is_in_place());
  listener->close();
  EXPECT_TRUE(other->is_in_place());
}

TEST(UnixListener, DeadSocket_IsRemovedAndALiveOneIsNot) {
  const TemporaryDir dir;
  const auto live = UnixListener::open(dir / "live");
  ASSERT_TRUE(live);
  EXPECT_FALSE(*remove_dead_socket(dir / "live"));
  EXPECT_FALSE(*remove_dead_socket(dir / "nothing"));
  ASSERT_TRUE(sys::replace_file(dir / "", "file", ""));
  EXPECT_FALSE(*remove_dead_socket(dir / "file"));
  {
    auto dead = UnixListener::open(dir / "s");
    ASSERT_TRUE(dead);
    ASSERT_EQ(::rename((dir / "s").c_str(), (dir / "dead").c_str()), 0);
  }
  EXPECT_TRUE(*remove_dead_socket(dir / "dead"));
  EXPECT_TRUE(live->is_in_place());
}

TEST(UnixListener, FileInTheWay_IsNotRemoved) {
  const TemporaryDir dir;
  ASSERT_TRUE(sys::replace_file(dir / "", "s", "precious"));
  const auto listener = UnixListener::open(dir / "s");
  ASSERT_FALSE(listener);
  EXPECT_EQ(listener.error().code(), Code::kExists);
  EXPECT_EQ(*sys::read_file(dir / "s"), "precious");
}

TEST(UnixListener, PathOf107Bytes_WorksAndOneMoreIsRefused) {
  const TemporaryDir dir;
  std::string path = dir / "";
  path += std::string(sys::kMaxSocketPath - path.size(), 'x');
  EXPECT_TRUE(UnixListener::open(path));
  const auto refused = UnixListener::open(path + "x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kInvalid);
  EXPECT_NE(refused.error().what().find("108 bytes"), std::string::npos);
  EXPECT_EQ(UnixListener::open("relative").error().code(), Code::kInvalid);
}

TEST(ToStatus, KeepsTheSentence) {
  const auto status = to_status(Error(Code::kBusy, "the queue is full"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(status.error_message(), "the queue is full");
}

}  // namespace
}  // namespace fairlead::rpc
