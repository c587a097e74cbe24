// SPDX-License-Identifier: Apache-2.0
// JSON text as a tree that keeps the document's order and its numbers' text. Private to src/formats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"

namespace fairlead::json_tree {

enum class Type : std::uint8_t { kNull, kBool, kInteger, kNumber, kString, kArray, kObject };

struct Value {
  Type type = Type::kNull;
  bool boolean = false;
  std::int64_t integer = 0;       // kInteger; a whole number that does not fit is a kNumber
  std::string text;               // kString: the value; kInteger, kNumber: as written
  std::vector<Value> items;       // kArray, kObject: the values
  std::vector<std::string> keys;  // kObject: as long as items

  /// The member, or null.
  [[nodiscard]] const Value* find(std::string_view key) const;
};

struct Limits {
  std::size_t bytes;
  std::size_t depth;
};

/// kInvalid for text that is not one JSON value in valid UTF-8, a duplicate key, a NUL anywhere, and exceeded
/// limits. The sentence begins with the path of the field if it is known ("a.b[1]: ..."), below `path`.
Result<Value> parse(std::string_view text, const std::string& path, Limits limits);

/// "path.key", or path["odd key"] when the key is not a plain word.
std::string join_path(const std::string& path, std::string_view key);
std::string join_path(const std::string& path, std::size_t index);
/// The text in quotes, control characters escaped, cut when long: safe in an error message.
std::string quote(std::string_view text);
/// The value for "must be X, not <this>".
std::string describe(const Value& value);

}  // namespace fairlead::json_tree
