// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/nic_use.h"

#include <algorithm>
#include <utility>

#include "fairlead/devices/identity.h"

namespace fairlead::agent {

std::vector<NicUse> nic_uses(const std::vector<devices::netdev::LinkUse>& links) {
  std::vector<NicUse> uses;
  for (const devices::netdev::LinkUse& use : links) {
    if (use.link.link.kind == "bridge") {
      continue;  // no driver hands it out: it cannot leave the node's namespace
    }
    std::string nic = devices::node_wide_name(use.link);
    const auto known = std::ranges::find(uses, nic, &NicUse::nic);
    if (known == uses.end()) {
      uses.push_back({.nic = std::move(nic), .link = use.link.link.name, .whole = use.whole});
    } else {
      known->whole = known->whole || use.whole;
    }
  }
  return uses;
}

}  // namespace fairlead::agent
