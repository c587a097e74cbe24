// SPDX-License-Identifier: Apache-2.0
#include "fairlead/policy/policy_file.h"

#include <gmock/gmock.h>

namespace fairlead::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr const char* kHead = "apiVersion: fairlead.dev/v1alpha1\nkind: PolicyConfiguration\n";

std::string refusal(const std::string& text) {
  const auto file = parse_policy_file(text, "p.yaml");
  return file ? "accepted" : file.error().what();
}
/// What follows the head begins in line 3.
std::string refused(const std::string& rest) { return refusal(kHead + rest); }

TEST(PolicyFile, EverythingInOne) {
  const auto file = parse_policy_file(std::string(kHead) + R"(
level: baseline
namespaces:
  network-team: {level: privileged}
  batch:
    level: restricted
bounds:
  parents: ["ens2f*", br-data]
  addresses: [192.0.2.0/24, "2001:db8:1::/64"]
  vlans: ["100-199", "300"]
  drivers: [vfio-pci]
  nadNamespaces: []
  cniPlugins: [bridge, macvlan]
)",
                                      "p.yaml");
  ASSERT_TRUE(file) << file.error().what();
  EXPECT_EQ(file->level, Level::kBaseline);
  EXPECT_THAT(file->namespaces, SizeIs(2));
  EXPECT_THAT(*file->bounds.parents, ElementsAre("ens2f*", "br-data"));
  EXPECT_THAT(*file->bounds.addresses, SizeIs(2));
  EXPECT_THAT(*file->bounds.vlans, ElementsAre(VlanRange{100, 199}, VlanRange{300, 300}));
  EXPECT_THAT(*file->bounds.nad_namespaces, SizeIs(0));
  const Policy policy{.flag = Level::kPrivileged, .file = *file};
  EXPECT_EQ(policy.level_of("network-team"), Level::kPrivileged);
  EXPECT_EQ(policy.level_of("batch"), Level::kRestricted);
  EXPECT_EQ(policy.level_of("batch-2"), Level::kBaseline);
}

TEST(PolicyFile, WithoutALevel_TheFlagCounts) {
  const auto file = parse_policy_file(kHead, "p.yaml");
  ASSERT_TRUE(file) << file.error().what();
  EXPECT_EQ((Policy{.flag = Level::kRestricted, .file = *file}).level_of("any"), Level::kRestricted);
  EXPECT_EQ(Policy().level_of("any"), Level::kPrivileged);
  EXPECT_FALSE(file->bounds.parents);
}

TEST(PolicyFile, MayBeJson) {
  EXPECT_EQ(
      refusal(
          R"({"apiVersion": "fairlead.dev/v1alpha1", "kind": "PolicyConfiguration", "level": "baseline"})"),
      "accepted");
}

TEST(PolicyFile, ErrorsHaveTheLineAndThePath) {
  EXPECT_EQ(refused("level: strict\n"),
            "p.yaml:3: level: must be restricted, baseline or privileged, not \"strict\"");
  EXPECT_EQ(
      refused("levle: baseline\n"),
      "p.yaml:3: levle: this version does not know this field (it knows apiVersion, kind, level, namespaces, "
      "bounds)");
  EXPECT_EQ(refused("namespaces:\n  lab: {level: baseline, bounds: {}}\n"),
            "p.yaml:4: namespaces.lab.bounds: this version does not know this field (it knows level)");
  EXPECT_EQ(refused("namespaces:\n  lab: {}\n"), "p.yaml:4: namespaces.lab.level: this field is required");
  EXPECT_EQ(refused("namespaces:\n  \"lab-*\": {level: baseline}\n"),
            "p.yaml:4: namespaces.lab-*: \"lab-*\" cannot be the name of a namespace; names are exact");
  EXPECT_EQ(
      refused("bounds:\n  gateways: []\n"),
      "p.yaml:4: bounds.gateways: this version does not know this field (it knows parents, addresses, vlans, "
      "drivers, nadNamespaces, cniPlugins)");
  EXPECT_EQ(refused("bounds:\n  vlans:\n  - \"1\"\n  - \"5000\"\n"),
            "p.yaml:6: bounds.vlans[1]: \"5000\" is neither a VLAN id (\"300\") nor a range of them "
            "(\"100-199\"), 0 "
            "to 4094");
}

TEST(PolicyFile, TypesAreStrict) {
  EXPECT_EQ(refused("bounds: {vlans: [300]}\n"),
            "p.yaml:3: bounds.vlans[0]: must be a string, not a number or truth value; put quotes around it");
  EXPECT_THAT(refused("bounds: {parents: [on]}\n"), HasSubstr("a number or truth value"));
  EXPECT_THAT(refused("bounds: {parents: [~]}\n"), HasSubstr("must be a string, not nothing"));
  EXPECT_THAT(refused("bounds: {parents: [[a]]}\n"), HasSubstr("must be a string, not a list"));
  EXPECT_EQ(refused("bounds: {parents: eth0}\n"), "p.yaml:3: bounds.parents: must be a list, not a string");
  EXPECT_EQ(refused("bounds: []\n"), "p.yaml:3: bounds: must be an object, not a list");
  EXPECT_EQ(refused("bounds:\n"), "p.yaml:3: bounds: must be an object, not nothing");
  EXPECT_EQ(refused("level: [baseline]\n"), "p.yaml:3: level: must be a string, not a list");
  EXPECT_THAT(refused("namespaces: {lab: baseline}\n"),
              HasSubstr("namespaces.lab: must be an object, not a string"));
}

TEST(PolicyFile, IsWhatItSays) {
  EXPECT_EQ(refusal(""), "p.yaml:1: the file is empty; it needs apiVersion and kind at least");
  EXPECT_THAT(refusal("# nothing\n---\n"), HasSubstr("the file is empty"));
  EXPECT_THAT(refusal("kind: PolicyConfiguration\n"), HasSubstr("apiVersion: this field is required"));
  EXPECT_EQ(refusal("apiVersion: fairlead.dev/v1\nkind: PolicyConfiguration\n"),
            "p.yaml:1: apiVersion: must be fairlead.dev/v1alpha1, not \"fairlead.dev/v1\"");
  EXPECT_THAT(refusal("apiVersion: fairlead.dev/v1alpha1\nkind: FieldPolicy\n"),
              StartsWith("p.yaml:2: kind: must be PolicyConfiguration"));
  EXPECT_THAT(refusal("just a text"), HasSubstr("must be an object"));
}

TEST(PolicyFile, WhatSaysSomethingElseThanItSeemsTo_IsRefused) {
  EXPECT_EQ(refused("level: baseline\nlevel: privileged\n"), "p.yaml:4: the key \"level\" is there twice");
  EXPECT_EQ(refused("level: baseline\n---\nlevel: privileged\n"),
            "p.yaml:4: there is a second document; one file has one");
  EXPECT_EQ(refused("level: &a baseline\n"), "p.yaml:3: anchors (&name) are not supported; remove it");
  EXPECT_EQ(refused("bounds: &b {}\n"), "p.yaml:3: anchors (&name) are not supported; remove it");
  EXPECT_THAT(refused("level: &a baseline\nnamespaces: {b: {level: *a}}\n"), StartsWith("p.yaml:3: anchors"));
  EXPECT_EQ(refused("level: !!str baseline\n"), "p.yaml:3: tags (!name) are not supported; remove it");
  EXPECT_THAT(refused("bounds: {vlans: !list []}\n"), HasSubstr("tags (!name)"));
  EXPECT_THAT(refused("<<: {level: privileged}\n"), HasSubstr("does not know this field"));
  EXPECT_THAT(refused("? [a]\n: b\n"), HasSubstr("a key must be a word"));
  EXPECT_THAT(refused("level: [baseline\n"), HasSubstr("this is not YAML"));
  EXPECT_THAT(refused("level: baseline\n  x: y\n"), StartsWith("p.yaml:"));
  EXPECT_THAT(refusal(std::string(kHead) + "level: base" + std::string(1, '\0') + "line"),
              HasSubstr("p.yaml:3: there is a NUL"));
}

TEST(PolicyFile, TooLarge) {
  const std::string comment(kMaxPolicyFile, '#');
  EXPECT_THAT(refusal(kHead + comment), HasSubstr("p.yaml:1: the file has "));
  EXPECT_EQ(refused(std::string(kMaxPolicyFile - std::string(kHead).size(), '#')), "accepted");
}

TEST(PolicyFile, DeepNesting_IsRefused) {
  EXPECT_THAT(refused("bounds: " + std::string(5000, '[')), StartsWith("p.yaml:"));
}

}  // namespace
}  // namespace fairlead::policy
