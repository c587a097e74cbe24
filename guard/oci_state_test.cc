// SPDX-License-Identifier: Apache-2.0
#include "guard/oci_state.h"

#include <gtest/gtest.h>

#include <string>

namespace guard {
namespace {

TEST(OciState, OfARuntime_IsRead) {
  const OciState state = parse_oci_state(
      R"({"ociVersion":"1.0.2-dev","id":"a1b2","status":"creating","pid":4711,"bundle":"/run/x",
          "annotations":{"pid":"1","nested":"{\"pid\":2}"}})");
  EXPECT_TRUE(state.valid);
  EXPECT_EQ(state.pid, 4711);
  EXPECT_EQ(state.id, "a1b2");
}

TEST(OciState, OnlyTheTopLevelPidCounts) {
  EXPECT_EQ(parse_oci_state(R"({"a":{"pid":1,"b":[{"pid":2},[]]},"c":[1,true,null,"}"],"pid":3})").pid, 3);
  EXPECT_FALSE(parse_oci_state(R"({"a":{"pid":1}})").valid);
}

TEST(OciState, AnythingElse_IsRefused) {
  for (const char* text :
       {"", "{", "{}", "[]", "null", "pid", R"({"pid":})", R"({"pid":"1"})", R"({"pid":-1})", R"({"pid":0})",
        R"({"pid":1.5})", R"({"pid":99999999999999999999})", R"({"pid":1)", R"({"pid":1}x)", R"({"pid":1,})",
        R"({"id":"x)", R"({"id":"x\)", R"({"a":[1,"pid":1})"}) {
    EXPECT_FALSE(parse_oci_state(text).valid) << text;
  }
}

TEST(OciState, DeepNesting_EndsWithoutOverflow) {
  EXPECT_FALSE(parse_oci_state(R"({"a":)" + std::string(100'000, '[')).valid);
}

TEST(OciState, EveryPrefix_IsSurvived) {
  const std::string text = R"({"id":"a\"b","x":[{"y":"z"},1],"pid":12})";
  for (std::size_t size = 0; size < text.size(); ++size) {
    EXPECT_FALSE(parse_oci_state(std::string_view(text).substr(0, size)).valid) << size;
  }
  EXPECT_TRUE(parse_oci_state(text).valid);
  EXPECT_EQ(parse_oci_state(text).id, "");
}

}  // namespace
}  // namespace guard
