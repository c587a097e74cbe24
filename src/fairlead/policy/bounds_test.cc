// SPDX-License-Identifier: Apache-2.0
#include "fairlead/policy/bounds.h"

#include <gmock/gmock.h>

namespace fairlead::policy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string why_bad(std::string_view key, const std::vector<std::string>& items) {
  Bounds bounds;
  const auto bad = set_bound(bounds, key, items);
  return bad ? std::to_string(bad->at) + ": " + bad->why : "accepted";
}

Bounds with(std::string_view key, const std::vector<std::string>& items) {
  Bounds bounds;
  EXPECT_FALSE(set_bound(bounds, key, items));
  return bounds;
}

class BoundsTest : public ::testing::Test {
 protected:
  template <class T>
  static std::string outside(const Bounds& bounds, fields::Bound bound, T data) {
    const fields::Field field{.name = "field", .bound = bound};
    fields::Value value{.field = &field};
    value.data = std::move(data);
    const auto found = find_outside(bounds, value);
    return found ? found->at + found->item + " not in " + std::string(found->key) + " " + found->allowed
                 : "inside";
  }
  static std::string parent(const Bounds& bounds, const std::string& name) {
    return outside(bounds, fields::Bound::kParent, name);
  }
};

TEST_F(BoundsTest, VlanRange_IsAnIdOrTwo) {
  EXPECT_EQ(*parse_vlan_range("300"), (VlanRange{300, 300}));
  EXPECT_EQ(*parse_vlan_range("0-4094"), (VlanRange{0, 4094}));
  for (const char* text : {"", "-", "1-", "-1", "4095", "1-4095", "200-100", "1 - 2", "0x10", "1-2-3", "a"}) {
    EXPECT_FALSE(parse_vlan_range(text)) << text;
  }
}

TEST_F(BoundsTest, ItemsAreChecked) {
  EXPECT_EQ(why_bad("parents", {"eth*", "a/b"}),
            R"(1: "a/b" is neither the name of a link nor a glob of names (ens2f*))");
  EXPECT_THAT(why_bad("parents", {""}), HasSubstr("0: "));
  EXPECT_THAT(why_bad("addresses", {"192.0.2.0"}), HasSubstr("is not a network with its prefix length"));
  EXPECT_EQ(why_bad("addresses", {"192.0.2.1/24"}),
            "0: \"192.0.2.1/24\" has bits behind its prefix length; the network is 192.0.2.0/24");
  EXPECT_THAT(why_bad("vlans", {"1", "5000"}), HasSubstr("1: \"5000\" is neither a VLAN id"));
  EXPECT_THAT(why_bad("drivers", {""}), HasSubstr("must have 1 to 253 bytes"));
}

TEST_F(BoundsTest, AbsentListBoundsNothing_AnEmptyOneAllowsNothing) {
  EXPECT_EQ(parent({}, "eth0"), "inside");
  EXPECT_EQ(parent(with("parents", {}), "eth0"), "\"eth0\" not in parents nothing");
  EXPECT_EQ(outside(with("vlans", {}), fields::Bound::kVlan, std::int64_t{7}), "7 not in vlans nothing");
  EXPECT_EQ(parent(with("vlans", {}), "eth0"), "inside") << "another list";
}

TEST_F(BoundsTest, Parents_AreGlobsOfStarAndQuestionMark) {
  const Bounds bounds = with("parents", {"ens2f*", "br-?", "e[0]", "*x*y"});
  for (const char* name : {"ens2f", "ens2f0np0", "br-a", "e[0]", "xy", "axbyxy"}) {
    EXPECT_EQ(parent(bounds, name), "inside") << name;
  }
  for (const char* name : {"ens2", "aens2f0", "br-", "br-ab", "e0", "xyz", ""}) {
    EXPECT_EQ(parent(bounds, name), "\"" + std::string(name) + "\" not in parents ens2f*, br-?, e[0], *x*y");
  }
  EXPECT_TRUE(bounds.lists_parent_exactly("e[0]"));
  EXPECT_FALSE(bounds.lists_parent_exactly("ens2f*")) << "a glob lists no name";
}

TEST_F(BoundsTest, Addresses_AreInARangeOfTheirFamily) {
  const Bounds bounds = with("addresses", {"192.0.2.0/24", "203.0.113.7/32"});
  const auto of = [&](std::vector<std::string> texts) {
    return outside(bounds, fields::Bound::kAddress, std::move(texts));
  };
  EXPECT_EQ(of({"192.0.2.10/16", "203.0.113.7/24"}), "inside") << "the prefix length does not count";
  EXPECT_EQ(of({"192.0.2.10/24", "192.0.3.1/24"}),
            "[1]\"192.0.3.1/24\" not in addresses 192.0.2.0/24, 203.0.113.7/32");
  EXPECT_THAT(of({"2001:db8::1/64"}), HasSubstr("[0]")) << "no range of this family";
  EXPECT_THAT(of({"::ffff:192.0.2.1/128"}), HasSubstr("[0]"));
  EXPECT_EQ(
      outside(with("addresses", {"2001:db8::/32"}), fields::Bound::kAddress, std::string("2001:db8:1::5")),
      "inside");
}

TEST_F(BoundsTest, ListsInSentencesAreCut) {
  EXPECT_EQ(outside(with("drivers", {"a", "b", "c", "d", "e"}), fields::Bound::kDriver, std::string("x")),
            "\"x\" not in drivers a, b, c, d, ...");
}

TEST_F(BoundsTest, EveryBoundHasItsKey) {
  EXPECT_EQ(key_of(fields::Bound::kNone), "");
  EXPECT_EQ(key_of(fields::Bound::kParent), "parents");
  EXPECT_EQ(key_of(fields::Bound::kAddress), "addresses");
  EXPECT_EQ(key_of(fields::Bound::kVlan), "vlans");
  EXPECT_EQ(key_of(fields::Bound::kDriver), "drivers");
  EXPECT_EQ(key_of(fields::Bound::kNadNamespace), "nadNamespaces");
  EXPECT_EQ(key_of(fields::Bound::kCniPlugin), "cniPlugins");
  EXPECT_EQ(outside(with("nadNamespaces", {"a"}), fields::Bound::kNadNamespace, std::string("b")),
            "\"b\" not in nadNamespaces a");
  EXPECT_EQ(outside(with("cniPlugins", {"a"}), fields::Bound::kCniPlugin, std::string("a")), "inside");
  EXPECT_THAT(keys_of(with("cniPlugins", {})), ElementsAre("cniPlugins"));
}

}  // namespace
}  // namespace fairlead::policy
