// SPDX-License-Identifier: Apache-2.0
// Which values a claim's parameters may have: the `bounds` of the policy file and of a FieldPolicy. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/formats/fields.h"
#include "fairlead/sys/netlink/ip_address.h"

namespace fairlead::policy {

/// first <= last, both 0 to 4094.
struct VlanRange {
  std::uint16_t first = 0, last = 0;
  friend bool operator==(const VlanRange&, const VlanRange&) = default;
};
/// "100-199", "300".
Result<VlanRange> parse_vlan_range(std::string_view text);

/// Of each list: nullopt, not bounded; empty, nothing is allowed.
struct Bounds {
  std::optional<std::vector<std::string>> parents;  // globs with * and ?, of the name as it is written
  std::optional<std::vector<netlink::IpPrefix>>
      addresses;  // an address of a family without a range is outside
  std::optional<std::vector<VlanRange>> vlans;
  std::optional<std::vector<std::string>> drivers;  // this and the next two: exact words
  std::optional<std::vector<std::string>> nad_namespaces;
  std::optional<std::vector<std::string>> cni_plugins;

  /// A `parents` entry without * and ? is the name.
  [[nodiscard]] bool lists_parent_exactly(std::string_view name) const;
};

/// The keys of `bounds`, as they are written.
inline constexpr std::array<std::string_view, 6> kBoundKeys = {"parents", "addresses",     "vlans",
                                                               "drivers", "nadNamespaces", "cniPlugins"};
/// At most this many items in each list.
inline constexpr std::size_t kMaxBoundItems = 10'000;

/// Sets the list of this key (one of kBoundKeys). The error is about the item `at`, as the end of a sentence.
struct BadItem {
  std::size_t at = 0;
  std::string why;
};
std::optional<BadItem> set_bound(Bounds& bounds, std::string_view key, const std::vector<std::string>& items);
/// The keys whose lists are present.
std::vector<std::string_view> keys_of(const Bounds& bounds);
/// The key of the list that a field's values are under; empty: none.
std::string_view key_of(fields::Bound bound);

/// What is outside.
struct Outside {
  std::string at;        // below the field: "[1]"; empty: the field itself
  std::string item;      // as a sentence has it: "\"eth0\"", "7"
  std::string_view key;  // "vlans"
  std::string allowed;   // "100-199, 300"; "nothing" if the list is empty; at most four entries
};
/// The first item of `value` that is outside; nullopt: all are inside, or the field is under no bound.
std::optional<Outside> find_outside(const Bounds& bounds, const fields::Value& value);

/// At most four of the words, "..." for the rest; "nothing" if there are none.
std::string short_list(const std::vector<std::string>& words);

}  // namespace fairlead::policy
