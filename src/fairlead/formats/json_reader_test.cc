// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/json_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace fairlead {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

JsonDocument document(std::string_view text) {
  auto parsed = JsonDocument::parse(text, "Thing");
  EXPECT_TRUE(parsed) << parsed.error().what();
  return *std::move(parsed);
}

TEST(JsonReader, ReadsValuesOfEveryType) {
  const auto parsed = document(
      R"({"s":"x","b":true,"i":-9223372036854775808,"q":1,"qs":"1Gi","l":["a","b"],"any":{"b" : [1], "a":2},
          "m":{"k":"v"},"qm":{"n":5},"o":{"s":"y"},"os":[{"s":"1"},{"s":"2"}],"by":{"one":{"s":"3"}}})");
  const JsonReader in = parsed.root();
  EXPECT_EQ(in.string("s"), "x");
  EXPECT_TRUE(in.boolean("b"));
  EXPECT_EQ(in.integer("i"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(in.quantity("q"), "1");
  EXPECT_EQ(in.optional_quantity("qs"), "1Gi");
  EXPECT_THAT(in.strings("l"), ElementsAre("a", "b"));
  EXPECT_EQ(in.text("any"), R"({"a":2,"b":[1]})");
  EXPECT_THAT(in.string_map("m"), ElementsAre(Pair("k", "v")));
  EXPECT_THAT(in.quantity_map("qm"), ElementsAre(Pair("n", "5")));
  EXPECT_EQ(in.object("o").string("s"), "y");
  ASSERT_THAT(in.objects("os"), SizeIs(2));
  EXPECT_EQ(in.objects("os")[1].string("s"), "2");
  ASSERT_THAT(in.members("by"), SizeIs(1));
  EXPECT_EQ(in.members("by")[0].first, "one");
  EXPECT_EQ(in.members("by")[0].second.string("s"), "3");
  EXPECT_TRUE(parsed.check());
}

TEST(JsonReader, AbsentAndNullAreEmpty) {
  for (const char* text : {"{}", R"({"x":null})"}) {
    const auto parsed = document(text);
    const JsonReader in = parsed.root();
    EXPECT_FALSE(in.has("x"));
    EXPECT_EQ(in.string("x"), "");
    EXPECT_FALSE(in.boolean("x"));
    EXPECT_EQ(in.integer("x", 7), 7);
    EXPECT_EQ(in.quantity("x"), "");
    EXPECT_EQ(in.optional_quantity("x"), std::nullopt);
    EXPECT_EQ(in.text("x"), "");
    EXPECT_FALSE(in.object("x").present());
    EXPECT_EQ(in.object("x").object("y").string("z"), "");
    EXPECT_THAT(in.objects("x"), IsEmpty());
    EXPECT_THAT(in.strings("x"), IsEmpty());
    EXPECT_THAT(in.members("x"), IsEmpty());
    EXPECT_THAT(in.string_map("x"), IsEmpty());
    EXPECT_TRUE(parsed.check()) << text;
  }
}

TEST(JsonReader, WrongTypeReadsAsEmptyAndIsReportedWithItsPath) {
  const auto parsed = document(R"({"a":{"b":[{"c":1}]}})");
  EXPECT_EQ(parsed.root().object("a").objects("b").at(0).string("c"), "");
  const auto checked = parsed.check();
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code(), Code::kCorrupt);
  EXPECT_EQ(checked.error().what(), "Thing: a.b[0].c is not a string");
}

TEST(JsonReader, FirstWrongTypeIsReported) {
  const auto parsed = document(R"({"a":1,"b":2})");
  (void)parsed.root().strings("b");
  (void)parsed.root().string("a");
  EXPECT_EQ(parsed.check().error().what(), "Thing: b is not an array");
}

TEST(JsonReader, FieldsThatAreNotReadMayHaveAnyType) {
  const auto parsed = document(R"({"a":1})");
  EXPECT_EQ(parsed.root().string("b"), "");
  EXPECT_TRUE(parsed.check());
}

TEST(ReadJson, ReturnsTheValueOrTheError) {
  const auto name = [](const JsonReader& in) { return in.string("name"); };
  EXPECT_EQ(read_json(R"({"name":"x"})", "Thing", name).value(), "x");
  EXPECT_EQ(read_json(R"({"name":1})", "Thing", name).error().what(), "Thing: name is not a string");
  EXPECT_EQ(read_json("{", "Thing", name).error().what(), "Thing: this is not JSON (1 bytes)");
  EXPECT_EQ(read_json("[]", "Thing", name).error().what(), "Thing: the document is not an object");
}

}  // namespace
}  // namespace fairlead
