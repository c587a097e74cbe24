// SPDX-License-Identifier: Apache-2.0
// Kubernetes quantities ("1Gi", "250m", "2e3"): exact values, compared by value. Rules:
// staging/src/k8s.io/apimachinery/pkg/api/resource/quantity.go. The API server writes them back in canonical
// form ("1024Mi" becomes "1Gi"), so that comparing the text would see changes where there are none.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::formats {

/// The family of suffixes a quantity was written with; canonical() stays in it.
enum class QuantityFormat : std::uint8_t { kDecimal, kBinary, kExponent };

/// A number from -(2^63-1) to 2^63-1 in steps of 10^-9. As in Kubernetes, larger magnitudes are cut to the
/// largest and finer fractions are rounded away from zero.
class Quantity {
 public:
  /// kInvalid for text that is no quantity.
  static Result<Quantity> parse(std::string_view text);

  /// By value: 1024Mi == 1Gi, 0.5 == 500m.
  std::strong_ordering operator<=>(const Quantity& other) const { return nanos_ <=> other.nanos_; }
  bool operator==(const Quantity& other) const { return nanos_ == other.nanos_; }

  /// The form the API server stores: no fraction, the largest suffix of the family it was written in.
  [[nodiscard]] std::string canonical() const;
  [[nodiscard]] bool negative() const { return nanos_ < 0; }
  [[nodiscard]] bool zero() const { return nanos_ == 0; }

  /// Arithmetic as requestPolicy wants it: the sum (cut to the largest), and whether this is a whole multiple
  /// of `step`, which must not be zero.
  [[nodiscard]] Quantity plus(const Quantity& other) const;
  [[nodiscard]] Quantity minus(const Quantity& other) const;
  [[nodiscard]] bool multiple_of(const Quantity& step) const;

 private:
  __extension__ using Nanos = __int128;
  using Format = QuantityFormat;
  Quantity(Nanos nanos, Format format) : nanos_(nanos), format_(format) {}
  static Quantity clamped(Nanos nanos, Format format);

  Nanos nanos_;
  Format format_;
};

/// By value when both are quantities, else by text.
bool same_quantity(std::string_view a, std::string_view b);

}  // namespace fairlead::formats
