// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/utf8.h"

#include <algorithm>

namespace fairlead {
namespace {

/// How many bytes of UTF-8 begin with this byte; 0 for none.
std::size_t sequence_length(unsigned char first) {
  return first < 0x80                    ? 1
         : first >= 0xC2 && first < 0xE0 ? 2
         : (first & 0xF0U) == 0xE0       ? 3
         : first >= 0xF0 && first < 0xF5 ? 4
                                         : 0;
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

void append_hex(std::string& out, unsigned char byte) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += "\\x";
  out += kDigits[byte >> 4U];
  out += kDigits[byte & 0xFU];
}

/// C0 controls, DEL, and C1 controls (U+0080 to U+009F, two bytes): a terminal may obey them.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  return first < 0x20 || first == 0x7F ||
         (first == 0xC2 && character.size() == 2 && static_cast<unsigned char>(character[1]) < 0xA0);
}

void append_escaped(std::string& out, std::string_view bytes) {
  for (const char c : bytes) {
    switch (c) {
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        append_hex(out, static_cast<unsigned char>(c));
    }
  }
}

}  // namespace

std::size_t utf8_character(std::string_view text) {
  if (text.empty()) {
    return 0;
  }
  const auto first = static_cast<unsigned char>(text[0]);
  const std::size_t length = sequence_length(first);
  if (length == 0 || length > text.size() ||
      !std::ranges::all_of(text.substr(1, length - 1), is_continuation)) {
    return 0;
  }
  const unsigned char second = length > 1 ? static_cast<unsigned char>(text[1]) : 0;
  const bool wrong = (first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
                     (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F);
  return wrong ? 0 : length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_character(text);
    if (length == 0) {
      return false;
    }
    text.remove_prefix(length);
  }
  return true;
}

std::string cut_utf8(std::string text, std::size_t size) {
  if (text.size() > size) {
    while (size > 0 && is_continuation(text[size])) {
      --size;
    }
    text.resize(size);
  }
  return text;
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = utf8_character(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
    if (length == 0 || is_control(character)) {
      append_escaped(out, character);
    } else {
      out += character;
    }
    text.remove_prefix(character.size());
  }
  return out;
}

}  // namespace fairlead
