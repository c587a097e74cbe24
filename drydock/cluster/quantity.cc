// SPDX-License-Identifier: Apache-2.0
#include "drydock/cluster/quantity.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace drydock {
namespace {

using Int = Quantity::Int;

constexpr int kMaxDigits = 18;
constexpr std::array<std::string_view, 10> kDecimalSuffixes{"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
constexpr std::array<std::string_view, 7> kBinarySuffixes{"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

Int power(int base, int exponent) {
  Int value = 1;
  for (int i = 0; i < exponent; ++i) {
    value *= base;
  }
  return value;
}

std::string digits_of(Int value) {
  const bool negative = value < 0;
  std::string out;
  do {
    const int digit = static_cast<int>(value % 10);
    out.push_back(static_cast<char>('0' + (digit < 0 ? -digit : digit)));
    value /= 10;
  } while (value != 0);
  if (negative) {
    out.push_back('-');
  }
  std::ranges::reverse(out);
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

struct Number {
  Int digits = 0;  // without the point
  int fraction = 0;
  bool negative = false;
  std::string_view suffix;
};

std::optional<Number> split(std::string_view text) {
  Number number;
  std::size_t at = 0;
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) {
    number.negative = text[at] == '-';
    ++at;
  }
  int count = 0;
  bool point = false;
  for (; at < text.size() && (is_digit(text[at]) || (text[at] == '.' && !point)); ++at) {
    if (text[at] == '.') {
      point = true;
      continue;
    }
    number.digits = number.digits * 10 + (text[at] - '0');
    number.fraction += point ? 1 : 0;
    if (number.digits != 0) {
      ++count;
    }
    if (count > kMaxDigits + 1 || number.fraction > kMaxDigits) {
      return std::nullopt;
    }
  }
  if (at == 0 || (!is_digit(text[at - 1]) && (text[at - 1] != '.' || at < 2 || !is_digit(text[at - 2])))) {
    return std::nullopt;
  }
  number.suffix = text.substr(at);
  return number;
}

std::optional<int> parse_exponent(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.empty() || text.size() > 2 || !std::ranges::all_of(text, is_digit)) {
    return std::nullopt;
  }
  int value = 0;
  for (const char c : text) {
    value = value * 10 + (c - '0');
  }
  return negative ? -value : value;
}

/// digits * 10^exponent in nano units, rounded away from zero as Kubernetes rounds up.
std::optional<Int> scale_decimal(Int digits, int exponent) {
  exponent += 9;
  if (exponent < 0) {
    const Int divisor = power(10, std::min(-exponent, 36));
    return (digits + divisor - 1) / divisor;
  }
  if (exponent > 27 || digits > (Int{1} << 120) / power(10, exponent)) {
    return std::nullopt;
  }
  return digits * power(10, exponent);
}

}  // namespace

std::optional<Quantity> Quantity::parse(std::string_view text) {
  const auto number = split(text);
  if (!number) {
    return std::nullopt;
  }
  const auto sign = [&](std::optional<Int> value, Format format) -> std::optional<Quantity> {
    if (!value) {
      return std::nullopt;
    }
    return Quantity(number->negative ? -*value : *value, format);
  };
  const auto* const decimal = std::ranges::find(kDecimalSuffixes, number->suffix);
  if (decimal != kDecimalSuffixes.end()) {
    const int exponent = (static_cast<int>(decimal - kDecimalSuffixes.begin()) - 3) * 3;
    return sign(scale_decimal(number->digits, exponent - number->fraction), Format::kDecimal);
  }
  const auto* const binary = std::ranges::find(kBinarySuffixes, number->suffix);
  if (binary != kBinarySuffixes.end()) {
    const Int unit = power(1024, static_cast<int>(binary - kBinarySuffixes.begin()));
    if (number->digits > (Int{1} << 90) / unit) {
      return std::nullopt;
    }
    return sign(scale_decimal(number->digits * unit, -number->fraction), Format::kBinary);
  }
  if (number->suffix.size() > 1 && (number->suffix[0] == 'e' || number->suffix[0] == 'E')) {
    if (const auto exponent = parse_exponent(number->suffix.substr(1))) {
      return sign(scale_decimal(number->digits, *exponent - number->fraction), Format::kExponent);
    }
  }
  return std::nullopt;
}

std::string Quantity::to_string() const {
  if (nano_ == 0) {
    return "0";
  }
  const Int limit = Int{1024} * kNano;
  if (format_ == Format::kBinary && (nano_ >= limit || nano_ <= -limit)) {
    Int value = (nano_ + (nano_ > 0 ? kNano - 1 : 0)) / kNano;
    std::size_t suffix = 0;
    while (value % 1024 == 0 && suffix + 1 < kBinarySuffixes.size()) {
      value /= 1024;
      ++suffix;
    }
    return digits_of(value) + std::string(kBinarySuffixes.at(suffix));
  }
  Int value = nano_;
  std::size_t suffix = 0;
  while (value % 1000 == 0 && suffix + 1 < kDecimalSuffixes.size()) {
    value /= 1000;
    ++suffix;
  }
  if (format_ == Format::kExponent) {
    const int exponent = (static_cast<int>(suffix) - 3) * 3;
    return digits_of(value) + (exponent == 0 ? "" : "e" + std::to_string(exponent));
  }
  return digits_of(value) + std::string(kDecimalSuffixes.at(suffix));
}

std::optional<std::int64_t> Quantity::as_integer() const {
  const Int value = nano_ / kNano;
  if (nano_ % kNano != 0 || !std::in_range<std::int64_t>(static_cast<std::int64_t>(value)) ||
      Int{static_cast<std::int64_t>(value)} != value) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(value);
}

double Quantity::as_double() const { return static_cast<double>(nano_) / static_cast<double>(kNano); }

}  // namespace drydock
