// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/device_reports.h"

#include <algorithm>
#include <string>
#include <utility>

namespace fairlead::agent {

using devices::DevicePlan;
using devices::Kind;

namespace {

/// The reports of a device's parts as one: it is as ready as the least ready of them, and the names are those of
/// the first part that has one.
dra::DeviceReport as_one(std::vector<dra::DeviceReport> parts) {
  const auto find = [&](auto&& is_wanted) {
    const auto found = std::ranges::find_if(parts, is_wanted);
    return found == parts.end() ? nullptr : &*found;
  };
  const auto* named = find([](const auto& part) { return !part.interface_name.empty(); });
  const auto* missing = find([](const auto& part) { return !part.ready && !part.unknown; });
  const auto* unknown = find([](const auto& part) { return part.unknown; });
  dra::DeviceReport report = named != nullptr ? *named : parts.front();
  if (const auto* worst = missing != nullptr ? missing : unknown; worst != nullptr) {
    report.ready = worst->ready;
    report.unknown = worst->unknown;
    report.reason = worst->reason;
    report.message = worst->message;
  }
  return report;
}

std::vector<dra::DeviceReport> each_as_one(std::vector<std::vector<dra::DeviceReport>> found) {
  std::vector<dra::DeviceReport> reports;
  for (auto& parts : found) {
    reports.push_back(parts.size() == 1 ? std::move(parts.front()) : as_one(std::move(parts)));
  }
  return reports;
}

}  // namespace

std::optional<dra::DeviceReport> report_without_pod(const DevicePlan& device,
                                                    const devices::Registry& kinds) {
  if (device.admin_access) {
    return dra::DeviceReport{
        .ready = true, .reason = "Monitoring", .message = "monitoring only (adminAccess)"};
  }
  if (device.problem || device.needs.pod_netns) {
    return std::nullopt;
  }
  if (!device.parts.empty()) {
    std::vector<dra::DeviceReport> parts;
    for (const DevicePlan& part : device.parts) {
      parts.push_back(report_without_pod(part, kinds).value_or(dra::DeviceReport{.reason = "NotAttached"}));
    }
    return as_one(std::move(parts));
  }
  // prepare() did all the work.
  const Kind* kind = kinds.find(device.name);
  devices::InspectInput input;
  input.plan = &device;
  auto report = kind == nullptr
                    ? Result<dra::DeviceReport>(dra::DeviceReport{.ready = true, .reason = "Prepared"})
                    : kind->inspect(input);
  return report ? *std::move(report)
                : dra::DeviceReport{
                      .unknown = true, .reason = "DeviceNotUsable", .message = report.error().what()};
}

Result<std::vector<dra::DeviceReport>> inspect_devices(const Attachment& attachment,
                                                       const devices::Registry& kinds,
                                                       const devices::Marker& of_claim, int netns,
                                                       Namespace which) {
  const ClaimPlan& plan = *attachment.plan;
  const AttachState& state = attachment.state;
  devices::CallScope scope;
  const devices::Side pod{.netns = netns, .scope = &scope};
  bool indexes_count = which == Namespace::kTheClaims;
  if (!indexes_count) {
    FL_ASSIGN(indexes_count, kinds.is_claim_in(pod, of_claim));
  }
  const auto parts = parts_of(plan);
  std::vector<std::vector<dra::DeviceReport>> found(plan.devices.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const DevicePlan& device = *parts[i].plan;
    if (auto report = report_without_pod(device, kinds)) {
      found[parts[i].device].push_back(*std::move(report));
      continue;
    }
    FL_ASSIGN(const Kind* kind, kinds.kind_of(device));
    devices::InspectInput input;
    input.plan = &device;
    input.marker = parts[i].marker_of(of_claim);
    input.pod = pod;
    input.index_in_pod = indexes_count && i < state.indexes.size() ? state.indexes[i] : 0;
    input.given = i < state.given.size() ? &state.given[i] : nullptr;
    FL_ASSIGN(dra::DeviceReport report, kind->inspect(input));
    found[parts[i].device].push_back(std::move(report));
  }
  return each_as_one(std::move(found));
}

Result<std::vector<dra::DeviceReport>> inspect_staged_devices(const ClaimPlan& plan,
                                                              const devices::Registry& kinds,
                                                              const dra::ClaimRecord& record) {
  devices::CallScope scope;
  const devices::Side node{.is_callers = true, .scope = &scope};
  std::vector<std::vector<dra::DeviceReport>> found(plan.devices.size());
  std::vector<std::size_t> next(plan.devices.size());  // of what a device has on the node
  for (const PlanPart& part : parts_of(plan)) {
    const DevicePlan& device = *part.plan;
    if (auto report = report_without_pod(device, kinds)) {
      found[part.device].push_back(*std::move(report));
      continue;
    }
    FL_ASSIGN(const Kind* kind, kinds.kind_of(device));
    const auto& edits = record.prepared.device_edits;
    const std::size_t index = next[part.device]++;
    if (part.device >= edits.size() || edits[part.device].net_devices.size() <= index) {
      return Error(Code::kCorrupt, "the claim's record does not say where the device of the request " +
                                       device.request + " waits for the container runtime");
    }
    const cdi::NetDevice& staged = edits[part.device].net_devices[index];
    FL_ASSIGN(dra::DeviceReport report, kind->staging()->inspect_staged(node, staged.host_interface_name));
    report.unknown = true;
    report.reason = "Staged";
    report.message = "waits on the node; the container runtime moves it into the container";
    report.interface_name = staged.name;
    found[part.device].push_back(std::move(report));
  }
  return each_as_one(std::move(found));
}

}  // namespace fairlead::agent
