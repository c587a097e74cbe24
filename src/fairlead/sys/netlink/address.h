// SPDX-License-Identifier: Apache-2.0
// Addresses of links, as rtnetlink has them (include/uapi/linux/if_addr.h). Plain data; any thread.
#pragma once

#include <cstdint>
#include <optional>

#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/ip_address.h"
#include "fairlead/sys/netlink/told.h"

namespace fairlead::netlink {

/// An address on a link.
struct Address {
  IfIndex link;
  IpPrefix prefix;
  std::uint8_t scope = 0;                        // RT_SCOPE_*
  std::uint32_t flags = 0;                       // IFA_F_*
  std::uint8_t protocol = 0;                     // IFAPROT_*: its origin (Linux 5.18); 0: not given
  std::uint32_t metric = 0;                      // of its prefix route; 0: the kernel's default
  std::optional<IpAddress> peer = std::nullopt;  // the other end's; its prefix is then on the link
  friend bool operator==(const Address&, const Address&) = default;
};
struct ToldAddress {
  Address address;
  Told told;
};
struct NewAddress {
  IfIndex link;
  IpPrefix prefix;
  /// IPv6: usable at once, no duplicate address detection (about 1 s in which bind() fails).
  bool no_dad = true;
};

}  // namespace fairlead::netlink
