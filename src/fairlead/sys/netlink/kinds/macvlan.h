// SPDX-License-Identifier: Apache-2.0
// Links of kind "macvlan" (drivers/net/macvlan.c).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/kinds/kind.h"

namespace fairlead::netlink {

enum class MacvlanMode : std::uint8_t { kPrivate = 1, kVepa = 2, kBridge = 4, kPassthru = 8, kSource = 16 };
std::string_view to_string(MacvlanMode mode);
/// "private", "vepa", "bridge", "passthru", "source"; nullopt for another word.
std::optional<MacvlanMode> parse_macvlan_mode(std::string_view word);

/// Cannot communicate with its parent. kPassthru has the parent's MAC, whatever is requested, and must be the
/// parent's only macvlan.
struct Macvlan {
  static constexpr std::string_view kName = "macvlan";
  IfIndex parent;  // in the socket's namespace
  MacvlanMode mode = MacvlanMode::kBridge;

  [[nodiscard]] Result<> check() const;
  [[nodiscard]] IfIndex lower_link() const { return parent; }
  void put(codec::Writer& writer) const;
  /// A link of kind "macvtap" has the same attributes.
  static std::optional<Macvlan> read(IfIndex parent, codec::View data);
  friend bool operator==(const Macvlan&, const Macvlan&) = default;
};

}  // namespace fairlead::netlink
