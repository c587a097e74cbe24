// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/macvlan/macvlan.h"

#include <net/if_arp.h>

#include <algorithm>

#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/check.h"
#include "fairlead/devices/netdev/sharing.h"
#include "fairlead/devices/node.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::MacvlanMode;

/// The CNI plugin's.
constexpr MacvlanMode kDefaultMode = MacvlanMode::kBridge;

MacvlanMode mode_of(const NetdevPlan& plan) {
  const auto word = plan.own.find("mode");
  return word == plan.own.end() ? kDefaultMode
                                : netlink::parse_macvlan_mode(word->second).value_or(kDefaultMode);
}

/// A macvlan in passthru mode takes every frame that comes in on its master (drivers/net/macvlan.c
/// macvlan_handle_frame), so that whatever else uses the master is cut off: on the uplink, the node itself.
NicUse use_by(netlink::MacvlanMode mode) {
  return mode == netlink::MacvlanMode::kPassthru ? NicUse::kAll : NicUse::kBeside;
}

/// The link that a request for a whole NIC was allocated.
Result<const sys::InventoryLink*> allocated_nic(const PlanInput& input, const Config& config) {
  const sys::InventoryLink* nic = input.node->find_device(input.device->device);
  if (nic == nullptr) {
    return Error(Code::kNotFound, "the device " + input.device->device + " is not on this node any more");
  }
  if (config.master && !nic->link.has_name(config.master->value)) {
    return Error(Code::kInvalid, config.master->path + ": " + quoted(config.master->value) +
                                     " is not the NIC that the request " + quoted(input.device->request) +
                                     " was allocated (" + nic->link.name +
                                     "); leave master out, or ask for the device " +
                                     std::string(kVirtualDevice));
  }
  FL_TRY(check_alone(input, *nic, config.mode ? use_by(config.mode->value) : NicUse::kBeside));
  return nic;
}

/// On a NIC that was not allocated as a whole there may be others: the node, or other claims.
Result<> check_passthru(const Config& config, const sys::InventoryLink& master) {
  if (!config.mode || use_by(config.mode->value) != NicUse::kAll) {
    return {};
  }
  return Error(Code::kDenied, config.mode->path + ": \"passthru\" takes all that " + master.link.name +
                                  " receives, and that link is not this claim's alone; take another mode, "
                                  "or ask for a whole NIC (a device of kind host-device) and leave master "
                                  "out");
}

/// The node's end of a pair whose other end is a pod's interface, as CNI plugins make them: what sits on it
/// hears and says what only the pod and the node should. What the node itself has for a NIC may look the same
/// (a nested node).
bool is_host_end_of_a_pod(const NodeView& node, const sys::InventoryLink& link) {
  const bool is_pair = link.link.kind == "veth" || link.link.kind == "netkit";
  return is_pair && link.link.parent_netnsid && !link.is_uplink && !node.is_uplink(link) &&
         !node.is_candidate(link);
}

/// A link that receives for one upper device only (net/core/dev.c netdev_rx_handler_register) or whose
/// macvlan takes everything; nothing when a macvlan can sit on it.
const sys::InventoryLink* find_sole_user(const NodeView& node, const sys::InventoryLink& master) {
  const auto& links = node.inventory().links();
  const auto it = std::ranges::find_if(links, [&](const sys::InventoryLink& other) {
    const bool takes_all = other.link.kind == "ipvlan" || other.link.kind == "ipvtap" ||
                           other.link.macvlan_mode == netlink::MacvlanMode::kPassthru;
    return takes_all && other.link.local_parent() == master.link.index;
  });
  return it == links.end() ? nullptr : &*it;
}

/// Refuses a link of the node that belongs to somebody who has all of its traffic.
Result<> check_free(const Field<std::string>& field, const PlanInput& input,
                    const sys::InventoryLink& master) {
  if (Marker::parse(master.link.alias)) {
    return Error(Code::kDenied, field.path + ": " + quoted(field.value) + " belongs to another claim");
  }
  if (master.link.master.valid()) {
    const sys::InventoryLink* owner = input.node->inventory().find(master.link.master);
    return Error(Code::kDenied, field.path + ": " + quoted(field.value) + " is a port of " +
                                    (owner == nullptr ? "another link" : owner->link.name) +
                                    ", which has its traffic; name that link, or another");
  }
  if (is_host_end_of_a_pod(*input.node, master)) {
    return Error(Code::kDenied, field.path + ": " + quoted(field.value) +
                                    " leads into another network namespace (a pod's), whose traffic is not "
                                    "this claim's; name a link of the node (if this is one, --host-devices "
                                    "or --uplink says so)");
  }
  if (const sys::InventoryLink* user = find_sole_user(*input.node, master)) {
    return Error(Code::kDenied, field.path + ": " + quoted(field.value) + " cannot carry a macvlan while " +
                                    user->link.name + " (" + user->link.kind + ") sits on it");
  }
  return check_nobody_has(input, field, master);
}

/// What may have become of the master since the claim was planned.
Result<> check_again(const NetdevPlan& plan, const Marker& marker, const Place& node,
                     const NodeOptions& options, const netlink::Link& master) {
  if (master.arphrd != ARPHRD_ETHER) {
    return Error(Code::kInvalid, "the master " + quoted(plan.master) + " is no Ethernet link any more");
  }
  const auto owner = Marker::parse(master.alias);
  if (owner && owner->claim_uid != marker.claim_uid) {
    return Error(Code::kBusy, "the master " + quoted(plan.master) + " belongs to another claim now");
  }
  if (master.master.valid()) {
    return Error(Code::kBusy, "the master " + quoted(plan.master) + " has become a port of another link");
  }
  // A record of version 0.1 may have passthru on a link that is not the claim's alone.
  if (plan.exclusive || mode_of(plan) == MacvlanMode::kPassthru) {
    return check_still_alone(node, options, master, use_by(mode_of(plan)));
  }
  return {};
}

Result<const sys::InventoryLink*> find_master(const PlanInput& input, const Config& config) {
  if (input.device->device != kVirtualDevice) {
    return allocated_nic(input, config);
  }
  if (!config.master) {
    return Error(Code::kInvalid, config.path +
                                     ".master: this field is required: the link of the node that the "
                                     "macvlan sits on, such as \"eth0\"");
  }
  FL_ASSIGN(const sys::InventoryLink* master, find_link(*input.node, *config.master, "link"));
  if (master->link.arphrd != ARPHRD_ETHER) {
    return Error(Code::kInvalid, config.master->path + ": " + quoted(config.master->value) +
                                     " is no Ethernet link, a macvlan needs one");
  }
  FL_TRY(check_free(*config.master, input, *master));
  FL_TRY(check_passthru(config, *master));
  return master;
}

}  // namespace

Result<> MacvlanKind::resolve(const PlanInput& input, const Config& config, NetdevPlan& plan) const {
  FL_ASSIGN(const sys::InventoryLink* master, find_master(input, config));
  plan.master = master->link.name;
  plan.parent = *master;
  plan.exclusive = input.device->device != kVirtualDevice;
  const MacvlanMode mode = config.mode ? config.mode->value : kDefaultMode;
  plan.own["mode"] = to_string(mode);
  // drivers/net/macvlan.c macvlan_common_newlink: in mode passthru it has the master's in any case.
  if (config.mac && mode == MacvlanMode::kPassthru) {
    return Error(Code::kInvalid, config.mac->path +
                                     ": a macvlan in mode passthru has the MAC address of its NIC (" +
                                     master->link.mac.to_string() + " of " + master->link.name +
                                     "); leave mac out, or take another mode");
  }
  // drivers/net/macvlan.c macvlan_addr_busy
  if (config.mac && config.mac->value == master->link.mac) {
    return Error(Code::kExists, config.mac->path + ": " + config.mac->value.to_string() +
                                    " is the MAC address of the master " + master->link.name +
                                    " itself; take another, or leave mac out to get one");
  }
  FL_TRY(check_inherited_mtu(config, "the master " + master->link.name, master->link.mtu));
  // drivers/net/macvlan.c macvlan_change_mtu: never above the lower link's.
  if (config.mtu && config.mtu->value > master->link.mtu) {
    return Error(Code::kInvalid, config.mtu->path + ": " + std::to_string(config.mtu->value) +
                                     " is more than the master " + master->link.name + " has (" +
                                     std::to_string(master->link.mtu) + ")");
  }
  return {};
}

Result<netlink::NewLink> MacvlanKind::make(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                           const NodeOptions& options) const {
  FL_ASSIGN(const netlink::Link master, find_parent(*node.socket, plan.parent, plan.master, "master"));
  FL_TRY(check_again(plan, marker, node, options, master));
  return netlink::NewLink{.kind = netlink::Macvlan{.parent = master.index, .mode = mode_of(plan)}};
}

}  // namespace fairlead::devices::netdev
