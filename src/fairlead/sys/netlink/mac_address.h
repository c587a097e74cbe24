// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::netlink {

/// A link-layer address: 6 octets for Ethernet, 20 for IPoIB, at most 32 (MAX_ADDR_LEN); empty is none.
class MacAddress {
 public:
  static constexpr std::size_t kMaxSize = 32;
  MacAddress() = default;
  /// Octets beyond kMaxSize are dropped.
  explicit MacAddress(std::span<const std::uint8_t> octets);
  /// "02:00:00:aa:bb:01" (':' or '-', either case), 6 or 20 octets. kInvalid otherwise.
  static Result<MacAddress> parse(std::string_view text);

  /// Lower case with colons; "" when empty.
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] std::span<const std::uint8_t> octets() const { return std::span(octets_).first(size_); }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  /// All octets zero (an interface never has such an address of its own).
  [[nodiscard]] bool is_zero() const;
  /// The group bit: no interface can have such an address.
  [[nodiscard]] bool is_multicast() const { return size_ > 0 && (octets_[0] & 1U) != 0; }
  friend auto operator<=>(const MacAddress&, const MacAddress&) = default;

 private:
  std::array<std::uint8_t, kMaxSize> octets_ = {};
  std::size_t size_ = 0;
};

}  // namespace fairlead::netlink
