// SPDX-License-Identifier: Apache-2.0
// How errors name a request and the kernel's response. Not installed.
#pragma once

#include <string>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/link.h"
#include "fairlead/sys/netlink/message.h"
#include "fairlead/sys/netlink/route.h"

namespace fairlead::netlink {

/// "link 7"; Socket::name_link() replaces it with the name if the request fails.
std::string text_of(IfIndex link);
/// "10.1.0.0/16 via 10.0.0.1 on link 7"
std::string text_of(const NewRoute& route);
/// "set link 7 mtu 1400 up"
std::string text_of(IfIndex link, const LinkChange& change);
/// "create macvlan data0"
std::string text_of(const NewLink& link);

/// errno and the kernel's own sentence, if it gave one.
Error refusal(const std::string& what, const codec::Answer& answer);

}  // namespace fairlead::netlink
