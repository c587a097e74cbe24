// SPDX-License-Identifier: Apache-2.0
// What tunnels of many kinds have in common: they are read, never created.
#pragma once

#include <optional>
#include <string_view>

#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/ip_address.h"
#include "fairlead/sys/netlink/message.h"

namespace fairlead::netlink {

/// How a tunnel's packets leave: values that the tunnel leaves open are unset.
struct TunnelEnds {
  IfIndex link;  // the one they are bound to
  std::optional<IpAddress> local, remote;
  friend bool operator==(const TunnelEnds&, const TunnelEnds&) = default;
};

namespace kinds {

/// From the content of IFLA_INFO_DATA of a link of this kind: vxlan, geneve, gre, ipip, sit, vti and similar.
/// nullopt for another kind.
std::optional<TunnelEnds> read_tunnel(std::string_view kind, codec::View data);

}  // namespace kinds
}  // namespace fairlead::netlink
