// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/policy_watch.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "fairlead/devices/all_kinds.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/testing/temporary_folder.h"

namespace fairlead::agent {
namespace {

using policy::Level;
using ::testing::HasSubstr;

std::string text(const std::string& level) {
  return "apiVersion: fairlead.dev/v1alpha1\nkind: PolicyConfiguration\nlevel: " + level + "\n";
}

class PolicyWatchTest : public ::testing::Test {
 protected:
  PolicyWatchTest() {
    std::filesystem::create_directory(config());
    std::filesystem::create_directory(state());
  }
  [[nodiscard]] std::string config() const { return folder_.path().string() + "/config"; }
  [[nodiscard]] std::string state() const { return folder_.path().string() + "/state"; }
  [[nodiscard]] std::string file() const { return config() + "/policy.yaml"; }
  void write(const std::string& content) const {
    ASSERT_TRUE(sys::replace_file(config(), "policy.yaml", content));
  }

  std::unique_ptr<PolicyWatch> start(Level level = Level::kPrivileged) const {
    auto watch = PolicyWatch::start(
        {.level = level, .file = file(), .copy_dir = state(), .driver = "net.example.com"}, kinds_);
    EXPECT_TRUE(watch) << watch.error().what();
    return *std::move(watch);
  }
  static std::string level(const PolicyWatch& watch) {
    const auto policy = watch.policy();
    return policy ? std::string(to_string((*policy)->level_of("lab"))) : policy.error().what();
  }
  /// Until it is so; the test fails when that takes ten seconds.
  static void await(const std::function<bool()>& is_so) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!is_so()) {
      ASSERT_LT(std::chrono::steady_clock::now(), end);
      std::this_thread::yield();
    }
  }

  sys::testing_support::TemporaryFolder folder_;
  devices::Registry kinds_ = devices::all_kinds();
};

TEST_F(PolicyWatchTest, WithoutAFile_TheFlagCounts) {
  const auto watch = PolicyWatch::start({.level = Level::kBaseline}, kinds_);
  ASSERT_TRUE(watch);
  EXPECT_EQ(level(**watch), "baseline");
  EXPECT_TRUE((*watch)->ready());
  EXPECT_EQ((*watch)->metrics_text(), "");
}

TEST_F(PolicyWatchTest, FileIsReadAgain_ABadOneKeepsTheLastGoodOne) {
  write(text("baseline"));
  const auto watch = start();
  EXPECT_EQ(level(*watch), "baseline");
  write(text("restricted"));
  await([&] { return level(*watch) == "restricted"; });
  EXPECT_TRUE(watch->ready());

  write(text("strict"));
  await([&] { return !watch->ready(); });
  EXPECT_EQ(watch->ready().error().what(),
            file() + ":3: level: must be restricted, baseline or privileged, not \"strict\"");
  EXPECT_EQ(level(*watch), "restricted");
  EXPECT_THAT(
      watch->metrics_text(),
      HasSubstr("fairlead_policy_file_loads_total{driver=\"net.example.com\",result=\"accepted\"} 2\n"));
  EXPECT_THAT(watch->metrics_text(), HasSubstr("result=\"refused\"} 1\n"));

  std::filesystem::remove(file());
  await([&] { return watch->ready().error().what().find("strict") == std::string::npos; });
  EXPECT_EQ(level(*watch), "restricted") << "a file that is gone is a bad one";
  write(text("privileged"));
  await([&] { return watch->ready().has_value(); });
  EXPECT_EQ(level(*watch), "privileged");
}

TEST_F(PolicyWatchTest, FileOfAConfigMap_ChangesByARenamedLink) {
  const auto version = [&](const std::string& name, const std::string& content) {
    std::filesystem::create_directory(config() + "/" + name);
    ASSERT_TRUE(sys::replace_file(config() + "/" + name, "policy.yaml", content));
    std::filesystem::create_symlink(name, config() + "/..data_tmp");
    std::filesystem::rename(config() + "/..data_tmp", config() + "/..data");
  };
  version("..1", text("baseline"));
  std::filesystem::create_symlink("..data/policy.yaml", file());
  const auto watch = start();
  EXPECT_EQ(level(*watch), "baseline");
  version("..2", text("restricted"));
  await([&] { return level(*watch) == "restricted"; });
}

TEST_F(PolicyWatchTest, FolderThatIsMadeLaterOrAnew_IsWatched) {
  std::filesystem::remove_all(config());
  const auto watch = start();
  EXPECT_THAT(level(*watch), HasSubstr("what claims may write on this node is not known: "));
  std::filesystem::create_directory(config());
  write(text("baseline"));
  await([&] { return level(*watch) == "baseline"; });
  std::filesystem::rename(config(), config() + "-old");
  await([&] { return !watch->ready(); });
  std::filesystem::create_directory(config());
  write(text("restricted"));
  await([&] { return level(*watch) == "restricted"; });
}

TEST_F(PolicyWatchTest, StartWithABadFile_UsesTheCopyOfTheLastGoodOne) {
  write(text("restricted"));
  (void)start();
  write("level: [\n");
  const auto watch = start();
  EXPECT_EQ(level(*watch), "restricted");
  EXPECT_FALSE(watch->ready());
}

TEST_F(PolicyWatchTest, VeryFirstFileIsBad_NoPolicyIsKnown) {
  write("level: baseline\n");
  const auto watch = start();
  ASSERT_FALSE(watch->policy());
  EXPECT_EQ(watch->policy().error().code(), Code::kUnavailable);
  EXPECT_EQ(watch->policy().error().what(),
            "what claims may write on this node is not known: " + file() +
                ":1: apiVersion: this field is required: fairlead.dev/v1alpha1");
  write(text("baseline"));
  await([&] { return level(*watch) == "baseline"; });
  EXPECT_TRUE(watch->ready());
}

TEST_F(PolicyWatchTest, StartWithoutAFile_DropsTheCopy) {
  write(text("restricted"));
  (void)start();
  ASSERT_TRUE(std::filesystem::exists(state() + "/policy.yaml"));
  ASSERT_TRUE(PolicyWatch::start({.copy_dir = state()}, kinds_));
  EXPECT_FALSE(std::filesystem::exists(state() + "/policy.yaml"));
}

TEST_F(PolicyWatchTest, SameContentAgain_IsNotAnotherLoad) {
  write(text("baseline"));
  const auto watch = start();
  write(text("baseline"));
  write(text("restricted"));
  await([&] { return level(*watch) == "restricted"; });
  EXPECT_THAT(watch->metrics_text(), HasSubstr("result=\"accepted\"} 2\n"));
}

}  // namespace
}  // namespace fairlead::agent
