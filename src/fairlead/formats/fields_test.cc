// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "fairlead/formats/fields_text.h"

namespace fairlead::fields {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::StartsWith;

// One field of every type.
std::optional<std::string> check_even(std::string_view text) {
  return text.size() % 2 == 0 ? std::nullopt
                              : std::optional("\"" + std::string(text) + "\" has an odd length");
}

std::optional<Problem> check_ranges(const Value& value) {
  const auto& items = std::get<std::vector<Values>>(value.data);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto to = items[i].integer("to");
    if (to && to->value < items[i].integer("from")->value) {
      return Problem{"[" + std::to_string(i) + "].to", "is below from"};
    }
  }
  return std::nullopt;
}

constexpr Format kEven = {.check = check_even, .pattern = "^(..)*$", .example = "even"};
constexpr std::array<std::string_view, 2> kProtocols = {"802.1Q", "802.1ad"};
constexpr std::array kRange = {
    Field{.name = "from", .type = Type::kInteger, .required = true, .min = 1, .max = 4094},
    Field{.name = "to", .type = Type::kInteger, .min = 1, .max = 4094},
};
constexpr std::array kLimits = {
    Field{.name = "rate", .type = Type::kInteger, .min = 0, .max = 0xffffffff},
};
constexpr std::array kShared = {
    Field{.name = "name", .risk = Risk::kOwn, .format = kEven, .meaning = "Even name."},
    Field{.name = "trust", .type = Type::kBool, .risk = Risk::kShared, .default_text = "`false`"},
};
constexpr std::array kOwn = {
    Field{.name = "vlanId", .type = Type::kInteger, .required = true, .min = 1, .max = 4094},
    Field{.name = "protocol", .type = Type::kWord, .words = kProtocols, .default_text = "`802.1Q`"},
    Field{.name = "names", .type = Type::kStrings, .max_items = 3, .format = kEven},
    Field{.name = "pkeys", .type = Type::kIntegers, .min = 0, .max = 0x7fff, .max_items = 3},
    Field{.name = "sysctls", .type = Type::kStringMap, .max_items = 2, .format = kEven},
    Field{.name = "limits", .type = Type::kObject, .table = table_of(kLimits)},
    Field{.name = "ranges",
          .type = Type::kObjects,
          .max_items = 2,
          .table = table_of(kRange),
          .check = check_ranges},
};
constexpr auto kFields = concat(kShared, kOwn);
constexpr std::array kOfTap = {Field{.name = "queues", .type = Type::kInteger, .min = 1, .max = 8},
                               Field{.name = "name", .format = kEven}};
constexpr std::array kOfTun = {Field{.name = "queues", .type = Type::kInteger, .min = 1, .max = 8},
                               Field{.name = "owner"}};

struct Text {
  std::string json;
  bool from_class = false;
};

Result<Values> decode_all(const std::vector<Text>& texts) {
  std::vector<Section> sections;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string path = "config[" + std::to_string(i) + "]";
    FL_ASSIGN(auto document, strict_json::Document::parse(texts[i].json, path));
    const strict_json::Object object = document.root();
    sections.push_back(
        {.document = std::move(document), .object = object, .path = path, .from_class = texts[i].from_class});
  }
  constexpr std::array kOthers = {KindFields{.kind = "tap", .fields = kOfTap},
                                  KindFields{.kind = "tun", .fields = kOfTun}};
  return decode({.kind = "vlan", .fields = kFields}, kOthers, sections);
}

/// The sentence for what is refused. All but `text` is right.
std::string refused(const std::string& text) {
  const auto values = decode_all({{R"({"vlanId":7})"}, {"{" + text + "}"}});
  EXPECT_TRUE(values || values.error().code() == Code::kInvalid);
  return values ? "accepted" : values.error().what();
}

TEST(Fields, EveryType_IsReadWithItsPath) {
  const auto values = decode_all({{R"({"name":"data","trust":true,"vlanId":7,"protocol":"802.1ad",
      "names":["ab","cd"],"pkeys":[0,32767],"sysctls":{"a.b":"on","c":""},"limits":{"rate":4294967295},
      "ranges":[{"from":1,"to":2},{"from":3}]})"}});
  ASSERT_TRUE(values) << values.error().what();
  EXPECT_EQ(values->path(), "config[0]");
  EXPECT_EQ(values->string("name")->value, "data");
  EXPECT_EQ(values->string("name")->path, "config[0].name");
  EXPECT_FALSE(values->string("name")->from_class);
  EXPECT_TRUE(values->boolean("trust")->value);
  EXPECT_EQ(values->integer("vlanId")->value, 7);
  EXPECT_EQ(values->string("protocol")->value, "802.1ad");
  EXPECT_THAT(values->strings("names")->value, ElementsAre("ab", "cd"));
  EXPECT_THAT(values->integers("pkeys")->value, ElementsAre(0, 32767));
  EXPECT_THAT(values->string_map("sysctls")->value, ElementsAre(Pair("a.b", "on"), Pair("c", "")));
  EXPECT_EQ(values->object("limits")->value.integer("rate")->value, 4294967295);
  EXPECT_EQ(values->object("limits")->value.integer("rate")->path, "config[0].limits.rate");
  const auto ranges = values->objects("ranges");
  ASSERT_THAT(ranges->value, SizeIs(2));
  EXPECT_EQ(ranges->value[1].path(), "config[0].ranges[1]");
  EXPECT_EQ(ranges->value[1].integer("from")->path, "config[0].ranges[1].from");
  EXPECT_FALSE(ranges->value[1].has("to"));
  EXPECT_THAT(values->all(), SizeIs(kFields.size()));
}

TEST(Fields, WhatIsNotGiven_IsNullopt) {
  const auto values = decode_all({{R"({"vlanId":7})"}});
  ASSERT_TRUE(values) << values.error().what();
  EXPECT_FALSE(values->string("name"));
  EXPECT_FALSE(values->boolean("trust"));
  EXPECT_FALSE(values->strings("names"));
  EXPECT_FALSE(values->integers("pkeys"));
  EXPECT_FALSE(values->string_map("sysctls"));
  EXPECT_FALSE(values->object("limits"));
  EXPECT_FALSE(values->objects("ranges"));
  EXPECT_EQ(values->path_of("name"), "config[0].name");
  EXPECT_THAT(values->all(), SizeIs(1));
}

TEST(Fields, EmptyListsAndMaps_AreGiven) {
  const auto values = decode_all({{R"({"vlanId":7,"names":[],"ranges":[],"sysctls":{},"limits":{}})"}});
  ASSERT_TRUE(values) << values.error().what();
  EXPECT_THAT(values->strings("names")->value, SizeIs(0));
  EXPECT_THAT(values->objects("ranges")->value, SizeIs(0));
  EXPECT_THAT(values->string_map("sysctls")->value, SizeIs(0));
  EXPECT_FALSE(values->object("limits")->value.has("rate"));
}

TEST(Fields, LaterSection_OverridesFieldByField_ListsAsAWhole) {
  const auto values =
      decode_all({{.json = R"({"vlanId":7,"name":"ab","names":["ab","cd"],"ranges":[{"from":1},{"from":2}]})",
                   .from_class = true},
                  {.json = R"({"name":"cd","names":["ef"],"ranges":[{"from":3}]})"}});
  ASSERT_TRUE(values) << values.error().what();
  EXPECT_EQ(values->integer("vlanId")->value, 7);
  EXPECT_EQ(values->integer("vlanId")->path, "config[0].vlanId");
  EXPECT_TRUE(values->integer("vlanId")->from_class);
  EXPECT_EQ(values->string("name")->value, "cd");
  EXPECT_EQ(values->string("name")->path, "config[1].name");
  EXPECT_FALSE(values->string("name")->from_class);
  EXPECT_THAT(values->strings("names")->value, ElementsAre("ef"));
  ASSERT_THAT(values->objects("ranges")->value, SizeIs(1));
  EXPECT_FALSE(values->objects("ranges")->value[0].integer("from")->from_class);
  EXPECT_EQ(values->path(), "config[1]");
}

TEST(Fields, Required_IsRequiredOfAllSectionsTogether) {
  EXPECT_TRUE(decode_all({{R"({"vlanId":7})"}, {"{}"}}));
  EXPECT_TRUE(decode_all({{"{}"}, {R"({"vlanId":7})"}}));
  const auto missing = decode_all({{"{}"}, {R"({"name":"ab"})"}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().what(), "config[1].vlanId: this field is required");
}

TEST(Fields, RequiredInANestedObject_IsRequiredOfEach) {
  EXPECT_EQ(refused(R"("ranges":[{"from":1},{"to":2}])"), "config[1].ranges[1].from: this field is required");
}

TEST(Fields, WrongTypes) {
  EXPECT_EQ(refused(R"("name":7)"), "config[1].name: must be a string, not 7");
  EXPECT_EQ(refused(R"("trust":"yes")"), "config[1].trust: must be true or false, not \"yes\"");
  EXPECT_EQ(refused(R"("vlanId":"7")"), "config[1].vlanId: must be a whole number from 1 to 4094, not \"7\"");
  EXPECT_EQ(refused(R"("protocol":"802.1x")"),
            "config[1].protocol: must be one of \"802.1Q\", \"802.1ad\", not \"802.1x\"");
  EXPECT_EQ(refused(R"("names":"ab")"), "config[1].names: must be a list, not \"ab\"");
  EXPECT_EQ(refused(R"("names":["ab",7])"), "config[1].names[1]: must be a string, not 7");
  EXPECT_THAT(refused(R"("pkeys":[1.5])"), StartsWith("config[1].pkeys[0]: must be a whole number from 0"));
  EXPECT_EQ(refused(R"("sysctls":{"a":7})"), "config[1].sysctls.a: must be a string, not 7");
  EXPECT_EQ(refused(R"("limits":[])"), "config[1].limits: must be an object, not a list");
  EXPECT_EQ(refused(R"("ranges":[7])"), "config[1].ranges[0]: must be an object, not 7");
  EXPECT_EQ(refused(R"("name":null)"), "config[1].name: must be a string, not null");
}

TEST(Fields, Limits) {
  EXPECT_THAT(refused(R"("vlanId":0)"), StartsWith("config[1].vlanId: must be a whole number from 1 to"));
  EXPECT_THAT(refused(R"("vlanId":4095)"), StartsWith("config[1].vlanId: must be a whole number from 1 to"));
  EXPECT_EQ(refused(R"("vlanId":4094)"), "accepted");
  EXPECT_THAT(refused(R"("pkeys":[32768])"), StartsWith("config[1].pkeys[0]: "));
  EXPECT_EQ(refused(R"("names":["","","",""])"), "config[1].names: has 4 items, at most 3 are allowed");
  EXPECT_EQ(refused(R"("sysctls":{"a":"","b":"","c":""})"),
            "config[1].sysctls: has 3 entries, at most 2 are allowed");
  EXPECT_EQ(refused(R"("ranges":[{"from":1},{"from":1},{"from":1}])"),
            "config[1].ranges: has 3 items, at most 2 are allowed");
  EXPECT_THAT(refused(R"("limits":{"rate":-1})"), StartsWith("config[1].limits.rate: "));
}

TEST(Fields, Formats) {
  EXPECT_EQ(refused(R"("name":"abc")"), "config[1].name: \"abc\" has an odd length");
  EXPECT_EQ(refused(R"("names":["ab","abc"])"), "config[1].names[1]: \"abc\" has an odd length");
  EXPECT_EQ(refused(R"("sysctls":{"a":"abc"})"), "config[1].sysctls.a: \"abc\" has an odd length");
}

TEST(Fields, RuleAboutSeveralFields_NamesTheOne) {
  EXPECT_EQ(refused(R"("ranges":[{"from":1,"to":2},{"from":3,"to":2}])"),
            "config[1].ranges[1].to: is below from");
  // It is not asked about what is not well-formed: it relies on the required fields.
  EXPECT_EQ(refused(R"("ranges":[{"to":2}])"), "config[1].ranges[0].from: this field is required");
}

TEST(Fields, UnknownFields) {
  EXPECT_EQ(refused(R"("vlanID":7)"), "config[1].vlanID: unknown field (did you mean \"vlanId\"?)");
  EXPECT_THAT(refused(R"("something":7)"),
              StartsWith("config[1].something: unknown field (known here: \"name\", \"trust\", "));
  EXPECT_THAT(refused(R"("ranges":[{"from":1,"x":1}])"), StartsWith("config[1].ranges[0].x: unknown field"));
  EXPECT_THAT(refused(R"("name":"ab","name":"cd")"), HasSubstr("name"));
}

TEST(Fields, FieldOfAnotherKind_IsRefusedByName) {
  EXPECT_EQ(refused(R"("owner":"x")"), "config[1].owner: belongs to kind \"tun\", not to \"vlan\"");
  EXPECT_EQ(refused(R"("queues":2)"),
            "config[1].queues: belongs to kind \"tap\" or \"tun\", not to \"vlan\"");
  EXPECT_EQ(refused(R"("name":"ab")"), "accepted") << "it has that, too";
}

TEST(Fields, WrongSection_IsRefusedAlthoughALaterOneOverridesIt) {
  const auto values = decode_all({{R"({"vlanId":0})"}, {R"({"vlanId":7})"}});
  ASSERT_FALSE(values);
  EXPECT_THAT(values.error().what(), StartsWith("config[0].vlanId: "));
}

TEST(FieldsDeathTest, FieldThatIsNotInTheTable_IsAnErrorOfTheProgram) {
  const Values values(kFields);
  EXPECT_DEATH((void)values.string("queues"), "the field queues is read, but is not in the table");
}

TEST(FieldsDeathTest, FieldOfAnotherType_IsAnErrorOfTheProgram) {
  const auto values = decode_all({{R"({"vlanId":7})"}});
  ASSERT_TRUE(values);
  EXPECT_DEATH((void)values->string("vlanId"), "the field vlanId is read as another type");
}

// ---- texts

std::vector<TypeFields> all_types() {
  return {{.type = "netdev",
           .kinds = {{.kind = "tap", .fields = kOfTap},
                     {.kind = "tun", .fields = kOfTun, .risk = Risk::kOwn},
                     {.kind = "vlan", .fields = kFields, .risk = Risk::kOwn}}}};
}

TEST(FieldsText, Markdown_HasARowForEachField) {
  const std::string text = to_markdown(all_types());
  EXPECT_THAT(text, StartsWith("<!-- fields of netdev: "));
  EXPECT_THAT(text, HasSubstr("<!-- end of the fields of netdev -->\n"));
  EXPECT_THAT(text, HasSubstr("| `kind` | all | `tap`, `tun`, `vlan` | required | own; `tap`: node |\n"));
  EXPECT_THAT(text, HasSubstr("| `vlanId` | vlan | 1 to 4094 | required | node |\n"));
  EXPECT_THAT(text, HasSubstr("| `protocol` | vlan | `802.1Q`, `802.1ad` | `802.1Q` | node |\n"));
  EXPECT_THAT(text, HasSubstr("| `trust` | vlan | `true`, `false` | `false` | shared |\n"));
  EXPECT_THAT(text, HasSubstr("Fields of `ranges[]`:\n\n| field | value | default | risk |\n"));
  EXPECT_THAT(text, HasSubstr("| `from` | 1 to 4094 | required | node |\n"));
  // The kinds mean different things by it.
  EXPECT_THAT(text, HasSubstr("- `name` (vlan): Even name.\n"));
}

TEST(FieldsText, Markdown_WrapsSentences) {
  const std::string sentence = std::string(100, 'a') + " " + std::string(30, 'b') + " c";
  const std::array table = {Field{.name = "x", .meaning = sentence}};
  const std::array types = {TypeFields{.type = "t", .kinds = {{.kind = "k", .fields = table}}}};
  EXPECT_THAT(to_markdown(types),
              HasSubstr("- `x`: " + std::string(100, 'a') + "\n  " + std::string(30, 'b') + " c\n"));
}

TEST(FieldsText, Schema_HasOneDefinitionForEachKind) {
  const auto schema = nlohmann::json::parse(to_json_schema(all_types()));
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  ASSERT_THAT(schema["$defs"], SizeIs(3));
  const auto& vlan = schema["$defs"]["netdev.vlan"];
  EXPECT_EQ(vlan["additionalProperties"], false);
  EXPECT_EQ(vlan["required"], nlohmann::json({"kind"})) << "another config may have the others";
  const auto& properties = vlan["properties"];
  EXPECT_THAT(properties, SizeIs(kFields.size() + 1));
  EXPECT_EQ(properties["kind"]["const"], "vlan");
  EXPECT_EQ(properties["vlanId"]["minimum"], 1);
  EXPECT_EQ(properties["vlanId"]["maximum"], 4094);
  EXPECT_EQ(properties["protocol"]["enum"], nlohmann::json({"802.1Q", "802.1ad"}));
  EXPECT_EQ(properties["names"]["maxItems"], 3);
  EXPECT_EQ(properties["names"]["items"]["pattern"], "^(..)*$");
  EXPECT_EQ(properties["sysctls"]["maxProperties"], 2);
  EXPECT_EQ(properties["limits"]["additionalProperties"], false);
  EXPECT_EQ(properties["ranges"]["items"]["required"], nlohmann::json({"from"}));
  EXPECT_FALSE(schema["$defs"]["netdev.tap"]["properties"].contains("vlanId"));
}

}  // namespace
}  // namespace fairlead::fields
