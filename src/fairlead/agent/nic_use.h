// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "fairlead/devices/netdev/link_use.h"

namespace fairlead::agent {

/// A NIC under the name that all agents of the node use.
struct NicUse {
  std::string nic;   // devices::node_wide_name()
  std::string link;  // its name on the node, for log lines
  bool whole = false;
};
/// The links used by a claim that other drivers might hand out as well; each once.
std::vector<NicUse> nic_uses(const std::vector<devices::netdev::LinkUse>& links);

}  // namespace fairlead::agent
