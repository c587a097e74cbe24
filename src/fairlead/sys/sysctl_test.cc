// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/sysctl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

#include "fairlead/sys/files.h"
#include "fairlead/sys/netns.h"

namespace fairlead::sys {
namespace {

using ::testing::HasSubstr;

constexpr auto kForwarding = "ipv4/conf/lo/forwarding";
constexpr auto kForwardingFile = "/proc/sys/net/ipv4/conf/lo/forwarding";

class Sysctl : public ::testing::Test {
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

TEST_F(Sysctl, WritesInTheOtherNamespace_AndNotInThisOne) {
  const auto here = create_netns();  // not the machine's own
  ASSERT_TRUE(here);
  const auto before = with_netns(here->get(), [] { return read_file(kForwardingFile); });
  ASSERT_TRUE(before) << before.error().what();
  const std::string other_value = *before == "0\n" ? "1" : "0";

  const auto written =
      with_netns(here->get(), [&] { return write_net_sysctl(other_.get(), kForwarding, other_value); });
  ASSERT_TRUE(written) << written.error().what();
  EXPECT_EQ(read_net_sysctl(other_.get(), kForwarding).value(), other_value);
  EXPECT_EQ(with_netns(other_.get(), [] { return read_file(kForwardingFile); }).value(), other_value + "\n");
  EXPECT_EQ(with_netns(here->get(), [] { return read_file(kForwardingFile); }).value(), *before);
}

TEST_F(Sysctl, Folder_HasWhatCanBeReadAndWritten) {
  ASSERT_TRUE(write_net_sysctl(other_.get(), "ipv4/conf/lo/rp_filter", "2"));
  const auto all = read_net_sysctls(other_.get(), "ipv4/conf/lo");
  ASSERT_TRUE(all) << all.error().what();
  EXPECT_EQ(all->at("rp_filter"), "2");
  EXPECT_EQ(all->at("forwarding"), read_net_sysctl(other_.get(), kForwarding).value());
  EXPECT_FALSE(all->contains("mc_forwarding")) << "nobody can write it";
  EXPECT_FALSE(all->contains("."));
  const auto none = read_net_sysctls(other_.get(), "ipv4/conf/nobody0");
  ASSERT_TRUE(none) << none.error().what();
  EXPECT_TRUE(none->empty());
}

/// As a process that closes what it inherited (drydock's keeper).
TEST_F(Sysctl, ChildThatHasClosedWhatItInherited_ReadsToo) {
  ASSERT_TRUE(read_net_sysctl(other_.get(), kForwarding));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto kept = static_cast<unsigned>(other_.get());
    (void)::close_range(3, kept - 1, 0);
    (void)::close_range(kept + 1, ~0U, 0);
    ::_exit(read_net_sysctl(other_.get(), kForwarding) ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST_F(Sysctl, SettingThatIsNotThere_IsNotFound) {
  for (const auto& result :
       {write_net_sysctl(other_.get(), "ipv4/conf/nobody0/forwarding", "1"),
        Result<>(read_net_sysctl(other_.get(), "ipv4/conf/nobody0/forwarding").error())}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Code::kNotFound);
    EXPECT_THAT(result.error().what(), HasSubstr("net/ipv4/conf/nobody0/forwarding"));
  }
}

TEST_F(Sysctl, ValueThatTheKernelRefuses_IsAnError) {
  const auto result = write_net_sysctl(other_.get(), kForwarding, "many");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kInvalid);
}

/// In a process of its own, which dies with what it did to its mounts.
int in_child(const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::_exit(work());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

TEST_F(Sysctl, WritesWhereTheContainersProcSysIsReadOnly) {
  const int outcome = in_child([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("/proc/sys", "/proc/sys", nullptr, MS_BIND, nullptr) != 0 ||
        ::mount(nullptr, "/proc/sys", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0) {
      return 10;
    }
    const bool read_only = ::access(kForwardingFile, W_OK) != 0 && errno == EROFS;
    if (!read_only) {
      return 11;
    }
    for (const char* value : {"1", "0"}) {
      if (const auto written = write_net_sysctl(other_.get(), kForwarding, value); !written) {
        ADD_FAILURE() << written.error().what();
        return 12;
      }
      if (read_net_sysctl(other_.get(), kForwarding).value_or("") != value) {
        return 13;
      }
    }
    return 0;
  });
  EXPECT_EQ(outcome, 0);
}

}  // namespace
}  // namespace fairlead::sys
