// SPDX-License-Identifier: Apache-2.0
// Reports of a claim's devices, collected from their kinds, for the claim's status.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fairlead/agent/attach/plan_reader.h"
#include "fairlead/agent/attach/record.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/marker.h"
#include "fairlead/devices/registry.h"
#include "fairlead/dra/base/driver.h"

namespace fairlead::agent {

/// Whether a namespace is the one that a claim's record refers to.
enum class Namespace : std::uint8_t {
  kTheClaims,  // for certain
  kByNumber,   // it has the same inode number, which the kernel reuses
};

/// Of a device that is not attached: "Monitoring", or what its kind says of it ("Prepared"); nullopt: it is attached,
/// or should be.
std::optional<dra::DeviceReport> report_without_pod(const devices::DevicePlan& device,
                                                    const devices::Registry& kinds);

/// One report per device (of several parts, of all together): "Attached" with the name, MAC and addresses that it was given, or "InterfaceGone";
/// "Monitoring" for one with adminAccess. In the claim's own namespace a device is found by its index, since
/// a pod with NET_ADMIN can change the marker; in one that only has the same inode number, by the marker, and
/// if any link there has it, by the index as well. Changes that a pod made to its interface are not reported:
/// readers of the status trust the driver, not the pod.
Result<std::vector<dra::DeviceReport>> inspect_devices(const Attachment& attachment,
                                                       const devices::Registry& kinds,
                                                       const devices::Marker& of_claim, int netns,
                                                       Namespace which);

/// Netdevices mode: the links staged in the calling thread's namespace. Whether the runtime moved them is not
/// known here, so they are neither ready nor not ready ("Staged"); a runtime that cannot move one fails the
/// container.
Result<std::vector<dra::DeviceReport>> inspect_staged_devices(const ClaimPlan& plan,
                                                              const devices::Registry& kinds,
                                                              const dra::ClaimRecord& record);

}  // namespace fairlead::agent
