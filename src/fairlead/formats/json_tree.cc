// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/json_tree.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace fairlead::json_tree {
namespace {

constexpr std::size_t kQuoteLimit = 64;

bool plain_key(std::string_view key) {
  return !key.empty() && key.size() <= kQuoteLimit && std::ranges::all_of(key, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

/// What nlohmann says, without its prefix and without the bytes it quotes (they may be no UTF-8).
std::string syntax_error(std::string_view what) {
  constexpr std::string_view kPosition = "parse error at ";
  if (const auto at = what.find(kPosition); at != std::string_view::npos) {
    what.remove_prefix(at + kPosition.size());
  }
  return std::string(what.substr(0, what.find("; last read:")));
}

/// Builds the tree from nlohmann's events and stops at the first thing that is not allowed.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  Builder(std::string path, std::size_t max_depth) : path_(std::move(path)), max_depth_(max_depth) {}

  bool null() override { return add({}); }
  bool boolean(bool value) override {
    Value out;
    out.type = Type::kBool;
    out.boolean = value;
    return add(std::move(out));
  }
  bool number_integer(number_integer_t value) override { return add_integer(value); }
  bool number_unsigned(number_unsigned_t value) override {
    return std::in_range<std::int64_t>(value) ? add_integer(static_cast<std::int64_t>(value))
                                              : add_text(Type::kNumber, std::to_string(value));
  }
  bool number_float(number_float_t /*value*/, const string_t& text) override {
    return add_text(Type::kNumber, text);
  }
  bool string(string_t& value) override {
    if (value.find('\0') != std::string::npos) {
      return refuse(here(), "must not contain a NUL character");
    }
    return add_text(Type::kString, std::move(value));
  }
  bool binary(binary_t& /*value*/) override { return false; }  // not in JSON text
  bool start_object(std::size_t /*elements*/) override { return open(Type::kObject); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t /*elements*/) override { return open(Type::kArray); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    Value& object = stack_.back();
    if (name.find('\0') != std::string::npos) {
      return refuse(path_of(stack_.size() - 1), "a field name must not contain a NUL character");
    }
    if (std::ranges::find(object.keys, name) != object.keys.end()) {
      return refuse(join_path(path_of(stack_.size() - 1), name), "the field is there twice");
    }
    object.keys.push_back(std::move(name));
    return true;
  }
  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::json::exception& e) override {
    error_ = Error(Code::kInvalid, "not valid JSON: " + syntax_error(e.what())).with(path_);
    return false;
  }

  Result<Value> finish() {
    if (error_) {
      return *std::move(error_);
    }
    return std::move(root_);
  }

 private:
  bool refuse(const std::string& path, const std::string& why) {
    error_ = Error(Code::kInvalid, why).with(path);
    return false;
  }
  bool add_text(Type type, std::string text) {
    Value out;
    out.type = type;
    out.text = std::move(text);
    return add(std::move(out));
  }
  bool add_integer(std::int64_t value) {
    Value out;
    out.type = Type::kInteger;
    out.integer = value;
    out.text = std::to_string(value);
    return add(std::move(out));
  }
  bool add(Value value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else {
      stack_.back().items.push_back(std::move(value));
    }
    return true;
  }
  bool open(Type type) {
    if (stack_.size() >= max_depth_) {
      return refuse(here(), "nested deeper than " + std::to_string(max_depth_) + " levels");
    }
    stack_.emplace_back().type = type;
    return true;
  }
  bool close() {
    Value done = std::move(stack_.back());
    stack_.pop_back();
    return add(std::move(done));
  }
  /// Path of the container at `depth` of the stack.
  [[nodiscard]] std::string path_of(std::size_t depth) const {
    std::string path = path_;
    for (std::size_t i = 0; i < depth; ++i) {
      path = child_path(path, stack_[i]);
    }
    return path;
  }
  /// Path of the value that is being read.
  [[nodiscard]] std::string here() const { return path_of(stack_.size()); }
  static std::string child_path(const std::string& path, const Value& parent) {
    return parent.type == Type::kObject ? join_path(path, parent.keys.back())
                                        : join_path(path, parent.items.size());
  }

  std::string path_;
  std::size_t max_depth_;
  std::vector<Value> stack_;  // open containers, outermost first
  Value root_;
  std::optional<Error> error_;
};

}  // namespace

const Value* Value::find(std::string_view key) const {
  const auto at = std::ranges::find(keys, key);
  return at == keys.end() ? nullptr : &items[static_cast<std::size_t>(at - keys.begin())];
}

Result<Value> parse(std::string_view text, const std::string& path, Limits limits) {
  if (text.size() > limits.bytes) {
    return Error(Code::kInvalid, "longer than " + std::to_string(limits.bytes) + " bytes (" +
                                     std::to_string(text.size()) + ")")
        .with(path);
  }
  // nlohmann treats a NUL byte as the end of the text and would ignore everything after it.
  if (text.find('\0') != std::string_view::npos) {
    return Error(Code::kInvalid, "must not contain a NUL byte").with(path);
  }
  Builder builder(path, limits.depth);
  try {
    (void)nlohmann::json::sax_parse(text, &builder, nlohmann::json::input_format_t::json, /*strict=*/true);
  } catch (const std::exception& e) {
    return Error(Code::kInvalid, std::string("not readable: ") + e.what()).with(path);
  }
  return builder.finish();
}

std::string join_path(const std::string& path, std::string_view key) {
  if (!plain_key(key)) {
    return path + "[" + quote(key) + "]";
  }
  return path.empty() ? std::string(key) : path + "." + std::string(key);
}

std::string join_path(const std::string& path, std::size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

std::string quote(std::string_view text) {
  std::size_t end = std::min(text.size(), kQuoteLimit);
  // Cut between characters, not inside one: continuation bytes of UTF-8 are 10xxxxxx.
  while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) {
    --end;
  }
  std::string out = "\"";
  for (const char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      constexpr std::string_view kHex = "0123456789abcdef";
      out += {'\\', 'x', kHex[byte >> 4U], kHex[byte & 0xFU]};
    } else if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else {
      out += c;
    }
  }
  return out + (end < text.size() ? "...\"" : "\"");
}

std::string describe(const Value& value) {
  switch (value.type) {
    case Type::kNull:
      return "null";
    case Type::kBool:
      return value.boolean ? "true" : "false";
    case Type::kInteger:
    case Type::kNumber:
      return value.text.size() <= kQuoteLimit ? value.text : value.text.substr(0, kQuoteLimit) + "...";
    case Type::kString:
      return quote(value.text);
    case Type::kArray:
      return "a list";
    case Type::kObject:
      return "an object";
  }
  return "";
}

}  // namespace fairlead::json_tree
