// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/marker.h"

#include <array>
#include <charconv>
#include <cstdint>

#include "fairlead/core/hash.h"
#include "fairlead/sys/netlink/types.h"

namespace fairlead::devices {
namespace {

constexpr std::string_view kPrefix = "fairlead:";
constexpr std::string_view kMade = "/made";
constexpr std::string_view kHostEnd = "/host";
constexpr std::string_view kLent = "/lent:";
constexpr std::string_view kWantsName = "fairlead-wants-name:";
constexpr std::size_t kAliasMax = 255;  // IFALIASZ - 1

std::string twelve_hex(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::uint64_t hash = fnv1a_64(text);
  std::string hex;
  for (int i = 0; i < 12; ++i) {
    hex += kDigits[hash & 0xfU];
    hash >>= 4U;
  }
  return hex;
}

}  // namespace

std::string Marker::alias() const {
  return std::string(kPrefix) + driver + ":" + claim_uid + "/" + std::to_string(index) +
         (part ? "." + std::to_string(*part) : "");
}

std::string Marker::made_alias() const { return alias() + std::string(kMade); }

std::string Marker::lent_alias(std::string_view name, std::string_view own_alias) const {
  const std::string head = alias() + std::string(kLent) + std::string(name) + ":";
  return head.size() + own_alias.size() <= kAliasMax ? head + std::string(own_alias) : head;
}

bool Marker::marks(std::string_view alias) const {
  const auto found = MarkedLink::parse(alias);
  return found && found->marker == *this && found->origin != MarkedLink::Origin::kHostEnd;
}

std::string Marker::host_alias() const { return alias() + std::string(kHostEnd); }

std::string Marker::transit_name() const { return "fl" + twelve_hex(alias()); }

std::string Marker::host_name() const { return "flh" + twelve_hex(alias()); }

std::uint32_t Marker::birth_group() const {
  const auto group = static_cast<std::uint32_t>(fnv1a_64(alias()));
  return group == 0 ? 1 : group;
}

std::string NameWanted::text() const {
  const std::string head = std::string(kWantsName) + driver + ":" + name + ":";
  return head.size() + alias.size() <= kAliasMax ? head + alias : head;
}

std::optional<NameWanted> NameWanted::parse(std::string_view alias) {
  if (!alias.starts_with(kWantsName)) {
    return std::nullopt;
  }
  alias.remove_prefix(kWantsName.size());
  const auto driver_end = alias.find(':');
  // A link's name has no colon (net/core/dev.c dev_valid_name).
  const auto name_end = driver_end == std::string_view::npos ? driver_end : alias.find(':', driver_end + 1);
  if (name_end == std::string_view::npos ||
      !netlink::check_link_name(alias.substr(driver_end + 1, name_end - driver_end - 1))) {
    return std::nullopt;
  }
  return NameWanted{.driver = std::string(alias.substr(0, driver_end)),
                    .name = std::string(alias.substr(driver_end + 1, name_end - driver_end - 1)),
                    .alias = std::string(alias.substr(name_end + 1))};
}

std::optional<Marker> Marker::parse(std::string_view alias) {
  auto found = MarkedLink::parse(alias);
  return found ? std::optional(std::move(found->marker)) : std::nullopt;
}

std::optional<MarkedLink> MarkedLink::parse(std::string_view alias) {
  if (!alias.starts_with(kPrefix)) {
    return std::nullopt;
  }
  alias.remove_prefix(kPrefix.size());
  const auto colon = alias.find(':');
  const auto slash = colon == std::string_view::npos ? colon : alias.find('/', colon);
  if (slash == std::string_view::npos) {
    return std::nullopt;
  }
  MarkedLink link{.marker = {.driver = std::string(alias.substr(0, colon)),
                             .claim_uid = std::string(alias.substr(colon + 1, slash - colon - 1))}};
  alias.remove_prefix(slash + 1);
  const auto take_number = [&](std::size_t& number) {
    const auto [end, error] = std::from_chars(alias.data(), alias.data() + alias.size(), number);
    alias.remove_prefix(static_cast<std::size_t>(end - alias.data()));
    return error == std::errc{};
  };
  if (!take_number(link.marker.index)) {
    return std::nullopt;
  }
  if (alias.starts_with('.')) {
    alias.remove_prefix(1);
    if (!take_number(link.marker.part.emplace())) {
      return std::nullopt;
    }
  }
  if (alias == kMade) {
    link.origin = Origin::kMade;
  } else if (alias == kHostEnd) {
    link.origin = Origin::kHostEnd;
  } else if (alias.starts_with(kLent)) {
    alias.remove_prefix(kLent.size());
    const auto name_end = alias.find(':');  // a link's name has none (net/core/dev.c dev_valid_name)
    if (name_end == std::string_view::npos || !netlink::check_link_name(alias.substr(0, name_end))) {
      return std::nullopt;
    }
    link.origin = Origin::kLent;
    link.name = std::string(alias.substr(0, name_end));
    link.alias = std::string(alias.substr(name_end + 1));
  } else if (!alias.empty()) {
    return std::nullopt;
  }
  return link;
}

}  // namespace fairlead::devices
