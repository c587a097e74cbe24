// SPDX-License-Identifier: Apache-2.0
// Which link of the machine --lend means, and whether it may be lent.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "drydock/node/link_messages.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netlink/types.h"

namespace drydock {

/// "0000:01:10.0" from that, "01:10.0" or upper case; empty when the text is no PCI address.
std::string pci_address(const std::string& text);

/// The link that is meant, by name, altname or PCI address.
fairlead::Result<const fairlead::netlink::Link*> look_up(const std::string& asked,
                                                         const std::vector<fairlead::netlink::Link>& links,
                                                         const std::string& sysfs_root);
/// The link is not here: whether that may be because of another drydock, whose keeper (link_keeper.h) is
/// there as long as something is lent.
fairlead::Error with_other_drydocks(fairlead::Error error);

/// The links that the machine reaches others by: those with a default route, and all that these stand on.
fairlead::Result<std::set<std::int32_t>> uplinks(fairlead::netlink::Socket& machine,
                                                 const std::vector<fairlead::netlink::Link>& links);
/// An error if the link cannot be lent: the reason.
fairlead::Result<> check_lendable(const std::string& asked, const fairlead::netlink::Link& link,
                                  const std::vector<fairlead::netlink::Link>& all,
                                  const std::set<std::int32_t>& machine_uplinks, LinkMessages& messages);

/// kInvalid: "--lend nic0: why".
fairlead::Error refused(const std::string& asked, const std::string& why);

}  // namespace drydock
