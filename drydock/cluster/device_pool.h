// SPDX-License-Identifier: Apache-2.0
// The devices a node can use, read from the ResourceSlices, and what of them is taken. Inside drydock_cluster
// only.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "drydock/cluster/allocator.h"
#include "drydock/cluster/quantity.h"

namespace drydock {

struct DeviceId {
  std::string driver, pool, device;
  auto operator<=>(const DeviceId&) const = default;
};

struct PoolDevice {
  DeviceId id;
  const Json* device = nullptr;  // borrowed from the slice
  bool shared = false;           // allowMultipleAllocations
  bool on_every_node = false;
};

using Amounts = std::map<std::string, Quantity>;  // by the key of the device's capacity

struct DevicePools {
  std::vector<PoolDevice> devices;            // in the order in which they are tried
  std::vector<std::string> incomplete_pools;  // "driver/pool" that are being updated
};
/// Slices of the highest generation of complete pools whose devices this node can use.
DevicePools gather_devices(const AllocationInput& input);

/// What claims have taken.
class DeviceUsage {
 public:
  explicit DeviceUsage(const std::vector<Json>& claims);
  [[nodiscard]] bool is_free(const PoolDevice& device, const Amounts& amounts) const;
  void take(const PoolDevice& device, const Amounts& amounts);
  void give_back(const PoolDevice& device, const Amounts& amounts);

 private:
  struct Use {
    int holders = 0;
    Amounts taken;
  };
  std::map<DeviceId, Use> uses_;
};

/// The amount that a request takes of a device's capacity, rounded as the device's requestPolicy says;
/// nullopt if the device cannot serve it at all. For an exclusive device: empty, if each requested amount is
/// available.
std::optional<Amounts> amounts_for(const PoolDevice& device, const Json& request);
/// The attribute by its full name "domain/name"; null when the device has none.
const Json& attribute_of(const PoolDevice& device, std::string_view full_name);
/// No taint of the device keeps this request away.
bool tolerated(const PoolDevice& device, const Json& request);

}  // namespace drydock
