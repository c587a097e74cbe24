// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/json_writer.h"

#include <nlohmann/json.hpp>

#include "fairlead/core/utf8.h"

namespace fairlead {
namespace {

using nlohmann::json;

/// Needs no more than a backslash in a string.
bool is_plain(char c) { return c >= ' ' && c <= '~'; }

}  // namespace

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  append_quoted(name);
  text_ += indent_ > 0 ? ": " : ":";
  needs_comma_ = false;
  is_after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  append_quoted(text);
  needs_comma_ = true;
  return *this;
}

void JsonWriter::append_quoted(std::string_view text) {
  const std::size_t start = text_.size();
  text_ += '"';
  for (const char c : text) {
    if (!is_plain(c)) {  // rare: the library has the rules
      text_.resize(start);
      text_ += json(text).dump(-1, ' ', false, json::error_handler_t::replace);
      is_utf8_ = is_utf8_ && fairlead::is_utf8(text);
      return;
    }
    if (c == '"' || c == '\\') {
      text_ += '\\';
    }
    text_ += c;
  }
  text_ += '"';
}

bool is_canonical_object(std::string_view text) {
  if (!text.starts_with('{')) {
    return false;
  }
  const json value = json::parse(text, nullptr, false);
  return value.is_object() && value.dump(-1, ' ', false, json::error_handler_t::replace) == text;
}

}  // namespace fairlead
