// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/cdi_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "drydock/node/testing/temp_folder.h"

namespace drydock {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Cdi : public ::testing::Test {
 protected:
  static std::string spec(const std::string& kind, const std::string& device, const std::string& edits,
                          const std::string& common = "{}") {
    return R"({"cdiVersion": "1.1.0", "kind": ")" + kind + R"(", "containerEdits": )" + common +
           R"(, "devices": [{"name": ")" + device + R"(", "containerEdits": )" + edits + "}]}";
  }
  void write_low(const std::string& name, const std::string& text) const {
    folder_.write("low/" + name, text);
  }
  void write_high(const std::string& name, const std::string& text) const {
    folder_.write("high/" + name, text);
  }

  TempFolder folder_;
  CdiRegistry registry_{{folder_.path() + "/low", folder_.path() + "/high"}};
  OciSpec spec_;
};

TEST_F(Cdi, Env_ReplacesTheSameKey) {
  write_high("a.json", spec("v.com/c", "d", R"({"env": ["A=new", "B=2"]})"));
  spec_.env = {"A=old", "Z=9"};
  ASSERT_TRUE(registry_.inject({"v.com/c=d"}, spec_));
  EXPECT_THAT(spec_.env, ElementsAre("A=new", "Z=9", "B=2"));
}

TEST_F(Cdi, LaterFolderWins_AndSpecEditsComeOnce) {
  write_low("a.json", spec("v.com/c", "d", R"({"env": ["FROM=low"]})"));
  write_high("a.json", spec("v.com/c", "d", R"({"env": ["FROM=high"]})",
                            R"({"hooks": [{"hookName": "createRuntime", "path": "/h"}]})"));
  ASSERT_TRUE(registry_.inject({"v.com/c=d"}, spec_));
  EXPECT_THAT(spec_.env, ElementsAre("FROM=high"));
  EXPECT_EQ(spec_.hooks["createRuntime"].size(), 1U);
}

TEST_F(Cdi, SameNameTwiceInOneFolder_IsNobodys) {
  write_high("a.json", spec("v.com/c", "d", R"({"env": ["A=1"]})"));
  write_high("b.json", spec("v.com/c", "d", R"({"env": ["A=2"]})"));
  const auto done = registry_.inject({"v.com/c=d"}, spec_);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().what(), HasSubstr("unresolvable CDI devices v.com/c=d"));
  EXPECT_THAT(done.error().what(), HasSubstr("conflicting device"));
  EXPECT_THAT(spec_.env, IsEmpty());
}

TEST_F(Cdi, BrokenFile_IsToldAndHarmsNoOther) {
  write_high("bad.json", R"({"cdiVersion": "1.1.0", "kind": "v.com/c", "device": []})");
  write_high("good.json", spec("w.com/c", "d", R"({"env": ["A=1"]})"));
  ASSERT_TRUE(registry_.inject({"w.com/c=d"}, spec_));
  const auto done = registry_.inject({"v.com/c=d"}, spec_);
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().what(), HasSubstr("bad.json"));
}

TEST_F(Cdi, OtherFileNames_AreNotRead) {
  write_high("a.json.tmp", spec("v.com/c", "d", R"({"env": ["A=1"]})"));
  EXPECT_FALSE(registry_.inject({"v.com/c=d"}, spec_));
  EXPECT_THAT(*registry_.files(), IsEmpty());
}

TEST_F(Cdi, DeviceNode_IsReadFromTheHost) {
  write_high("a.json",
             spec("v.com/c", "d", R"({"deviceNodes": [{"path": "/dev/mine", "hostPath": "/dev/null"}]})"));
  spec_.uid = 5;
  ASSERT_TRUE(registry_.inject({"v.com/c=d"}, spec_));
  ASSERT_EQ(spec_.devices.size(), 1U);
  const auto& device = spec_.devices[0];
  EXPECT_EQ(device.path, "/dev/mine");
  EXPECT_EQ(device.type, "c");
  EXPECT_EQ(device.major, 1);
  EXPECT_EQ(device.minor, 3);
  EXPECT_EQ(device.uid, 5U);
  EXPECT_EQ(device.access, "rwm");
}

TEST_F(Cdi, DeviceNodeThatIsNotThere_IsAnError) {
  write_high("a.json", spec("v.com/c", "d", R"({"deviceNodes": [{"path": "/dev/no-such"}]})"));
  EXPECT_THAT(registry_.inject({"v.com/c=d"}, spec_).error().what(), HasSubstr("/dev/no-such"));
}

TEST_F(Cdi, Mounts_ReplaceByDestinationAndAreSortedByDepth) {
  write_high("a.json", spec("v.com/c", "d", R"({"mounts": [{"hostPath": "/h1", "containerPath": "/a/b/c"},
                                                           {"hostPath": "/h2", "containerPath": "/a"}]})"));
  spec_.mounts = {{"/a/b", "bind", "/x", {}}, {"/a/b/c", "bind", "/old", {}}};
  ASSERT_TRUE(registry_.inject({"v.com/c=d"}, spec_));
  ASSERT_EQ(spec_.mounts.size(), 3U);
  EXPECT_EQ(spec_.mounts[0].source, "/h2");
  EXPECT_EQ(spec_.mounts[1].source, "/x");
  EXPECT_EQ(spec_.mounts[2].source, "/h1");
}

TEST_F(Cdi, NetDevicesAndGids_AreTaken) {
  write_high("a.json", spec("v.com/c", "d", R"({"netDevices": [{"hostInterfaceName": "mv0", "name": "data0"}],
                                                "additionalGids": [0, 44]})"));
  ASSERT_TRUE(registry_.inject({"v.com/c=d"}, spec_));
  EXPECT_EQ(spec_.net_devices["mv0"], "data0");
  EXPECT_THAT(spec_.additional_gids, ElementsAre(44U));
}

TEST_F(Cdi, NoDevices_NeedNoFolders) {
  EXPECT_TRUE(registry_.inject({}, spec_));
  EXPECT_THAT(spec_.env, Not(Contains("A=1")));
}

}  // namespace
}  // namespace drydock
