// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/result.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>

#include "fairlead/core/fd.h"

namespace fairlead {
namespace {

Result<int> fails() { return Error(Code::kNotFound, "no link eth9"); }

Result<int> adds_context() {
  FL_ASSIGN(const int value, fails(), "prepare claim x");
  return value + 1;
}

Result<> tries_with_context() {
  FL_TRY(fails(), "outer");
  return {};
}

TEST(Result, ContextStandsInFront) {
  const auto result = adds_context();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().what(), "prepare claim x: no link eth9");
  EXPECT_EQ(result.error().code(), Code::kNotFound);
  EXPECT_EQ(tries_with_context().error().what(), "outer: no link eth9");
}

TEST(Result, ErrnoKeepsNumberAndMeaning) {
  const Error error = Error::from_errno(EEXIST, "create link data0");
  EXPECT_EQ(error.sys_errno(), EEXIST);
  EXPECT_EQ(error.code(), Code::kExists);
  EXPECT_EQ(error.what(), "create link data0: File exists");
}

TEST(Result, ErrnoOfAnAddress) {
  EXPECT_EQ(Error::from_errno(EADDRNOTAVAIL, "add address ::1/128").code(), Code::kInvalid);
  EXPECT_EQ(Error::from_errno(EADDRINUSE, "set link up").code(), Code::kExists);
}

TEST(UniqueFd, MoveAssignClosesTheOldOne) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(pipe(ends), 0);
  UniqueFd read_end(ends[0]);
  read_end = UniqueFd(ends[1]);
  EXPECT_EQ(close(ends[0]), -1) << "the first descriptor must be closed already";
  EXPECT_EQ(read_end.get(), ends[1]);
}

TEST(ScopeExit, RunsUnlessReleased) {
  int runs = 0;
  {
    const ScopeExit undo([&] { ++runs; });
  }
  {
    ScopeExit undo([&] { ++runs; });
    undo.release();
  }
  EXPECT_EQ(runs, 1);
}

}  // namespace
}  // namespace fairlead
