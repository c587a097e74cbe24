// SPDX-License-Identifier: Apache-2.0
// RDMA devices of the node, from sysfs (Documentation/ABI/stable/sysfs-class-infiniband).
#pragma once

#include <string>
#include <vector>

#include "fairlead/core/result.h"

namespace fairlead::sys {

/// An HCA, or an RDMA device of software (rxe, siw). What cannot be read stays empty.
struct RdmaDevice {
  std::string name;        // "mlx5_0"; an administrator may change it
  std::string node_guid;   // "0002:c903:00a1:b2c3"; empty: none was set
  std::string firmware;    // "28.40.1000"
  std::string link_layer;  // of its first port: "Ethernet", "InfiniBand"
  std::string state;       // of its first port: "ACTIVE", "DOWN"
  int ports = 0;
  std::string bdf;  // the PCI function that it is of; empty: of software, or of a device on another bus
  bool is_software = false;  // it belongs to no device
  std::string link;  // the network link that a device of software is on, as this sysfs calls it: "eth0"
  friend bool operator==(const RdmaDevice&, const RdmaDevice&) = default;
};

/// Those that the sysfs mount shows to its network namespace, sorted by name. One that vanishes meanwhile is left out.
Result<std::vector<RdmaDevice>> read_rdma_devices(const std::string& sysfs_root);

}  // namespace fairlead::sys
