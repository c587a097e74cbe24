// SPDX-License-Identifier: Apache-2.0
// Links of kind "bridge" (net/bridge/br_netlink.c), with the kernel's defaults.
#pragma once

#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/kinds/kind.h"

namespace fairlead::netlink {

struct Bridge {
  static constexpr std::string_view kName = "bridge";

  [[nodiscard]] static Result<> check() { return {}; }
  [[nodiscard]] static IfIndex lower_link() { return {}; }
  static void put(codec::Writer& /*writer*/) {}
  friend bool operator==(const Bridge&, const Bridge&) = default;
};

}  // namespace fairlead::netlink
