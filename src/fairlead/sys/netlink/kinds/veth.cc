// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/kinds/veth.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include "fairlead/sys/netlink/link_identity.h"
#include "fairlead/sys/netlink/link_name.h"
#include "fairlead/sys/netlink/wire.h"

namespace fairlead::netlink {

Result<> Veth::check() const {
  FL_TRY(check_link_name(peer.name), "veth peer");
  return {};
}

void Veth::put(codec::Writer& writer) const {
  writer.nest(IFLA_INFO_DATA, [&] {
    writer.nest(VETH_INFO_PEER, [&] {
      // No flags here: the kernel applies them before the ends are joined, and an end without peer cannot
      // be up (drivers/net/veth.c veth_open: ENOTCONN).
      (void)writer.fixed<ifinfomsg>();
      codec::put_identity(writer, peer);
    });
  });
}

}  // namespace fairlead::netlink
