// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/types.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>

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

Result<> check_link_name(std::string_view name) {
  const auto wrong = [&](std::string_view why) {
    return Error(Code::kInvalid,
                 "interface name \"" + std::string(name.substr(0, 64)) + "\" " + std::string(why));
  };
  if (name.empty()) {
    return wrong("is empty");
  }
  if (name.size() >= IFNAMSIZ) {
    return wrong("has " + std::to_string(name.size()) + " characters, the kernel takes at most 15");
  }
  if (name == "." || name == "..") {
    return wrong("is not a name the kernel takes");
  }
  const auto bad = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= ' ' || byte == 0x7F || c == '/' || c == ':' || c == '%';
  };
  if (std::ranges::any_of(name, bad)) {
    return wrong(
        "has a character the kernel does not take: no white space, control characters, '/', ':' or '%'");
  }
  return {};
}

std::string_view to_string(MacvlanMode mode) {
  switch (mode) {
    case MacvlanMode::kPrivate:
      return "private";
    case MacvlanMode::kVepa:
      return "vepa";
    case MacvlanMode::kBridge:
      return "bridge";
    case MacvlanMode::kPassthru:
      return "passthru";
    case MacvlanMode::kSource:
      return "source";
  }
  return "unknown";
}

std::optional<MacvlanMode> parse_macvlan_mode(std::string_view word) {
  for (const MacvlanMode mode : {MacvlanMode::kPrivate, MacvlanMode::kVepa, MacvlanMode::kBridge,
                                 MacvlanMode::kPassthru, MacvlanMode::kSource}) {
    if (word == to_string(mode)) {
      return mode;
    }
  }
  return std::nullopt;
}

std::string_view to_string(OperState state) {
  switch (state) {
    case OperState::kUnknown:
      return "unknown";
    case OperState::kNotPresent:
      return "notpresent";
    case OperState::kDown:
      return "down";
    case OperState::kLowerLayerDown:
      return "lowerlayerdown";
    case OperState::kTesting:
      return "testing";
    case OperState::kDormant:
      return "dormant";
    case OperState::kUp:
      return "up";
  }
  return "unknown";
}

const std::uint32_t kSettableFlags = IFF_DEBUG | IFF_NOTRAILERS | IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI |
                                     IFF_MULTICAST | IFF_PORTSEL | IFF_AUTOMEDIA | IFF_DYNAMIC;

bool Link::is_up() const { return (flags & IFF_UP) != 0; }
bool Link::is_running() const { return (flags & IFF_RUNNING) != 0; }
bool Link::is_loopback() const { return (flags & IFF_LOOPBACK) != 0; }
bool Link::has_name(std::string_view text) const {
  return name == text || std::ranges::find(altnames, text) != altnames.end();
}

std::string_view kind_name(const NewLink& link) {
  struct Namer {
    std::string_view operator()(const Macvlan& /*kind*/) const { return "macvlan"; }
    std::string_view operator()(const Veth& /*kind*/) const { return "veth"; }
    std::string_view operator()(const Dummy& /*kind*/) const { return "dummy"; }
    std::string_view operator()(const Bridge& /*kind*/) const { return "bridge"; }
    std::string_view operator()(const Ipvlan& /*kind*/) const { return Ipvlan::kName; }
    std::string_view operator()(const Vlan& /*kind*/) const { return Vlan::kName; }
  };
  return std::visit(Namer{}, link.kind);
}

}  // namespace fairlead::netlink
