// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/route.h"

#include <linux/rtnetlink.h>

namespace fairlead::netlink {

bool is_what_was_asked_for(const Route& route, const NewRoute& wanted) {
  constexpr std::uint32_t kDefaultMetric6 = 1024;  // IP6_RT_PRIO_USER
  const bool metric_is_same =
      route.metric == wanted.metric ||
      (wanted.metric == 0 && wanted.destination.is_v6() && route.metric == kDefaultMetric6);
  return metric_is_same && route.table == wanted.table && route.type == RTN_UNICAST &&
         route.destination == wanted.destination.network() &&
         (!wanted.source || route.source == wanted.source) &&
         route.hops == std::vector<NextHop>{{.link = wanted.link, .gateway = wanted.gateway}};
}

}  // namespace fairlead::netlink
