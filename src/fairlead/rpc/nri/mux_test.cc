// SPDX-License-Identifier: Apache-2.0
// The other end of each trunk is a bare socket: the bytes are those of containerd/nri, pkg/net/multiplex.
#include "fairlead/rpc/nri/mux.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fairlead/core/mutex.h"

namespace fairlead::rpc {
namespace {

using std::chrono::steady_clock;
using testing::HasSubstr;

steady_clock::time_point soon() { return steady_clock::now() + std::chrono::seconds(30); }

std::string u32(std::size_t value) {
  std::string out;
  for (const unsigned shift : {24U, 16U, 8U, 0U}) {
    out.push_back(static_cast<char>((value >> shift) & 0xFFU));
  }
  return out;
}

std::string frame(std::uint32_t connection, const std::string& payload) {
  return u32(connection) + u32(payload.size()) + payload;
}

class NriMuxTest : public testing::Test {
 protected:
  void open(std::chrono::milliseconds send_timeout = std::chrono::seconds(2)) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    other_ = UniqueFd(ends[1]);
    mux = std::make_unique<NriMux>(
        UniqueFd(ends[0]),
        NriMux::Options{.receive = [this](std::uint32_t to, std::string_view got) -> Result<> {
                          const Lock lock(mutex_);
                          received_[to] += got;
                          changed_.notify_all();
                          return refuse_ ? Result<>(Error(Code::kCorrupt, "refused")) : Result<>();
                        },
                        .closed =
                            [this](const Error& why) {
                              const Lock lock(mutex_);
                              ++closed_;
                              why_ = why.what();
                              changed_.notify_all();
                            },
                        .send_timeout = send_timeout});
    mux->start();
  }
  void write(const std::string& bytes) {
    ASSERT_EQ(::send(other_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  std::string read(std::size_t size) {
    std::string out(size, '\0');
    const ssize_t got = ::recv(other_.get(), out.data(), size, MSG_WAITALL);
    out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return out;
  }
  /// What came for a connection, as soon as it has that many bytes.
  std::string received(std::uint32_t on, std::size_t size) {
    const Lock lock(mutex_);
    while (received_[on].size() < size) {
      if (changed_.wait_until(mutex_, soon()) == std::cv_status::timeout) {
        break;
      }
    }
    return received_[on];
  }
  std::string why_closed() {
    const Lock lock(mutex_);
    while (closed_ == 0) {
      if (changed_.wait_until(mutex_, soon()) == std::cv_status::timeout) {
        return "not closed";
      }
    }
    return why_;
  }
  void refuse() {
    const Lock lock(mutex_);
    refuse_ = true;
  }

  UniqueFd other_;
  Mutex mutex_;
  ConditionVariable changed_;
  std::map<std::uint32_t, std::string> received_ FL_GUARDED_BY(mutex_);
  int closed_ FL_GUARDED_BY(mutex_) = 0;
  std::string why_ FL_GUARDED_BY(mutex_);
  bool refuse_ FL_GUARDED_BY(mutex_) = false;
  std::unique_ptr<NriMux> mux;  // last: its end is told to all of the above
};

TEST_F(NriMuxTest, MessageUpTo4096Bytes_IsOneFrame) {
  open();
  for (const std::size_t size : {10U, 4095U, 4096U}) {
    const std::string message(size, 'x');
    ASSERT_TRUE(mux->send(kNriPluginService, message));
    EXPECT_EQ(read(8 + size), frame(1, message));
  }
}

TEST_F(NriMuxTest, LargerMessage_IsAFrameOf4096BytesAndOneWithTheRest) {
  open();
  for (const std::size_t size : {4097U, 8192U, 100'000U}) {
    const std::string message = std::string(4096, 'a') + std::string(size - 4096, 'b');
    auto sent =
        std::async(std::launch::async, [&] { return mux->send(kNriRuntimeService, message).has_value(); });
    EXPECT_EQ(read(8 + 4096), frame(2, std::string(4096, 'a')));
    EXPECT_EQ(read(8 + size - 4096), frame(2, std::string(size - 4096, 'b')));
    EXPECT_TRUE(sent.get());
  }
}

TEST_F(NriMuxTest, LargestMessage_IsSentAndAnyLargerIsRefused) {
  open();
  const std::string message(10 + 4194304, 'x');
  auto sent = std::async(std::launch::async, [&] { return mux->send(1, message).has_value(); });
  EXPECT_EQ(read(8 + 4096), frame(1, message.substr(0, 4096)));
  EXPECT_EQ(read(8 + message.size() - 4096), frame(1, message.substr(4096)));
  EXPECT_TRUE(sent.get());
  const auto refused = mux->send(1, message + "x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kInvalid);
  ASSERT_TRUE(mux->send(1, "still there"));
  EXPECT_EQ(read(8 + 11), frame(1, "still there"));
}

TEST_F(NriMuxTest, MessagesOfManyThreads_DoNotMix) {
  open();
  constexpr std::size_t kSize = 6000;
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (const char c : {'a', 'b', 'c', 'd'}) {
    threads.emplace_back([this, c] {
      for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(mux->send(1, std::string(kSize, c)));
      }
    });
  }
  for (int i = 0; i < 80; ++i) {
    const std::string both = read(8 + 4096 + 8 + kSize - 4096);
    ASSERT_EQ(both.size(), 16 + kSize);
    const char c = both[8];
    ASSERT_EQ(both, frame(1, std::string(4096, c)) + frame(1, std::string(kSize - 4096, c)));
  }
  for (auto& thread : threads) {
    thread.join();
  }
}

TEST_F(NriMuxTest, Frames_GoToTheirConnectionsInAnyPortions) {
  open();
  const std::string all = frame(1, "one") + frame(2, "two") + frame(1, "") + frame(1, " more");
  for (const char byte : all) {
    write({byte});
  }
  EXPECT_EQ(received(1, 8), "one more");
  EXPECT_EQ(received(2, 3), "two");
}

TEST_F(NriMuxTest, ManyFramesInOneRead_AreTakenApart) {
  open();
  write(frame(1, "a") + frame(2, "b") + frame(1, "c") + frame(2, "") + frame(1, ""));
  EXPECT_EQ(received(1, 2), "ac");
  EXPECT_EQ(received(2, 1), "b");
}

TEST_F(NriMuxTest, LargestFrame_IsTakenAndALargerOneEndsTheTrunk) {
  open();
  const std::string largest(10 + 4194304, 'x');
  std::thread writer([&] {
    for (std::size_t at = 0; at < largest.size() + 8;) {
      const std::string all = frame(1, largest);
      const ssize_t wrote = ::send(other_.get(), all.data() + at, all.size() - at, MSG_NOSIGNAL);
      if (wrote <= 0) {
        break;
      }
      at += static_cast<std::size_t>(wrote);
    }
  });
  EXPECT_EQ(received(1, largest.size()), largest);
  writer.join();
  write(u32(1) + u32(largest.size() + 1));
  EXPECT_THAT(why_closed(), HasSubstr("an NRI frame of 4194315 bytes"));
}

TEST_F(NriMuxTest, OtherSideCloses_IsToldOnce) {
  open();
  other_.reset();
  EXPECT_EQ(why_closed(), "the other side closed the NRI connection");
  EXPECT_FALSE(mux->send(1, "x"));
  mux->close();
  mux.reset();
  const Lock lock(mutex_);
  EXPECT_EQ(closed_, 1);
}

TEST_F(NriMuxTest, OtherSideClosesWithinAFrame_IsTold) {
  open();
  write(u32(1) + u32(100) + "half");
  EXPECT_EQ(received(1, 4), "half");
  other_.reset();
  EXPECT_EQ(why_closed(), "the other side closed the NRI connection");
}

TEST_F(NriMuxTest, ReceiverThatFails_EndsTheTrunk) {
  open();
  refuse();
  write(frame(1, "x"));
  EXPECT_EQ(why_closed(), "refused");
  EXPECT_EQ(read(1), "");
}

TEST_F(NriMuxTest, Close_IsToldAndEndsTheSocket) {
  open();
  mux->close();
  EXPECT_EQ(why_closed(), "the NRI connection was closed");
  EXPECT_EQ(read(1), "");
}

TEST_F(NriMuxTest, OtherSideThatDoesNotRead_EndsTheTrunk) {
  open(std::chrono::milliseconds(50));
  const std::string message(1'000'000, 'x');
  Result<> sent;
  for (int i = 0; i < 100 && sent; ++i) {
    sent = mux->send(1, message);
  }
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().what(), "the other side of the NRI connection does not read");
  EXPECT_NE(why_closed(), "not closed");
}

TEST_F(NriMuxTest, NeverStarted_CanBeDestroyed) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd other(ends[1]);
  UniqueFd mine(ends[0]);
  const NriMux unused(std::move(mine), {});
}

}  // namespace
}  // namespace fairlead::rpc
