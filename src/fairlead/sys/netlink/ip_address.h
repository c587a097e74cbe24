// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::netlink {

/// An IPv4 or IPv6 address.
class IpAddress {
 public:
  IpAddress() = default;  // 0.0.0.0
  /// 4 or 16 octets in network order; nullopt for another length.
  static std::optional<IpAddress> from_octets(std::span<const std::uint8_t> octets);
  /// "10.0.0.1" or "fd00::1"; no zone, no prefix length. kInvalid otherwise.
  static Result<IpAddress> parse(std::string_view text);

  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] bool is_v6() const { return v6_; }
  /// AF_INET or AF_INET6.
  [[nodiscard]] std::uint8_t family() const;
  [[nodiscard]] std::size_t bits() const { return v6_ ? 128 : 32; }
  [[nodiscard]] std::span<const std::uint8_t> octets() const {
    return std::span(octets_).first(v6_ ? 16 : 4);
  }
  [[nodiscard]] bool is_unspecified() const;
  /// Keeps the first `length` bits and clears the rest.
  [[nodiscard]] IpAddress masked(std::size_t length) const;
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  bool v6_ = false;
  std::array<std::uint8_t, 16> octets_ = {};
};

/// An address with a prefix length ("10.0.0.5/24"): an interface's address, host bits kept, or a destination.
class IpPrefix {
 public:
  IpPrefix() = default;  // 0.0.0.0/0
  /// `length` is limited to the family's bits.
  IpPrefix(IpAddress address, std::size_t length);
  /// CIDR text; the length is required. kInvalid otherwise.
  static Result<IpPrefix> parse(std::string_view text);

  /// Canonical: "fd00::5/64".
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] const IpAddress& address() const { return address_; }
  [[nodiscard]] std::uint8_t length() const { return length_; }
  [[nodiscard]] bool is_v6() const { return address_.is_v6(); }
  /// The same with host bits cleared, as a route's destination must be.
  [[nodiscard]] IpPrefix network() const;
  /// 0.0.0.0/0 or ::/0.
  [[nodiscard]] bool is_default() const { return length_ == 0; }
  friend auto operator<=>(const IpPrefix&, const IpPrefix&) = default;

 private:
  IpAddress address_;
  std::uint8_t length_ = 0;
};

}  // namespace fairlead::netlink
