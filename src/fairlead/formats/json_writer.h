// SPDX-License-Identifier: Apache-2.0
// Writes JSON text piece by piece, without a tree: for what is written for every pod. The text is what
// nlohmann::json::dump() makes of the same value, provided that the caller gives the keys of an object in byte order:
// records have a checksum of that form.
//
//   JsonWriter out;
//   out.begin_object();
//   out.member("addresses", addresses);
//   out.member("mtu", 1500);
//   out.key("parent").raw(text_of_parent);
//   out.end_object();
//   return std::move(out).take();
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fairlead {

/// One thread at a time. What is begun must be ended, and each key needs a value: that is not checked.
class JsonWriter {
 public:
  JsonWriter() = default;
  /// For people: a line for each item, with that many spaces for each level, as dump(indent). raw() keeps its text.
  explicit JsonWriter(unsigned indent) : indent_(indent) {}

  JsonWriter& begin_object() { return begin('{'); }
  JsonWriter& end_object() { return end('}'); }
  JsonWriter& begin_array() { return begin('['); }
  JsonWriter& end_array() { return end(']'); }
  JsonWriter& key(std::string_view name);

  /// Bytes that are no UTF-8 become U+FFFD, and is_utf8() says so.
  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(std::same_as<bool> auto yes) { return raw(yes ? "true" : "false"); }
  template <std::integral Number>
    requires(!std::same_as<Number, bool> && !std::same_as<Number, char>)
  JsonWriter& value(Number number) {
    std::array<char, 24>
        digits;  // NOLINT(cppcoreguidelines-pro-type-member-init): to_chars fills what is used
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    return raw({digits.data(), end});
  }
  template <class T>
  JsonWriter& value(const std::vector<T>& items) {
    begin_array();
    for (const T& item : items) {
      value(item);
    }
    return end_array();
  }
  template <class T>
  JsonWriter& value(const std::map<std::string, T>& members) {
    begin_object();
    for (const auto& [name, of] : members) {
      member(name, of);
    }
    return end_object();
  }
  /// A JSON value as it is.
  JsonWriter& raw(std::string_view json) {
    separate();
    text_ += json;
    needs_comma_ = true;
    return *this;
  }

  template <class T>
  JsonWriter& member(std::string_view name, const T& of) {
    return key(name).value(of);
  }
  /// A member, if there is a value.
  template <class T>
  JsonWriter& member(std::string_view name, const std::optional<T>& of) {
    return of ? member(name, *of) : *this;
  }
  /// A member that is a list of objects, if there are any; `write` gives the members of one.
  template <class T>
  JsonWriter& objects(std::string_view name, const std::vector<T>& items,
                      void (*write)(JsonWriter&, const T&)) {
    if (items.empty()) {
      return *this;
    }
    key(name).begin_array();
    for (const T& item : items) {
      begin_object();
      write(*this, item);
      end_object();
    }
    return end_array();
  }

  [[nodiscard]] bool is_utf8() const { return is_utf8_; }
  [[nodiscard]] std::string take() && { return std::move(text_); }

 private:
  /// Before a key, or a value that has none.
  void separate() {
    if (needs_comma_) {
      text_ += ',';
    }
    if (indent_ > 0 && depth_ > 0 && !is_after_key_) {
      new_line();
    }
    is_after_key_ = false;
  }
  void new_line() { text_.append(1, '\n').append(std::size_t{indent_} * depth_, ' '); }
  JsonWriter& begin(char bracket) {
    separate();
    text_ += bracket;
    needs_comma_ = false;
    ++depth_;
    return *this;
  }
  JsonWriter& end(char bracket) {
    --depth_;
    if (indent_ > 0 && needs_comma_) {  // there was an item
      new_line();
    }
    text_ += bracket;
    needs_comma_ = true;
    return *this;
  }
  void append_quoted(std::string_view text);

  unsigned indent_ = 0;
  unsigned depth_ = 0;
  std::string text_;
  bool needs_comma_ = false;
  bool is_after_key_ = false;
  bool is_utf8_ = true;
};

/// Whether the text is a JSON object exactly as JsonWriter would write it: keys in order, no white space.
bool is_canonical_object(std::string_view text);

}  // namespace fairlead
