// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/folder_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fairlead/sys/files.h"

namespace fairlead::sys {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;
using ::testing::Not;

class FolderWatchTest : public ::testing::Test {
 protected:
  FolderWatchTest() {
    std::string made = ::testing::TempDir() + "folder-watch-XXXXXX";
    EXPECT_NE(::mkdtemp(made.data()), nullptr);
    top_ = made;
    folder_ = top_ + "/watched";
    EXPECT_TRUE(make_dirs(folder_));
  }
  ~FolderWatchTest() override { (void)remove_tree(top_); }

  std::string top_, folder_;
};

TEST_F(FolderWatchTest, NamesWhatWasMadeReplacedAndRemoved_Once) {
  auto watch = FolderWatch::open(folder_);
  ASSERT_TRUE(watch) << watch.error().what();
  EXPECT_THAT(watch->take().names, IsEmpty());
  ASSERT_TRUE(replace_file(folder_, "a", "1"));
  EXPECT_THAT(watch->take().names, Contains("a"));
  ASSERT_TRUE(replace_file(folder_, "b", "1"));
  ASSERT_TRUE(rewrite_file(folder_ + "/a", "2"));
  auto changes = watch->take();
  EXPECT_THAT(changes.names, Contains("a"));
  EXPECT_THAT(changes.names, Contains("b"));
  EXPECT_FALSE(changes.all);
  ASSERT_TRUE(remove_file(folder_ + "/a"));
  changes = watch->take();
  EXPECT_THAT(changes.names, Contains("a"));
  EXPECT_THAT(changes.names, Not(Contains("b")));
  EXPECT_THAT(watch->take().names, IsEmpty());
}

TEST_F(FolderWatchTest, MoreThanTheKernelKeeps_IsAnything) {
  auto watch = FolderWatch::open(folder_);
  ASSERT_TRUE(watch) << watch.error().what();
  const auto limit = read_file("/proc/sys/fs/inotify/max_queued_events");
  ASSERT_TRUE(limit) << limit.error().what();
  const int count = std::stoi(*limit);
  if (count > 100'000) {
    GTEST_SKIP() << "fs.inotify.max_queued_events is " << count << ": too many to make";
  }
  ASSERT_TRUE(replace_file(folder_, "a", ""));
  ASSERT_TRUE(replace_file(folder_, "b", ""));
  const std::string paths[] = {folder_ + "/a", folder_ + "/b"};
  for (int i = 0; i <= count; ++i) {  // by turns: equal events behind each other become one
    ASSERT_EQ(::chmod(paths[i % 2].c_str(), 0600), 0);
  }
  EXPECT_TRUE(watch->take().all);
}

TEST_F(FolderWatchTest, FolderThatWasReplaced_IsAnything) {
  auto watch = FolderWatch::open(folder_);
  ASSERT_TRUE(watch) << watch.error().what();
  ASSERT_TRUE(remove_tree(folder_));
  ASSERT_TRUE(make_dirs(folder_));
  EXPECT_TRUE(watch->take().all);
}

TEST_F(FolderWatchTest, WhatIsNotAFolder_IsAnError) {
  ASSERT_TRUE(replace_file(top_, "file", "1"));
  EXPECT_FALSE(FolderWatch::open(top_ + "/file"));
  EXPECT_EQ(FolderWatch::open(top_ + "/missing").error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace fairlead::sys
