// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/install/guard_install.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <barrier>
#include <string>
#include <thread>

#include "fairlead/rpc/unix_listener.h"
#include "fairlead/sys/files.h"

namespace fairlead::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class GuardInstall : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "fl-install-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
    ASSERT_TRUE(sys::replace_file(dir_, "program", "version 1", 0755));
  }
  void TearDown() override { EXPECT_TRUE(sys::remove_tree(dir_)); }

  [[nodiscard]] std::string program() const { return dir_ + "/program"; }
  [[nodiscard]] std::string plugin_dir() const { return dir_ + "/plugins/net.example.com"; }
  static struct stat info_of(const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info;
  }

  std::string dir_;
};

TEST_F(GuardInstall, CopiesOnce_AndReplacesAnOtherVersionInOneStep) {
  const auto path = install_guard(program(), plugin_dir());
  ASSERT_TRUE(path) << path.error().what();
  EXPECT_EQ(path->path, plugin_dir() + "/fairlead-guard");
  EXPECT_EQ(sys::read_file(path->path).value(), "version 1");
  EXPECT_EQ(info_of(path->path).st_mode & 07777U, 0755U);
  const auto inode = info_of(path->path).st_ino;
  ASSERT_TRUE(install_guard(program(), plugin_dir()));
  EXPECT_EQ(info_of(path->path).st_ino, inode) << "the same is left alone";
  ASSERT_TRUE(sys::replace_file(dir_, "program", "version 2", 0755));
  ASSERT_TRUE(install_guard(program(), plugin_dir()));
  EXPECT_EQ(sys::read_file(path->path).value(), "version 2");
  EXPECT_NE(info_of(path->path).st_ino, inode) << "a guard that runs keeps its file";
  EXPECT_THAT(sys::list_dir(plugin_dir()).value(), ElementsAre("fairlead-guard"));
}

TEST_F(GuardInstall, NoProgramBesideTheAgent_IsOneSentence) {
  const auto path = install_guard(dir_ + "/missing", plugin_dir());
  ASSERT_FALSE(path);
  EXPECT_THAT(path.error().what(), HasSubstr("install the guard: open " + dir_ + "/missing"));
}

TEST_F(GuardInstall, Removal_WaitsForClaimsAndOtherInstances) {
  auto path = install_guard(program(), plugin_dir());
  ASSERT_TRUE(path);
  path->hold.reset();  // as an agent at its end
  const GuardRemoval removal{.path = path->path, .plugin_dir = plugin_dir()};
  GuardRemoval with_claims = removal;
  with_claims.claims = 2;
  EXPECT_THAT(remove_guard(with_claims).error().what(), HasSubstr("2 claims are still prepared"));
  {
    const auto other = rpc::UnixListener::open(plugin_dir() + "/dra-other.sock");
    ASSERT_TRUE(other) << other.error().what();
    EXPECT_THAT(remove_guard(removal).error().what(), HasSubstr("another instance of the driver is running"));
    EXPECT_EQ(::access(path->path.c_str(), F_OK), 0);
  }
  EXPECT_TRUE(remove_guard(removal));
  EXPECT_NE(::access(path->path.c_str(), F_OK), 0);
  EXPECT_TRUE(remove_guard(removal)) << "what is gone is removed";
}

TEST_F(GuardInstall, SuccessorThatFoundTheSameGuard_KeepsIt_ThoughItHasNoSocketYet) {
  auto old = install_guard(program(), plugin_dir());
  ASSERT_TRUE(old);
  auto successor = install_guard(program(), plugin_dir());
  ASSERT_TRUE(successor);
  old->hold.reset();
  const GuardRemoval removal{.path = old->path, .plugin_dir = plugin_dir()};
  const auto refused = remove_guard(removal);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kBusy);
  EXPECT_THAT(refused.error().what(), HasSubstr("another instance of the driver has it"));
  EXPECT_EQ(sys::read_file(successor->path).value(), "version 1");
  successor->hold.reset();
  EXPECT_TRUE(remove_guard(removal));
}

TEST_F(GuardInstall, SuccessorsThatStartWhileItIsRemoved_HaveOneAllTheSame) {
  for (int round = 0; round < 100; ++round) {
    auto old = install_guard(program(), plugin_dir());
    ASSERT_TRUE(old);
    old->hold.reset();
    Result<InstalledGuard> successor = Error(Code::kInternal, "not yet");
    {
      std::barrier begin(2);
      const std::jthread starts([&] {
        begin.arrive_and_wait();
        successor = install_guard(program(), plugin_dir());
      });
      begin.arrive_and_wait();
      (void)remove_guard({.path = old->path, .plugin_dir = plugin_dir()});
    }
    ASSERT_TRUE(successor) << successor.error().what();
    ASSERT_EQ(::access(successor->path.c_str(), F_OK), 0) << "round " << round;
  }
}

TEST_F(GuardInstall, Removal_CountsTheRecordsThatAnotherInstanceWrote) {
  auto installed = install_guard(program(), plugin_dir());
  ASSERT_TRUE(installed);
  installed->hold.reset();
  const std::string state = dir_ + "/state";
  ASSERT_TRUE(sys::make_dirs(state + "/claims", 0750));
  ASSERT_TRUE(sys::replace_file(state + "/claims", "u1.json", "{}"));
  const auto refused =
      remove_guard({.path = installed->path, .plugin_dir = plugin_dir(), .claims = 0, .state_dir = state});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what(), HasSubstr("1 claims are still prepared"));
}

TEST_F(GuardInstall, AfterAKillWhileItWasWritten_CleansUpAndInstalls) {
  ASSERT_TRUE(sys::make_dirs(plugin_dir()));
  const std::string left = plugin_dir() + "/.fairlead-guard." + std::to_string(::getpid()) + "-0.tmp";
  ASSERT_TRUE(sys::rewrite_file(left, "vers"));
  const std::array<timespec, 2> old{{{.tv_sec = 1, .tv_nsec = 0}, {.tv_sec = 1, .tv_nsec = 0}}};
  ASSERT_EQ(::utimensat(AT_FDCWD, left.c_str(), old.data(), 0), 0);
  const auto path = install_guard(program(), plugin_dir());
  ASSERT_TRUE(path) << path.error().what();
  EXPECT_THAT(sys::list_dir(plugin_dir()).value(), ElementsAre("fairlead-guard"));
}

TEST_F(GuardInstall, Removal_LeavesNoFoldersNorLocksNorLeftovers) {
  auto path = install_guard(program(), plugin_dir());
  ASSERT_TRUE(path);
  path->hold.reset();  // as an agent at its end
  const std::string state = dir_ + "/state";
  ASSERT_TRUE(sys::make_dirs(state + "/claims", 0750));
  for (const std::string& file :
       {state + "/lock", state + "/instances", state + "/guard.sock", state + "/node.json",
        state + "/claims/.u1.json.f00d.tmp", plugin_dir() + "/dra-killed.sock",
        plugin_dir() + "/.fairlead-guard.f00d.tmp"}) {
    ASSERT_TRUE(sys::rewrite_file(file, "x"));  // of an agent that was killed
  }
  ASSERT_TRUE(remove_guard({.path = path->path, .plugin_dir = plugin_dir(), .state_dir = state}));
  EXPECT_NE(::access(plugin_dir().c_str(), F_OK), 0);
  EXPECT_NE(::access(state.c_str(), F_OK), 0);
}

TEST_F(GuardInstall, Removal_KeepsFoldersThatAreNotEmpty) {
  auto path = install_guard(program(), plugin_dir());
  ASSERT_TRUE(path);
  path->hold.reset();  // as an agent at its end
  const std::string state = dir_ + "/state";
  ASSERT_TRUE(sys::make_dirs(state + "/quarantine", 0750));
  ASSERT_TRUE(sys::replace_file(state + "/quarantine", "record.json", "?", 0600));
  ASSERT_TRUE(remove_guard({.path = path->path, .plugin_dir = plugin_dir(), .state_dir = state}));
  EXPECT_EQ(::access((state + "/quarantine/record.json").c_str(), F_OK), 0);
}

}  // namespace
}  // namespace fairlead::agent
