// SPDX-License-Identifier: Apache-2.0
// The values of rtnetlink: links, addresses and routes, and the requests for them.
#pragma once

#include "fairlead/sys/netlink/address.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/ip_address.h"
#include "fairlead/sys/netlink/link.h"
#include "fairlead/sys/netlink/link_name.h"
#include "fairlead/sys/netlink/mac_address.h"
#include "fairlead/sys/netlink/route.h"
