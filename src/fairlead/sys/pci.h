// SPDX-License-Identifier: Apache-2.0
// PCI facts from sysfs, below a root that tests redirect.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::sys {

/// True for "0000:03:00.1": four lower-case hex digits of domain, as Kubernetes' pciBusID wants it.
bool is_bdf(std::string_view text);

/// One PCI function (Documentation/ABI/testing/sysfs-bus-pci).
struct PciDevice {
  std::string bdf;           // lower case
  std::uint16_t vendor = 0;  // 0x8086
  std::uint16_t device = 0;
  std::uint32_t class_code = 0;  // 0x020000: Ethernet controller
  std::string driver;            // empty: no driver bound
  int numa_node = -1;            // -1: unknown
  std::string pcie_root;   // "pci0000:00": first component below /sys/devices; empty if not of that form
  std::string link_speed;  // "8.0 GT/s PCIe", as sysfs says; empty: unknown
  int link_width = 0;      // lanes; 0: unknown
  std::optional<int> sriov_total_vfs;  // set: it is a physical function that can have VFs
  int sriov_num_vfs = 0;
  std::string physical_function;  // BDF of the PF when this is a VF
  [[nodiscard]] bool is_vf() const { return !physical_function.empty(); }
  friend bool operator==(const PciDevice&, const PciDevice&) = default;
};

/// nullopt if there is no such function (any more). Facts that cannot be read keep their default.
Result<std::optional<PciDevice>> read_pci_device(const std::string& sysfs_root, std::string_view bdf);

/// The PCI function below a device of any bus ("virtio", "virtio3" -> "0000:00:03.0"), itself if the bus is
/// "pci"; nullopt if it has none or is gone.
std::optional<std::string> pci_function_of(const std::string& sysfs_root, const std::string& bus,
                                           const std::string& device);

/// The driver of a device of any bus; empty if it has none or is gone.
std::string driver_of(const std::string& sysfs_root, const std::string& bus, const std::string& device);

/// dev_port of a link of that device (Documentation/ABI/testing/sysfs-class-net): the number of the link on
/// its device, from 0. Also 0 if it cannot be read, or if the sysfs is another network namespace's.
int dev_port_of(const std::string& sysfs_root, const std::string& bus, const std::string& device,
                const std::string& link_name);

}  // namespace fairlead::sys
