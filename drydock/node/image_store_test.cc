// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/image_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>

#include "drydock/node/processes.h"
#include "drydock/node/testing/temp_folder.h"

namespace drydock {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ShortImageName, DropsRegistryTagAndDigest) {
  EXPECT_EQ(short_image_name("busybox"), "busybox");
  EXPECT_EQ(short_image_name("busybox:latest"), "busybox");
  EXPECT_EQ(short_image_name("docker.io/library/busybox:1.36"), "busybox");
  EXPECT_EQ(short_image_name("localhost:5000/team/tool:1@sha256:00ff"), "team/tool");
  EXPECT_EQ(short_image_name("team/tool"), "team/tool");
}

TEST(ImageStore, UnknownImage_SaysHowToGiveIt) {
  const TempFolder folder;
  ImageStore store(folder.path(), {});
  const auto image = store.get("nowhere/nothing:1");
  ASSERT_FALSE(image);
  EXPECT_THAT(image.error().what(), HasSubstr("\"nowhere/nothing:1\""));
  EXPECT_THAT(image.error().what(), HasSubstr("--image nowhere/nothing=FOLDER"));
}

TEST(ImageStore, FolderGiven_IsTheRootFileSystem) {
  const TempFolder folder;
  folder.write("rootfs/bin/tool", "x");
  ImageStore store(folder.path() + "/made", {{"tool", folder.path() + "/rootfs"}});
  const auto image = store.get("registry.example.com/tool:2");
  ASSERT_TRUE(image) << image.error().what();
  EXPECT_EQ(image->rootfs, folder.path() + "/rootfs");
}

TEST(ImageStore, Busybox_HasAShellAndIsMadeOnce) {
  if (!find_program({"busybox"})) {
    GTEST_SKIP() << "busybox is not installed";
  }
  const TempFolder folder;
  ImageStore store(folder.path(), {});
  const auto image = store.get("busybox");
  ASSERT_TRUE(image) << image.error().what();
  EXPECT_EQ(::access((image->rootfs + "/bin/busybox").c_str(), X_OK), 0);
  char target[64] = {};
  EXPECT_GT(::readlink((image->rootfs + "/bin/sh").c_str(), target, sizeof target - 1), 0);
  EXPECT_STREQ(target, "/bin/busybox");
  EXPECT_EQ(store.get("busybox")->rootfs, image->rootfs);
}

/// Layouts made by tar, as any builder would.
class OciLayout : public ::testing::Test {
 protected:
  void add_layer(const std::string& digest, const std::string& tree, const std::string& flags) const {
    const std::string blobs = folder_.path() + "/layout/blobs/sha256";
    ASSERT_TRUE(fairlead::sys::make_dirs(blobs));
    const auto made =
        run({.argv = {"tar", flags, blobs + "/" + digest, "-C", folder_.path() + "/" + tree, "."}},
            std::chrono::seconds(20));
    ASSERT_TRUE(made && made->status.ok()) << (made ? made->out : made.error().what());
  }
  void finish(const std::string& layers) const {
    folder_.write("layout/blobs/sha256/c0",
                  R"({"config": {"Entrypoint": ["/run"], "Cmd": ["a"], "Env": ["E=1"],
                                                           "WorkingDir": "/w"}})");
    folder_.write("layout/blobs/sha256/ee",
                  R"({"config": {"digest": "sha256:c0"}, "layers": [)" + layers + "]}");
    folder_.write("layout/index.json", R"({"manifests": [
      {"digest": "sha256:ffff", "platform": {"os": "linux", "architecture": "nothing-has-this"}},
      {"digest": "sha256:ee"}]})");
  }
  TempFolder folder_;
};

TEST_F(OciLayout, LayersInOrder_WhiteoutsHonoured_ConfigRead) {
  folder_.write("one/keep", "1");
  folder_.write("one/gone", "1");
  folder_.write("one/dir/old", "1");
  folder_.write("two/.wh.gone", "");
  folder_.write("two/dir/.wh..wh..opq", "");
  folder_.write("two/dir/new", "2");
  add_layer("a1", "one", "-cf");
  add_layer("a2", "two", "-czf");
  finish(R"({"digest": "sha256:a1"}, {"digest": "sha256:a2"})");
  const auto image = unpack_oci_layout(folder_.path() + "/layout", folder_.path() + "/rootfs");
  ASSERT_TRUE(image) << image.error().what();
  EXPECT_THAT(*fairlead::sys::list_dir(image->rootfs), ElementsAre("dir", "keep"));
  EXPECT_THAT(*fairlead::sys::list_dir(image->rootfs + "/dir"), ElementsAre("new"));
  EXPECT_THAT(image->config.entrypoint, ElementsAre("/run"));
  EXPECT_THAT(image->config.env, ElementsAre("E=1"));
  EXPECT_EQ(image->config.working_folder, "/w");
}

TEST_F(OciLayout, WhiteoutThroughALink_DoesNotLeaveTheImage) {
  folder_.write("precious/file", "1");
  folder_.write("one/x", "1");
  ASSERT_EQ(::symlink((folder_.path() + "/precious").c_str(), (folder_.path() + "/one/link").c_str()), 0);
  folder_.write("two/link/.wh.file", "");
  add_layer("a1", "one", "-cf");
  add_layer("a2", "two", "-cf");
  finish(R"({"digest": "sha256:a1"}, {"digest": "sha256:a2"})");
  const auto image = unpack_oci_layout(folder_.path() + "/layout", folder_.path() + "/rootfs");
  ASSERT_FALSE(image);
  EXPECT_THAT(image.error().what(), HasSubstr("leads out of the image"));
  EXPECT_EQ(::access((folder_.path() + "/precious/file").c_str(), F_OK), 0);
}

TEST_F(OciLayout, DigestThatIsAPath_IsRefused) {
  finish(R"({"digest": "sha256:../../x"})");
  const auto image = unpack_oci_layout(folder_.path() + "/layout", folder_.path() + "/rootfs");
  ASSERT_FALSE(image);
  EXPECT_THAT(image.error().what(), HasSubstr("../../x"));
}

}  // namespace
}  // namespace drydock
