// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/mac_address.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace fairlead::netlink {
namespace {

constexpr std::size_t kEthernetSize = 6;
constexpr std::size_t kInfinibandSize = 20;

Error bad_value(std::string_view text, std::string_view wanted) {
  return {Code::kInvalid, "\"" + std::string(text) + "\" is not " + std::string(wanted)};
}

std::optional<std::uint8_t> parse_octet(std::string_view digits) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.size() != 2) {
    return std::nullopt;
  }
  return static_cast<std::uint8_t>(value);
}

}  // namespace

MacAddress::MacAddress(std::span<const std::uint8_t> octets) : size_(std::min(octets.size(), kMaxSize)) {
  std::copy_n(octets.begin(), size_, octets_.begin());
}

Result<MacAddress> MacAddress::parse(std::string_view text) {
  const auto wrong = [&] { return bad_value(text, "a MAC address such as 02:00:00:aa:bb:01"); };
  const std::size_t size = (text.size() + 1) / 3;
  if ((text.size() + 1) % 3 != 0 || (size != kEthernetSize && size != kInfinibandSize)) {
    return wrong();
  }
  const char separator = text[2];
  MacAddress mac;
  for (; mac.size_ < size; ++mac.size_) {
    const std::size_t at = mac.size_ * 3;
    const auto octet = parse_octet(text.substr(at, 2));
    const bool separated = at + 2 == text.size() || text[at + 2] == separator;
    if (!octet || !separated || (separator != ':' && separator != '-')) {
      return wrong();
    }
    mac.octets_.at(mac.size_) = *octet;
  }
  return mac;
}

std::string MacAddress::to_string() const {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t octet : octets()) {
    if (!text.empty()) {
      text += ':';
    }
    text += kDigits[octet >> 4U];
    text += kDigits[octet & 15U];
  }
  return text;
}

bool MacAddress::is_zero() const {
  return std::ranges::all_of(octets(), [](std::uint8_t octet) { return octet == 0; });
}

}  // namespace fairlead::netlink
