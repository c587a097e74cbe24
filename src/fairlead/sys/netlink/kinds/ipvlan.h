// SPDX-License-Identifier: Apache-2.0
// Links of kind "ipvlan" (drivers/net/ipvlan/ipvlan_main.c).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/kinds/kind.h"

namespace fairlead::netlink {

/// The kernel's numbers (IPVLAN_MODE_*).
enum class IpvlanMode : std::uint8_t { kL2, kL3, kL3s };
std::string_view to_string(IpvlanMode mode);
/// "l2", "l3", "l3s"; nullopt for another word.
std::optional<IpvlanMode> parse_ipvlan_mode(std::string_view word);

/// Which of a parent's ipvlan links may communicate with each other. The kernel's bits (IPVLAN_F_*), of which
/// it accepts one at most; without a bit they all may.
enum class IpvlanFlag : std::uint8_t { kBridge = 0, kPrivate = 1, kVepa = 2 };
std::string_view to_string(IpvlanFlag flag);
/// "bridge", "private", "vepa"; nullopt for another word.
std::optional<IpvlanFlag> parse_ipvlan_flag(std::string_view word);

/// Shares the MAC address of its parent: NewLink::mac has no effect and LinkChange::mac is refused. Mode and flag
/// belong to the parent: creating a link gives its own to all ipvlan links of that parent (ipvlan_link_new). The parent
/// must not be a bridge port nor have macvlan links (EBUSY).
struct Ipvlan {
  static constexpr std::string_view kName = "ipvlan";
  IfIndex parent;  // in the socket's namespace
  IpvlanMode mode = IpvlanMode::kL2;
  IpvlanFlag flag = IpvlanFlag::kBridge;

  [[nodiscard]] Result<> check() const;
  [[nodiscard]] IfIndex lower_link() const { return parent; }
  void put(codec::Writer& writer) const;
  static std::optional<Ipvlan> read(IfIndex parent, codec::View data);
  friend bool operator==(const Ipvlan&, const Ipvlan&) = default;
};

}  // namespace fairlead::netlink
