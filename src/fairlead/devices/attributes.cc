// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/attributes.h"

#include <array>
#include <cstdint>
#include <cstdio>

namespace fairlead::devices {
namespace {

constexpr std::size_t kAttributeStringMax = 64;  // resource/v1 DeviceAttributeMaxValueLength

std::string hex(std::uint32_t value, int digits) {
  std::array<char, 16> text = {};
  (void)std::snprintf(text.data(), text.size(), "%0*x", digits, value);
  return text.data();
}

}  // namespace

void put_attribute(dra::Device& device, const std::string& key, std::string_view text) {
  if (!text.empty() && text.size() <= kAttributeStringMax) {
    device.attributes[key] = std::string(text);
  }
}

void put_pci_attributes(dra::Device& device, const sys::PciDevice& pci) {
  // The standard attributes of KEP-4381 and k8s.io/dynamic-resource-allocation/deviceattribute.
  put_attribute(device, "resource.kubernetes.io/pciBusID", pci.bdf);
  put_attribute(device, "resource.kubernetes.io/pcieRoot", pci.pcie_root);
  if (pci.numa_node >= 0) {
    device.attributes["resource.kubernetes.io/numaNode"] = std::int64_t{pci.numa_node};
  }
  put_attribute(device, "driver", pci.driver);
  put_attribute(device, "pciVendor", "0x" + hex(pci.vendor, 4));
  put_attribute(device, "pciDevice", "0x" + hex(pci.device, 4));
}

NotOffered not_offered(const Withheld& withheld) {
  using Why = Withheld::Why;
  return {.reason = std::string(to_string(withheld.why)),
          .text = withheld.text,
          .is_general = withheld.why == Why::kNodeUnknown || withheld.why == Why::kUplinkMissing ||
                        withheld.why == Why::kDriversUnknown};
}

}  // namespace fairlead::devices
