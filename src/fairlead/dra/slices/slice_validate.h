// SPDX-License-Identifier: Apache-2.0
// The API server refuses a whole ResourceSlice for one invalid attribute. Here only the invalid part is left
// out, so that one odd device never removes a node's pool from the cluster. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fairlead/dra/base/driver.h"

namespace fairlead::dra {

/// A part that was left out.
struct LeftOut {
  std::string_view what;  // "pool", "device", "attribute", "capacity", "taint": a metric's label
  std::string sentence;   // `device "eth1": attribute "x y": ...`
};

struct ValidPools {
  std::vector<Pool> pools;  // within every limit of resource.k8s.io/v1; names filled in
  std::vector<LeftOut> left_out;
};

/// An invalid attribute or capacity is left out alone. A device is left out if its name is invalid or taken,
/// or if one of its taints is invalid: without the taint it would be offered to pods that it was meant to be
/// kept from. A pool without a name gets the node's; pools of one name become one.
ValidPools validate_pools(const std::vector<Pool>& pools, std::string_view driver_name,
                          std::string_view node_name);

}  // namespace fairlead::dra
