// SPDX-License-Identifier: Apache-2.0
// What the node has: its network links, joined with the PCI functions and RDMA devices below them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/sys/facts/rdma_devices.h"
#include "fairlead/sys/inventory.h"
#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/pci.h"

namespace fairlead::sys {

/// A PCI function of class network controller (0x02: Ethernet, InfiniBand and others), with a link or without:
/// one that is bound to vfio-pci or to no driver has none.
struct NetFunction {
  PciDevice pci;
  /// Names of its RDMA devices ("mlx5_0"), sorted; those that the sysfs mount shows to its network namespace.
  std::vector<std::string> rdma_devices = {};
  friend bool operator==(const NetFunction&, const NetFunction&) = default;
};

/// Immutable; any thread.
class NodeFacts {
 public:
  NodeFacts() = default;
  NodeFacts(Inventory inventory, std::vector<NetFunction> functions,
            std::vector<RdmaDevice> rdma_devices = {});
  // What these return points into the facts, so none can be called on some that are about to go.
  [[nodiscard]] const Inventory& inventory() const& { return inventory_; }
  void inventory() const&& = delete;
  /// Sorted by BDF.
  [[nodiscard]] const std::vector<NetFunction>& functions() const& { return functions_; }
  void functions() const&& = delete;
  /// nullptr when there is none.
  [[nodiscard]] const NetFunction* function(std::string_view bdf) const&;
  void function(std::string_view bdf) const&& = delete;
  /// The function that has an RDMA device of this name; nullptr when none has, as for one of software (rxe, siw).
  [[nodiscard]] const NetFunction* function_of_rdma(std::string_view device) const&;
  void function_of_rdma(std::string_view device) const&& = delete;

  /// Sorted by name.
  [[nodiscard]] const std::vector<RdmaDevice>& rdma_devices() const& { return rdma_devices_; }
  void rdma_devices() const&& = delete;
  /// The links of the node that are its ports' (of its PCI function), or that it is on (of one of software).
  [[nodiscard]] std::vector<const InventoryLink*> links_of(const RdmaDevice& device) const&;
  void links_of(const RdmaDevice& device) const&& = delete;

 private:
  Inventory inventory_;
  std::vector<NetFunction> functions_;
  std::vector<RdmaDevice> rdma_devices_;
};

/// From sysfs alone, sorted by BDF. A function that vanishes while being read is left out.
Result<std::vector<NetFunction>> read_net_functions(const std::string& sysfs_root);

/// Of the socket's namespace and of sysfs, now.
Result<NodeFacts> read_node_facts(netlink::Socket& socket, const InventoryOptions& options = {});

}  // namespace fairlead::sys
