// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netns.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fairlead/sys/files.h"

namespace fairlead::sys {
namespace {

using testing::HasSubstr;

Result<NetnsId> own_id() {
  FL_ASSIGN(const UniqueFd own, open_own_netns());
  return netns_id(own.get());
}

class Netns : public testing::Test {
 protected:
  void SetUp() override {
    auto made = create_netns();
    if (!made && made.error().sys_errno() == EPERM) {
      GTEST_SKIP() << "needs CAP_SYS_ADMIN to create network namespaces";
    }
    ASSERT_TRUE(made) << made.error().what();
    other_ = std::move(*made);
  }
  UniqueFd other_;
};

TEST_F(Netns, CreateLeavesTheCallerWhereItIs) {
  const auto before = own_id();
  const auto second = create_netns();
  ASSERT_TRUE(second);
  EXPECT_EQ(*own_id(), *before);
  EXPECT_NE(*netns_id(other_.get()), *before);
  EXPECT_NE(*netns_id(other_.get()), *netns_id(second->get()));
}

TEST_F(Netns, WithNetnsGoesThereAndBack) {
  const auto home = *own_id();
  const auto inside = with_netns(other_.get(), own_id);
  ASSERT_TRUE(inside) << inside.error().what();
  EXPECT_EQ(*inside, *netns_id(other_.get()));
  EXPECT_EQ(*own_id(), home);
}

TEST_F(Netns, WithNetnsComesBackAfterAnError) {
  const auto home = *own_id();
  const auto result = with_netns(other_.get(), []() -> Result<> { return Error(Code::kBusy, "not now"); });
  EXPECT_EQ(result.error().code(), Code::kBusy);
  EXPECT_EQ(*own_id(), home);
}

TEST_F(Netns, OnNetnsThreadNeverMovesTheCaller) {
  const auto home = *own_id();
  const auto inside = on_netns_thread(other_.get(), own_id);
  EXPECT_EQ(*inside, *netns_id(other_.get()));
  EXPECT_EQ(*own_id(), home);
}

TEST_F(Netns, OtherDescriptorsAreRefusedByName) {
  const auto null = open_netns("/dev/null");
  ASSERT_FALSE(null);
  EXPECT_EQ(null.error().code(), Code::kInvalid);
  EXPECT_THAT(null.error().what(), HasSubstr("/dev/null"));
  const auto mount = open_netns("/proc/thread-self/ns/mnt");
  ASSERT_FALSE(mount);
  EXPECT_EQ(mount.error().code(), Code::kInvalid);
  EXPECT_THAT(mount.error().what(), HasSubstr("not a network namespace"));
  EXPECT_EQ(with_netns(open("/dev/null", O_RDONLY | O_CLOEXEC), own_id).error().code(), Code::kInvalid);
}

TEST_F(Netns, AFifoDoesNotHang) {
  std::string dir = testing::TempDir() + "/netns-XXXXXX";
  ASSERT_NE(mkdtemp(dir.data()), nullptr);
  ASSERT_EQ(mkfifo((dir + "/fifo").c_str(), 0600), 0);
  EXPECT_EQ(open_netns(dir + "/fifo").error().code(), Code::kInvalid);
  EXPECT_TRUE(remove_tree(dir));
}

TEST_F(Netns, OfAProcessThatIsGone) {
  const pid_t child = fork();
  if (child == 0) {
    _exit(0);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_EQ(open_netns_of(child).error().code(), Code::kNotFound);
  const auto self = open_netns_of(getpid());
  ASSERT_TRUE(self);
  EXPECT_EQ(*netns_id(self->get()), *own_id());
}

}  // namespace
}  // namespace fairlead::sys
