// SPDX-License-Identifier: Apache-2.0
// Attributes of a new link that a veth's peer has too. Not installed.
#pragma once

#include <linux/if_link.h>

#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink::codec {

/// `link` is a NewLink or a VethPeer.
template <class T>
void put_identity(Writer& writer, const T& link) {
  writer.text(IFLA_IFNAME, link.name);
  if (link.mac) {
    writer.raw(IFLA_ADDRESS, link.mac->octets());
  }
  if (link.mtu) {
    writer.u32(IFLA_MTU, *link.mtu);
  }
  if (link.netns) {
    writer.descriptor(IFLA_NET_NS_FD, *link.netns);
  }
}

}  // namespace fairlead::netlink::codec
