// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/seccomp_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "drydock/node/testing/temp_folder.h"

namespace drydock {
namespace {

using fairlead::Code;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

const SeccompTarget kTarget = {
    .capabilities = {"CAP_NET_ADMIN", "CAP_SYS_ADMIN"}, .machine = "x86_64", .kernel = "6.1.0-13-amd64"};

/// Of a profile with this in its list of rules.
json translated(const std::string& rules, const SeccompTarget& target = kTarget) {
  const auto out = translate_seccomp(R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS",
    "defaultErrnoRet": 1, "archMap": [
      {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
      {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
    "syscalls": [)" + rules + "]}",
                                     target);
  EXPECT_TRUE(out) << out.error().what();
  return out ? json::parse(*out) : json();
}
/// Whether the rule of a call named `x` with these conditions counts.
bool counts(const std::string& conditions, const SeccompTarget& target = kTarget) {
  return !translated(R"({"names": ["x"], "action": "SCMP_ACT_ALLOW", )" + conditions + "}",
                     target)["syscalls"]
              .empty();
}

TEST(SeccompProfile, DefaultsAndArchitecturesOfTheMachine) {
  const auto out = translated("");
  EXPECT_EQ(out["defaultAction"], "SCMP_ACT_ERRNO");
  EXPECT_EQ(out["defaultErrnoRet"], ENOSYS) << "the name wins over the number";
  EXPECT_EQ(out["architectures"], json({"SCMP_ARCH_X86_64", "SCMP_ARCH_X86"}));
  SeccompTarget arm = kTarget;
  arm.machine = "aarch64";
  EXPECT_EQ(translated("", arm)["architectures"], json({"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"}));
}

TEST(SeccompProfile, RuleKeepsNamesActionErrnoAndArguments) {
  const auto out =
      translated(R"({"names": ["socket", "accept"], "action": "SCMP_ACT_ERRNO", "errno": "EINVAL",
    "errnoRet": 99, "comment": "", "args": [{"index": 0, "value": 16, "valueTwo": 0, "op": "SCMP_CMP_EQ"},
    {"index": 1, "value": 4294967295, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"}]})");
  ASSERT_EQ(out["syscalls"].size(), 1U);
  EXPECT_EQ(
      out["syscalls"][0],
      json::parse(R"({"names": ["socket", "accept"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": [
              {"index": 0, "value": 16, "op": "SCMP_CMP_EQ"},
              {"index": 1, "value": 4294967295, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"}]})"));
}

TEST(SeccompProfile, NullArgumentsAndTheOldSingleName) {
  const auto out = translated(R"({"name": "read", "action": "SCMP_ACT_ALLOW", "args": null})");
  EXPECT_EQ(out["syscalls"][0], json::parse(R"({"names": ["read"], "action": "SCMP_ACT_ALLOW"})"));
}

TEST(SeccompProfile, IncludedCapabilities_AreNeededAll) {
  EXPECT_TRUE(counts(R"("includes": {"caps": ["CAP_SYS_ADMIN"]})"));
  EXPECT_TRUE(counts(R"("includes": {"caps": ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]})"));
  EXPECT_FALSE(counts(R"("includes": {"caps": ["CAP_SYS_ADMIN", "CAP_SYS_TIME"]})"));
}
TEST(SeccompProfile, ExcludedCapabilities_OneIsEnough) {
  EXPECT_FALSE(counts(R"("excludes": {"caps": ["CAP_SYS_TIME", "CAP_SYS_ADMIN"]})"));
  EXPECT_TRUE(counts(R"("excludes": {"caps": ["CAP_SYS_TIME"]})"));
}
TEST(SeccompProfile, Architectures) {
  EXPECT_TRUE(counts(R"("includes": {"arches": ["amd64", "x32"]})"));
  EXPECT_FALSE(counts(R"("includes": {"arches": ["arm64"]})"));
  EXPECT_FALSE(counts(R"("excludes": {"arches": ["amd64"]})"));
}
TEST(SeccompProfile, KernelVersions) {
  EXPECT_TRUE(counts(R"("includes": {"minKernel": "4.8"})"));
  EXPECT_TRUE(counts(R"("includes": {"minKernel": "6.1"})"));
  EXPECT_FALSE(counts(R"("includes": {"minKernel": "6.10"})"));
  EXPECT_FALSE(counts(R"("excludes": {"minKernel": "4.8"})"));
  EXPECT_TRUE(counts(R"("excludes": {"minKernel": "6.10"})"));
}

TEST(SeccompProfile, WhatIsNotUnderstood_IsRefused) {
  for (const auto& [rule, words] : std::vector<std::pair<std::string, std::string>>{
           {R"({"names": ["x"], "action": "SCMP_ACT_ALLOW", "unless": {}})", "syscalls[0]: \"unless\""},
           {R"({"names": ["x"], "action": "SCMP_ACT_ALLOW", "includes": {"users": []}})",
            "syscalls[0].includes: \"users\""},
           {R"({"names": [], "action": "SCMP_ACT_ALLOW"})", "names no system call"},
           {R"({"names": ["x"], "action": "SCMP_ACT_ERRNO", "errno": "EWHAT"})",
            "there is no errno \"EWHAT\""}}) {
    const auto out =
        translate_seccomp(R"({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [)" + rule + "]}", kTarget);
    ASSERT_FALSE(out) << rule;
    EXPECT_THAT(out.error().what(), HasSubstr(words));
  }
  EXPECT_FALSE(translate_seccomp("not JSON", kTarget));
  EXPECT_FALSE(translate_seccomp("{}", kTarget)) << "without a default action nothing is filtered";
}

TEST(SeccompProfile, MissingFile_NamesThePackage) {
  const auto out = default_seccomp({}, "/no/such/seccomp.json");
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code(), Code::kNotFound);
  EXPECT_THAT(out.error().what(),
              AllOf(HasSubstr("/no/such/seccomp.json"), HasSubstr("golang-github-containers-common")));
}

TEST(SeccompProfile, TheDistributionsFile_IsUnderstood) {
  if (::access(kSeccompProfile, R_OK) != 0) {
    GTEST_SKIP() << kSeccompProfile << " is not there (package " << kSeccompPackage << ")";
  }
  const auto none = default_seccomp({});
  ASSERT_TRUE(none) << none.error().what();
  const auto admin = default_seccomp({"CAP_SYS_ADMIN"});
  ASSERT_TRUE(admin) << admin.error().what();
  EXPECT_GT(json::parse(*none)["syscalls"].size(), 5U);
  EXPECT_NE(*none, *admin) << "bpf(2) and others hang on CAP_SYS_ADMIN";
}

}  // namespace
}  // namespace drydock
