// SPDX-License-Identifier: Apache-2.0
// Links of kind "veth" (drivers/net/veth.c).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/kinds/kind.h"
#include "fairlead/sys/netlink/mac_address.h"

namespace fairlead::netlink {

/// The other end of a new veth pair.
struct VethPeer {
  std::string name;
  std::optional<MacAddress> mac;
  std::optional<std::uint32_t> mtu;
  /// Descriptor of the namespace it is created in; without one, the socket's. Borrowed for the call.
  std::optional<int> netns;
  bool up = false;  // not in the request that creates it but right after, see Socket::create_link
  friend bool operator==(const VethPeer&, const VethPeer&) = default;
};

struct Veth {
  static constexpr std::string_view kName = "veth";
  VethPeer peer;

  [[nodiscard]] Result<> check() const;
  /// The peer, which does not exist yet, becomes IFLA_LINK by itself.
  [[nodiscard]] static IfIndex lower_link() { return {}; }
  void put(codec::Writer& writer) const;
  friend bool operator==(const Veth&, const Veth&) = default;
};

}  // namespace fairlead::netlink
