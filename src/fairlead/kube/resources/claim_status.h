// SPDX-License-Identifier: Apache-2.0
// status.devices[] of a ResourceClaim (KEP-4817): drivers' reports about allocated devices.
#pragma once

#include <string>
#include <vector>

#include "fairlead/kube/client.h"
#include "fairlead/kube/resources/claim.h"

namespace fairlead::kube {

/// status.devices[] of a claim (KEP-4817). The server accepts only canonical addresses with a prefix length,
/// and only entries whose driver, pool, device and share id are allocated to the claim.
struct DeviceStatus {
  std::string driver, pool, device, share_id;
  std::vector<Condition> conditions;
  std::string data;  // JSON object text of at most 10 KiB; empty: none
  std::string interface_name;
  std::vector<std::string> ips;  // "10.0.0.5/24"
  std::string hardware_address;
  bool operator==(const DeviceStatus&) const = default;
};

/// A claim's uid and its status.devices[], those of all drivers.
struct ClaimStatus {
  std::string uid;
  std::vector<DeviceStatus> devices;
};
/// `data` is read as JSON text of any layout.
template <>
struct ResourceTraits<ClaimStatus> {
  static constexpr ResourceType kType = kResourceClaims;
  static ClaimStatus read(const JsonReader& in);
};

/// The body of a server-side apply to a claim's status. It holds all entries of the driver: the server
/// removes those left out. The uid makes the write fail with kConflict if the claim was replaced. kInvalid if
/// some `data` is not a JSON object.
Result<std::string> claim_status_to_json(const ObjectMeta& claim, const std::vector<DeviceStatus>& devices);

/// Server-side apply with force to the claim's status; `devices` are all entries of this field manager (by convention
/// the driver's name), an empty list removes them. kConflict when the claim was replaced by one of another uid.
Result<> apply_claim_status(Client& client, const ObjectMeta& claim, const std::vector<DeviceStatus>& devices,
                            const std::string& field_manager, const CallOptions& call = {});

/// The same by reading and replacing the claim in protobuf (for the reason see claim_proto.h): for claims for
/// which apply_claim_status() returns kInvalid and names status.allocation. kNotFound also if another claim
/// has the name by now; kConflict: another client wrote in between, try again.
Result<> replace_claim_status(Client& client, const ObjectMeta& claim,
                              const std::vector<DeviceStatus>& devices, const std::string& driver,
                              const CallOptions& call = {});

}  // namespace fairlead::kube
