// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "fairlead/policy/testing/asked_claim.h"

namespace fairlead::policy {
namespace {

using devices::OwnParents;
using testing::AskedClaim;
using ::testing::ElementsAre;
using testing::field_policy;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::netdev;
using ::testing::SizeIs;
using ::testing::StartsWith;

class Decide : public ::testing::Test {
 protected:
  Decide() { policy_.flag = Level::kBaseline; }

  void bound(std::string_view key, const std::vector<std::string>& items) {
    ASSERT_FALSE(set_bound(policy_.file.bounds, key, items));
  }

  /// All refusals, or the error.
  std::vector<std::string> sentences() const {
    const auto decision = claim_.ask(policy_, kinds_, without_parameters_);
    if (!decision) {
      return {decision.error().what()};
    }
    std::vector<std::string> out;
    for (const Refusal& refusal : decision->refusals) {
      out.push_back(refusal.sentence());
    }
    return out;
  }
  std::string sentence() const {
    const auto all = sentences();
    return all.empty() ? "allowed" : all.front();
  }
  devices::Resolved resolved() const {
    const auto decision = claim_.ask(policy_, kinds_, without_parameters_);
    EXPECT_TRUE(decision) << decision.error().what();
    EXPECT_TRUE(decision->is_allowed()) << decision->refusals.front().sentence();
    return decision->resolved;
  }

  Policy policy_;
  devices::Registry kinds_ = devices::all_kinds();
  const devices::Kind* without_parameters_ = nullptr;
  AskedClaim claim_;
};

// ---- the sentences of the ADR

TEST_F(Decide, Sentence_FieldThatIsNotOpen) {
  claim_.of_class(netdev(R"("kind":"macvlan")"));
  claim_.of_claim(netdev(R"("kind":"macvlan","master":"eth0")"));
  EXPECT_THAT(
      sentences(),
      ElementsAre("config[0] of the claim: opaque.parameters.netdev.master: a claim of namespace \"lab\" may "
                  "not write it at level baseline (risk: node); leave it out, or ask your admin for a "
                  "DeviceClass that sets it or has a FieldPolicy with claimMay netdev.master for \"lab\""));
}

TEST_F(Decide, Sentence_FixedField) {
  claim_.of_class(netdev(R"("kind":"macvlan","mode":"bridge")"));
  claim_.of_claim(netdev(R"("kind":"macvlan","mode":"vepa")"));
  EXPECT_THAT(
      sentences(),
      ElementsAre("config[0] of the claim: opaque.parameters.netdev.mode: \"vepa\" differs from \"bridge\", "
                  "which DeviceClass net sets and which is fixed at level baseline; repeat that value or "
                  "leave the field out, or use another class"));
}

TEST_F(Decide, Sentence_Kind) {
  policy_.flag = Level::kRestricted;
  claim_.of_claim(netdev(R"("kind":"veth")"));
  EXPECT_THAT(
      sentences(),
      ElementsAre(
          "config[0] of the claim: opaque.parameters.netdev.kind: a claim of namespace \"lab\" may not "
          "choose the kind \"veth\" at level restricted (risk: node); use a DeviceClass that sets it, "
          "or has a FieldPolicy with claimMay netdev.kind for \"lab\""));
}

TEST_F(Decide, Sentence_OutsideOfAnOpening) {
  claim_.of_class(netdev(R"("kind":"vlan","master":"ens2f0")"));
  claim_.of_class(field_policy(R"("netdev.vlanId")", R"("lab")", R"("vlans":["100-199"])"));
  claim_.of_claim(netdev(R"("kind":"vlan","vlanId":7)"));
  EXPECT_THAT(
      sentences(),
      ElementsAre(
          "config[0] of the claim: opaque.parameters.netdev.vlanId: 7 is outside what DeviceClass net "
          "opens for claims at level baseline (vlans 100-199); take one of these"));
}

TEST_F(Decide, Sentence_OutsideOfTheNodesBounds) {
  bound("parents", {"ens2f*", "br-data"});
  claim_.of_class(netdev(R"("kind":"macvlan","master":"eth0")"));
  EXPECT_THAT(
      sentences(),
      ElementsAre("config[0] of DeviceClass net: opaque.parameters.netdev.master: \"eth0\" is not in "
                  "bounds.parents of the node's policy file (ens2f*, br-data), which binds classes too at "
                  "level baseline; the admin can add it there, or give namespace \"lab\" the level "
                  "privileged"));
}

TEST_F(Decide, Sentence_FieldPolicyInAClaim_AtEveryLevel) {
  claim_.of_claim(field_policy(R"("netdev.vlanId")", R"("lab")"));
  for (const Level level : {Level::kRestricted, Level::kBaseline, Level::kPrivileged}) {
    policy_.flag = level;
    EXPECT_THAT(sentences(), ElementsAre("config[0] of the claim: opaque.parameters: a FieldPolicy is for a "
                                         "DeviceClass and has no effect in a claim; remove it"));
  }
}

TEST_F(Decide, Sentence_ClassThatIsNotCertain) {
  claim_.add_request("second", "b", testing::kDriver);
  claim_.of_class(netdev(R"("kind":"macvlan")"), {});
  EXPECT_THAT(
      sentences(),
      ElementsAre(
          "request \"nic\" got the device netdev-virtual, and the allocation does not say which of the "
          "classes b, net set config[0] of the DeviceClass (the scheduler lacks the fix of "
          "kubernetes#134793); at level baseline use one claim for each class"));
}

TEST_F(Decide, SeveralRefusals_TheFirstIsTheError_WithTheirNumber) {
  claim_.of_claim(netdev(R"("kind":"veth","bridge":"br0","mac":"02:00:00:00:00:01","mtu":1400)"));
  EXPECT_THAT(sentences(), SizeIs(3));
  auto decision = claim_.ask(policy_, kinds_);
  const auto taken = std::move(*decision).take();
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code(), Code::kDenied);
  EXPECT_THAT(taken.error().what(), StartsWith("config[0] of the claim: opaque.parameters.netdev.kind: "));
  EXPECT_THAT(taken.error().what(), HasSubstr(" (2 more of this device)"));
}

// ---- what is fixed

TEST_F(Decide, RepeatedValue_StaysTheClasss) {
  claim_.of_class(netdev(R"("kind":"macvlan","master":"eth0","addresses":["192.0.2.1/24","192.0.2.2/24"])"));
  claim_.of_claim(netdev(R"("kind":"macvlan","master":"eth0","addresses":["192.0.2.1/24","192.0.2.2/24"])"));
  const auto got = resolved();
  EXPECT_TRUE(got.values.string("master")->from_class);
  EXPECT_EQ(got.own_parents, OwnParents::kAsWritten);
}

TEST_F(Decide, ListsAndObjects_AreComparedAsAWhole) {
  const auto differs = [&](const std::string& of_class, const std::string& of_claim) {
    claim_ = AskedClaim();
    claim_.of_class(netdev(R"("kind":"dummy",)" + of_class));
    claim_.of_claim(netdev(R"("kind":"dummy",)" + of_claim));
    return sentence();
  };
  EXPECT_THAT(
      differs(R"("addresses":["192.0.2.1/24","192.0.2.2/24"])", R"("addresses":["192.0.2.1/24"])"),
      HasSubstr(
          "[\"192.0.2.1/24\"] differs from [\"192.0.2.1/24\", \"192.0.2.2/24\"], which DeviceClass net"));
  EXPECT_THAT(
      differs(R"("routes":[{"dst":"10.0.0.0/8"}])", R"("routes":[{"dst":"10.0.0.0/8","metric":1}])"),
      HasSubstr("netdev.routes: differs from what DeviceClass net sets, which is fixed at level baseline"));
  EXPECT_EQ(differs(R"("routes":[{"dst":"10.0.0.0/8","metric":1}])",
                    R"("routes":[{"metric":1,"dst":"10.0.0.0/8"}])"),
            "allowed");
}

TEST_F(Decide, ClaimMay_DoesNotOpenWhatTheClassSets_AndTheRefusalSaysSo) {
  claim_.of_class(netdev(R"("kind":"vlan","master":"ens2f0","vlanId":5)"));
  claim_.of_class(field_policy(R"("netdev.vlanId")", R"("*")"));
  claim_.of_claim(netdev(R"("kind":"vlan","vlanId":7)"));
  EXPECT_THAT(sentence(),
              HasSubstr("at level baseline (claimMay does not open what the class sets); repeat"));
}

TEST_F(Decide, LastEntryOfTheClassWins_AsAmongTheClaims) {
  claim_.of_class(netdev(R"("kind":"macvlan","mtu":1400,"master":"eth0")"));
  claim_.of_class(netdev(R"("kind":"macvlan","mtu":1300)"));
  claim_.of_claim(netdev(R"("kind":"macvlan","interfaceName":"a")"));
  claim_.of_claim(netdev(R"("kind":"macvlan","interfaceName":"b")"));
  const auto got = resolved();
  EXPECT_EQ(got.values.integer("mtu")->value, 1300);
  EXPECT_EQ(got.values.string("interfaceName")->value, "b");
  EXPECT_EQ(got.values.string("master")->value, "eth0");
}

TEST_F(Decide, EntryOfAnotherKindBetween_DoesNotDropWhatTheClassSets) {
  claim_.of_class(netdev(R"("kind":"macvlan","mode":"private")"));
  claim_.of_claim(netdev(R"("kind":"ipvlan")"));
  claim_.of_claim(netdev(R"("kind":"macvlan","interfaceName":"a")"));
  EXPECT_THAT(sentence(), HasSubstr("netdev.kind: \"ipvlan\" differs from \"macvlan\""));
  const auto decision = claim_.ask(policy_, kinds_);
  EXPECT_EQ(decision->resolved.values.string("mode")->value, "private");
}

TEST_F(Decide, AtPrivileged_ClassValuesAreDefaults_AndBoundsDoNotApply) {
  policy_.file.namespaces = {{"lab", Level::kPrivileged}};
  bound("parents", {});
  claim_.of_class(netdev(R"("kind":"macvlan","master":"eth0")"));
  claim_.of_claim(netdev(R"("kind":"macvlan","master":"eth1")"));
  const auto got = resolved();
  EXPECT_EQ(got.values.string("master")->value, "eth1");
  EXPECT_EQ(got.own_parents, OwnParents::kAny);
}

// ---- FieldPolicies

TEST_F(Decide, ValuesMustBeInTheBoundsOfAllOpenings_AndInThoseOfTheFile) {
  const auto with_vlan = [&](int id) {
    claim_ = AskedClaim();
    claim_.of_class(netdev(R"("kind":"vlan","master":"ens2f0")"));
    claim_.of_class(field_policy(R"("netdev.vlanId")", R"("lab")", R"("vlans":["100-199"])"));
    claim_.of_class(field_policy(R"("netdev.vlanId")", R"("lab")", R"("vlans":["150-299"])"));
    claim_.of_claim(netdev(R"("kind":"vlan","vlanId":)" + std::to_string(id)));
    return sentence();
  };
  EXPECT_EQ(with_vlan(150), "allowed");
  EXPECT_THAT(with_vlan(149), HasSubstr("(vlans 150-299)"));
  EXPECT_THAT(with_vlan(200), HasSubstr("(vlans 100-199)"));
  bound("vlans", {"160"});
  EXPECT_EQ(with_vlan(160), "allowed");
  EXPECT_THAT(with_vlan(150),
              HasSubstr("150 is not in bounds.vlans of the node's policy file (160), which binds every"));
}

TEST_F(Decide, BoundsOfAnOpening_DoNotBindWhatTheLevelAllowsOrTheClassSets) {
  claim_.of_class(netdev(R"("kind":"vlan","master":"ens2f0","vlanId":7)"));
  claim_.of_class(field_policy(R"("netdev.vlanId","netdev.mtu")", R"("lab")", R"("vlans":[],"parents":[])"));
  claim_.of_claim(netdev(R"("kind":"vlan","mtu":1400)"));
  EXPECT_EQ(sentence(), "allowed");
}

TEST_F(Decide, Opening_TakesNothingAway) {
  claim_.of_class(field_policy(R"("netdev.mac")", R"("lab")"));
  claim_.of_claim(netdev(R"("kind":"dummy","mtu":1400,"mac":"02:00:00:00:00:01")"));
  EXPECT_EQ(sentence(), "allowed");
}

TEST_F(Decide, FieldPolicyOfAnotherDriversClass_OpensNothing) {
  claim_.of_class(field_policy(R"("netdev.mac")", R"("lab")"), {"nic"}, testing::kOtherDriver);
  claim_.of_claim(netdev(R"("kind":"dummy","mac":"02:00:00:00:00:01")"));
  EXPECT_THAT(sentence(), HasSubstr("netdev.mac: a claim of namespace \"lab\" may not write it"));
}

TEST_F(Decide, WrongFieldPolicy_IsAnError) {
  const auto with = [&](const std::string& text) {
    claim_ = AskedClaim();
    claim_.of_class(text);
    return sentence();
  };
  EXPECT_EQ(with(field_policy(R"("netdev.vlan")", R"("lab")")),
            "config[0] of DeviceClass net: opaque.parameters.claimMay[0]: this version knows no field "
            "\"netdev.vlan\" "
            "(a name is TYPE.FIELD, such as netdev.vlanId, or TYPE.kind)");
  EXPECT_THAT(with(field_policy("", R"("lab")")), HasSubstr("claimMay: must list at least one field"));
  EXPECT_THAT(with(field_policy(R"("netdev.mtu")", "")),
              HasSubstr("namespaces: must list at least one namespace"));
  EXPECT_THAT(with(field_policy(R"("netdev.mtu")", R"("lab","*")")),
              HasSubstr("namespaces[1]: \"*\" is every"));
  EXPECT_THAT(with(field_policy(R"("netdev.mtu")", R"("lab-*")")),
              HasSubstr("namespaces[0]: \"lab-*\" cannot be"));
  EXPECT_THAT(with(field_policy(R"("netdev.mtu")", R"("lab")", R"("vlans":["x"])")),
              HasSubstr("opaque.parameters.bounds.vlans[0]: \"x\" is neither"));
  EXPECT_THAT(with(field_policy(R"("netdev.mtu")", R"("lab")", R"("vlan":[])")), HasSubstr("bounds.vlan: "));
  EXPECT_THAT(with(R"({"apiVersion":"fairlead.dev/v2","kind":"FieldPolicy","claimMay":["netdev.mtu"],)"
                   R"("namespaces":["*"]})"),
              HasSubstr("apiVersion: must be"));
  EXPECT_THAT(with(R"({"apiVersion":"fairlead.dev/v1alpha1","kind":"FieldPolicy"})"),
              HasSubstr("claimMay: "));
  // The word in another spelling is no FieldPolicy, and no parameters either.
  EXPECT_THAT(with(R"({"apiVersion":"fairlead.dev/v1alpha1","kind":"\u0046ieldPolicy"})"), HasSubstr("type"));
}

TEST_F(Decide, FieldPolicyAlone_LeavesTheDeviceWithoutParameters) {
  claim_.of_class(field_policy(R"("netdev.kind")", R"("lab")"));
  EXPECT_EQ(resolved().kind, nullptr);
}

// ---- parents that are the node's own

TEST_F(Decide, OwnParent_OfTheClaim_OnlyIfAListHasItByName) {
  const auto with = [&](const std::string& bounds) {
    claim_ = AskedClaim();
    claim_.of_class(netdev(R"("kind":"macvlan")"));
    claim_.of_class(field_policy(R"("netdev.master")", R"("lab")", bounds));
    claim_.of_claim(netdev(R"("kind":"macvlan","master":"eth0")"));
    return resolved().own_parents;
  };
  EXPECT_EQ(with(""), OwnParents::kNone);
  EXPECT_EQ(with(R"("parents":["eth*"])"), OwnParents::kNone);
  EXPECT_EQ(with(R"("parents":["*","eth0"])"), OwnParents::kAsWritten);
  bound("parents", {"*"});
  EXPECT_EQ(with(""), OwnParents::kNone);
  bound("parents", {"eth0"});
  EXPECT_EQ(with(""), OwnParents::kAsWritten);
}

// ---- the kind that a device has anyway

TEST_F(Decide, KindOfTheDeviceItself_MayBeWritten_ForTheName) {
  policy_.flag = Level::kRestricted;
  claim_.of_claim(netdev(R"("kind":"host-device","interfaceName":"data0")"));
  EXPECT_THAT(sentence(), HasSubstr("may not choose the kind \"host-device\" at level restricted"));
  without_parameters_ = kinds_.find({.type = "netdev", .kind = "host-device"});
  EXPECT_EQ(sentence(), "allowed");
}

TEST_F(Decide, WithoutADevice_WhatDependsOnIt_IsANote) {
  policy_.flag = Level::kRestricted;
  dra::AllocatedDevice device{.request = "nic", .device = "netdev-virtual"};
  const auto ask = [&](const std::string& kind) {
    device.config = {{.parameters = netdev(R"("kind":")" + kind + '"'), .path = "config[0] of the claim"}};
    return decide({.kinds = &kinds_,
                   .policy = &policy_,
                   .claim_namespace = "lab",
                   .device = &device,
                   .is_device_known = false});
  };
  const auto nic = ask("host-device");
  ASSERT_TRUE(nic);
  EXPECT_TRUE(nic->is_allowed());
  EXPECT_THAT(nic->notes,
              ElementsAre(HasSubstr("\"host-device\" is accepted at level restricted only for a device")));
  const auto pair = ask("veth");
  ASSERT_TRUE(pair);
  EXPECT_FALSE(pair->is_allowed());
  EXPECT_THAT(pair->notes, IsEmpty());
}

// ---- parts

/// A device of two parts: "a" and "b", each a netdev.
class PairKind final : public devices::Kind {
 public:
  [[nodiscard]] devices::KindName name() const override { return {.type = "combo", .kind = "pair"}; }
  [[nodiscard]] fields::Risk risk() const override { return fields::Risk::kOwn; }
  [[nodiscard]] std::span<const fields::Field> fields() const override {
    static constexpr std::array kFields = {
        fields::Field{.name = "a", .is_part = true}, fields::Field{.name = "b", .is_part = true},
        fields::Field{.name = "speed", .type = fields::Type::kInteger, .max = 9}};
    return kFields;
  }
  [[nodiscard]] std::vector<devices::PartConfig> parts(const fields::Values& entry) const override {
    std::vector<devices::PartConfig> parts;
    for (const char* part : {"a", "b"}) {
      if (const auto text = entry.string(part)) {
        parts.push_back({.part = part, .config = {.parameters = text->value, .path = text->path}});
      }
    }
    return parts;
  }
  Result<devices::DevicePlan> plan(const devices::PlanInput& /*input*/,
                                   const fields::Values& /*values*/) const override {
    return devices::DevicePlan();
  }
  Result<devices::PlanBodyPtr> read(std::string_view /*json*/, std::string_view /*name*/) const override {
    return devices::PlanBodyPtr();
  }
  [[nodiscard]] devices::Needs needs(const devices::PlanBody& /*body*/) const override { return {}; }
  Result<> detach(const devices::DetachInput& /*input*/) const override { return {}; }
};

class DecideParts : public Decide {
 protected:
  DecideParts() { kinds_.add(std::make_unique<PairKind>()); }

  static std::string pair(const std::vector<std::pair<std::string, std::string>>& parts) {
    std::string out = R"({"type":"combo","combo":{"kind":"pair")";
    for (const auto& [name, members] : parts) {
      std::string escaped;
      for (const char c : netdev(members)) {
        escaped += (c == '"' ? "\\" : "") + std::string(1, c);
      }
      out += ",\"" + name + "\":\"" + escaped + '"';
    }
    return out + "}}";
  }
};

TEST_F(DecideParts, EachFieldOfAPart_IsAskedForByItsOwnName) {
  claim_.of_claim(
      pair({{"a", R"("kind":"dummy","mtu":1400)"}, {"b", R"("kind":"macvlan","master":"eth0")"}}));
  EXPECT_THAT(sentences(),
              ElementsAre(StartsWith("config[0] of the claim: opaque.parameters.combo.b.netdev.master: a "
                                     "claim of namespace \"lab\" may not write it")));
  policy_.flag = Level::kPrivileged;
  const auto got = resolved();
  ASSERT_EQ(got.parts.size(), 2U);
  EXPECT_EQ(got.parts[1].part, "b");
  EXPECT_EQ(got.parts[1].own_parents, OwnParents::kAny);
}

TEST_F(DecideParts, WhatTheClassSetsOfAPart_IsFixed_AndPoliciesOpenTheRest) {
  claim_.of_class(pair({{"a", R"("kind":"macvlan","master":"eth0")"}}));
  claim_.of_class(field_policy(R"("netdev.mac","combo.speed")", R"("lab")"));
  claim_.of_claim(pair({{"a", R"("kind":"macvlan","mac":"02:00:00:00:00:01")"}, {"b", R"("kind":"dummy")"}}));
  const auto got = resolved();
  ASSERT_EQ(got.parts.size(), 2U);
  EXPECT_EQ(got.parts[0].values.string("master")->value, "eth0");
  EXPECT_EQ(got.parts[0].own_parents, OwnParents::kAsWritten);
  EXPECT_EQ(got.parts[0].values.string("mac")->value, "02:00:00:00:00:01");
  EXPECT_EQ(got.parts[1].own_parents, OwnParents::kNone);

  claim_.of_claim(pair({{"a", R"("kind":"macvlan","master":"eth1")"}}));
  EXPECT_THAT(sentence(),
              HasSubstr("combo.a.netdev.master: \"eth1\" differs from \"eth0\", which DeviceClass net"));
}

TEST_F(DecideParts, KindOfAPart_IsChosenAsThatOfADevice) {
  policy_.flag = Level::kRestricted;
  without_parameters_ = kinds_.find({.type = "combo", .kind = "pair"});
  claim_.of_claim(pair({{"a", R"("kind":"dummy")"}}));
  EXPECT_THAT(sentence(),
              HasSubstr("combo.a.netdev.kind: a claim of namespace \"lab\" may not choose the kind"));
}

}  // namespace
}  // namespace fairlead::policy
