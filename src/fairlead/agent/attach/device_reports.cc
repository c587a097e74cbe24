// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/attach/device_reports.h"

#include <string>
#include <utility>

namespace fairlead::agent {

using devices::DevicePlan;
using devices::Kind;

std::optional<dra::DeviceReport> report_without_pod(const DevicePlan& device) {
  if (device.admin_access) {
    return dra::DeviceReport{
        .ready = true, .reason = "Monitoring", .message = "monitoring only (adminAccess)"};
  }
  if (device.body != nullptr && !device.needs.pod_netns) {
    return dra::DeviceReport{.ready = true, .reason = "Prepared"};  // prepare() did all the work
  }
  return std::nullopt;
}

Result<std::vector<dra::DeviceReport>> inspect_devices(const Attachment& attachment,
                                                       const devices::Registry& kinds,
                                                       const devices::Marker& of_claim, int netns,
                                                       Namespace which) {
  const auto& [plan, state] = attachment;
  devices::CallScope scope;
  const devices::Side pod{.netns = netns, .scope = &scope};
  bool indexes_count = which == Namespace::kTheClaims;
  if (!indexes_count) {
    FL_ASSIGN(indexes_count, kinds.is_claim_in(pod, of_claim));
  }
  std::vector<dra::DeviceReport> reports;
  for (std::size_t i = 0; i < plan.devices.size(); ++i) {
    const DevicePlan& device = plan.devices[i];
    if (auto report = report_without_pod(device)) {
      reports.push_back(*std::move(report));
      continue;
    }
    FL_ASSIGN(const Kind* kind, kinds.kind_of(device));
    devices::InspectInput input;
    input.plan = &device;
    input.marker = {.driver = of_claim.driver, .claim_uid = of_claim.claim_uid, .index = i};
    input.pod = pod;
    input.index_in_pod = indexes_count && i < state.indexes.size() ? state.indexes[i] : 0;
    input.given = i < state.given.size() ? &state.given[i] : nullptr;
    FL_ASSIGN(dra::DeviceReport report, kind->inspect(input));
    reports.push_back(std::move(report));
  }
  return reports;
}

Result<std::vector<dra::DeviceReport>> inspect_staged_devices(const ClaimPlan& plan,
                                                              const devices::Registry& kinds,
                                                              const dra::ClaimRecord& record) {
  devices::CallScope scope;
  const devices::Side node{.is_callers = true, .scope = &scope};
  std::vector<dra::DeviceReport> reports;
  for (std::size_t i = 0; i < plan.devices.size(); ++i) {
    const DevicePlan& device = plan.devices[i];
    const auto& edits = record.prepared.device_edits;
    if (auto report = report_without_pod(device)) {
      reports.push_back(*std::move(report));
      continue;
    }
    FL_ASSIGN(const Kind* kind, kinds.kind_of(device));
    if (i >= edits.size() || edits[i].net_devices.empty()) {
      return Error(Code::kCorrupt, "the claim's record does not say where the device of the request " +
                                       device.request + " waits for the container runtime");
    }
    const cdi::NetDevice& staged = edits[i].net_devices.front();
    FL_ASSIGN(dra::DeviceReport report, kind->staging()->inspect_staged(node, staged.host_interface_name));
    report.unknown = true;
    report.reason = "Staged";
    report.message = "waits on the node; the container runtime moves it into the container";
    report.interface_name = staged.name;
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace fairlead::agent
