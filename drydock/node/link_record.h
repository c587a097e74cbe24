// SPDX-License-Identifier: Apache-2.0
// What a link was when it was lent, and how it differs from that later.
#pragma once

#include <string>
#include <vector>

#include "drydock/node/link_messages.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/link_settings.h"
#include "fairlead/sys/netlink/types.h"

namespace drydock {

/// A link as the machine had it.
struct LinkRecord {
  fairlead::netlink::Link link;
  std::vector<LinkMessage> addresses, routes;
  fairlead::sys::LinkSettings settings;  // that are not what a new link would have
};

/// Those of `wanted` that are not in `there`, by their identity.
std::vector<LinkMessage> missing(const std::vector<LinkMessage>& wanted,
                                 const std::vector<LinkMessage>& there);

/// What the link is now that it was not, or was and is not.
std::vector<std::string> differences(const fairlead::netlink::Link& was, const fairlead::netlink::Link& now);

/// For the node: what a pod or a driver may have left on a link.
std::vector<std::string> changes_of(const LinkRecord& record, const fairlead::netlink::Link& now,
                                    const std::vector<LinkMessage>& addresses, int netns);

}  // namespace drydock
