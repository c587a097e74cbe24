// SPDX-License-Identifier: Apache-2.0
// Links of kind "vlan" (net/8021q/vlan_netlink.c).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/kinds/kind.h"

namespace fairlead::netlink {

/// Which tag the frames have, as an EtherType (ETH_P_8021Q, ETH_P_8021AD).
enum class VlanProtocol : std::uint16_t { k8021q = 0x8100, k8021ad = 0x88A8 };
std::string_view to_string(VlanProtocol protocol);
/// "802.1q", "802.1ad"; nullopt for another word.
std::optional<VlanProtocol> parse_vlan_protocol(std::string_view word);

/// Only one link of a parent may have the same protocol and id (kExists). Its MTU cannot be above the parent's, its MAC
/// address is the parent's unless another one is asked for.
struct Vlan {
  static constexpr std::string_view kName = "vlan";
  static constexpr std::uint16_t kMaxId = 4094;  // 4095 is reserved by IEEE 802.1Q
  static constexpr std::uint32_t kMaxPriority = 7;

  IfIndex parent;  // in the socket's namespace
  std::uint16_t id = 0;
  VlanProtocol protocol = VlanProtocol::k8021q;
  /// From the tag's priority (0 to 7) to the packet's (SO_PRIORITY). The kernel reports no mapping to 0,
  /// which is the value of an unmapped priority.
  std::map<std::uint32_t, std::uint32_t> ingress_qos = {};
  /// From the packet's priority to the tag's (0 to 7). Here too, a mapping to 0 is not reported.
  std::map<std::uint32_t, std::uint32_t> egress_qos = {};

  [[nodiscard]] Result<> check() const;
  [[nodiscard]] IfIndex lower_link() const { return parent; }
  void put(codec::Writer& writer) const;
  static std::optional<Vlan> read(IfIndex parent, codec::View data);
  friend bool operator==(const Vlan&, const Vlan&) = default;
};

}  // namespace fairlead::netlink
