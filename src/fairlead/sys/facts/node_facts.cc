// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/facts/node_facts.h"

#include <algorithm>

#include "fairlead/sys/files.h"

namespace fairlead::sys {
namespace {

bool is_network_controller(const PciDevice& device) { return device.class_code >> 16U == 0x02; }

}  // namespace

NodeFacts::NodeFacts(Inventory inventory, std::vector<NetFunction> functions,
                     std::vector<RdmaDevice> rdma_devices)
    : inventory_(std::move(inventory)),
      functions_(std::move(functions)),
      rdma_devices_(std::move(rdma_devices)) {
  std::ranges::sort(rdma_devices_, {}, [](const RdmaDevice& one) { return std::string_view(one.name); });
  std::ranges::sort(functions_, {}, [](const NetFunction& one) { return std::string_view(one.pci.bdf); });
}

const NetFunction* NodeFacts::function(std::string_view bdf) const& {
  const auto found =
      std::ranges::find_if(functions_, [&](const NetFunction& one) { return one.pci.bdf == bdf; });
  return found == functions_.end() ? nullptr : &*found;
}

const NetFunction* NodeFacts::function_of_rdma(std::string_view device) const& {
  const auto found = std::ranges::find_if(functions_, [&](const NetFunction& one) {
    return std::ranges::find(one.rdma_devices, device) != one.rdma_devices.end();
  });
  return found == functions_.end() ? nullptr : &*found;
}

std::vector<const InventoryLink*> NodeFacts::links_of(const RdmaDevice& device) const& {
  if (!device.bdf.empty()) {
    return inventory_.find_bdf(device.bdf);
  }
  const InventoryLink* link = device.link.empty() ? nullptr : inventory_.find(device.link);
  return link == nullptr ? std::vector<const InventoryLink*>() : std::vector{link};
}

Result<std::vector<NetFunction>> read_net_functions(const std::string& sysfs_root) {
  const std::string folder = sysfs_root + "/bus/pci/devices";
  FL_ASSIGN(const auto names, list_dir(folder), "list PCI functions");
  std::vector<NetFunction> functions;
  for (const std::string& bdf : names) {
    FL_ASSIGN(auto device, read_pci_device(sysfs_root, bdf));
    if (!device || !is_network_controller(*device)) {
      continue;
    }
    FL_ASSIGN(auto rdma_devices, list_dir(folder + "/" + bdf + "/infiniband"), "list RDMA devices");
    functions.push_back({.pci = std::move(*device), .rdma_devices = std::move(rdma_devices)});
  }
  return functions;
}

Result<NodeFacts> read_node_facts(netlink::Socket& socket, const InventoryOptions& options) {
  FL_ASSIGN(Inventory inventory, read_inventory(socket, options));
  FL_ASSIGN(auto functions, read_net_functions(options.sysfs_root));
  FL_ASSIGN(auto rdma_devices, read_rdma_devices(options.sysfs_root));
  return NodeFacts(std::move(inventory), std::move(functions), std::move(rdma_devices));
}

}  // namespace fairlead::sys
