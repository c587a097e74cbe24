// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/interface_facts.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <string>

#include "fairlead/devices/marker.h"
#include "fairlead/sys/netlink/socket.h"

namespace fairlead::agent {
namespace {

dra::DeviceReport watched() {
  return {.ready = true, .reason = "Watched", .message = "monitoring only (adminAccess)"};
}

Result<> fill(netlink::Socket& socket, const netlink::Link& link, dra::DeviceReport& report) {
  report.hardware_address = link.mac.to_string();
  FL_ASSIGN(const auto addresses, socket.addresses(link.index));
  for (const netlink::Address& address : addresses) {
    if (address.scope < RT_SCOPE_LINK) {
      report.ips.push_back(address.prefix.to_string());
    }
  }
  return {};
}

}  // namespace

Result<std::vector<dra::DeviceReport>> read_facts(const ClaimPlan& plan, const ClaimState& state,
                                                  const std::string& claim_uid,
                                                  const std::string& driver_name, int netns) {
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open_in(netns));
  FL_ASSIGN(const auto links, socket.links());
  std::vector<dra::DeviceReport> reports;
  for (std::size_t i = 0; i < plan.devices.size(); ++i) {
    const devices::DevicePlan& device = plan.devices[i];
    if (device.kind.empty()) {
      reports.push_back(watched());
      continue;
    }
    const devices::Marker marker{.driver = driver_name, .claim_uid = claim_uid, .index = i};
    const auto link =
        std::ranges::find_if(links, [&](const netlink::Link& one) { return marker.marks(one.alias); });
    dra::DeviceReport report{
        .reason = "InterfaceGone",
        .message = "the interface " + device.interface_name + " was attached and is not in the pod any more"};
    if (link != links.end()) {
      report = {.ready = true, .reason = "Attached", .interface_name = device.interface_name};
      if (i < state.given.size()) {
        report.hardware_address = state.given[i].mac;
        report.ips = state.given[i].addresses;
      } else {
        FL_TRY(fill(socket, *link, report));  // attached by version 0.1
      }
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

Result<std::vector<dra::DeviceReport>> read_staged_facts(const ClaimPlan& plan,
                                                         const dra::ClaimRecord& record) {
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open());
  std::vector<dra::DeviceReport> reports;
  for (std::size_t i = 0; i < plan.devices.size(); ++i) {
    const auto& edits = record.prepared.device_edits;
    if (plan.devices[i].kind.empty() || i >= edits.size() || edits[i].net_devices.empty()) {
      reports.push_back(watched());
      continue;
    }
    dra::DeviceReport report{
        .unknown = true,
        .reason = "Staged",
        .message = "waits on the node; the container runtime moves it into the container",
        .interface_name = edits[i].net_devices.front().name};
    FL_ASSIGN(const auto link, socket.link(edits[i].net_devices.front().host_interface_name));
    if (link) {
      FL_TRY(fill(socket, *link, report));
    }
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace fairlead::agent
