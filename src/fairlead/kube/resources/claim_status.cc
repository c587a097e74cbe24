// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/resources/claim_status.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "fairlead/kube/json_write.h"
#include "fairlead/kube/resource.h"
#include "fairlead/kube/resources/claim_proto.h"

namespace fairlead::kube {
namespace {

using json_write::dump;
using json_write::Json;
using json_write::of_condition;
using json_write::put;

/// A single try: a dead connection must not eat the whole deadline.
constexpr std::chrono::milliseconds kTryTimeout{5'000};

DeviceStatus read_device_status(const JsonReader& in) {
  const JsonReader network = in.object("networkData");
  return {.driver = in.string("driver"),
          .pool = in.string("pool"),
          .device = in.string("device"),
          .share_id = in.string("shareID"),
          .conditions = read_conditions(in.objects("conditions")),
          .data = in.text("data"),
          .interface_name = network.string("interfaceName"),
          .ips = network.strings("ips"),
          .hardware_address = network.string("hardwareAddress")};
}

Result<Json> status_entry_to_json(const DeviceStatus& device) {
  Json out = {{"driver", device.driver}, {"pool", device.pool}, {"device", device.device}};
  put(out, "shareID", device.share_id);
  for (const Condition& condition : device.conditions) {
    out["conditions"].push_back(of_condition(condition));
  }
  if (!device.data.empty()) {
    Json data = Json::parse(device.data, nullptr, /*allow_exceptions=*/false);
    if (!data.is_object()) {
      return Error(Code::kInvalid, "status data of device " + device.device + " is not a JSON object");
    }
    out["data"] = std::move(data);
  }
  Json network = Json::object();
  put(network, "interfaceName", device.interface_name);
  put(network, "hardwareAddress", device.hardware_address);
  if (!device.ips.empty()) {
    network["ips"] = device.ips;
  }
  if (!network.empty()) {
    out["networkData"] = std::move(network);
  }
  return out;
}

}  // namespace

ClaimStatus ResourceTraits<ClaimStatus>::read(const JsonReader& in) {
  ClaimStatus status{.uid = in.object("metadata").string("uid"), .devices = {}};
  for (const JsonReader& entry : in.object("status").objects("devices")) {
    status.devices.push_back(read_device_status(entry));
  }
  return status;
}

Result<std::string> claim_status_to_json(const ObjectMeta& claim, const std::vector<DeviceStatus>& devices) {
  Json metadata = {{"name", claim.name}, {"namespace", claim.namespace_}};
  put(metadata, "uid", claim.uid);
  Json status = Json::object();
  for (const DeviceStatus& device : devices) {
    FL_ASSIGN(Json entry, status_entry_to_json(device));
    status["devices"].push_back(std::move(entry));
  }
  return dump({{"apiVersion", "resource.k8s.io/v1"},
               {"kind", "ResourceClaim"},
               {"metadata", std::move(metadata)},
               {"status", std::move(status)}});
}

Result<> apply_claim_status(Client& client, const ObjectMeta& claim, const std::vector<DeviceStatus>& devices,
                            const std::string& field_manager, const CallOptions& call) {
  FL_ASSIGN(std::string body, claim_status_to_json(claim, devices), "patch resourceclaims");
  return Resource<ClaimStatus>(client).apply({.namespace_ = claim.namespace_, .name = claim.name}, "status",
                                             std::move(body), field_manager, call);
}

Result<> replace_claim_status(Client& client, const ObjectMeta& claim,
                              const std::vector<DeviceStatus>& devices, const std::string& driver,
                              const CallOptions& call) {
  if (claim.namespace_.empty() || claim.name.empty()) {
    return Error(Code::kInvalid, "update resourceclaims: metadata.namespace or metadata.name is empty");
  }
  const auto start = client.clock().now();
  const std::string path =
      resource_path(kResourceClaims, {.namespace_ = claim.namespace_, .name = claim.name});
  FL_ASSIGN(const auto now,
            client.request({.path = path, .accept = kProtobufType, .try_timeout = kTryTimeout}, call));
  FL_ASSIGN(std::string changed, replace_claim_devices(now.body, claim.uid, driver, devices),
            "get resourceclaims");
  FL_TRY(client.request({.method = "PUT",
                         .path = path + "/status",
                         .query = {{"fieldManager", driver}},
                         .body = std::move(changed),
                         .content_type = kProtobufType,
                         .try_timeout = kTryTimeout},
                        internal::rest_of(call, client, start)));
  return {};
}

}  // namespace fairlead::kube
