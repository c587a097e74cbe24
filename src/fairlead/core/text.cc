// SPDX-License-Identifier: Apache-2.0
#include "fairlead/core/text.h"

#include <algorithm>

namespace fairlead {
namespace {

constexpr std::size_t kLabelMax = 63;

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/// A label of any length.
bool is_part(std::string_view text) {
  return !text.empty() && is_lower_or_digit(text.front()) && is_lower_or_digit(text.back()) &&
         std::ranges::all_of(text, [](char c) { return is_lower_or_digit(c) || c == '-'; });
}

}  // namespace

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::string with_article(std::string_view noun) {
  const bool vowel = !noun.empty() && std::string_view("aeiou").find(noun.front()) != std::string_view::npos;
  return (vowel ? "an " : "a ") + std::string(noun);
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const std::string& word : words) {
    out += out.empty() ? "" : between;
    out += word;
  }
  return out;
}

bool is_dns_label(std::string_view text) { return text.size() <= kLabelMax && is_part(text); }

bool is_dns_subdomain(std::string_view text, std::size_t limit) {
  if (text.size() > limit) {
    return false;
  }
  for (;;) {
    const std::size_t dot = text.find('.');
    if (!is_part(text.substr(0, dot))) {
      return false;
    }
    if (dot == std::string_view::npos) {
      return true;
    }
    text.remove_prefix(dot + 1);
  }
}

bool is_uid(std::string_view text) {
  return !text.empty() && text.size() <= kLabelMax && text.front() != '-' &&
         std::ranges::all_of(
             text, [](char c) { return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '-'; });
}

}  // namespace fairlead
