// SPDX-License-Identifier: Apache-2.0
// What a claim's devices are, asked from their kinds, for the claim's status.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fairlead/agent/record.h"
#include "fairlead/core/result.h"
#include "fairlead/devices/marker.h"
#include "fairlead/devices/registry.h"
#include "fairlead/dra/driver.h"

namespace fairlead::agent {

/// Whether a namespace is the one that a claim's record means.
enum class Namespace : std::uint8_t {
  kTheClaims,  // for certain
  kByNumber,   // it has the number; the kernel gives that of one that ended to another
};

/// Of a device that is not attached: "Monitoring" or "Prepared"; nullopt: it is attached, or should be.
std::optional<dra::DeviceReport> report_without_pod(const devices::DevicePlan& device);

/// One report per device: "Attached" with the name, MAC and addresses that it was given, or "InterfaceGone";
/// "Monitoring" for one with adminAccess. In the claim's own namespace a device is found by its index, since a
/// pod with NET_ADMIN can change the marker; in one that has the number only, by the marker, and if anything
/// there has that, by the index as well. What a pod made of its interface is not reported: who reads the status
/// trusts the driver, not the pod.
Result<std::vector<dra::DeviceReport>> inspect_devices(const Attachment& attachment,
                                                       const devices::Registry& kinds,
                                                       const devices::Marker& of_claim, int netns,
                                                       Namespace which);

/// Netdevices mode: what waits in the calling thread's namespace. Whether the runtime moved it is not known
/// here, so it is neither ready nor not ("Staged"); a runtime that cannot move it fails the container.
Result<std::vector<dra::DeviceReport>> inspect_staged_devices(const ClaimPlan& plan,
                                                              const devices::Registry& kinds,
                                                              const dra::ClaimRecord& record);

}  // namespace fairlead::agent
