// SPDX-License-Identifier: Apache-2.0
// Converts NRI's values to and from the wire format. Only for the files of this folder that speak NRI.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"
#include "fairlead/rpc/nri/plugin.h"
#include "nri.pb.h"

namespace fairlead::rpc {

namespace nri_pb = ::nri::pkg::api::v1alpha1;

inline constexpr std::string_view kNriPluginServiceName = "nri.pkg.api.v1alpha1.Plugin";
inline constexpr std::string_view kNriRuntimeServiceName = "nri.pkg.api.v1alpha1.Runtime";

/// The events of nri.h: "RunPodSandbox" is also the name of the method.
std::string_view nri_event_name(NriEvent event);
std::optional<NriEvent> nri_event_of(std::string_view name);
/// By the number of StateChangeEvent. nullopt: unknown.
std::optional<NriEvent> nri_event_of(std::int32_t number);
std::int32_t nri_event_number(NriEvent event);

NriPod from_wire(const nri_pb::PodSandbox& in);
NriContainer from_wire(const nri_pb::Container& in);
/// kUnsupported: it asks to remove values set by others ("-" in front of a key).
Result<NriAdjustment> from_wire(const nri_pb::ContainerAdjustment& in);
void to_wire(const NriPod& in, nri_pb::PodSandbox& out);
void to_wire(const NriContainer& in, nri_pb::Container& out);
void to_wire(const NriAdjustment& in, nri_pb::ContainerAdjustment& out);

/// "plugin name", "index": the format that NRI >= 0.12 requires.
Result<> check_nri_plugin_name(std::string_view name);
Result<> check_nri_plugin_index(std::string_view index);

template <class Message>
Result<Message> parse_nri(const std::string& payload, std::string_view what) {
  Message out;
  if (!out.ParseFromString(payload)) {
    return Error(Code::kCorrupt, std::string(what) + " cannot be decoded");
  }
  return out;
}

}  // namespace fairlead::rpc
