// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/find_netns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sched.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>

#include "fairlead/agent/testing/kernel_fixture.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::agent {
namespace {

using sys::testing_support::kRunsWithoutDescriptors;
using sys::testing_support::NoDescriptors;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class FindNetns : public ::testing::Test {
 protected:
  void SetUp() override {
    auto netns = sys::create_netns();
    if (!netns) {
      GTEST_SKIP() << "cannot make network namespaces: " << netns.error().what();
    }
    netns_ = *std::move(netns);
    id_ = sys::netns_id(netns_.get()).value();
    ASSERT_OK(sys::make_dirs(places_.folders.front()));
  }

  UniqueFd netns_;
  sys::NetnsId id_;
  const sys::testing_support::TemporaryFolder folder_;
  const NetnsPlaces places_{.folders = {folder_.path().string() + "/netns"}, .proc = "/proc"};
};

TEST_F(FindNetns, OfAProcess_IsFound_UntilThatEnds) {
  {
    const Inhabitant pause(netns_.get());
    const auto found = find_netns(id_, places_);
    ASSERT_OK(found);
    ASSERT_TRUE(*found);
    EXPECT_EQ(sys::netns_id((*found)->fd.get()).value(), id_);
    EXPECT_THAT((*found)->seen_in, StartsWith("processes "));
    EXPECT_TRUE(is_looked_through((*found)->seen_in, places_).value());
  }
  const auto gone = find_netns(id_, places_);
  ASSERT_OK(gone);
  EXPECT_FALSE(*gone);
}

TEST_F(FindNetns, InAFolder_IsSeenByWhoeverHasThatFolder) {
  // As a bind mount: the link leads to the same file.
  std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(netns_.get()),
                                  places_.folders.front() + "/cni-1");
  const auto found = find_netns(id_, places_);
  ASSERT_OK(found);
  ASSERT_TRUE(*found);
  EXPECT_THAT((*found)->seen_in, StartsWith("folder "));
  EXPECT_TRUE(is_looked_through((*found)->seen_in, places_).value());
  const NetnsPlaces other{.folders = {folder_.path().string()}, .proc = "/proc"};
  EXPECT_FALSE(is_looked_through((*found)->seen_in, other).value());
}

TEST_F(FindNetns, WhereAnOpenOneIsSeen_IsKnownFromItsPath_WithoutASearch) {
  const std::string file = places_.folders.front() + "/cni-1";
  ASSERT_OK(sys::replace_file(places_.folders.front(), "cni-1", ""));
  const auto seen = sys::on_netns_thread(netns_.get(), [&]() -> Result<std::string> {
    // The folder of a mount namespace of its own can be entered and not listed.
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("/proc/thread-self/ns/net", file.c_str(), nullptr, MS_BIND, nullptr) != 0 ||
        ::chmod(places_.folders.front().c_str(), 0711) != 0 || ::chmod(folder_.path().c_str(), 0711) != 0) {
      return Error::from_errno(errno, "mount a network namespace on " + file);
    }
    FL_ASSIGN(const UniqueFd opened, sys::open_netns(file));
    const NoFileRights none;
    const auto searched = find_netns(id_, places_);
    FL_ASSIGN(const auto known, where_seen(opened.get(), id_, places_));
    return (searched ? "a search found it too" : known.value_or("nowhere"));
  });
  ASSERT_OK(seen);
  EXPECT_THAT(*seen, StartsWith("folder "));
  EXPECT_TRUE(is_looked_through(*seen, places_).value());
}

TEST_F(FindNetns, WhereAnOpenOneIsSeen_IsSearchedFor_WhenItsPathSaysNothing) {
  EXPECT_EQ(where_seen(netns_.get(), id_, places_).value(), std::nullopt);
  const Inhabitant pause(netns_.get());
  EXPECT_THAT(where_seen(netns_.get(), id_, places_).value().value_or(""), StartsWith("processes "));
}

TEST_F(FindNetns, WithoutADescriptor_IsNoAnswer) {
  if (!kRunsWithoutDescriptors) {
    GTEST_SKIP() << "the undefined behaviour sanitizer needs descriptors for its own checks";
  }
  const NoDescriptors none;
  const auto answer = find_netns(id_, places_);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().sys_errno(), EMFILE);
}

TEST_F(FindNetns, InAFolderThatCannotBeRead_IsNoAnswer_UnlessItIsElsewhere) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "needs root, to be somebody else";
  }
  const NetnsPlaces no_processes{.folders = places_.folders, .proc = folder_.path().string() + "/proc"};
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod(places_.folders.front().c_str(), 0700), 0);
  {
    const NoFileRights none;
    const auto answer = find_netns(id_, no_processes);
    ASSERT_FALSE(answer);
    EXPECT_THAT(answer.error().what(), HasSubstr("/netns: Permission denied"));
  }
  EXPECT_FALSE(find_netns(id_, no_processes).value());
  // The own process may always be looked at.
  const NoFileRights none;
  const auto own = sys::netns_id(sys::open_own_netns().value().get()).value();
  const auto found = find_netns(own, places_);
  ASSERT_OK(found);
  EXPECT_TRUE(*found);
}

/// Processes as somebody without rights sees them: one may not be looked at.
class RefusedProcess : public FindNetns {
 protected:
  void SetUp() override {
    FindNetns::SetUp();
    if (IsSkipped() || HasFatalFailure()) {
      return;
    }
    if (::geteuid() != 0) {
      GTEST_SKIP() << "needs root, to be somebody else";
    }
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0755), 0);
    ASSERT_OK(sys::make_dirs(process_));
    // As in /proc: the link leads to the namespace.
    std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(netns_.get()), process_ + "/net");
    ASSERT_EQ(::chmod(process_.c_str(), 0700), 0);
    places_of_it_.folders = places_.folders;
    places_of_it_.proc = folder_.path().string() + "/proc";
    places_of_it_.pause = [this] { ++pauses_; };
  }

  const std::string process_ = folder_.path().string() + "/proc/7/ns";
  NetnsPlaces places_of_it_;
  int pauses_ = 0;
};

TEST_F(RefusedProcess, IsLookedAtOnceMore_AndThenNoAnswer) {
  const NoFileRights none;
  const auto answer = find_netns(id_, places_of_it_);
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().what(), HasSubstr("/proc/7/ns/net: Permission denied"));
  EXPECT_EQ(pauses_, 1);
}

/// As "runc init" of a probe, which becomes another program.
TEST_F(RefusedProcess, ForAMoment_IsLookedAtThen) {
  const NoFileRights none;
  places_of_it_.pause = [&] {
    ++pauses_;
    const int nobody = ::setfsuid(0);
    EXPECT_EQ(::chmod(process_.c_str(), 0755), 0);
    (void)::setfsuid(static_cast<uid_t>(nobody));
  };
  const auto found = find_netns(id_, places_of_it_);
  ASSERT_OK(found);
  EXPECT_TRUE(*found);
  EXPECT_EQ(pauses_, 1);
}

TEST_F(RefusedProcess, SaysNothing_OfWhatIsGoneFromAFolder) {
  std::filesystem::create_symlink("/proc/self/fd/" + std::to_string(netns_.get()),
                                  places_.folders.front() + "/cni-1");
  const std::string seen_in = (*find_netns(id_, places_of_it_).value()).seen_in;
  std::filesystem::remove(places_.folders.front() + "/cni-1");
  const NoFileRights none;
  const auto gone = find_netns(id_, places_of_it_, seen_in);
  ASSERT_OK(gone);
  EXPECT_FALSE(*gone);
  EXPECT_FALSE(find_netns(id_, places_of_it_, "folder 1:2")) << "seen elsewhere";
}

TEST_F(FindNetns, InWhatIsNoFolder_IsNoAnswer) {
  ASSERT_OK(sys::replace_file(folder_.path().string(), "file", "x"));
  const auto answer = find_netns(id_, {.folders = {folder_.path().string() + "/file"}, .proc = "/proc"});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().sys_errno(), ENOTDIR);
}

}  // namespace
}  // namespace fairlead::agent
