// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/nri/codec.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

namespace fairlead::rpc {
namespace {

constexpr std::string_view kNetwork = "network";

constexpr auto kEvents = std::to_array<std::pair<NriEvent, std::string_view>>({
    {NriEvent::kRunPodSandbox, "RunPodSandbox"},
    {NriEvent::kStopPodSandbox, "StopPodSandbox"},
    {NriEvent::kRemovePodSandbox, "RemovePodSandbox"},
    {NriEvent::kCreateContainer, "CreateContainer"},
    {NriEvent::kPostCreateContainer, "PostCreateContainer"},
    {NriEvent::kStartContainer, "StartContainer"},
    {NriEvent::kPostStartContainer, "PostStartContainer"},
    {NriEvent::kStopContainer, "StopContainer"},
    {NriEvent::kRemoveContainer, "RemoveContainer"},
});

template <class Map>
std::map<std::string, std::string> to_map(const Map& in) {
  return {in.begin(), in.end()};
}

/// A "-" in front of a key asks to remove it (containerd/nri, pkg/api/helpers.go).
Result<> refuse_removal(std::string_view what, std::string_view key) {
  if (key.starts_with('-')) {
    return Error(Code::kUnsupported, "it asks to remove " + std::string(what) + " " +
                                         std::string(key.substr(1)) + ", which this runtime cannot do");
  }
  return {};
}

Result<> refuse_removals(const NriAdjustment& adjustment) {
  for (const auto& [key, value] : adjustment.annotations) {
    FL_TRY(refuse_removal("annotation", key));
  }
  for (const auto& [key, value] : adjustment.env) {
    FL_TRY(refuse_removal("environment variable", key));
  }
  for (const auto& mount : adjustment.mounts) {
    FL_TRY(refuse_removal("mount", mount.destination));
  }
  for (const auto& device : adjustment.devices) {
    FL_TRY(refuse_removal("device", device.path));
  }
  for (const auto& [key, value] : adjustment.net_devices) {
    FL_TRY(refuse_removal("network device", key));
  }
  return {};
}

bool name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '+' || c == '-';
}

}  // namespace

std::string_view nri_event_name(NriEvent event) {
  const auto* const found = std::ranges::find(kEvents, event, &std::pair<NriEvent, std::string_view>::first);
  return found == kEvents.end() ? "?" : found->second;
}

std::optional<NriEvent> nri_event_of(std::string_view name) {
  const auto* const found = std::ranges::find(kEvents, name, &std::pair<NriEvent, std::string_view>::second);
  return found == kEvents.end() ? std::nullopt : std::optional(found->first);
}

std::optional<NriEvent> nri_event_of(std::int32_t number) {
  const auto* const found = std::ranges::find_if(
      kEvents, [&](const auto& event) { return nri_event_number(event.first) == number; });
  return found == kEvents.end() ? std::nullopt : std::optional(found->first);
}

std::int32_t nri_event_number(NriEvent event) {
  return std::countr_zero(static_cast<std::uint32_t>(event)) + 1;
}

NriPod from_wire(const nri_pb::PodSandbox& in) {
  NriPod out{.id = in.id(),
             .name = in.name(),
             .uid = in.uid(),
             .namespace_ = in.namespace_(),
             .labels = to_map(in.labels()),
             .annotations = to_map(in.annotations()),
             .runtime_handler = in.runtime_handler(),
             .pid = in.pid(),
             .ips = {in.ips().begin(), in.ips().end()},
             .netns = {}};
  for (const auto& space : in.linux_pod().namespaces()) {
    if (space.type() == kNetwork) {
      out.netns = space.path();
    }
  }
  return out;
}

void to_wire(const NriPod& in, nri_pb::PodSandbox& out) {
  out.set_id(in.id);
  out.set_name(in.name);
  out.set_uid(in.uid);
  out.set_namespace_(in.namespace_);
  out.mutable_labels()->insert(in.labels.begin(), in.labels.end());
  out.mutable_annotations()->insert(in.annotations.begin(), in.annotations.end());
  out.set_runtime_handler(in.runtime_handler);
  out.set_pid(in.pid);
  out.mutable_ips()->Add(in.ips.begin(), in.ips.end());
  if (!in.netns.empty()) {
    auto& space = *out.mutable_linux_pod()->add_namespaces();
    space.set_type(std::string(kNetwork));
    space.set_path(in.netns);
  }
}

NriContainer from_wire(const nri_pb::Container& in) {
  const bool known = in.state() >= 0 && in.state() <= static_cast<int>(NriContainerState::kStopped);
  NriContainer out{.id = in.id(),
                   .pod_id = in.pod_sandbox_id(),
                   .name = in.name(),
                   .state = known ? static_cast<NriContainerState>(in.state()) : NriContainerState::kUnknown,
                   .pid = in.pid(),
                   .cdi_devices = {},
                   .env = {in.env().begin(), in.env().end()}};
  for (const auto& device : in.cdi_devices()) {
    out.cdi_devices.push_back(device.name());
  }
  return out;
}

void to_wire(const NriContainer& in, nri_pb::Container& out) {
  out.set_id(in.id);
  out.set_pod_sandbox_id(in.pod_id);
  out.set_name(in.name);
  out.set_state(static_cast<std::int32_t>(in.state));
  out.set_pid(in.pid);
  out.mutable_env()->Add(in.env.begin(), in.env.end());
  for (const auto& device : in.cdi_devices) {
    out.add_cdi_devices()->set_name(device);
  }
}

Result<NriAdjustment> from_wire(const nri_pb::ContainerAdjustment& in) {
  NriAdjustment out;
  out.annotations = to_map(in.annotations());
  for (const auto& variable : in.env()) {
    out.env[variable.key()] = variable.value();
  }
  for (const auto& mount : in.mounts()) {
    out.mounts.push_back({.destination = mount.destination(),
                          .type = mount.type(),
                          .source = mount.source(),
                          .options = {mount.options().begin(), mount.options().end()}});
  }
  for (const auto& device : in.linux_container().devices()) {
    out.devices.push_back({.path = device.path(),
                           .type = device.type(),
                           .major = device.major(),
                           .minor = device.minor(),
                           .file_mode = device.file_mode().value()});
  }
  for (const auto& device : in.cdi_devices()) {
    out.cdi_devices.push_back(device.name());
  }
  for (const auto& [on_node, device] : in.linux_container().net_devices()) {
    out.net_devices[on_node] = device.name();
  }
  FL_TRY(refuse_removals(out));
  return out;
}

void to_wire(const NriAdjustment& in, nri_pb::ContainerAdjustment& out) {
  out.mutable_annotations()->insert(in.annotations.begin(), in.annotations.end());
  for (const auto& [key, value] : in.env) {
    auto& variable = *out.add_env();
    variable.set_key(key);
    variable.set_value(value);
  }
  for (const auto& mount : in.mounts) {
    auto& wire = *out.add_mounts();
    wire.set_destination(mount.destination);
    wire.set_type(mount.type);
    wire.set_source(mount.source);
    wire.mutable_options()->Add(mount.options.begin(), mount.options.end());
  }
  for (const auto& device : in.devices) {
    auto& wire = *out.mutable_linux_container()->add_devices();
    wire.set_path(device.path);
    wire.set_type(device.type);
    wire.set_major(device.major);
    wire.set_minor(device.minor);
    if (device.file_mode != 0) {
      wire.mutable_file_mode()->set_value(device.file_mode);
    }
  }
  for (const auto& device : in.cdi_devices) {
    out.add_cdi_devices()->set_name(device);
  }
  for (const auto& [on_node, in_container] : in.net_devices) {
    (*out.mutable_linux_container()->mutable_net_devices())[on_node].set_name(in_container);
  }
}

Result<> check_nri_plugin_name(std::string_view name) {
  if (name.empty() || !std::ranges::all_of(name, name_character)) {
    return Error(Code::kInvalid, "NRI plugin name \"" + std::string(name) +
                                     "\" must be one or more of letters, digits and _ . + -");
  }
  return {};
}

Result<> check_nri_plugin_index(std::string_view index) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  if (index.size() != 2 || !std::ranges::all_of(index, digit)) {
    return Error(Code::kInvalid,
                 "NRI plugin index \"" + std::string(index) + "\" must be two digits, \"00\" to \"99\"");
  }
  return {};
}

}  // namespace fairlead::rpc
