// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/cel_functions.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <limits>
#include <memory>
#include <utility>

#include "drydock/cluster/field_check.h"

namespace drydock::cel {
namespace {

using fairlead::Result;

Result<Value> integer_arithmetic(char sign, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  bool overflow = false;
  if ((sign == '/' || sign == '%') && b == 0) {
    return failure(sign == '/' ? "division by zero" : "modulus by zero");
  }
  switch (sign) {
    case '+':
      overflow = __builtin_add_overflow(a, b, &out);
      break;
    case '-':
      overflow = __builtin_sub_overflow(a, b, &out);
      break;
    case '*':
      overflow = __builtin_mul_overflow(a, b, &out);
      break;
    default:
      overflow = b == -1 && a == std::numeric_limits<std::int64_t>::min();
      out = overflow ? 0 : (sign == '/' ? a / b : a % b);
      break;
  }
  if (overflow) {
    return failure("integer overflow");
  }
  return Value{out};
}

Result<Value> convert_scalar(const std::string& name, const Value& value) {
  const auto* text = value.as<std::string>();
  if (name == "string") {
    if (const auto* number = value.as<std::int64_t>()) {
      return Value{std::to_string(*number)};
    }
    if (const auto* truth = value.as<bool>()) {
      return Value{std::string(*truth ? "true" : "false")};
    }
    return text != nullptr ? Result<Value>(value) : Result<Value>(no_overload("string()", value));
  }
  if (const auto number = as_number(value)) {
    if (name == "double") {
      return Value{*number};
    }
    const auto* whole = value.as<std::int64_t>();
    return Value{whole != nullptr ? *whole : static_cast<std::int64_t>(*number)};
  }
  if (text == nullptr) {
    return no_overload(name + "()", value);
  }
  std::int64_t whole = 0;
  double real = 0;
  const char* const end = text->data() + text->size();
  const auto parsed =
      name == "int" ? std::from_chars(text->data(), end, whole) : std::from_chars(text->data(), end, real);
  if (parsed.ec != std::errc() || parsed.ptr != end) {
    return failure(name + "(): \"" + *text + "\" is not a number");
  }
  return name == "int" ? Value{whole} : Value{real};
}

int lower(int c) { return std::tolower(c); }
int upper(int c) { return std::toupper(c); }
std::string mapped(const std::string& text, int (*change)(int)) {
  std::string out = text;
  std::ranges::transform(out, out.begin(), [&](char c) {
    return static_cast<unsigned char>(c) < 0x80 ? static_cast<char>(change(static_cast<unsigned char>(c)))
                                                : c;
  });
  return out;
}

Result<Value> quantity_method(const std::string& name, const Quantity& quantity,
                              const std::vector<Value>& arguments) {
  if (name == "isInteger") {
    return Value{quantity.as_integer().has_value()};
  }
  if (name == "asInteger") {
    const auto value = quantity.as_integer();
    return value ? Result<Value>(Value{*value}) : Result<Value>(failure("cannot convert value to integer"));
  }
  if (name == "asApproximateFloat") {
    return Value{quantity.as_double()};
  }
  if (name == "sign") {
    return Value{std::int64_t{sign_of(quantity, Quantity())}};
  }
  if (name == "add" || name == "sub") {
    const auto* other = arguments[0].as<Quantity>();
    const auto* number = arguments[0].as<std::int64_t>();
    if (other == nullptr && number == nullptr) {
      return no_overload(name + "()", arguments[0]);
    }
    const Quantity operand = other != nullptr ? *other : Quantity::of(*number);
    return Value{name == "add" ? quantity + operand : quantity - operand};
  }
  return no_overload(name + "()", Value{quantity});
}

}  // namespace

Result<Value> ordered(const std::string& sign, const Value& left, const Value& right) {
  const auto order = compare(left, right);
  if (!order) {
    return failure("no such overload: " + std::string(type_name(left)) + " " + sign + " " +
                   std::string(type_name(right)));
  }
  if (sign == "<") {
    return Value{*order < 0};
  }
  if (sign == "<=") {
    return Value{*order <= 0};
  }
  return Value{sign == ">" ? *order > 0 : *order >= 0};
}

Result<Value> contained(const Value& left, const Value& right) {
  if (const auto* list = right.as<ListPtr>()) {
    return Value{std::ranges::any_of(**list, [&](const Value& item) { return equal(item, left); })};
  }
  const auto* map = right.as<MapPtr>();
  const auto* key = left.as<std::string>();
  if (map == nullptr || key == nullptr) {
    return no_overload("\"in\"", right);
  }
  return Value{(*map)->entries.contains(*key)};
}

Result<Value> arithmetic(const std::string& sign, const Value& left, const Value& right) {
  if (left.as<std::int64_t>() != nullptr && right.as<std::int64_t>() != nullptr) {
    return integer_arithmetic(sign[0], *left.as<std::int64_t>(), *right.as<std::int64_t>());
  }
  if (sign == "+" && left.as<std::string>() != nullptr && right.as<std::string>() != nullptr) {
    return Value{*left.as<std::string>() + *right.as<std::string>()};
  }
  if (sign == "+" && left.as<ListPtr>() != nullptr && right.as<ListPtr>() != nullptr) {
    List joined = **left.as<ListPtr>();
    joined.insert(joined.end(), (*right.as<ListPtr>())->begin(), (*right.as<ListPtr>())->end());
    return Value{std::make_shared<const List>(std::move(joined))};
  }
  const auto* a = left.as<double>();
  const auto* b = right.as<double>();
  if (a == nullptr || b == nullptr || sign == "%") {
    return failure("no such overload: " + std::string(type_name(left)) + " " + sign + " " +
                   std::string(type_name(right)));
  }
  const double value = sign == "+" ? *a + *b : (sign == "-" ? *a - *b : (sign == "*" ? *a * *b : *a / *b));
  return Value{value};
}

Result<Value> convert(const std::string& name, const Value& value) {
  if (name == "int" || name == "double" || name == "string") {
    return convert_scalar(name, value);
  }
  const auto* text = value.as<std::string>();
  if (text == nullptr) {
    return no_overload(name + "()", value);
  }
  if (name == "isQuantity") {
    return Value{Quantity::parse(*text).has_value()};
  }
  if (name == "isSemver") {
    return Value{is_semver(*text)};
  }
  if (name == "semver") {
    if (!is_semver(*text)) {
      return failure("semver(): \"" + *text + "\" is not a semantic version");
    }
    return Value{parse_semver(*text)};
  }
  const auto quantity = Quantity::parse(*text);
  if (!quantity) {
    return failure("quantity(): \"" + *text + "\" is not a quantity");
  }
  return Value{*quantity};
}

Result<Value> size(const Value& value) {
  std::size_t size = 0;
  if (const auto* text = value.as<std::string>()) {
    size = static_cast<std::size_t>(std::ranges::count_if(
        *text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
  } else if (const auto* list = value.as<ListPtr>()) {
    size = (*list)->size();
  } else if (const auto* map = value.as<MapPtr>()) {
    size = (*map)->entries.size();
  } else {
    return no_overload("size()", value);
  }
  return Value{static_cast<std::int64_t>(size)};
}

Result<Value> matches(const Value& text, const Value& pattern) {
  const auto* subject = text.as<std::string>();
  const auto* expression = pattern.as<std::string>();
  if (subject == nullptr || expression == nullptr) {
    return no_overload("matches()", subject == nullptr ? text : pattern);
  }
  const re2::RE2 compiled(*expression, re2::RE2::Quiet);
  if (!compiled.ok()) {
    return failure("matches(): bad regular expression: " + compiled.error());
  }
  return Value{re2::RE2::PartialMatch(*subject, compiled)};
}

Result<Value> optional_method(const std::string& name, const Value& target,
                              const std::vector<Value>& arguments) {
  const auto* value = target.as<Optional>();
  if (name == "hasValue") {
    return Value{value != nullptr};
  }
  if (name == "orValue") {
    return value != nullptr ? *value->value : arguments[0];
  }
  if (name == "value") {
    return value != nullptr ? Result<Value>(*value->value)
                            : Result<Value>(failure("optional.none() has no value"));
  }
  return no_overload(name + "()", target);
}

Result<Value> string_method(const std::string& name, const std::string& text,
                            const std::vector<Value>& arguments) {
  if (name == "lowerAscii" || name == "upperAscii") {
    return Value{mapped(text, name == "lowerAscii" ? &lower : &upper)};
  }
  if (name == "trim") {
    const auto first = text.find_first_not_of(" \t\r\n");
    const auto last = text.find_last_not_of(" \t\r\n");
    return Value{first == std::string::npos ? std::string() : text.substr(first, last - first + 1)};
  }
  const auto* argument = arguments.empty() ? nullptr : arguments[0].as<std::string>();
  if (argument == nullptr) {
    return no_overload(name + "()", arguments.empty() ? Value{text} : arguments[0]);
  }
  if (name == "matches") {
    return matches(Value{text}, arguments[0]);
  }
  if (name == "startsWith") {
    return Value{text.starts_with(*argument)};
  }
  if (name == "endsWith") {
    return Value{text.ends_with(*argument)};
  }
  if (name == "contains") {
    return Value{text.find(*argument) != std::string::npos};
  }
  return no_overload(name + "()", Value{text});
}

Result<Value> ordered_method(const std::string& name, const Value& target,
                             const std::vector<Value>& arguments) {
  if (target.as<Quantity>() == nullptr && target.as<Semver>() == nullptr) {
    return no_overload(name + "()", target);
  }
  if (name == "compareTo" || name == "isGreaterThan" || name == "isLessThan") {
    const auto order =
        arguments[0].data.index() == target.data.index() ? compare(target, arguments[0]) : std::nullopt;
    if (!order) {
      return no_overload(name + "()", arguments[0]);
    }
    if (name == "compareTo") {
      return Value{std::int64_t{*order}};
    }
    return Value{name == "isGreaterThan" ? *order > 0 : *order < 0};
  }
  if (const auto* version = target.as<Semver>()) {
    constexpr std::array<std::string_view, 3> kParts{"major", "minor", "patch"};
    const auto* const part = std::ranges::find(kParts, name);
    if (part == kParts.end()) {
      return no_overload(name + "()", target);
    }
    return Value{version->numbers.at(static_cast<std::size_t>(part - kParts.begin()))};
  }
  return quantity_method(name, *target.as<Quantity>(), arguments);
}

}  // namespace drydock::cel
