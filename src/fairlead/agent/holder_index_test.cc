// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/holder_index.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "fairlead/sys/files.h"
#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class HolderIndexTest : public ::testing::Test {
 protected:
  HolderIndexTest() { EXPECT_TRUE(sys::make_dirs(folder_)); }

  static HolderEntry entry(const std::string& uid, bool whole = true,
                           const std::string& driver = "other.io") {
    return {.nic = "pci-1", .driver = driver, .uid = uid, .whole = whole};
  }
  void write(const HolderEntry& entry) const {
    ASSERT_TRUE(sys::replace_file(folder_, entry.current_file(), "{}"));
  }
  void remove(const HolderEntry& entry) const {
    ASSERT_TRUE(sys::remove_file(folder_ + "/" + entry.current_file()));
  }
  /// The uids of the claims that have pci-1.
  std::vector<std::string> holders() {
    std::vector<std::string> uids;
    const auto entries = index_.others_against("pci-1", true);
    EXPECT_TRUE(entries);
    for (const HolderEntry& each : *entries) {
      uids.push_back(each.uid);
    }
    return uids;
  }

  const sys::testing_support::TemporaryFolder temporary_;
  const std::string parent_ = temporary_.path().string() + "/shared";
  const std::string folder_ = parent_ + "/holders";
  HolderIndex index_{folder_, "own.io"};
};

TEST_F(HolderIndexTest, SeesEachChangeAtOnce_AndListsTheFolderOnce) {
  EXPECT_THAT(holders(), IsEmpty());
  for (int i = 0; i < 100; ++i) {
    write(entry("u" + std::to_string(i)));
    ASSERT_THAT(holders(), ElementsAre("u" + std::to_string(i)));
    remove(entry("u" + std::to_string(i)));
    ASSERT_THAT(holders(), IsEmpty());
  }
  EXPECT_EQ(index_.listings(), 1);
}

TEST_F(HolderIndexTest, SeesWhatAnotherProcessWrote) {
  EXPECT_THAT(holders(), IsEmpty());
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::_exit(sys::replace_file(folder_, entry("u1").file(), "{}") ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  ASSERT_EQ(status, 0);
  EXPECT_THAT(holders(), ElementsAre("u1"));
  EXPECT_EQ(index_.listings(), 1);
}

TEST_F(HolderIndexTest, KnowsWhatExcludesAUse) {
  write(entry("shared", false));
  write(entry("whole", true));
  write(entry("own", true, "own.io"));
  write({.nic = "pci-11", .driver = "other.io", .uid = "u", .whole = true});
  EXPECT_THAT(index_.others_against("pci-1", true).value(),
              ElementsAre(entry("shared", false), entry("whole", true)));
  EXPECT_THAT(index_.others_against("pci-1", false).value(), ElementsAre(entry("whole", true)));
  EXPECT_THAT(index_.others_against("pci-2", true).value(), IsEmpty());
}

TEST_F(HolderIndexTest, IntentsAreNoHolders) {
  HolderEntry intent = entry("u1");
  intent.is_intent = true;
  HolderEntry own = entry("u2", true, "own.io");
  own.is_intent = true;
  write(intent);
  write(own);
  EXPECT_THAT(holders(), IsEmpty());
  EXPECT_THAT(index_.intents().value(), ElementsAre(intent, own));
  EXPECT_THAT(index_.own_of("u2").value(), ElementsAre(own));
  ASSERT_EQ(::rename((folder_ + "/" + intent.intent_file()).c_str(), (folder_ + "/" + intent.file()).c_str()),
            0);
  EXPECT_THAT(index_.intents().value(), ElementsAre(own));
  EXPECT_THAT(holders(), ElementsAre("u1"));
}

TEST_F(HolderIndexTest, OthersOnce_TakesTheFirstThatCounts) {
  for (const char* uid : {"u1", "u2", "u3"}) {
    write(entry(uid, false));
  }
  write(entry("u4", true));
  const auto counts = [](const HolderEntry& each) { return each.uid != "u1" && each.uid != "u4"; };
  EXPECT_THAT(index_.others_once(counts).value(), ElementsAre(entry("u2", false)));
}

TEST_F(HolderIndexTest, EventsThatWereLost_AreMadeUpForByAListing) {
  const auto limit = sys::read_file("/proc/sys/fs/inotify/max_queued_events");
  ASSERT_TRUE(limit);
  const long events = std::atol(limit->c_str());  // NOLINT(cert-err34-c): the kernel's number
  if (events > 200'000) {
    GTEST_SKIP() << "fs.inotify.max_queued_events is " << events;
  }
  EXPECT_THAT(holders(), IsEmpty());
  const std::string one = folder_ + "/" + entry("u1").file();
  const std::string two = folder_ + "/" + entry("u2").file();
  write(entry("u1"));
  for (long i = 0; i <= events / 4; ++i) {  // two events each
    ASSERT_EQ(::rename(one.c_str(), two.c_str()), 0);
    ASSERT_EQ(::rename(two.c_str(), one.c_str()), 0);
  }
  write(entry("u3"));
  EXPECT_THAT(holders(), ElementsAre("u1", "u3"));
  EXPECT_EQ(index_.listings(), 2);
  write(entry("u4"));
  EXPECT_THAT(holders(), ElementsAre("u1", "u3", "u4"));
  EXPECT_EQ(index_.listings(), 2) << "events again";
}

TEST_F(HolderIndexTest, FolderThatWasRemoved_HasNone_AndIsSeenWhenItIsMadeAnew) {
  write(entry("u1"));
  EXPECT_THAT(holders(), ElementsAre("u1"));
  ASSERT_TRUE(sys::remove_tree(folder_));
  EXPECT_THAT(holders(), IsEmpty());
  ASSERT_TRUE(sys::make_dirs(folder_));
  write(entry("u2"));
  EXPECT_THAT(holders(), ElementsAre("u2"));
  write(entry("u3"));
  EXPECT_THAT(holders(), ElementsAre("u2", "u3"));
}

TEST_F(HolderIndexTest, FolderThatWasMadeAnewBetweenTwoQuestions_IsListed) {
  write(entry("u1"));
  EXPECT_THAT(holders(), ElementsAre("u1"));
  ASSERT_TRUE(sys::remove_tree(folder_));
  ASSERT_TRUE(sys::make_dirs(folder_));
  write(entry("u2"));
  EXPECT_THAT(holders(), ElementsAre("u2"));
}

/// The watched folder itself gets no event.
TEST_F(HolderIndexTest, FolderAboveThatWasReplaced_IsNoticed) {
  write(entry("u1"));
  EXPECT_THAT(holders(), ElementsAre("u1"));
  ASSERT_EQ(::rename(parent_.c_str(), (parent_ + ".old").c_str()), 0);
  ASSERT_TRUE(sys::make_dirs(folder_));
  write(entry("u2"));
  EXPECT_THAT(holders(), ElementsAre("u2"));
}

TEST_F(HolderIndexTest, PathThatIsNoFolder_IsAnError_UntilItIsOneAgain) {
  write(entry("u1"));
  EXPECT_THAT(holders(), ElementsAre("u1"));
  ASSERT_TRUE(sys::remove_tree(folder_));
  ASSERT_TRUE(sys::replace_file(parent_, "holders", ""));
  EXPECT_FALSE(index_.others_against("pci-1", true));
  EXPECT_FALSE(index_.intents());
  ASSERT_TRUE(sys::remove_file(folder_));
  ASSERT_TRUE(sys::make_dirs(folder_));
  EXPECT_THAT(holders(), IsEmpty());
}

TEST_F(HolderIndexTest, IsTheSameAsAListing_WhateverHappens) {
  std::mt19937 random(1);  // NOLINT(cert-msc51-cpp): the same each time
  for (int i = 0; i < 3000; ++i) {
    HolderEntry some = entry("u" + std::to_string(random() % 6), random() % 2 == 0,
                             random() % 3 == 0 ? "own.io" : "other.io");
    some.is_intent = random() % 3 == 0;
    if (random() % 2 == 0) {
      write(some);
    } else {
      remove(some);
    }
    if (random() % 200 == 0) {
      ASSERT_TRUE(sys::remove_tree(folder_));
      ASSERT_TRUE(sys::make_dirs(folder_));
    }
    if (random() % 4 != 0) {
      continue;
    }
    HolderIndex fresh(folder_, "own.io");
    ASSERT_EQ(index_.own().value(), fresh.own().value());
    ASSERT_EQ(index_.intents().value(), fresh.intents().value());
    ASSERT_EQ(index_.others_against("pci-1", true).value(), fresh.others_against("pci-1", true).value());
  }
  EXPECT_LT(index_.listings(), 60) << "once for each folder";
}

}  // namespace
}  // namespace fairlead::agent
