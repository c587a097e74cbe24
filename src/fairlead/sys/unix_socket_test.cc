// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/unix_socket.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>

#include "fairlead/sys/files.h"

namespace fairlead::sys {
namespace {

class UnixSocketTest : public ::testing::Test {
 protected:
  UnixSocketTest() {
    std::string made = "/tmp/unix-socket-XXXXXX";
    EXPECT_NE(::mkdtemp(made.data()), nullptr);
    folder_ = made;
  }
  ~UnixSocketTest() override { (void)remove_tree(folder_); }

  UniqueFd listen_at(const std::string& path) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = unix_address(path).value();
    EXPECT_EQ(::bind(fd.get(), as_sockaddr(address), sizeof address), 0);
    EXPECT_EQ(::listen(fd.get(), 0), 0);
    return fd;
  }

  std::string folder_;
};

TEST_F(UnixSocketTest, ConnectsToWhoListens) {
  const std::string path = folder_ + "/s";
  const UniqueFd listener = listen_at(path);
  const auto connected = connect_unix(path);
  ASSERT_TRUE(connected) << connected.error().what();
  const UniqueFd peer(::accept(listener.get(), nullptr, nullptr));
  EXPECT_TRUE(peer.valid());
}

TEST_F(UnixSocketTest, NothingThere_KeepsTheErrno) {
  const std::string path = folder_ + "/s";
  EXPECT_EQ(connect_unix(path).error().code(), Code::kNotFound);
  {
    const UniqueFd listener = listen_at(path);
  }
  EXPECT_EQ(connect_unix(path).error().sys_errno(), ECONNREFUSED);
}

TEST_F(UnixSocketTest, FullBacklog_EndsWithTheTimeout) {
  const std::string path = folder_ + "/s";
  const UniqueFd listener = listen_at(path);
  const auto first = connect_unix(path);  // a backlog of 0 takes one
  ASSERT_TRUE(first) << first.error().what();
  EXPECT_EQ(connect_unix(path, std::chrono::milliseconds(20)).error().sys_errno(), EAGAIN);
}

TEST(UnixAddress, TakesPathsThatFit) {
  EXPECT_TRUE(unix_address("/" + std::string(kMaxSocketPath - 1, 'x')));
  EXPECT_EQ(unix_address("/" + std::string(kMaxSocketPath, 'x')).error().code(), Code::kInvalid);
  EXPECT_EQ(unix_address("relative").error().code(), Code::kInvalid);
  EXPECT_EQ(unix_address("").error().code(), Code::kInvalid);
  EXPECT_EQ(unix_address(std::string_view("/a\0b", 4)).error().code(), Code::kInvalid);
}

}  // namespace
}  // namespace fairlead::sys
