// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/veth/veth.h"

#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/check.h"
#include "fairlead/devices/netdev/parent.h"
#include "fairlead/devices/netdev/sharing.h"
#include "fairlead/devices/node.h"

namespace fairlead::devices::netdev {
namespace {

constexpr std::array kOwnFields = {
    fields::Field{
        .name = "bridge",
        .risk = fields::Risk::kNode,
        .bound = fields::Bound::kParent,
        .format = {.check = kLinkReference.check, .pattern = kLinkReference.pattern, .example = "br0"},
        .default_text = "none",
        .meaning = "Bridge of the node, by name or altname, whose port the pair's host end becomes, with "
                   "the bridge's MTU and MAC; without it the host end is on no bridge."},
};
constexpr auto kFields = fields::concat(kInterfaceFields, kAddressingFields, kOwnFields);

/// The host end of this marker. Between its creation and the alias that finish_host_side() sets, it is
/// identified by its name only.
Result<std::optional<netlink::Link>> host_end(const Marker& marker, const Place& node) {
  FL_ASSIGN(auto link, node.socket->link(marker.host_name()));
  const bool ours =
      link && link->kind == "veth" && (link->alias.empty() || link->alias == marker.host_alias());
  return ours ? std::move(link) : std::nullopt;
}

}  // namespace

std::span<const fields::Field> VethKind::fields() const { return kFields; }

Result<> VethKind::resolve(const PlanInput& input, const fields::Values& values, const CommonValues& common,
                           NetdevPlan& plan) const {
  FL_TRY(require_virtual_device(input, values, kind()));
  const auto wanted = values.string("bridge");
  if (!wanted) {
    return {};
  }
  FL_ASSIGN(const sys::InventoryLink* bridge, find_link(*input.node, *wanted, "bridge"));
  if (bridge->link.kind != "bridge") {
    return Error(Code::kInvalid, wanted->path + ": " + quoted(wanted->value) + " is not a bridge" +
                                     (bridge->link.kind.empty() ? "" : " but a " + bridge->link.kind));
  }
  FL_TRY(check_own_parent(input, *wanted, *bridge));
  plan.bridge = bridge->link.name;
  plan.parent = *bridge;
  FL_TRY(check_inherited_mtu(common, "the bridge " + bridge->link.name, bridge->link.mtu));
  // The host end has the bridge's; what is larger would not get through.
  if (common.mtu && common.mtu->value > bridge->link.mtu) {
    return Error(Code::kInvalid, common.mtu->path + ": " + std::to_string(common.mtu->value) +
                                     " is more than the bridge " + bridge->link.name + " has (" +
                                     std::to_string(bridge->link.mtu) + ")");
  }
  if (!common.mtu) {
    plan.mtu = bridge->link.mtu;
  }
  return {};
}

Result<netlink::NewLink> VethKind::make(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                        const NodeOptions& /*options*/) const {
  // A bridge without a configured MTU and MAC follows its ports: the smallest MTU (net/bridge/br_if.c
  // br_mtu_auto_adjust) and the lowest MAC (br_stp_if.c br_stp_recalculate_bridge_id). Those of a claim must
  // not become those of all who use the bridge, so the host end has the bridge's own.
  netlink::VethPeer peer{.name = marker.host_name(), .mtu = plan.mtu, .netns = node.netns};
  if (!plan.bridge.empty()) {
    FL_ASSIGN(const netlink::Link bridge, find_parent(node, plan.parent, plan.bridge, "bridge"));
    peer.mtu = bridge.mtu;
    if (!bridge.mac.is_zero()) {
      peer.mac = bridge.mac;
    }
  }
  return netlink::NewLink{.kind = netlink::Veth{.peer = std::move(peer)}};
}

Result<> VethKind::remove_host_side(const Marker& marker, const Place& node) const {
  FL_ASSIGN(const auto link, host_end(marker, node));
  return link ? node.socket->delete_link(link->index) : Result<>();
}

Result<> VethKind::finish_host_side(const NetdevPlan& plan, const Marker& marker, const Place& node) const {
  FL_ASSIGN(const auto link, host_end(marker, node));
  if (!link) {
    return Error(Code::kNotFound, "the host end " + marker.host_name() + " of the pair is gone");
  }
  if (link->alias.empty()) {  // new: what an admin changed later stays
    FL_TRY(keep_out_of_ipv6(node, link->name));
  }
  netlink::LinkChange change{.up = true, .alias = marker.host_alias()};
  if (!plan.bridge.empty()) {
    FL_ASSIGN(const netlink::Link bridge, find_parent(node, plan.parent, plan.bridge, "bridge"));
    change.master = bridge.index;
  }
  auto changed = node.socket->change_link(link->index, change);
  if (!changed && change.master) {
    return refused_by_kernel(std::move(changed).error(),
                             "make the pair's other end a port of the bridge " + plan.bridge);
  }
  return changed;
}

}  // namespace fairlead::devices::netdev
