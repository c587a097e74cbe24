// SPDX-License-Identifier: Apache-2.0
// Kubernetes quantities ("1500m", "1Gi", "2e3") as exact numbers, and their canonical text.
// Rules: k8s.io/apimachinery/pkg/api/resource.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace drydock {

class Quantity {
 public:
  __extension__ using Int = __int128;  // nano units: 10^-9 to 2^60 and beyond fit

  Quantity() = default;
  static std::optional<Quantity> parse(std::string_view text);
  static Quantity of(std::int64_t value) { return Quantity(Int{value} * kNano, Format::kDecimal); }

  /// As the API server writes it: the largest suffix that leaves a whole number ("1024Mi" is "1Gi").
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] std::optional<std::int64_t> as_integer() const;
  [[nodiscard]] double as_double() const;
  [[nodiscard]] Int nano() const { return nano_; }
  /// The same format, another number.
  [[nodiscard]] Quantity with_nano(Int nano) const { return Quantity(nano, format_); }

  Quantity operator+(const Quantity& other) const { return with_nano(nano_ + other.nano_); }
  Quantity operator-(const Quantity& other) const { return with_nano(nano_ - other.nano_); }
  std::strong_ordering operator<=>(const Quantity& other) const { return nano_ <=> other.nano_; }
  bool operator==(const Quantity& other) const { return nano_ == other.nano_; }

  static constexpr std::int64_t kNano = 1'000'000'000;

 private:
  enum class Format : std::uint8_t { kDecimal, kBinary, kExponent };
  Quantity(Int nano, Format format) : nano_(nano), format_(format) {}
  Int nano_ = 0;
  Format format_ = Format::kDecimal;
};

}  // namespace drydock
