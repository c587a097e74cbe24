// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/log.h"

#include <gtest/gtest.h>

#include <string>

namespace fairlead {
namespace {

/// What is logged, without the time.
std::string logged(std::string_view message, log::Fields fields) {
  ::testing::internal::CaptureStderr();
  log::info(message, fields);
  const std::string line = ::testing::internal::GetCapturedStderr();
  return line.substr(line.find(' ') + 1);
}

TEST(Log, Fields_AreQuotedWhereNeeded) {
  EXPECT_EQ(logged("claim prepared", {{"claim", "u-1"}, {"why", "no \"x\" there"}, {"empty", ""}}),
            "info claim prepared claim=u-1 why=\"no \\\"x\\\" there\" empty=\"\"\n");
}

/// A pod may name its interface as it likes; the log stays one line of UTF-8 and steers no terminal.
TEST(Log, ControlCharactersAndBytesThatAreNotUtf8_AreEscaped) {
  EXPECT_EQ(logged("link gone", {{"link", "a\x1b[31m\xff"}, {"two", "x\ny"}}),
            "info link gone link=a\\x1b[31m\\xff two=\"x\\ny\"\n");
}

}  // namespace
}  // namespace fairlead
