// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/field_check.h"

#include <algorithm>
#include <cctype>

#include "fairlead/core/text.h"

namespace drydock {
using fairlead::is_dns_label;
using fairlead::is_dns_subdomain;
namespace {

constexpr std::string_view kLabelRule =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and "
    "end with an alphanumeric character (e.g. 'my-name')";
constexpr std::string_view kSubdomainRule =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com')";
constexpr std::string_view kIdentifierRule =
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
    "characters or '_' (e.g. 'my_name' or 'MY_NAME')";
constexpr std::string_view kLabelNameRule =
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName' or '123-abc')";
constexpr std::string_view kLabelValueRule =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue' or '12345')";

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_alnum(char c) { return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z'); }

bool is_label_text(std::string_view text) {
  return !text.empty() && is_alnum(text.front()) && is_alnum(text.back()) &&
         std::ranges::all_of(text, [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

std::string show(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 200 ? text.substr(0, 197) + "..." : text;
}

bool is_identifier(std::string_view text) {
  return !text.empty() && (text.front() < '0' || text.front() > '9') &&
         std::ranges::all_of(text, [](char c) { return is_alnum(c) || c == '_'; });
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

bool is_number(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; }) &&
         (text.size() == 1 || text.front() != '0');
}

/// Dot-separated identifiers of semver's pre-release (numbers without leading zero) or build part.
bool are_semver_identifiers(std::string_view text, bool numbers_strict) {
  while (true) {
    const auto dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    if (part.empty() || !std::ranges::all_of(part, [](char c) { return is_alnum(c) || c == '-'; })) {
      return false;
    }
    const bool numeric = std::ranges::all_of(part, [](char c) { return c >= '0' && c <= '9'; });
    if (numbers_strict && numeric && !is_number(part)) {
      return false;
    }
    if (dot == std::string_view::npos) {
      return true;
    }
    text.remove_prefix(dot + 1);
  }
}

}  // namespace

void FieldCheck::invalid(const std::string& path, const Json& value, std::string_view why) {
  causes.push_back({path, "Invalid value: " + show(value) + ": " + std::string(why), "FieldValueInvalid"});
}

void FieldCheck::required(const std::string& path, std::string_view why) {
  causes.push_back(
      {path, "Required value" + (why.empty() ? "" : ": " + std::string(why)), "FieldValueRequired"});
}

void FieldCheck::forbidden(const std::string& path, std::string_view why) {
  causes.push_back({path, "Forbidden: " + std::string(why), "FieldValueForbidden"});
}

void FieldCheck::duplicate(const std::string& path, const Json& value) {
  causes.push_back({path, "Duplicate value: " + show(value), "FieldValueDuplicate"});
}

void FieldCheck::too_many(const std::string& path, std::size_t count, std::size_t max) {
  causes.push_back(
      {path, "Too many: " + std::to_string(count) + ": must have at most " + std::to_string(max) + " items",
       "FieldValueTooMany"});
}

void FieldCheck::too_long(const std::string& path, std::size_t max) {
  causes.push_back(
      {path, "Too long: may not be more than " + std::to_string(max) + " bytes", "FieldValueTooLong"});
}

void FieldCheck::unsupported(const std::string& path, const Json& value,
                             const std::vector<std::string_view>& words) {
  std::string list;
  for (const std::string_view word : words) {
    list += (list.empty() ? "\"" : ", \"") + std::string(word) + "\"";
  }
  causes.push_back(
      {path, "Unsupported value: " + show(value) + ": supported values: " + list, "FieldValueNotSupported"});
}

void FieldCheck::dns_label(const std::string& path, const std::string& value) {
  if (value.empty()) {
    required(path);
  } else if (value.size() > 63) {
    invalid(path, value, "must be no more than 63 bytes");
  } else if (!is_dns_label(value)) {
    invalid(path, value, kLabelRule);
  }
}

void FieldCheck::dns_subdomain(const std::string& path, const std::string& value, std::size_t max) {
  if (value.empty()) {
    required(path);
  } else if (value.size() > max) {
    invalid(path, value, "must be no more than " + std::to_string(max) + " bytes");
  } else if (!is_dns_subdomain(value)) {
    invalid(path, value, kSubdomainRule);
  }
}

void FieldCheck::driver_name(const std::string& path, const std::string& value) {
  if (value.size() > 63) {
    too_long(path, 63);
  } else {
    dns_subdomain(path, lower(value), 63);
  }
}

void FieldCheck::qualified_name(const std::string& path, const std::string& value) {
  const auto slash = value.find('/');
  const std::string identifier = slash == std::string::npos ? value : value.substr(slash + 1);
  if (value.empty()) {
    required(path);
    return;
  }
  if (slash != std::string::npos) {
    const std::string domain = value.substr(0, slash);
    if (domain.empty()) {
      required(path, "the domain must not be empty");
    } else {
      driver_name(path, domain);
    }
  }
  if (identifier.empty()) {
    required(path, "the name must not be empty");
  } else if (identifier.size() > 32) {
    too_long(path, 32);
  } else if (!is_identifier(identifier)) {
    invalid(path, identifier, kIdentifierRule);
  }
}

void FieldCheck::label_name(const std::string& path, const std::string& value) {
  const auto slash = value.find('/');
  const std::string name = slash == std::string::npos ? value : value.substr(slash + 1);
  if (slash != std::string::npos) {
    dns_subdomain(path, value.substr(0, slash));
  }
  if (value.empty()) {
    required(path);
  } else if (name.size() > 63 || !is_label_text(name)) {
    invalid(path, value, kLabelNameRule);
  }
}

void FieldCheck::label_value(const std::string& path, const std::string& value) {
  if (value.size() > 63) {
    invalid(path, value, "must be no more than 63 bytes");
  } else if (!value.empty() && !is_label_text(value)) {
    invalid(path, value, kLabelValueRule);
  }
}

void FieldCheck::one_of(const std::string& path, const std::string& value,
                        const std::vector<std::string_view>& words) {
  if (std::ranges::find(words, value) == words.end()) {
    unsupported(path, value, words);
  }
}

bool is_semver(std::string_view text) {
  const auto plus = text.find('+');
  if (plus != std::string_view::npos) {
    if (!are_semver_identifiers(text.substr(plus + 1), false)) {
      return false;
    }
    text = text.substr(0, plus);
  }
  const auto dash = text.find('-');
  if (dash != std::string_view::npos) {
    if (!are_semver_identifiers(text.substr(dash + 1), true)) {
      return false;
    }
    text = text.substr(0, dash);
  }
  const auto first = text.find('.');
  const auto second = first == std::string_view::npos ? first : text.find('.', first + 1);
  return second != std::string_view::npos && is_number(text.substr(0, first)) &&
         is_number(text.substr(first + 1, second - first - 1)) && is_number(text.substr(second + 1));
}

bool is_uuid(std::string_view text) {
  if (text.size() != 36) {
    return false;
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const char c = text[i];
    if (dash ? c != '-' : (c < '0' || c > '9') && (c < 'a' || c > 'f')) {
      return false;
    }
  }
  return true;
}

const Json& value_at(const Json& object, std::string_view key) {
  static const Json null;
  if (!object.is_object()) {
    return null;
  }
  const auto it = object.find(key);
  return it == object.end() ? null : *it;
}

std::string text_at(const Json& object, std::string_view key) {
  const Json& value = value_at(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::string item(const std::string& path, std::size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

}  // namespace drydock
