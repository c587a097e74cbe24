// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/netdev_kind.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "fairlead/core/log.h"

namespace fairlead::devices::netdev {

const NetdevPlan* find_netdev_plan(const DevicePlan& plan) {
  const auto* body = dynamic_cast<const NetdevBody*>(plan.body.get());
  return body == nullptr ? nullptr : &body->plan;
}

Result<const NetdevPlan*> netdev_plan(const DevicePlan& plan) {
  const NetdevPlan* body = find_netdev_plan(plan);
  if (body == nullptr) {
    return Error(Code::kCorrupt, "the claim's record has no plan of a network interface");
  }
  return body;
}

Result<PlanBodyPtr> NetdevKind::read(std::string_view json, std::string_view name_in_pod) const {
  FL_ASSIGN(NetdevPlan plan, parse_plan(json));
  plan.interface_name = name_in_pod;
  return std::make_shared<const NetdevBody>(std::move(plan));
}

Needs NetdevKind::needs(const PlanBody& body) const {
  const auto* netdev = dynamic_cast<const NetdevBody*>(&body);
  return {.pod_netns = true, .leaves_node = netdev != nullptr && netdev->plan.original.has_value()};
}

Result<cdi::ContainerEdits> NetdevKind::prepare(const PrepareInput& input) const {
  FL_ASSIGN(const NetdevPlan* plan, netdev_plan(*input.plan));
  return input.variable.empty() ? cdi::ContainerEdits()
                                : cdi::ContainerEdits{.env = {input.variable + "=" + plan->interface_name}};
}

// ---- the claim's status

namespace {

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

/// At the index, if that counts (it is valid then): a pod with NET_ADMIN can change the marker. Else the one with
/// the marker.
Result<dra::DeviceReport> NetdevKind::inspect(const InspectInput& input) const {
  FL_ASSIGN(const NetdevPlan* plan, netdev_plan(*input.plan));
  FL_ASSIGN(const auto* links, links_at_first(input.pod));
  const netlink::IfIndex index(input.index_in_pod);
  const auto can_be = [&](const netlink::Link& link) { return !link.is_loopback() && may_be(link); };
  auto found = std::ranges::find_if(*links, [&](const netlink::Link& link) {
    return index.valid() && link.index == index && can_be(link);
  });
  if (found == links->end()) {
    found = std::ranges::find_if(
        *links, [&](const netlink::Link& link) { return input.marker.marks(link.alias) && can_be(link); });
  }
  if (found == links->end()) {
    return dra::DeviceReport{
        .reason = "InterfaceGone",
        .message = "the interface " + plan->interface_name + " was attached and is not in the pod any more"};
  }
  dra::DeviceReport report{.ready = true, .reason = "Attached", .interface_name = plan->interface_name};
  if (input.given != nullptr) {
    report.hardware_address = input.given->mac;
    report.ips = input.given->addresses;
  } else {
    FL_ASSIGN(const Place pod, place_of(input.pod));
    FL_TRY(fill(*pod.socket, *found, report));  // attached by version 0.1
  }
  return report;
}

Result<bool> NetdevKind::is_claim_in(const Side& pod, const Marker& claim) const {
  FL_ASSIGN(const auto* links, links_at_first(pod));
  return std::ranges::any_of(*links, [&](const netlink::Link& link) {
    const auto found = Marker::parse(link.alias);
    return found && found->claim_uid == claim.claim_uid && found->driver == claim.driver;
  });
}

/// 0.1 knows a link by this exact text, whether it was made or lent.
Result<> NetdevKind::mark_for_previous(const Side& pod, const Marker& marker) const {
  FL_ASSIGN(const auto* links, links_at_first(pod));
  const auto found = std::ranges::find_if(*links, [&](const netlink::Link& link) {
    return marker.marks(link.alias) && link.alias != marker.alias();
  });
  if (found == links->end()) {
    return {};
  }
  FL_ASSIGN(const Place place, place_of(pod));
  return place.socket->change_link(found->index, {.alias = marker.alias()});
}

// ---- mode netdevices

Result<> NetdevKind::receive(const AttachInput& input) const {
  FL_ASSIGN(const auto* links, links_at_first(input.pod));
  const auto moved =
      std::ranges::find_if(*links, [&](const netlink::Link& link) { return input.marker.marks(link.alias); });
  if (moved == links->end()) {
    return Error(Code::kNotFound,
                 "the container runtime has not moved it into the container's network namespace; "
                 "--attach=netdevices needs runc 1.4 or crun 1.22, or newer");
  }
  // The runtime set it up without addresses: neighbours learn those that it has when it is set up.
  FL_ASSIGN(const Place pod, place_of(input.pod));
  return pod.socket->set_down(moved->index);
}

Result<dra::DeviceReport> NetdevKind::inspect_staged(const Side& node, const std::string& name) const {
  FL_ASSIGN(const Place place, place_of(node));
  dra::DeviceReport report;
  FL_ASSIGN(const auto link, place.socket->link(name));
  if (link) {
    FL_TRY(fill(*place.socket, *link, report));
  }
  return report;
}

// ---- links that no record knows

namespace {

struct Swept {
  bool done = false;
};

/// The claim has no record and gets none now. Looks again: since the link was found it may have gone, and
/// another have its index.
void sweep_link(netlink::Socket& socket, netlink::IfIndex index, const Marker& claim) {
  using Origin = MarkedLink::Origin;
  const auto link = socket.link(index);
  const auto found = link && *link ? MarkedLink::parse((*link)->alias) : std::nullopt;
  if (!found || found->marker.driver != claim.driver || found->marker.claim_uid != claim.claim_uid) {
    return;
  }
  const std::string& name = (*link)->name;
  Result<> done;
  switch (found->origin) {
    case Origin::kMade:
    case Origin::kHostEnd:
      log::warn("a link that was made for a claim without record is deleted",
                {{"link", name}, {"claim", claim.claim_uid}});
      done = socket.delete_link(index);
      break;
    case Origin::kLent:
      // If another link has the name, Kind::node_changed() gives it back later.
      log::warn(
          "a NIC of a claim without record is free again: it gets back its name and alias; what else the pod "
          "changed (MTU, MAC, addresses, routes, up or down) is not known any more, so look at it",
          {{"nic", found->name}, {"link", name}, {"claim", claim.claim_uid}});
      done = socket.change_link(
          index,
          {.alias = NameWanted{.driver = claim.driver, .name = found->name, .alias = found->alias}.text()});
      break;
    case Origin::kUnknown:
      log::warn(
          "a link that version 0.1 made or took for a claim is kept, because no record of the claim says "
          "which: delete the link if it is not one of the node's, else rename it back",
          {{"link", name}, {"claim", claim.claim_uid}});
      done = socket.change_link(index, {.alias = ""});
      break;
  }
  if (!done) {
    log::warn("cannot clean up a leftover link; trying again at the next start",
              {{"link", name}, {"claim", claim.claim_uid}, {"error", done.error().what()}});
  }
}

}  // namespace

Result<> NetdevKind::sweep(const SweepInput& input) const {
  if (std::exchange(input.node.scope->get<Swept>().done, true)) {
    return {};
  }
  FL_ASSIGN(const Place node, place_of(input.node), "look for links that were left behind");
  FL_ASSIGN(const auto links, node.socket->links(), "look for links that were left behind");
  for (const netlink::Link& link : links) {
    const auto found = Marker::parse(link.alias);
    if (!found || found->driver != input.driver || input.is_known(found->claim_uid)) {
      continue;
    }
    // The records were read before the links: another instance may have begun this claim in between.
    const auto swept =
        input.if_unknown(found->claim_uid, [&] { sweep_link(*node.socket, link.index, *found); });
    if (!swept) {
      log::warn("cannot sweep a link of a claim that is not known here",
                {{"link", link.name}, {"claim", found->claim_uid}, {"error", swept.error().what()}});
    }
  }
  return {};
}

}  // namespace fairlead::devices::netdev
