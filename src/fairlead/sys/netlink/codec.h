// SPDX-License-Identifier: Apache-2.0
// rtnetlink messages as bytes: values in, bytes out, and back. Pure: no socket, no root. Input is untrusted:
// every length is checked, attributes that do not fit are left out, strings need not be terminated.
#pragma once

#include "fairlead/sys/netlink/address_codec.h"
#include "fairlead/sys/netlink/link_codec.h"
#include "fairlead/sys/netlink/message.h"
#include "fairlead/sys/netlink/route_codec.h"
#include "fairlead/sys/netlink/types.h"
