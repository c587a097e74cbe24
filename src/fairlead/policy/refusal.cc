// SPDX-License-Identifier: Apache-2.0
#include "fairlead/policy/refusal.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "fairlead/core/text.h"
#include "fairlead/policy/bounds.h"

namespace fairlead::policy {

std::string Refusal::sentence() const {
  return (path.empty() ? "" : path + ": ") + why + "; " + what_would_allow;
}

std::string text_of(const fields::Value& value) {
  if (const auto* text = std::get_if<std::string>(&value.data)) {
    return quoted(*text);
  }
  if (const auto* number = std::get_if<std::int64_t>(&value.data)) {
    return std::to_string(*number);
  }
  if (const auto* truth = std::get_if<bool>(&value.data)) {
    return *truth ? "true" : "false";
  }
  std::vector<std::string> items;
  if (const auto* texts = std::get_if<std::vector<std::string>>(&value.data)) {
    std::ranges::transform(*texts, std::back_inserter(items), quoted);
  } else if (const auto* numbers = std::get_if<std::vector<std::int64_t>>(&value.data)) {
    std::ranges::transform(*numbers, std::back_inserter(items),
                           [](std::int64_t n) { return std::to_string(n); });
  } else {
    return "";
  }
  return "[" + (items.empty() ? "" : short_list(items)) + "]";
}

}  // namespace fairlead::policy
