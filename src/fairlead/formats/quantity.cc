// SPDX-License-Identifier: Apache-2.0
#include "fairlead/formats/quantity.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <limits>
#include <optional>

#include "fairlead/formats/json_tree.h"

namespace fairlead::formats {
namespace {

__extension__ using Wide = __int128;
constexpr Wide kNano = 1'000'000'000;
constexpr Wide kMaxNanos = Wide{std::numeric_limits<std::int64_t>::max()} * kNano;
constexpr std::size_t kMaxText = 256;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

struct DecimalSuffix {
  std::string_view text;
  int exponent;
};
constexpr std::array<DecimalSuffix, 10> kDecimalSuffixes = {{{.text = "n", .exponent = -9},
                                                             {.text = "u", .exponent = -6},
                                                             {.text = "m", .exponent = -3},
                                                             {.text = "", .exponent = 0},
                                                             {.text = "k", .exponent = 3},
                                                             {.text = "M", .exponent = 6},
                                                             {.text = "G", .exponent = 9},
                                                             {.text = "T", .exponent = 12},
                                                             {.text = "P", .exponent = 15},
                                                             {.text = "E", .exponent = 18}}};
constexpr std::array<std::string_view, 6> kBinarySuffixes = {"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

using Family = QuantityFormat;
struct Suffix {
  Family family;
  int exponent;  // of 10, or of 1024
};

std::optional<Suffix> exponent_suffix(std::string_view text) {
  if (text.size() < 2 || (text[0] != 'e' && text[0] != 'E')) {
    return std::nullopt;
  }
  const bool plus = text[1] == '+';
  text.remove_prefix(plus ? 2 : 1);
  int exponent = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), exponent);
  if (code != std::errc{} || end != text.data() + text.size() || (plus && text[0] == '-')) {
    return std::nullopt;
  }
  return Suffix{.family = Family::kExponent, .exponent = exponent};
}

std::optional<Suffix> read_suffix(std::string_view text) {
  for (const DecimalSuffix& suffix : kDecimalSuffixes) {
    if (text == suffix.text) {
      return Suffix{.family = Family::kDecimal, .exponent = suffix.exponent};
    }
  }
  for (std::size_t i = 0; i < kBinarySuffixes.size(); ++i) {
    if (text == kBinarySuffixes[i]) {
      return Suffix{.family = Family::kBinary, .exponent = static_cast<int>(i) + 1};
    }
  }
  return exponent_suffix(text);
}

/// |a| * factor, at most kMaxNanos + 1 (which clamps).
Wide times(Wide a, Wide factor) { return a > kMaxNanos / factor ? kMaxNanos + 1 : a * factor; }

/// `digits` (without the point) times 10^exponent in nanos, rounded away from zero. Saturates.
Wide scaled(std::string_view digits, int fraction_digits, int exponent) {
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  // Position of the last digit, in powers of ten of a nano.
  const std::int64_t power = std::int64_t{exponent} - fraction_digits + 9;
  const std::int64_t kept = power >= 0 ? static_cast<std::int64_t>(digits.size())
                                       : static_cast<std::int64_t>(digits.size()) + power;
  Wide value = 0;
  for (std::int64_t i = 0; i < kept; ++i) {
    value = times(value, 10);
    value += value > kMaxNanos ? 0 : digits[static_cast<std::size_t>(i)] - '0';
  }
  for (std::int64_t i = 0; i < power && value != 0 && value <= kMaxNanos; ++i) {
    value = times(value, 10);
  }
  const auto rest = digits.substr(static_cast<std::size_t>(std::max<std::int64_t>(kept, 0)));
  return rest.find_first_not_of('0') == std::string_view::npos ? value : value + 1;
}

struct Number {
  bool negative = false;
  std::string digits;  // without the point
  int fraction_digits = 0;
};

/// Takes sign, digits and point from the front of `text`.
std::optional<Number> take_number(std::string_view& text) {
  Number out;
  if (text.starts_with('-') || text.starts_with('+')) {
    out.negative = text[0] == '-';
    text.remove_prefix(1);
  }
  bool point = false;
  while (!text.empty() && (is_digit(text[0]) || (text[0] == '.' && !point))) {
    if (text[0] == '.') {
      point = true;
    } else {
      out.digits += text[0];
      out.fraction_digits += point ? 1 : 0;
    }
    text.remove_prefix(1);
  }
  return out.digits.empty() ? std::nullopt : std::optional(std::move(out));
}

/// Schoolbook, on the decimal text: exact whatever the number of digits.
void multiply_by_1024(std::string& digits) {
  int carry = 0;
  for (std::size_t i = digits.size(); i-- > 0;) {
    const int product = (digits[i] - '0') * 1024 + carry;
    digits[i] = static_cast<char>('0' + product % 10);
    carry = product / 10;
  }
  digits.insert(0, std::to_string(carry));
}

Error not_a_quantity(std::string_view text) {
  return {Code::kInvalid, json_tree::quote(text) +
                              " is not a quantity (a number with one of the suffixes n u m k M G T P E Ki Mi "
                              "Gi Ti Pi Ei, or an exponent like e3)"};
}

std::string to_text(Wide value) {
  // Canonical mantissas fit: |value| < 2^63 * 10^9, and only as many digits as there are stay.
  std::string out;
  const bool negative = value < 0;
  Wide rest = negative ? -value : value;
  do {
    out += static_cast<char>('0' + static_cast<int>(rest % 10));
    rest /= 10;
  } while (rest != 0);
  if (negative) {
    out += '-';
  }
  std::ranges::reverse(out);
  return out;
}

}  // namespace

Quantity Quantity::clamped(Nanos nanos, Format format) {
  return {std::clamp<Nanos>(nanos, -kMaxNanos, kMaxNanos), format};
}

Result<Quantity> Quantity::parse(std::string_view text) {
  std::string_view rest = text;
  auto number = text.size() <= kMaxText ? take_number(rest) : std::nullopt;
  const auto suffix = number ? read_suffix(rest) : std::nullopt;
  if (!suffix) {
    return not_a_quantity(text);
  }
  const bool binary = suffix->family == Family::kBinary;
  for (int i = 0; binary && i < suffix->exponent; ++i) {
    multiply_by_1024(number->digits);
  }
  const Wide nanos = scaled(number->digits, number->fraction_digits, binary ? 0 : suffix->exponent);
  return clamped(number->negative ? -nanos : nanos, suffix->family);
}

std::string Quantity::canonical() const {
  const bool whole = nanos_ % kNano == 0;
  if (format_ == Format::kBinary && whole && (nanos_ >= 1024 * kNano || nanos_ <= -1024 * kNano)) {
    Wide mantissa = nanos_ / kNano;
    std::size_t steps = 0;
    while (steps < kBinarySuffixes.size() && mantissa % 1024 == 0) {
      mantissa /= 1024;
      ++steps;
    }
    return to_text(mantissa) + (steps == 0 ? "" : std::string(kBinarySuffixes[steps - 1]));
  }
  Wide mantissa = nanos_;
  std::size_t suffix = 0;  // index into kDecimalSuffixes, in steps of 1000 from nano
  while (mantissa != 0 && suffix + 1 < kDecimalSuffixes.size() && mantissa % 1000 == 0) {
    mantissa /= 1000;
    ++suffix;
  }
  const DecimalSuffix& used = kDecimalSuffixes[mantissa == 0 ? 3 : suffix];
  if (format_ == Format::kExponent && used.exponent != 0) {
    return to_text(mantissa) + "e" + std::to_string(used.exponent);
  }
  return to_text(mantissa) + std::string(used.text);
}

Quantity Quantity::plus(const Quantity& other) const { return clamped(nanos_ + other.nanos_, format_); }

Quantity Quantity::minus(const Quantity& other) const { return clamped(nanos_ - other.nanos_, format_); }

bool Quantity::multiple_of(const Quantity& step) const {
  return step.nanos_ != 0 && nanos_ % step.nanos_ == 0;
}

bool same_quantity(std::string_view a, std::string_view b) {
  if (a == b) {
    return true;
  }
  const auto left = Quantity::parse(a);
  const auto right = Quantity::parse(b);
  return left && right && *left == *right;
}

}  // namespace fairlead::formats
