// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/cdi.h"

#include <gmock/gmock.h>

#include <functional>

namespace fairlead::cdi {
namespace {

using ::testing::HasSubstr;

ContainerEdits env_edits() {
  ContainerEdits out;
  out.env = {"A=1"};
  return out;
}

Spec small() {
  Spec out;
  out.kind = "example.com/claim";
  out.devices = {{.name = "dev0", .annotations = {}, .edits = env_edits()}};
  return out;
}

Spec with(const std::function<void(Spec&)>& change) {
  Spec out = small();
  change(out);
  return out;
}

TEST(CdiMinimumVersion, IsTheOldestThatCarriesTheSpec) {
  const struct {
    const char* what;
    std::function<void(Spec&)> change;
    const char* version;
  } cases[] = {
      {.what = "env only", .change = [](Spec&) {}, .version = "0.3.0"},
      {.what = "dot in the vendor", .change = [](Spec& s) { s.kind = "a.b.c/claim"; }, .version = "0.3.0"},
      {.what = "mount",
       .change =
           [](Spec& s) {
             s.edits.mounts = {{.host_path = "/a", .container_path = "/b", .options = {}, .type = ""}};
           },
       .version = "0.3.0"},
      {.what = "mount type",
       .change =
           [](Spec& s) {
             s.edits.mounts = {{.host_path = "/a", .container_path = "/b", .options = {}, .type = "bind"}};
           },
       .version = "0.4.0"},
      {.what = "mount type in a device",
       .change =
           [](Spec& s) {
             s.devices[0].edits.mounts = {
                 {.host_path = "/a", .container_path = "/b", .options = {}, .type = "bind"}};
           },
       .version = "0.4.0"},
      {.what = "device name with a digit first",
       .change = [](Spec& s) { s.devices[0].name = "0dev"; },
       .version = "0.5.0"},
      {.what = "host path of a node",
       .change =
           [](Spec& s) {
             s.devices[0].edits.device_nodes = {{.path = "/dev/x",
                                                 .host_path = "/dev/y",
                                                 .type = "",
                                                 .major = {},
                                                 .minor = {},
                                                 .file_mode = {},
                                                 .permissions = "",
                                                 .uid = {},
                                                 .gid = {}}};
           },
       .version = "0.5.0"},
      {.what = "annotations of the spec",
       .change = [](Spec& s) { s.annotations = {{"a", "b"}}; },
       .version = "0.6.0"},
      {.what = "annotations of a device",
       .change = [](Spec& s) { s.devices[0].annotations = {{"a", "b"}}; },
       .version = "0.6.0"},
      {.what = "dot in the class",
       .change = [](Spec& s) { s.kind = "example.com/cl.aim"; },
       .version = "0.6.0"},
      {.what = "additional gids",
       .change = [](Spec& s) { s.edits.additional_gids = {5}; },
       .version = "0.7.0"},
      {.what = "net devices",
       .change =
           [](Spec& s) { s.devices[0].edits.net_devices = {{.host_interface_name = "h", .name = "n"}}; },
       .version = "1.1.0"},
      {.what = "the newest need wins",
       .change =
           [](Spec& s) {
             s.annotations = {{"a", "b"}};
             s.edits.net_devices = {{.host_interface_name = "h", .name = "n"}};
           },
       .version = "1.1.0"},
  };
  for (const auto& c : cases) {
    const Spec spec = with(c.change);
    EXPECT_EQ(minimum_version(spec), c.version) << c.what;
    const auto json = to_json(spec);
    ASSERT_TRUE(json) << c.what << ": " << json.error().what();
    EXPECT_THAT(*json, HasSubstr(std::string("\"cdiVersion\": \"") + c.version + "\"")) << c.what;
    EXPECT_TRUE(parse(*json)) << c.what;
  }
}

TEST(CdiNames, Kind) {
  for (const char* good : {"a/b", "example.com/claim", "dra.example.com/cl-a_i.m", "A1/b2"}) {
    EXPECT_TRUE(validate_kind(good)) << good;
  }
  for (const char* bad :
       {"", "/", "a", "a/", "/b", "1a/b", "a/1b", "a-/b", "a/b.", "a/b/c", "a b/c", "a/b:c", "../x"}) {
    EXPECT_FALSE(validate_kind(bad)) << bad;
  }
}

TEST(CdiNames, Device) {
  for (const char* good : {"a", "0", "dev0", "11111111-2222-3333-4444-555555555555", "a:b.c_d-e"}) {
    EXPECT_TRUE(validate_device_name(good)) << good;
  }
  for (const char* bad : {"", "-a", "a-", ":a", "a:", "a/b", "a b", "a=b", "../a", "\xc3\xa4"}) {
    EXPECT_FALSE(validate_device_name(bad)) << bad;
  }
}

TEST(CdiNames, Qualified) {
  EXPECT_EQ(qualified_name("example.com/claim", "dev0").value(), "example.com/claim=dev0");
  EXPECT_FALSE(qualified_name("example.com", "dev0"));
  EXPECT_FALSE(qualified_name("example.com/claim", "dev 0"));
}

TEST(CdiRoundTrip, EveryField) {
  Spec spec = small();
  spec.annotations = {{"example.com/a", "b"}};
  spec.devices[0].annotations = {{"c", "d"}};
  spec.devices[0].edits = {
      .env = {"A=1", "B="},
      .device_nodes = {{.path = "/dev/x",
                        .host_path = "/dev/y",
                        .type = "c",
                        .major = 10,
                        .minor = 0,
                        .file_mode = 0660,
                        .permissions = "rw",
                        .uid = 0,
                        .gid = 4294967295U}},
      .net_devices = {{.host_interface_name = "h0", .name = "n0"},
                      {.host_interface_name = "h1", .name = "n1"}},
      .hooks = {{.hook_name = "createRuntime",
                 .path = "/opt/guard",
                 .args = {"guard", "claim"},
                 .env = {"X=y"},
                 .timeout_seconds = 30}},
      .mounts = {{.host_path = "/a", .container_path = "/b", .options = {"ro", "bind"}, .type = "bind"}},
      .additional_gids = {1, 4294967295U}};
  spec.edits.env = {"ALL=1"};
  const auto json = to_json(spec);
  ASSERT_TRUE(json) << json.error().what();
  auto back = parse(*json);
  ASSERT_TRUE(back) << back.error().what();
  EXPECT_EQ(back->version, "1.1.0");
  back->version.clear();
  EXPECT_EQ(*back, spec);
}

TEST(CdiValidate, BrokenRules_NameTheField) {
  const struct {
    std::function<void(Spec&)> change;
    const char* sentence;
  } cases[] = {
      {.change = [](Spec& s) { s.kind = "nope"; },
       .sentence = "kind: \"nope\" is not of the form vendor/class"},
      {.change = [](Spec& s) { s.devices.clear(); }, .sentence = "devices: at least one device is required"},
      {.change = [](Spec& s) { s.devices.push_back(s.devices[0]); },
       .sentence = "devices[1].name: \"dev0\" is there twice"},
      {.change = [](Spec& s) { s.devices[0].edits = {}; },
       .sentence = "devices[0].containerEdits: must not be empty"},
      {.change = [](Spec& s) { s.devices[0].name = "a b"; },
       .sentence = "devices[0].name: device name \"a b\" may hold only"},
      {.change = [](Spec& s) { s.edits.env = {"A=1", "=x"}; },
       .sentence = "containerEdits.env[1]: \"=x\" is not of the form NAME=VALUE"},
      {.change = [](Spec& s) { s.edits.env = {"A"}; }, .sentence = "containerEdits.env[0]"},
      {.change =
           [](Spec& s) {
             s.edits.hooks = {
                 {.hook_name = "never", .path = "/x", .args = {}, .env = {}, .timeout_seconds = {}}};
           },
       .sentence = "containerEdits.hooks[0].hookName: \"never\""},
      {.change =
           [](Spec& s) {
             s.edits.hooks = {
                 {.hook_name = "poststop", .path = "", .args = {}, .env = {}, .timeout_seconds = {}}};
           },
       .sentence = "containerEdits.hooks[0].path"},
      {.change =
           [](Spec& s) {
             s.edits.mounts = {{.host_path = "", .container_path = "/b", .options = {}, .type = ""}};
           },
       .sentence = "containerEdits.mounts[0].hostPath"},
      {.change =
           [](Spec& s) {
             s.edits.mounts = {{.host_path = "/a", .container_path = "", .options = {}, .type = ""}};
           },
       .sentence = "containerEdits.mounts[0].containerPath"},
      {.change = [](Spec& s) { s.edits.device_nodes.resize(1); },
       .sentence = "containerEdits.deviceNodes[0].path"},
      {.change =
           [](Spec& s) {
             s.edits.device_nodes.resize(1);
             s.edits.device_nodes[0].path = "/dev/x";
             s.edits.device_nodes[0].type = "x";
           },
       .sentence = "containerEdits.deviceNodes[0].type"},
      {.change =
           [](Spec& s) {
             s.edits.device_nodes.resize(1);
             s.edits.device_nodes[0].path = "/dev/x";
             s.edits.device_nodes[0].permissions = "rx";
           },
       .sentence = "containerEdits.deviceNodes[0].permissions"},
      {.change = [](Spec& s) { s.edits.net_devices = {{.host_interface_name = "", .name = "n"}}; },
       .sentence = "containerEdits.netDevices[0].hostInterfaceName"},
      {.change = [](Spec& s) { s.edits.net_devices = {{.host_interface_name = "h", .name = ""}}; },
       .sentence = "containerEdits.netDevices[0].name"},
      {.change =
           [](Spec& s) {
             s.edits.net_devices = {{.host_interface_name = "h", .name = "n"},
                                    {.host_interface_name = "h", .name = "m"}};
           },
       .sentence = "containerEdits.netDevices[1].hostInterfaceName: \"h\" is there twice"},
      {.change =
           [](Spec& s) {
             s.devices[0].edits.net_devices = {{.host_interface_name = "h", .name = "n"},
                                               {.host_interface_name = "i", .name = "n"}};
           },
       .sentence = "devices[0].containerEdits.netDevices[1].name: \"n\" is there twice"},
      {.change = [](Spec& s) { s.annotations = {{"a b", "c"}}; }, .sentence = "annotations[\"a b\"]"},
      {.change = [](Spec& s) { s.edits.env = {"A=\xff"}; }, .sentence = "not valid UTF-8"},
  };
  for (const auto& c : cases) {
    const auto json = to_json(with(c.change));
    ASSERT_FALSE(json) << c.sentence;
    EXPECT_EQ(json.error().code(), Code::kInvalid);
    EXPECT_THAT(json.error().what(), HasSubstr(c.sentence));
  }
}

TEST(CdiValidate, SameInterfaceInTwoBlocks_IsAllowed) {
  EXPECT_TRUE(to_json(with([](Spec& s) {
    s.edits.net_devices = {{.host_interface_name = "h", .name = "n"}};
    s.devices[0].edits.net_devices = {{.host_interface_name = "h", .name = "n"}};
  })));
}

std::string text_with(const std::string& version, const std::string& extra) {
  return R"({"cdiVersion": ")" + version +
         R"(", "kind": "a.b/c", "devices": [{"name": "d", "containerEdits": {"env": ["A=1"])" + extra +
         "}}]}";
}

TEST(CdiParse, Strict) {
  EXPECT_TRUE(parse(text_with("0.3.0", "")));
  EXPECT_TRUE(parse(text_with("v1.1.0", "")));
  const struct {
    std::string text;
    const char* sentence;
  } cases[] = {
      {.text = "", .sentence = "not valid JSON"},
      {.text = "[]", .sentence = "must be a JSON object, not a list"},
      {.text = "{}", .sentence = "cdiVersion: this field is required"},
      {.text = text_with("0.3.0", R"(, "enviroment": [])"),
       .sentence = "devices[0].containerEdits.enviroment: unknown field"},
      {.text = text_with("0.3.0", R"(, "hook": [])"),
       .sentence = "devices[0].containerEdits.hook: unknown field (did you mean \"hooks\"?)"},
      {.text = text_with("0.3.0", R"(, "env": [])"),
       .sentence = "devices[0].containerEdits.env: the field is there twice"},
      {.text = text_with("0.3.0", R"(, "netDevices": [{"hostInterfaceName": "h", "name": "n"}])"),
       .sentence = "cdiVersion: \"0.3.0\" is too old: the file uses what came with 1.1.0"},
      {.text = text_with("1.1.0", R"(, "netDevices": [{"name": "n"}])"),
       .sentence = "netDevices[0].hostInterfaceName: this field is required"},
      {.text = text_with("1.1.0", R"(, "additionalGids": [-1])"),
       .sentence = "additionalGids[0]: must be a whole number from 0 to 4294967295, not -1"},
      {.text = text_with("1.1.0", R"(, "intelRdt": {})"),
       .sentence = "intelRdt: Intel RDT settings are not supported"},
      {.text = text_with("9.9.9", ""), .sentence = "cdiVersion: \"9.9.9\" is not a known CDI version"},
      {.text = text_with("0.3.0", "") + "x", .sentence = "not valid JSON"},
      {.text = R"({"cdiVersion": "0.3.0", "kind": "a/b", "devices": [{"name": "d"}]})",
       .sentence = "devices[0].containerEdits: this field is required"},
      {.text = R"({"cdiVersion": "0.3.0", "kind": "a/b", "devices": []})",
       .sentence = "devices: at least one device is required"},
  };
  for (const auto& c : cases) {
    const auto spec = parse(c.text);
    ASSERT_FALSE(spec) << c.text;
    EXPECT_EQ(spec.error().code(), Code::kInvalid);
    EXPECT_THAT(spec.error().what(), HasSubstr(c.sentence)) << c.text;
  }
}

}  // namespace
}  // namespace fairlead::cdi
