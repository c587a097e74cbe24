// SPDX-License-Identifier: Apache-2.0
// One YAML document as a tree with line numbers, without the features of YAML by which a text says something else than
// it seems to: anchors, aliases, tags, repeated keys, several documents.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/result.h"

namespace fairlead::policy {

struct YamlNode {
  enum class Kind : std::uint8_t { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  std::size_t line = 1;
  std::string text;             // of a scalar
  bool is_string = false;       // a scalar that is no number, truth value or null
  std::vector<YamlNode> items;  // of a list
  /// Of a map, in the order of the text; no key twice.
  struct Member;
  std::vector<Member> members;

  [[nodiscard]] const YamlNode* find(std::string_view key) const;
};
struct YamlNode::Member {
  std::string key;
  std::size_t line = 1;
  YamlNode value;
};

/// kInvalid: "FILE:LINE: sentence".
Result<YamlNode> parse_yaml(std::string_view text, std::string_view file_name);

}  // namespace fairlead::policy
