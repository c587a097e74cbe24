// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/memory.h"

#include <gtest/gtest.h>

#include <string>

namespace fairlead::sys {
namespace {

TEST(Memory, CodeRunsOnAfterItsPagesWereReleased) {
  const std::string before = std::to_string(12345);
  release_startup_code();
  EXPECT_EQ(std::to_string(12345), before);
  release_startup_code();
}

}  // namespace
}  // namespace fairlead::sys
