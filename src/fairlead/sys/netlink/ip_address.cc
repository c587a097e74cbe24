// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/ip_address.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>

namespace fairlead::netlink {
namespace {

Error bad_value(std::string_view text, std::string_view wanted) {
  return {Code::kInvalid, "\"" + std::string(text) + "\" is not " + std::string(wanted)};
}

}  // namespace

std::optional<IpAddress> IpAddress::from_octets(std::span<const std::uint8_t> octets) {
  if (octets.size() != 4 && octets.size() != 16) {
    return std::nullopt;
  }
  IpAddress address;
  address.v6_ = octets.size() == 16;
  std::ranges::copy(octets, address.octets_.begin());
  return address;
}

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string terminated(text);
  IpAddress address;
  address.v6_ = text.contains(':');
  // A NUL inside would end the text early for inet_pton.
  if (text.contains('\0') || ::inet_pton(address.family(), terminated.c_str(), address.octets_.data()) != 1) {
    return bad_value(text, "an IP address such as 10.0.0.1 or fd00::1");
  }
  return address;
}

std::string IpAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text = {};
  ::inet_ntop(family(), octets_.data(), text.data(), text.size());
  return text.data();
}

std::uint8_t IpAddress::family() const { return v6_ ? AF_INET6 : AF_INET; }

bool IpAddress::is_unspecified() const {
  return std::ranges::all_of(octets_, [](std::uint8_t octet) { return octet == 0; });
}

IpAddress IpAddress::masked(std::size_t length) const {
  IpAddress result = *this;
  for (std::size_t i = 0; i < result.octets_.size(); ++i) {
    const std::size_t kept = std::clamp<std::size_t>(length, i * 8, (i + 1) * 8) - i * 8;
    result.octets_.at(i) &= static_cast<std::uint8_t>(0xFF00U >> kept);
  }
  return result;
}

IpPrefix::IpPrefix(IpAddress address, std::size_t length)
    : address_(address), length_(static_cast<std::uint8_t>(std::min(length, address.bits()))) {}

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
  const auto wrong = [&] {
    return bad_value(text, "an address with prefix length such as 10.0.0.5/24 or fd00::5/64");
  };
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return wrong();
  }
  const auto address = IpAddress::parse(text.substr(0, slash));
  const std::string_view digits = text.substr(slash + 1);
  std::size_t length = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (!address || error != std::errc() || end != digits.data() + digits.size() || length > address->bits()) {
    return wrong();
  }
  return IpPrefix(*address, length);
}

std::string IpPrefix::to_string() const { return address_.to_string() + "/" + std::to_string(length_); }

IpPrefix IpPrefix::network() const { return {address_.masked(length_), length_}; }

}  // namespace fairlead::netlink
