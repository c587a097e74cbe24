// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/kinds/tunnel.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tunnel.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink::kinds {
namespace {

/// Which attributes of a tunnel's kind say where its packets go (include/uapi/linux/if_link.h, if_tunnel.h).
/// 0 where there is none; the IPv6 kinds use the numbers of their IPv4 brothers but for vxlan and geneve.
struct TunnelAttributes {
  std::string_view kind;
  std::uint16_t link, local, remote, local6, remote6;
};
constexpr std::uint16_t kNoAttribute = 0;
constexpr std::array kTunnels = {
    TunnelAttributes{"vxlan", IFLA_VXLAN_LINK, IFLA_VXLAN_LOCAL, IFLA_VXLAN_GROUP, IFLA_VXLAN_LOCAL6,
                     IFLA_VXLAN_GROUP6},
    TunnelAttributes{"geneve", kNoAttribute, kNoAttribute, IFLA_GENEVE_REMOTE, kNoAttribute,
                     IFLA_GENEVE_REMOTE6},
    TunnelAttributes{"gre", IFLA_GRE_LINK, IFLA_GRE_LOCAL, IFLA_GRE_REMOTE, kNoAttribute, kNoAttribute},
    TunnelAttributes{"gretap", IFLA_GRE_LINK, IFLA_GRE_LOCAL, IFLA_GRE_REMOTE, kNoAttribute, kNoAttribute},
    TunnelAttributes{"erspan", IFLA_GRE_LINK, IFLA_GRE_LOCAL, IFLA_GRE_REMOTE, kNoAttribute, kNoAttribute},
    TunnelAttributes{"ip6gre", IFLA_GRE_LINK, IFLA_GRE_LOCAL, IFLA_GRE_REMOTE, kNoAttribute, kNoAttribute},
    TunnelAttributes{"ip6gretap", IFLA_GRE_LINK, IFLA_GRE_LOCAL, IFLA_GRE_REMOTE, kNoAttribute, kNoAttribute},
    TunnelAttributes{"ip6erspan", IFLA_GRE_LINK, IFLA_GRE_LOCAL, IFLA_GRE_REMOTE, kNoAttribute, kNoAttribute},
    TunnelAttributes{"ipip", IFLA_IPTUN_LINK, IFLA_IPTUN_LOCAL, IFLA_IPTUN_REMOTE, kNoAttribute,
                     kNoAttribute},
    TunnelAttributes{"sit", IFLA_IPTUN_LINK, IFLA_IPTUN_LOCAL, IFLA_IPTUN_REMOTE, kNoAttribute, kNoAttribute},
    TunnelAttributes{"ip6tnl", IFLA_IPTUN_LINK, IFLA_IPTUN_LOCAL, IFLA_IPTUN_REMOTE, kNoAttribute,
                     kNoAttribute},
    TunnelAttributes{"vti", IFLA_VTI_LINK, IFLA_VTI_LOCAL, IFLA_VTI_REMOTE, kNoAttribute, kNoAttribute},
    TunnelAttributes{"vti6", IFLA_VTI_LINK, IFLA_VTI_LOCAL, IFLA_VTI_REMOTE, kNoAttribute, kNoAttribute},
};

std::optional<IpAddress> read_tunnel_end(codec::View value) {
  auto address = IpAddress::from_octets(value);
  return address && !address->is_unspecified() ? address : std::nullopt;
}

}  // namespace

std::optional<TunnelEnds> read_tunnel(std::string_view kind, codec::View data) {
  const auto* known = std::ranges::find(kTunnels, kind, &TunnelAttributes::kind);
  if (known == kTunnels.end()) {
    return std::nullopt;
  }
  TunnelEnds ends;
  codec::for_each_attribute(data, [&](std::uint16_t type, codec::View value) {
    if (type == kNoAttribute) {
      return;
    }
    if (type == known->link) {
      codec::read_index(ends.link, value);
    } else if (type == known->local || type == known->local6) {
      ends.local = read_tunnel_end(value);
    } else if (type == known->remote || type == known->remote6) {
      ends.remote = read_tunnel_end(value);
    }
  });
  return ends;
}

}  // namespace fairlead::netlink::kinds
