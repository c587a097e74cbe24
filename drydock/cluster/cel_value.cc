// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/cel_value.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace drydock::cel {
namespace {

using fairlead::Code;
using fairlead::Error;

/// One identifier of a pre-release: numbers are lower than words (semver 2.0.0, section 11).
int compare_identifiers(std::string_view a, std::string_view b) {
  const auto numeric = [](std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  };
  if (numeric(a) != numeric(b)) {
    return numeric(a) ? -1 : 1;
  }
  if (numeric(a) && a.size() != b.size()) {
    return a.size() < b.size() ? -1 : 1;
  }
  const int order = a.compare(b);
  return order < 0 ? -1 : (order > 0 ? 1 : 0);
}

int compare_prerelease(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) {
    return a.empty() == b.empty() ? 0 : (a.empty() ? 1 : -1);  // a release is higher than its pre-releases
  }
  while (true) {
    const auto dot_a = a.find('.');
    const auto dot_b = b.find('.');
    const int order = compare_identifiers(a.substr(0, dot_a), b.substr(0, dot_b));
    if (order != 0) {
      return order;
    }
    if (dot_a == std::string_view::npos || dot_b == std::string_view::npos) {
      return dot_a == dot_b ? 0 : (dot_a == std::string_view::npos ? -1 : 1);
    }
    a.remove_prefix(dot_a + 1);
    b.remove_prefix(dot_b + 1);
  }
}

int compare_semver(const Semver& a, const Semver& b) {
  if (a.numbers != b.numbers) {
    return a.numbers < b.numbers ? -1 : 1;
  }
  return compare_prerelease(a.prerelease, b.prerelease);
}

}  // namespace

Error failure(std::string what) { return {Code::kInvalid, std::move(what)}; }

std::string_view type_name(const Value& value) {
  constexpr std::array<std::string_view, 12> kNames{"null",   "bool",   "int",      "double",
                                                    "string", "list",   "map",      "quantity",
                                                    "semver", "device", "optional", "optional"};
  return kNames.at(value.data.index());
}

Error no_overload(std::string_view what, const Value& value) {
  return failure("no such overload: " + std::string(what) + " on a " + std::string(type_name(value)));
}

Semver parse_semver(std::string_view text) {
  Semver version;
  text = text.substr(0, text.find('+'));
  const auto dash = text.find('-');
  if (dash != std::string_view::npos) {
    version.prerelease = text.substr(dash + 1);
    text = text.substr(0, dash);
  }
  for (std::int64_t& number : version.numbers) {
    const auto dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    (void)std::from_chars(part.data(), part.data() + part.size(), number);
    text.remove_prefix(dot == std::string_view::npos ? text.size() : dot + 1);
  }
  return version;
}

std::optional<double> as_number(const Value& value) {
  if (const auto* i = value.as<std::int64_t>()) {
    return static_cast<double>(*i);
  }
  if (const auto* d = value.as<double>()) {
    return *d;
  }
  return std::nullopt;
}

std::optional<int> compare(const Value& a, const Value& b) {
  if (a.data.index() != b.data.index()) {
    const auto x = as_number(a);
    const auto y = as_number(b);
    return x && y ? std::optional(sign_of(*x, *y)) : std::nullopt;
  }
  if (const auto* x = a.as<bool>()) {
    return sign_of(*x, *b.as<bool>());
  }
  if (const auto* x = a.as<std::int64_t>()) {
    return sign_of(*x, *b.as<std::int64_t>());
  }
  if (const auto* x = a.as<double>()) {
    return sign_of(*x, *b.as<double>());
  }
  if (const auto* x = a.as<std::string>()) {
    return sign_of(*x, *b.as<std::string>());
  }
  if (const auto* x = a.as<Quantity>()) {
    return sign_of(*x, *b.as<Quantity>());
  }
  if (const auto* x = a.as<Semver>()) {
    return compare_semver(*x, *b.as<Semver>());
  }
  return std::nullopt;
}

bool equal(const Value& a, const Value& b) {
  if (const auto order = compare(a, b)) {
    return *order == 0;
  }
  if (a.data.index() != b.data.index()) {
    return false;  // values of different types are not equal (dyn equality)
  }
  if (const auto* x = a.as<ListPtr>()) {
    return std::ranges::equal(**x, **b.as<ListPtr>(), equal);
  }
  if (const auto* x = a.as<MapPtr>()) {
    const auto same = [](const auto& p, const auto& q) {
      return p.first == q.first && equal(p.second, q.second);
    };
    return std::ranges::equal((*x)->entries, (*b.as<MapPtr>())->entries, same);
  }
  if (const auto* x = a.as<Optional>()) {
    return equal(*x->value, *b.as<Optional>()->value);
  }
  return true;  // null and null, none and none
}

Value some(Value value) { return Value{Optional{std::make_shared<const Value>(std::move(value))}}; }

}  // namespace drydock::cel
