// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/json_text.h"

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

namespace fairlead::json_text {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/// Walks over text that is meant to be JSON. Every step either moves on or reports failure.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  /// Skips white space; true and past it when the next byte is `c`.
  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) {
      return false;
    }
    ++at_;
    return true;
  }

  /// The string at the cursor with its quotes; empty when there is none.
  std::string_view string() {
    skip_space();
    const std::size_t start = at_;
    if (at_ >= text_.size() || text_[at_] != '"' || !skip_string()) {
      return {};
    }
    return text_.substr(start, at_ - start);
  }

  /// The value at the cursor; empty when there is none. Nesting is counted, not recursed into.
  std::string_view value() {
    skip_space();
    const std::size_t start = at_;
    std::size_t depth = 0;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '"') {
        if (!skip_string()) {
          return {};
        }
      } else if (c == '{' || c == '[') {
        ++depth;
        ++at_;
        continue;
      } else if (c == '}' || c == ']') {
        if (depth == 0) {
          break;
        }
        --depth;
        ++at_;
      } else if (depth > 0 && (c == ',' || c == ':' || is_space(c))) {
        ++at_;
        continue;
      } else {
        skip_scalar();
      }
      if (depth == 0) {
        break;
      }
    }
    return depth == 0 ? text_.substr(start, at_ - start) : std::string_view{};
  }

 private:
  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) {
      ++at_;
    }
  }
  /// Moves from an opening quote past the closing one; false if there is none.
  bool skip_string() {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return true;
      }
    }
    at_ = text_.size();
    return false;
  }
  /// A number or a word. Consumes nothing if a separator is at the cursor.
  void skip_scalar() {
    while (at_ < text_.size() && !is_space(text_[at_]) &&
           std::string_view(",:{}[]\"").find(text_[at_]) == std::string_view::npos) {
      ++at_;
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

bool same_key(std::string_view quoted, std::string_view key) {
  const std::string_view inner = quoted.substr(1, quoted.size() - 2);
  if (inner.find('\\') == std::string_view::npos) {
    return inner == key;
  }
  const auto decoded = nlohmann::json::parse(quoted, nullptr, /*allow_exceptions=*/false);
  return decoded.is_string() && decoded.get_ref<const std::string&>() == key;
}

}  // namespace

std::optional<std::string_view> member(std::string_view object, std::string_view key) {
  Scanner scanner(object);
  if (!scanner.take('{')) {
    return std::nullopt;
  }
  std::optional<std::string_view> found;
  do {
    const std::string_view name = scanner.string();
    if (name.empty() || !scanner.take(':')) {
      break;
    }
    const std::string_view value = scanner.value();
    if (value.empty()) {
      break;
    }
    if (same_key(name, key)) {
      found = value;
    }
  } while (scanner.take(','));
  return found;
}

std::optional<std::string_view> member_path(std::string_view object,
                                            std::initializer_list<std::string_view> keys) {
  std::optional<std::string_view> at = object;
  for (const std::string_view key : keys) {
    at = member(*at, key);
    if (!at) {
      break;
    }
  }
  return at;
}

std::vector<std::string_view> elements(std::string_view array) {
  std::vector<std::string_view> found;
  Scanner scanner(array);
  if (!scanner.take('[')) {
    return found;
  }
  do {
    const std::string_view value = scanner.value();
    if (value.empty()) {
      break;
    }
    found.push_back(value);
  } while (scanner.take(','));
  return found;
}

}  // namespace fairlead::json_text
