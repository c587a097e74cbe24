// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace fairlead::sys {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/files-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { ASSERT_TRUE(remove_tree(dir_)); }
  std::string dir_;
};

TEST_F(Files, ReplaceLeavesOnlyTheNewContent) {
  ASSERT_TRUE(replace_file(dir_, "a.json", "one"));
  ASSERT_TRUE(replace_file(dir_, "a.json", "two"));
  EXPECT_EQ(*read_file(dir_ + "/a.json"), "two");
  EXPECT_THAT(*list_dir(dir_), ElementsAre("a.json"));
  struct stat info = {};
  ASSERT_EQ(stat((dir_ + "/a.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

// In a container every agent has the same pid, and counts from the start.
TEST_F(Files, LeftoversOfAKilledProcessOfOurPid_AreNotInTheWay) {
  for (int i = 0; i < 100; ++i) {
    const std::string left = dir_ + "/.a." + std::to_string(::getpid()) + "-" + std::to_string(i) + ".tmp";
    ASSERT_TRUE(rewrite_file(left, "half a fi"));
  }
  const auto done = replace_file(dir_, "a", "whole");
  ASSERT_TRUE(done) << done.error().what();
  EXPECT_EQ(*read_file(dir_ + "/a"), "whole");
}

TEST_F(Files, OldTemporariesAreRemoved_YoungOnesAndOtherNamesStay) {
  for (const char* name : {".guard.1-0.tmp", ".guard.f00d.tmp", ".other.f00d.tmp", "guard"}) {
    ASSERT_TRUE(rewrite_file(dir_ + "/" + name, "x"));
  }
  const std::array<timespec, 2> old{{{.tv_sec = 1, .tv_nsec = 0}, {.tv_sec = 1, .tv_nsec = 0}}};
  for (const char* name : {".guard.1-0.tmp", ".other.f00d.tmp", "guard"}) {
    ASSERT_EQ(::utimensat(AT_FDCWD, (dir_ + "/" + name).c_str(), old.data(), 0), 0);
  }
  remove_old_temporaries(dir_, "guard.");
  EXPECT_THAT(*list_dir(dir_), ElementsAre(".guard.f00d.tmp", ".other.f00d.tmp", "guard"));
}

TEST_F(Files, RewriteKeepsTheInodeAndDropsTheOldTail) {
  const std::string path = dir_ + "/mounted";
  ASSERT_TRUE(rewrite_file(path, "a longer content"));
  struct stat before = {};
  ASSERT_EQ(stat(path.c_str(), &before), 0);
  ASSERT_TRUE(rewrite_file(path, "short"));
  struct stat after = {};
  ASSERT_EQ(stat(path.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_EQ(*read_file(path), "short");
}

TEST_F(Files, ReplaceIntoMissingFolderNamesIt) {
  const auto result = replace_file(dir_ + "/gone", "a", "x");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kNotFound);
  EXPECT_THAT(result.error().what(), HasSubstr(dir_ + "/gone"));
}

TEST_F(Files, AbsentIsNotAnError) {
  EXPECT_FALSE(read_file_if_exists(dir_ + "/none")->has_value());
  EXPECT_TRUE(remove_file(dir_ + "/none"));
  EXPECT_THAT(*list_dir(dir_ + "/none"), ElementsAre());
}

TEST_F(Files, ReadStopsAtTheLimit) {
  ASSERT_TRUE(replace_file(dir_, "big", std::string(100, 'x')));
  EXPECT_EQ(read_file(dir_ + "/big", 99).error().code(), Code::kOverflow);
  EXPECT_EQ(read_file(dir_ + "/big", 100)->size(), 100U);
}

TEST_F(Files, MakeDirsIsIdempotentAndRefusesAFileInTheWay) {
  ASSERT_TRUE(make_dirs(dir_ + "/a/b/c"));
  ASSERT_TRUE(make_dirs(dir_ + "/a/b/c"));
  ASSERT_TRUE(replace_file(dir_, "file", "x"));
  EXPECT_FALSE(make_dirs(dir_ + "/file/x"));
}

TEST(RemoveTree, RefusesShallowAndRelativePaths) {
  EXPECT_EQ(remove_tree("/").error().code(), Code::kInvalid);
  EXPECT_EQ(remove_tree("/run").error().code(), Code::kInvalid);
  EXPECT_EQ(remove_tree("run/x").error().code(), Code::kInvalid);
}

}  // namespace
}  // namespace fairlead::sys
