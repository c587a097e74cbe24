// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/utf8.h"

#include <gtest/gtest.h>

namespace fairlead {
namespace {

TEST(Utf8, ValidText_IsValid) {
  for (const std::string_view text : {"", "abc", "\u00e9\u20ac", "\xf0\x9f\x9a\xa2", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(is_utf8(text)) << text;
  }
}

TEST(Utf8, WhatRfc3629Forbids_IsNotValid) {
  for (const std::string_view text : {"\xff", "\x80", "\xc3", "\xe2\x82", "\xc0\xaf", "\xe0\x80\xaf",
                                      "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\xf5\x80\x80\x80"}) {
    EXPECT_FALSE(is_utf8(text)) << printable(text);
  }
}

TEST(Utf8, Cut_NeverLeavesAPartOfACharacter) {
  EXPECT_EQ(cut_utf8("a\u20acb", 3), "a");
  EXPECT_EQ(cut_utf8("a\u20acb", 4), "a\u20ac");
  EXPECT_EQ(cut_utf8("a\u20acb", 5), "a\u20acb");
}

TEST(Utf8, Printable_IsOneLineOfValidUtf8) {
  EXPECT_EQ(printable("eth0 \u20ac"), "eth0 \u20ac");
  EXPECT_EQ(printable("a\nb\r\tc"), "a\\nb\\r\\tc");
  EXPECT_EQ(printable("\x1b[2J\x7f"), "\\x1b[2J\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "\\xc2\\x9b31m");
  EXPECT_EQ(printable("\xff\xe2\x82"), "\\xff\\xe2\\x82");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
}

}  // namespace
}  // namespace fairlead
