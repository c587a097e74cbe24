// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/json_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <ostream>
#include <random>
#include <string>

namespace fairlead::json_text {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Optional;

struct MemberCase {
  const char* object;
  const char* key;
  const char* value;  // null: none
};

// NOLINTNEXTLINE(readability-identifier-naming): gtest's name
void PrintTo(const MemberCase& row, std::ostream* out) { *out << row.object; }

class Member : public ::testing::TestWithParam<MemberCase> {};

TEST_P(Member, IsTheExactText) {
  const auto [object, key, value] = GetParam();
  if (value == nullptr) {
    EXPECT_EQ(member(object, key), std::nullopt);
  } else {
    EXPECT_THAT(member(object, key), Optional(std::string_view(value)));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, Member,
    ::testing::Values(
        MemberCase{R"({"a":1})", "a", "1"},
        MemberCase{R"( { "a" : { "x" : 1 , "x":2 } , "b":3 } )", "a", R"({ "x" : 1 , "x":2 })"},
        MemberCase{R"({"a":1,"a":[2, 3]})", "a", "[2, 3]"},  // the last one, as in a DOM
        MemberCase{R"({"\u0061":true})", "a", "true"}, MemberCase{R"({"a\"b":"}"})", "a\"b", "\"}\""},
        MemberCase{R"({"s":"\\\"}","a":"x"})", "a", "\"x\""}, MemberCase{R"({"deep":{"a":1}})", "a", nullptr},
        MemberCase{R"({"a":-1.5e+3})", "a", "-1.5e+3"}, MemberCase{R"({"a":null})", "a", "null"},
        MemberCase{R"({"a":""})", "a", "\"\""}, MemberCase{"{}", "a", nullptr},
        MemberCase{"[1]", "a", nullptr}, MemberCase{"", "a", nullptr}, MemberCase{R"({"a")", "a", nullptr},
        MemberCase{R"({"a":)", "a", nullptr}, MemberCase{R"({"a":"open)", "a", nullptr},
        MemberCase{R"({"a":{"b":1)", "a", nullptr}, MemberCase{R"({"b)", "b", nullptr},
        MemberCase{R"({"":5})", "", "5"}));

TEST(Elements, AreTheExactTexts) {
  EXPECT_THAT(elements(R"([1, "a,b]" , {"x":[1,2]},[ ]])"),
              ElementsAre("1", "\"a,b]\"", R"({"x":[1,2]})", "[ ]"));
  EXPECT_THAT(elements("[]"), IsEmpty());
  EXPECT_THAT(elements(" [ ] "), IsEmpty());
  EXPECT_THAT(elements("{}"), IsEmpty());
  EXPECT_THAT(elements("[1,2"), ElementsAre("1", "2"));
}

TEST(MemberPath, StopsWhereAMemberIsMissing) {
  EXPECT_THAT(member_path(R"({"a":{"b":{"c":[7]}}})", {"a", "b", "c"}), Optional(std::string_view("[7]")));
  EXPECT_EQ(member_path(R"({"a":{"x":1}})", {"a", "b", "c"}), std::nullopt);
}

TEST(Member, TenThousandLevelsAreNoRecursion) {
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_THAT(member("{\"a\":" + deep + "}", "a"), Optional(std::string_view(deep)));
}

/// A random document, written with random white space.
class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  std::string value(int depth) {
    switch (pick(depth > 3 ? 4 : 6)) {
      case 0:
        return "-12.5E2";
      case 1:
        return pick(2) == 0 ? "null" : "true";
      case 2:
        return R"("a\"\\,:{}[]\u00e9 b")";
      case 3:
        return "9223372036854775807";
      case 4:
        return sequence('[', ']', [&] { return value(depth + 1); });
      default:
        return sequence('{', '}', [&] { return key() + space() + ":" + space() + value(depth + 1); });
    }
  }
  std::string key() {
    constexpr const char* kKeys[] = {"\"a\"", "\"b\"", "\"\\u0061\"", "\"c d\"", "\"\\\"\""};
    return kKeys[pick(5)];
  }
  std::size_t pick(std::size_t count) { return random_() % count; }

 private:
  std::string space() {
    constexpr const char* kSpaces[] = {"", "", " ", "\n", "\t \r"};
    return kSpaces[pick(5)];
  }
  template <class Item>
  std::string sequence(char open, char close, Item item) {
    std::string out(1, open);
    const std::size_t count = pick(4);
    for (std::size_t i = 0; i < count; ++i) {
      out += (i == 0 ? "" : ",") + space() + item() + space();
    }
    return out + space() + close;
  }
  std::mt19937 random_;
};

TEST(Fuzz, MembersAndElementsAgreeWithADom) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    Generator generator(seed);
    const std::string text = generator.value(0);
    const auto dom = nlohmann::json::parse(text);
    for (const char* key : {"a", "b", "c d", "\""}) {
      const auto found = member(text, key);
      ASSERT_EQ(found.has_value(), dom.is_object() && dom.contains(key)) << text;
      if (found) {
        ASSERT_EQ(nlohmann::json::parse(*found), dom[key]) << text;
      }
    }
    const auto items = elements(text);
    ASSERT_EQ(items.size(), dom.is_array() ? dom.size() : 0) << text;
    for (std::size_t i = 0; i < items.size(); ++i) {
      ASSERT_EQ(nlohmann::json::parse(items[i]), dom[i]) << text;
    }
  }
}

TEST(Fuzz, DamagedTextIsSurvived) {
  for (unsigned seed = 0; seed < 5000; ++seed) {
    Generator generator(seed);
    std::string text = generator.value(0);
    for (int i = 0; i < 3 && !text.empty(); ++i) {
      const std::size_t at = generator.pick(text.size());
      if (generator.pick(2) == 0) {
        text.erase(at, 1 + generator.pick(4));
      } else {
        text[at] = "{}[]\":,\\x\0"[generator.pick(10)];
      }
    }
    // Whatever comes back lies inside the text (the sanitizers watch the reads).
    for (const auto& found : elements(text)) {
      ASSERT_GE(found.data(), text.data());
      ASSERT_LE(found.data() + found.size(), text.data() + text.size());
    }
    if (const auto found = member(text, "a")) {
      ASSERT_LE(found->data() + found->size(), text.data() + text.size());
    }
  }
}

}  // namespace
}  // namespace fairlead::json_text
