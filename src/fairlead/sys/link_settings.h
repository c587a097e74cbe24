// SPDX-License-Identifier: Apache-2.0
// A link's settings below /proc/sys/net. The kernel drops them when a link leaves its namespace, and gives an
// arriving link the defaults of its new namespace. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/socket.h"

namespace fairlead::sys {

/// By folder ("ipv4/conf": below /proc/sys/net, without the link's name) and name.
using LinkSettings = std::map<std::string, std::map<std::string, std::string>>;
/// As read_net_sysctls().
using ReadFolder = std::function<Result<std::map<std::string, std::string>>(const std::string& folder)>;

/// The settings of the NIC that differ from those of a new link there.
Result<LinkSettings> own_link_settings(const ReadFolder& read, const netlink::Link& nic);

struct RefusedSetting {
  std::string path;  // "ipv4/conf/nic0/rp_filter"
  Error error;
};

/// Restored in two steps: nearly all before the link is set up, so that the kernel neither accepts
/// advertisements nor makes addresses; and after it the MTU for IPv6, which the kernel resets when the link
/// is set up.
enum class LinkIs : std::uint8_t { kDown, kUp };

/// Applies them to the link of that name. Unchanged settings are not written. IPv6 forwarding is refused if
/// the namespace would lose what it has learned from router advertisements.
std::vector<RefusedSetting> restore_link_settings(netlink::Socket& node, const std::string& name, LinkIs link,
                                                  const LinkSettings& settings);

}  // namespace fairlead::sys
