// SPDX-License-Identifier: Apache-2.0
// The writes that make the API server's ResourceSlices match a driver's pools. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/dra/base/driver.h"
#include "fairlead/kube/resources/slice.h"

namespace fairlead::dra {

/// The owner of the slices.
struct SliceIdentity {
  std::string driver_name, node_name, node_uid;
};

/// One desired slice; the index counts from 0 within its pool.
struct WantedSlice {
  std::string pool;
  std::size_t index = 0;
  std::vector<Device> devices;
  bool operator==(const WantedSlice&) const = default;
};

/// At most 128 devices per slice, 64 when one of them has a taint (resource.k8s.io/v1,
/// ResourceSliceMaxDevices and ResourceSliceMaxDevicesWithTaintsOrConsumesCounters), in the driver's order:
/// allocators take the first that fits, so the order is the driver's preference. A pool without devices has
/// one slice without devices: "complete, and empty".
std::vector<WantedSlice> page_pools(const std::vector<Pool>& pools);

struct SliceChange {
  enum class Kind : std::uint8_t { kUpdate, kCreate, kDelete };
  Kind kind = Kind::kCreate;
  kube::ResourceSlice slice;  // to be sent; for kDelete: as read
};

/// The writes, in the order in which they should be done: updates first, so that the new generation is
/// visible as soon as possible, then new slices, last those that readers ignore by then.
///
/// Slices are matched by the index at the front of their name ("00001-<driver>-<node>-x7k2p"). The pool's
/// generation is increased, on all slices, when slices are added or removed or more than one changes: readers
/// then never mix old and new ones. One changed slice needs no new generation, it is replaced in one step.
/// Slices of other drivers and nodes are left alone; those of pools that are not wanted any more are deleted.
std::vector<SliceChange> diff_slices(const SliceIdentity& identity, const std::vector<WantedSlice>& wanted,
                                     const std::vector<kube::ResourceSlice>& existing);

/// The fields in which the stored slice differs from the desired one: `attributes["x"]`, `taints`, ... Empty
/// if they are equivalent: quantities compare by value, a taint's time within a second and not at all if none
/// is desired.
std::vector<std::string> differences(const Device& wanted, const Device& stored);
bool same_devices(const std::vector<Device>& wanted, const std::vector<Device>& stored);

/// Seconds since 1970 of an RFC 3339 time; fractions are cut off. nullopt for other text.
std::optional<std::int64_t> rfc3339_seconds(std::string_view text);

}  // namespace fairlead::dra
