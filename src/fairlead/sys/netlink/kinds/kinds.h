// SPDX-License-Identifier: Apache-2.0
// The kinds of links that can be created. A new kind is a file in this folder and one line in LinkKind.
#pragma once

#include <optional>
#include <string_view>
#include <variant>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/kinds/bridge.h"
#include "fairlead/sys/netlink/kinds/dummy.h"
#include "fairlead/sys/netlink/kinds/ipvlan.h"
#include "fairlead/sys/netlink/kinds/kind.h"
#include "fairlead/sys/netlink/kinds/macvlan.h"
#include "fairlead/sys/netlink/kinds/veth.h"
#include "fairlead/sys/netlink/kinds/vlan.h"
#include "fairlead/sys/netlink/message.h"

namespace fairlead::netlink {

using LinkKind = std::variant<  //
    Macvlan,                    //
    Veth,                       //
    Dummy,                      //
    Bridge,                     //
    Ipvlan,                     //
    Vlan>;

namespace kinds {

// The functions of the current kind, see kind.h.
std::string_view name(const LinkKind& kind);
Result<> check(const LinkKind& kind);
IfIndex lower_link(const LinkKind& kind);
void put(codec::Writer& writer, const LinkKind& kind);
/// Of a link whose kind has this name; nullopt for other kinds and for those that are not readable.
std::optional<LinkKind> read(std::string_view kind, IfIndex parent, codec::View data);

/// A veth's peer that is to be up: only once both ends exist, with a request of its own. Null if there is none.
const VethPeer* peer_to_set_up(const LinkKind& kind);

}  // namespace kinds
}  // namespace fairlead::netlink
