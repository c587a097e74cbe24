// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/json_writer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

namespace fairlead {
namespace {

using nlohmann::json;

std::string text_of(std::string_view value) {
  JsonWriter out;
  out.value(value);
  return std::move(out).take();
}

TEST(JsonWriter, WritesWhatTheLibraryWritesOfTheSameValue) {
  const json same = {
      {"empty", json::object()},
      {"list", {1, -2, "three", true, json::array()}},
      {"map", {{"a", "1"}, {"b", "2"}}},
      {"nested", {{"inner", {{"x", false}}}}},
      {"numbers", {std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::uint64_t>::max()}},
      {"words", {"a", "b"}}};
  JsonWriter out;
  out.begin_object();
  out.key("empty").begin_object().end_object();
  out.key("list").begin_array().value(1).value(-2).value("three").value(true);
  out.begin_array().end_array().end_array();
  out.member("map", std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}});
  out.key("nested").begin_object().key("inner").raw(R"({"x":false})").end_object();
  out.key("numbers").begin_array();
  out.value(std::numeric_limits<std::int64_t>::min())
      .value(std::numeric_limits<std::uint64_t>::max())
      .end_array();
  out.member("words", std::vector<std::string>{"a", "b"});
  out.end_object();
  EXPECT_TRUE(out.is_utf8());
  EXPECT_EQ(std::move(out).take(), same.dump());
}

TEST(JsonWriter, WithIndentation_WritesWhatTheLibraryWrites) {
  const json same = {
      {"a", {1, 2, json::array(), json::object()}}, {"b", {{"c", "d"}}}, {"e", json::array({json::array()})}};
  JsonWriter out(2);
  out.begin_object();
  out.key("a").begin_array().value(1).value(2);
  out.begin_array().end_array().begin_object().end_object().end_array();
  out.key("b").begin_object().member("c", "d").end_object();
  out.key("e").begin_array().begin_array().end_array().end_array();
  out.end_object();
  EXPECT_EQ(std::move(out).take(), same.dump(2));
}

TEST(JsonWriter, EscapesEveryByteAndCharacterAsTheLibraryDoes) {
  for (int byte = 0; byte < 128; ++byte) {
    const std::string text = std::string("a") + static_cast<char>(byte) + "z\"";
    EXPECT_EQ(text_of(text), json(text).dump()) << byte;
  }
  for (const char* text : {"", "é", "\u2028", "\U0001F600 \"quoted\"", "back\\slash", "a\tb\r\n"}) {
    EXPECT_EQ(text_of(text), json(text).dump()) << text;
  }
}

TEST(JsonWriter, TextThatIsNoUtf8_IsReplacedAndNoted) {
  JsonWriter out;
  out.value("good \xff bad");
  EXPECT_FALSE(out.is_utf8());
  EXPECT_EQ(std::move(out).take(), "\"good \uFFFD bad\"");
}

TEST(JsonWriter, KeysAreEscapedToo) {
  JsonWriter out;
  out.begin_object().member("a\"b", 1).end_object();
  EXPECT_EQ(std::move(out).take(), R"({"a\"b":1})");
}

TEST(CanonicalObject, IsWhatTheWriterWrites) {
  for (const char* good : {"{}", R"({"a":1,"b":[{"x":"é"}]})"}) {
    EXPECT_TRUE(is_canonical_object(good)) << good;
  }
  for (const char* bad : {"", "text", "[1]", "1", "{", R"({"a": 1})", R"({"b":1,"a":1})", R"({"a":1,"a":1})",
                          R"({"a":1.0e0})", R"({"a":"\u0041"})", "{\"a\":\"\xff\"}", "{} "}) {
    EXPECT_FALSE(is_canonical_object(bad)) << bad;
  }
}

}  // namespace
}  // namespace fairlead
