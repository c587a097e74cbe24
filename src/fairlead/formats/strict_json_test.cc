// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/strict_json.h"

#include <gmock/gmock.h>

#include <random>

namespace fairlead::strict_json {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Reads what a small network configuration has; the error, or "" for success.
std::string read_netdev(std::string_view text, const std::string& path = "") {
  const auto document = Document::parse(text, path);
  if (!document) {
    EXPECT_EQ(document.error().code(), Code::kInvalid);
    return document.error().what();
  }
  const Object in = document->root();
  (void)in.required_word("type", {"netdev", "rdma"});
  const Object netdev = in.required_object("netdev");
  (void)netdev.required_word("kind", {"macvlan", "veth", "dummy"});
  (void)netdev.optional_string("interfaceName");
  (void)netdev.optional_integer("mtu", 68, 65535);
  (void)netdev.optional_bool("up");
  (void)netdev.optional_strings("addresses", 3);
  for (const Object& route : netdev.optional_objects("routes", 2)) {
    (void)route.required_string("dst");
    (void)route.optional_string("gw");
  }
  const auto done = document->finish();
  return done ? "" : done.error().what();
}

TEST(StrictJson, KeysAndPathOfAnObject) {
  const auto document = Document::parse(R"({"o":[{"b":1,"a":2}]})", "config");
  ASSERT_TRUE(document) << document.error().what();
  const Object object = document->root().optional_objects("o", 1).at(0);
  EXPECT_THAT(object.keys(), ElementsAre("b", "a"));
  EXPECT_EQ(object.path(), "config.o[0]");
}

TEST(StrictJson, ErrorsOfTheCallersOwn_AreKeptLikeOthers) {
  const auto document = Document::parse(R"({"o":[{"b":1}]})", "config");
  ASSERT_TRUE(document) << document.error().what();
  const Object in = document->root();
  const Object object = in.optional_objects("o", 1).at(0);
  object.require("b");
  EXPECT_FALSE(in.failed());
  in.fail_below("o", "[0].b", "is wrong");
  EXPECT_TRUE(in.failed());
  EXPECT_TRUE(object.failed());
  object.require("a");  // only the first one counts
  EXPECT_EQ(document->finish().error().what(), "config.o[0].b: is wrong");

  const auto other = Document::parse(R"({"aa":1})");
  ASSERT_TRUE(other) << other.error().what();
  other->root().require("a");
  EXPECT_THAT(other->finish().error().what(), HasSubstr("a: this field is required"));
}

TEST(StrictJson, ReadsEveryType) {
  const auto document = Document::parse(
      R"({"s":"x\u00e4","n":-5,"b":true,"list":["a","b"],"ints":[1,2],"map":{"k":"v"},"o":{"p":{"q":1}},"os":[{"i":0},{"i":1}]})");
  ASSERT_TRUE(document) << document.error().what();
  const Object in = document->root();
  EXPECT_EQ(in.required_string("s"), "x\xc3\xa4");
  EXPECT_EQ(in.optional_string("none"), std::nullopt);
  EXPECT_EQ(in.optional_integer("n", -10, 10), -5);
  EXPECT_EQ(in.optional_bool("b"), true);
  EXPECT_TRUE(in.has("o"));
  EXPECT_FALSE(in.has("none"));
  EXPECT_THAT(in.optional_strings("list", 5), ElementsAre("a", "b"));
  EXPECT_THAT(in.optional_integers("ints", 0, 5, 5), ElementsAre(1, 2));
  EXPECT_EQ(in.optional_string_map("map", 5).at("k"), "v");
  EXPECT_EQ(in.required_object("o").required_object("p").optional_integer("q", 0, 1), 1);
  const auto objects = in.optional_objects("os", 5);
  ASSERT_EQ(objects.size(), 2U);
  EXPECT_EQ(objects[1].path_of("i"), "os[1].i");
  EXPECT_EQ(objects[0].optional_integer("i", 0, 9), 0);
  EXPECT_EQ(objects[1].optional_integer("i", 0, 9), 1);
  const auto done = document->finish();
  EXPECT_TRUE(done) << done.error().what();
}

TEST(StrictJson, Sentences) {
  const struct {
    const char* text;
    const char* sentence;
  } cases[] = {
      {.text = R"({"type":"netdev","netdev":{"kind":"veth"}})", .sentence = ""},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","mtu":"big"}})",
       .sentence = "netdev.mtu: must be a whole number from 68 to 65535, not \"big\""},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","mtu":67}})",
       .sentence = "netdev.mtu: must be a whole number from 68 to 65535, not 67"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","mtu":1500.0}})",
       .sentence = "netdev.mtu: must be a whole number from 68 to 65535, not 1500.0"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","mtu":1e3}})",
       .sentence = "netdev.mtu: must be a whole number from 68 to 65535, not 1e3"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","mtu":18446744073709551615}})",
       .sentence = "netdev.mtu: must be a whole number from 68 to 65535, not 18446744073709551615"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","mtu":99999999999999999999999}})",
       .sentence = "netdev.mtu: must be a whole number from 68 to 65535, not 99999999999999999999999"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","mtu":null}})",
       .sentence = "netdev.mtu: must be a whole number from 68 to 65535, not null"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","mtu":true}})",
       .sentence = "netdev.mtu: must be a whole number from 68 to 65535, not true"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","mut":1500}})",
       .sentence = "netdev.mut: unknown field (did you mean \"mtu\"?)"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","interfacename":"x"}})",
       .sentence = "netdev.interfacename: unknown field (did you mean \"interfaceName\"?)"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth"},"colour":1})",
       .sentence = R"(colour: unknown field (known here: "type", "netdev"))"},
      {.text = R"({"type":"netdev","netdev":{"kidn":"veth"}})",
       .sentence = "netdev.kind: this field is required (there is \"kidn\": a misspelling?)"},
      {.text = R"({"type":"netdev"})", .sentence = "netdev: this field is required"},
      {.text = R"({"type":"netdev","netdev":[]})", .sentence = "netdev: must be an object, not a list"},
      {.text = R"({"type":"nic","netdev":{}})",
       .sentence = R"(type: must be one of "netdev", "rdma", not "nic")"},
      {.text = R"({"type":1,"netdev":{}})", .sentence = R"(type: must be one of "netdev", "rdma", not 1)"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","up":"yes"}})",
       .sentence = "netdev.up: must be true or false, not \"yes\""},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","interfaceName":{}}})",
       .sentence = "netdev.interfaceName: must be a string, not an object"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","addresses":"10.0.0.1/24"}})",
       .sentence = "netdev.addresses: must be a list, not \"10.0.0.1/24\""},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","addresses":["a",7]}})",
       .sentence = "netdev.addresses[1]: must be a string, not 7"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","addresses":["a","b","c","d"]}})",
       .sentence = "netdev.addresses: has 4 items, at most 3 are allowed"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","routes":[{"dst":"a"},{"gw":"b"}]}})",
       .sentence = "netdev.routes[1].dst: this field is required"},
      {.text =
           R"({"type":"netdev","netdev":{"kind":"veth","routes":[{"dst":"a"},{"dst":"b","gW":"b","qw":"c"}]}})",
       .sentence = "netdev.routes[1].gW: unknown field (did you mean \"gw\"?)"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","routes":[5]}})",
       .sentence = "netdev.routes[0]: must be an object, not 5"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","a\nb":1}})",
       .sentence = R"(netdev["a\x0ab"]: unknown field)"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","kind":"dummy"}})",
       .sentence = "netdev.kind: the field is there twice"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","routes":[{},{"dst":"a","dst":"b"}]}})",
       .sentence = "netdev.routes[1].dst: the field is there twice"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth","routes":[{"x":{"y":1,"\u0079":2}}]}})",
       .sentence = "netdev.routes[0].x.y: the field is there twice"},
      {.text = R"({"type":"netdev","netdev":{"kind":"ve\u0000th"}})",
       .sentence = "netdev.kind: must not contain a NUL character"},
      {.text = R"({"type":"netdev","netdev":{"ki\u0000nd":"veth"}})",
       .sentence = "netdev: a field name must not contain a NUL character"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth"}} x)", .sentence = "not valid JSON"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth"}}{})", .sentence = "not valid JSON"},
      {.text = R"({"type":"netdev","netdev":{"kind":"veth"})", .sentence = "not valid JSON: line 1, column"},
      {.text = R"({'type':"netdev"})", .sentence = "not valid JSON"},
      {.text = "{\"type\":\"net\xff\"}", .sentence = "not valid JSON"},
      {.text = "{\"type\":\"\xed\xa0\x80\"}", .sentence = "not valid JSON"},
      {.text = R"({"type":"\ud800"})", .sentence = "not valid JSON"},
      {.text = "{\"type\":NaN}", .sentence = "not valid JSON"},
      {.text = "{\"type\":1,}", .sentence = "not valid JSON"},
      {.text = "", .sentence = "not valid JSON"},
      {.text = "null", .sentence = "must be a JSON object, not null"},
      {.text = "[1]", .sentence = "must be a JSON object, not a list"},
  };
  for (const auto& c : cases) {
    const std::string got = read_netdev(c.text);
    if (std::string_view(c.sentence).empty()) {
      EXPECT_EQ(got, "") << c.text;
    } else {
      EXPECT_THAT(got, HasSubstr(c.sentence)) << c.text;
    }
    EXPECT_EQ(got.find('\n'), std::string::npos) << got;
  }
}

TEST(StrictJson, Path_StandsInFrontOfEveryError) {
  const std::string path = "config[1].opaque.parameters";
  EXPECT_THAT(read_netdev("{", path), ::testing::StartsWith(path + ": not valid JSON"));
  EXPECT_EQ(read_netdev("[]", path), path + ": must be a JSON object, not a list");
  EXPECT_EQ(read_netdev(R"({"type":"rdma","netdev":{"kind":"veth","mtu":1}})", path),
            path + ".netdev.mtu: must be a whole number from 68 to 65535, not 1");
  EXPECT_EQ(read_netdev(R"({"type":"rdma","netdev":{"a":1,"a":1}})", path),
            path + ".netdev.a: the field is there twice");
  EXPECT_EQ(read_netdev(R"({"type":"rdma","netdev":{"kind":"veth"},"tipe":1})", path),
            path + ".tipe: unknown field (did you mean \"type\"?)");
}

TEST(StrictJson, RawNul_IsRefusedEvenAfterTheEnd) {
  using namespace std::string_view_literals;
  EXPECT_THAT(read_netdev("{\"type\":\"net\0dev\"}"sv), HasSubstr("must not contain a NUL byte"));
  EXPECT_THAT(read_netdev("{\"type\":\"netdev\",\"netdev\":{\"kind\":\"veth\"}}\0{}"sv),
              HasSubstr("must not contain a NUL byte"));
}

TEST(StrictJson, Depth_IsLimited) {
  const auto nested = [](std::size_t levels) {
    std::string text;
    for (std::size_t i = 0; i < levels; ++i) {
      text += "{\"a\":";
    }
    return text + "1" + std::string(levels, '}');
  };
  EXPECT_TRUE(Document::parse(nested(16)));
  const auto deep = Document::parse(nested(17));
  ASSERT_FALSE(deep);
  EXPECT_THAT(deep.error().what(), HasSubstr("nested deeper than 16 levels"));
  // 10 KiB of brackets must neither crash nor be slow.
  const auto brackets = Document::parse("{\"a\":" + std::string(10'000, '['));
  ASSERT_FALSE(brackets);
  EXPECT_THAT(brackets.error().what(), HasSubstr("nested deeper than 16 levels"));
}

TEST(StrictJson, Size_IsLimited) {
  const auto sized = [](std::size_t bytes) { return R"({"a":")" + std::string(bytes - 8, 'x') + "\"}"; };
  EXPECT_TRUE(Document::parse(sized(10'240)));
  const auto large = Document::parse(sized(10'241));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().what(), "longer than 10240 bytes (10241)");
  EXPECT_TRUE(Document::parse(sized(10'241), "", {.bytes = 20'000, .depth = 16}));
}

TEST(StrictJson, FirstErrorWins_AndReadersGoQuiet) {
  const auto document = Document::parse(R"({"a":1,"b":2,"o":{}})");
  ASSERT_TRUE(document);
  const Object in = document->root();
  EXPECT_EQ(in.required_string("a"), "");
  EXPECT_EQ(in.optional_integer("b", 0, 9), std::nullopt);
  const Object inner = in.required_object("o");
  EXPECT_EQ(inner.required_string("x"), "");
  inner.fail("x", "a later error");
  EXPECT_THAT(document->finish().error().what(), HasSubstr("a: must be a string"));
}

TEST(StrictJson, Fail_NotesTheCallersError) {
  const auto document = Document::parse(R"({"netdev":{"mac":"x"}})");
  ASSERT_TRUE(document);
  const Object netdev = document->root().required_object("netdev");
  (void)netdev.optional_string("mac");
  netdev.fail("mac", "\"x\" is not a MAC address");
  EXPECT_EQ(document->finish().error().what(), "netdev.mac: \"x\" is not a MAC address");
}

TEST(StrictJson, IgnoreRest_TakesEverything) {
  const auto document = Document::parse(R"({"a":1,"o":{"p":1}})");
  ASSERT_TRUE(document);
  EXPECT_FALSE(document->finish());
  document->root().ignore_rest();
  EXPECT_TRUE(document->finish());
}

TEST(StrictJson, UnreadObject_IsNamedAsAWhole) {
  const auto document = Document::parse(R"({"rdma":{"x":1}})");
  ASSERT_TRUE(document);
  EXPECT_EQ(document->finish().error().what(), "rdma: unknown field");
}

TEST(StrictJson, MovedDocument_KeepsItsObjects) {
  auto first = Document::parse(R"({"a":"b"})");
  ASSERT_TRUE(first);
  const Object in = first->root();
  const Document second = *std::move(first);
  EXPECT_EQ(in.required_string("a"), "b");
  EXPECT_TRUE(second.finish());
}

bool valid_utf8(std::string_view text) {
  // A JSON string of the text, read by the strict reader itself: refuses invalid UTF-8.
  std::string quoted;
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
    }
    quoted += c;
  }
  return Document::parse(R"({"a":")" + quoted + "\"}", "", {.bytes = 1'000'000, .depth = 2}).has_value();
}

TEST(StrictJson, Mutations_NeverCrash_AndErrorsAreCleanText) {
  const std::string seed =
      R"({"type":"netdev","netdev":{"kind":"macvlan","interfaceName":"data0","mtu":1500,"up":true,)"
      R"("addresses":["10.0.0.1/24","fd00::1/64"],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.254"},{"dst":"\u00e4\ud83d\ude00"}]}})";
  const std::string_view pieces[] = {
      "\"",      "{",    "}",     "[", "]",        ":",    ",",           "\\u0000",
      "\\ud800", "\xff", "1e999", "-", "\xc3\xa4", "null", "\"kind\":1,", "99999999999999999999",
      "\\"};
  std::mt19937 random(42);  // NOLINT(bugprone-random-generator-seed): repeatable on purpose
  const auto below = [&](std::size_t n) {
    return std::uniform_int_distribution<std::size_t>(0, n - 1)(random);
  };
  std::size_t accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = seed;
    for (std::size_t i = 0, n = 1 + below(4); i < n && !text.empty(); ++i) {
      const std::size_t at = below(text.size());
      switch (below(4)) {
        case 0:
          text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.erase(at, 1 + below(8));
          break;
        case 2:
          text.insert(at, pieces[below(std::size(pieces))]);
          break;
        default:
          text.insert(at, text.substr(below(text.size()), below(30)));
      }
    }
    const std::string error = read_netdev(text);
    accepted += error.empty() ? 1 : 0;
    ASSERT_TRUE(valid_utf8(error)) << error;
    ASSERT_LT(error.size(), 1000U);
  }
  EXPECT_GT(accepted, 0U);
}

}  // namespace
}  // namespace fairlead::strict_json
