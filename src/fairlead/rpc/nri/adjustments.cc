// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/nri/adjustments.h"

#include <utility>

#include "fairlead/rpc/nri/codec.h"

namespace fairlead::rpc {
namespace {

Result<NriAdjustment> decode_adjustment(const std::string& payload, const std::string& plugin) {
  FL_ASSIGN(const auto response, parse_nri<nri_pb::CreateContainerResponse>(payload, "the answer"),
            "plugin " + plugin);
  FL_ASSIGN(auto out, from_wire(response.adjust()), "plugin " + plugin);
  return out;
}

}  // namespace

Result<> NriAdjustments::add(const std::string& plugin, const std::string& response) {
  FL_ASSIGN(NriAdjustment from, decode_adjustment(response, plugin));
  FL_TRY(add_map("annotation", plugin, from.annotations, merged_.annotations));
  FL_TRY(add_map("environment variable", plugin, from.env, merged_.env));
  FL_TRY(add_map("network device", plugin, from.net_devices, merged_.net_devices));
  for (auto& mount : from.mounts) {
    FL_TRY(own("mount", plugin, mount.destination));
    merged_.mounts.push_back(std::move(mount));
  }
  for (auto& device : from.devices) {
    FL_TRY(own("device", plugin, device.path));
    merged_.devices.push_back(std::move(device));
  }
  for (auto& device : from.cdi_devices) {
    FL_TRY(own("CDI device", plugin, device));
    merged_.cdi_devices.push_back(std::move(device));
  }
  return {};
}

Result<> NriAdjustments::own(std::string_view what, const std::string& plugin, const std::string& key) {
  const std::string thing = std::string(what) + " " + key;
  const auto [owner, fresh] = owners_.emplace(thing, plugin);
  if (!fresh && owner->second != plugin) {
    return Error(Code::kConflict, "plugins " + owner->second + " and " + plugin + " both set " + thing);
  }
  return {};
}

Result<> NriAdjustments::add_map(std::string_view what, const std::string& plugin, const Map& from,
                                 Map& into) {
  for (const auto& [key, value] : from) {
    FL_TRY(own(what, plugin, key));
    into[key] = value;
  }
  return {};
}

}  // namespace fairlead::rpc
