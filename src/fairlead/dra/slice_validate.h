// SPDX-License-Identifier: Apache-2.0
// The API server refuses a whole ResourceSlice for one bad attribute. Here the bad part is left out instead,
// so that one odd device never takes a node's pool out of the cluster. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fairlead/dra/driver.h"

namespace fairlead::dra {

/// Something that was left out.
struct LeftOut {
  std::string_view what;  // "pool", "device", "attribute", "capacity", "taint": a metric's label
  std::string sentence;   // `device "eth1": attribute "x y": ...`
};

struct ValidPools {
  std::vector<Pool> pools;  // within every limit of resource.k8s.io/v1; names filled in
  std::vector<LeftOut> left_out;
};

/// An attribute or capacity that breaks a rule goes alone. A device goes when its name is wrong or taken, and
/// when one of its taints is wrong: without the taint it would be offered to pods it was meant to be kept
/// from. A pool without a name gets the node's; pools of one name become one.
ValidPools validate_pools(const std::vector<Pool>& pools, std::string_view driver_name,
                          std::string_view node_name);

}  // namespace fairlead::dra
