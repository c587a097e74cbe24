// SPDX-License-Identifier: Apache-2.0
// Links of kind "dummy" (drivers/net/dummy.c). They have no attributes.
#pragma once

#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/kinds/kind.h"

namespace fairlead::netlink {

struct Dummy {
  static constexpr std::string_view kName = "dummy";

  [[nodiscard]] static Result<> check() { return {}; }
  [[nodiscard]] static IfIndex lower_link() { return {}; }
  static void put(codec::Writer& /*writer*/) {}
  friend bool operator==(const Dummy&, const Dummy&) = default;
};

}  // namespace fairlead::netlink
