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

bool has_link_of(const std::vector<netlink::Link>& links, const devices::Marker& claim) {
  return std::ranges::any_of(links, [&](const netlink::Link& link) {
    const auto found = devices::Marker::parse(link.alias);
    return found && found->driver == claim.driver && found->claim_uid == claim.claim_uid;
  });
}

/// At the index, if that counts (it is valid then); else the one with the marker, and of the kind that we made.
const netlink::Link* find_link(const std::vector<netlink::Link>& links, const devices::DevicePlan& device,
                               const devices::Marker& marker, netlink::IfIndex index) {
  const auto find = [&](const auto& is_it) {
    const auto found = std::ranges::find_if(links, is_it);
    return found == links.end() ? nullptr : &*found;
  };
  // A NIC has the kind that it has.
  const auto may_be = [&](const netlink::Link& link) {
    return !link.is_loopback() && (device.kind == "host-device" || link.kind == device.kind);
  };
  if (const auto* there =
          find([&](const auto& link) { return index.valid() && link.index == index && may_be(link); })) {
    return there;
  }
  return find([&](const auto& link) { return marker.marks(link.alias) && may_be(link); });
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
                                                  const devices::Marker& of_claim, int netns,
                                                  Namespace which) {
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open_in(netns));
  FL_ASSIGN(const auto links, socket.links());
  const bool indexes_count = which == Namespace::kTheClaims || has_link_of(links, of_claim);
  std::vector<dra::DeviceReport> reports;
  for (std::size_t i = 0; i < plan.devices.size(); ++i) {
    const devices::DevicePlan& device = plan.devices[i];
    if (device.admin_access) {
      reports.push_back(watched());
      continue;
    }
    const devices::Marker marker{.driver = of_claim.driver, .claim_uid = of_claim.claim_uid, .index = i};
    const bool has_index = indexes_count && i < state.ifindexes.size();
    const netlink::Link* link =
        find_link(links, device, marker, netlink::IfIndex(has_index ? state.ifindexes[i] : 0));
    dra::DeviceReport report{
        .reason = "InterfaceGone",
        .message = "the interface " + device.interface_name + " was attached and is not in the pod any more"};
    if (link != nullptr) {
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
    if (plan.devices[i].admin_access || i >= edits.size() || edits[i].net_devices.empty()) {
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
