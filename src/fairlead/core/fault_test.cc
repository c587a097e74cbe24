// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/fault.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>

namespace fairlead {
namespace {

TEST(ParseFaults, EveryForm) {
  const auto faults = parse_faults("a:kill,b:freeze,c:kill:once=/tmp/x:y");
  ASSERT_TRUE(faults) << faults.error().what();
  EXPECT_EQ(*faults, (std::vector<Fault>{{.point = "a", .signal = SIGKILL, .once = ""},
                                         {.point = "b", .signal = SIGSTOP, .once = ""},
                                         {.point = "c", .signal = SIGKILL, .once = "/tmp/x:y"}}));
  EXPECT_TRUE(parse_faults("")->empty());
}

TEST(ParseFaults, WhatIsNoFault_IsNamed) {
  for (const char* bad :
       {"a", "a:explode", ":kill", "a:kill:twice", "a:kill:once=", "a:kill:once=relative"}) {
    const auto faults = parse_faults(std::string("good:kill,") + bad);
    ASSERT_FALSE(faults) << bad;
    EXPECT_NE(faults.error().what().find("\"" + std::string(bad) + "\""), std::string::npos);
  }
}

/// A process that passes the points "a" and "b" and ends with status 7: what became of it.
std::string run_with(const std::string& faults) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setenv("FAIRLEAD_FAULT", faults.c_str(), 1);
    fault_point("a");
    fault_point("b");
    ::_exit(7);
  }
  int status = 0;
  std::string story;
  while (::waitpid(pid, &status, WUNTRACED) == pid) {
    if (WIFSTOPPED(status)) {
      story += "frozen ";
      ::kill(pid, SIGCONT);
      continue;
    }
    return story + (WIFSIGNALED(status) ? "killed" : "exit " + std::to_string(WEXITSTATUS(status)));
  }
  return "lost";
}

class FaultPoint : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fault_points_enabled()) {
      GTEST_SKIP() << "this build has no fault points (CMake option FAIRLEAD_FAULTS)";
    }
  }
};

TEST_F(FaultPoint, KillsAtItsPointOnly) {
  EXPECT_EQ(run_with("b:kill"), "killed");
  EXPECT_EQ(run_with("c:kill"), "exit 7");
  EXPECT_EQ(run_with("c:kill,a:kill"), "killed");
  EXPECT_EQ(run_with(""), "exit 7");
}

TEST_F(FaultPoint, Frozen_GoesOnWhenItIsWoken) {
  EXPECT_EQ(run_with("a:freeze,b:freeze"), "frozen frozen exit 7");
}

TEST_F(FaultPoint, Once_IsOnceForAllProcesses) {
  std::array<char, 32> dir{"/tmp/fl-fault-XXXXXX"};
  ASSERT_NE(::mkdtemp(dir.data()), nullptr);
  const std::string file = std::string(dir.data()) + "/done";
  EXPECT_EQ(run_with("a:kill:once=" + file), "killed");
  EXPECT_EQ(run_with("a:kill:once=" + file), "exit 7");
  EXPECT_EQ(run_with("a:kill:once=" + file + ",b:freeze"), "frozen exit 7");
  ::unlink(file.c_str());
  ::rmdir(dir.data());
}

}  // namespace
}  // namespace fairlead
