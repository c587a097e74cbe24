// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>

namespace fairlead::netlink {

/// Interface index, unique within one network namespace; 0 means none.
class IfIndex {
 public:
  constexpr IfIndex() = default;
  explicit constexpr IfIndex(std::int32_t value) : value_(value) {}
  [[nodiscard]] constexpr std::int32_t value() const { return value_; }
  [[nodiscard]] constexpr bool valid() const { return value_ > 0; }
  friend auto operator<=>(const IfIndex&, const IfIndex&) = default;

 private:
  std::int32_t value_ = 0;
};

}  // namespace fairlead::netlink
