// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/parent.h"

#include <net/if_arp.h>

#include <algorithm>

#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/check.h"
#include "fairlead/devices/netdev/common.h"
#include "fairlead/devices/node.h"

namespace fairlead::devices::netdev {
namespace {

/// The link that a request for a whole NIC was allocated.
Result<const sys::InventoryLink*> allocated_nic(const PlanInput& input, const ParentWish& wish) {
  const sys::InventoryLink* nic = input.node->find_device(input.device->device);
  if (nic == nullptr) {
    return Error(Code::kNotFound, "the device " + input.device->device + " is not on this node any more");
  }
  if (wish.master != nullptr && !nic->link.has_name(wish.master->value)) {
    return Error(Code::kInvalid,
                 wish.master->path + ": " + quoted(wish.master->value) + " is not the NIC that the request " +
                     quoted(input.device->request) + " was allocated (" + nic->link.name +
                     "); leave master out, or ask for the device " + std::string(kVirtualDevice));
  }
  FL_TRY(check_alone(input, *nic, wish.use));
  return nic;
}

/// The node's end of a pair whose other end is a pod's interface, as CNI plugins make them: what sits on it
/// hears and says what only the pod and the node should. What the node itself has for a NIC may look the same
/// (a nested node).
bool is_host_end_of_a_pod(const NodeView& node, const sys::InventoryLink& link) {
  const bool is_pair = link.link.kind == "veth" || link.link.kind == "netkit";
  return is_pair && link.link.parent_netnsid && !link.is_uplink && !node.is_uplink(link) &&
         !node.is_candidate(link);
}

/// The link that already is the parent's receive handler, of another type or mode than requested; nullptr if
/// there is none in the node's own namespace.
const sys::InventoryLink* find_other_receiver(const NodeView& node, const sys::InventoryLink& parent,
                                              const std::string& receiver) {
  if (receiver.empty()) {
    return nullptr;
  }
  const auto& links = node.inventory().links();
  const auto it = std::ranges::find_if(links, [&](const sys::InventoryLink& other) {
    const std::string theirs = receiver_of(other.link);
    return !theirs.empty() && theirs != receiver && other.link.local_parent() == parent.link.index;
  });
  return it == links.end() ? nullptr : &*it;
}

/// Refuses a link of the node whose traffic another user receives entirely.
Result<> check_free(const PlanInput& input, const ParentWish& wish, const sys::InventoryLink& parent) {
  const std::string begin = wish.master->path + ": " + quoted(wish.master->value);
  if (Marker::parse(parent.link.alias)) {
    return Error(Code::kDenied, begin + " belongs to another claim");
  }
  if (parent.link.master.valid()) {
    const sys::InventoryLink* owner = input.node->inventory().find(parent.link.master);
    return Error(Code::kDenied, begin + " is a port of " +
                                    (owner == nullptr ? "another link" : owner->link.name) +
                                    ", which has its traffic; name that link, or another");
  }
  if (is_host_end_of_a_pod(*input.node, parent)) {
    return Error(Code::kDenied, begin +
                                    " leads into another network namespace (a pod's), whose traffic is not "
                                    "this claim's; name a link of the node (if this is one, --host-devices "
                                    "or --uplink says so)");
  }
  if (const sys::InventoryLink* other = find_other_receiver(*input.node, parent, wish.receiver)) {
    const std::string theirs = receiver_of(other->link);
    const bool is_mode = theirs.starts_with("ipvlan ") && wish.receiver.starts_with("ipvlan ");
    return Error(
        Code::kDenied,
        begin + (is_mode ? " carries the ipvlan " + other->link.name + " in the mode " +
                               theirs.substr(theirs.find(' ') + 1) +
                               ", and all ipvlans on one link have one mode; take that mode, or another "
                               "master"
                         : " cannot carry " + with_article(wish.kind) + " while " + other->link.name + " (" +
                               other->link.kind + ") sits on it"));
  }
  return check_nobody_has(input, *wish.master, parent);
}

/// On a NIC that was not allocated as a whole there may be others: the node, or other claims.
Result<const sys::InventoryLink*> named_link(const PlanInput& input, const ParentWish& wish) {
  if (wish.master == nullptr) {
    return Error(Code::kInvalid, wish.section +
                                     ".master: this field is required: the link of the node that the " +
                                     std::string(wish.kind) + " sits on, such as \"eth0\"");
  }
  FL_ASSIGN(const sys::InventoryLink* parent, find_link(*input.node, *wish.master, "link"));
  if (parent->link.arphrd != ARPHRD_ETHER) {
    return Error(Code::kInvalid, wish.master->path + ": " + quoted(wish.master->value) +
                                     " is not an Ethernet link; " + std::string(wish.kind) + " needs one");
  }
  FL_TRY(check_own_parent(input, *wish.master, *parent));
  FL_TRY(check_free(input, wish, *parent));
  return parent;
}

}  // namespace

Result<> check_own_parent(const PlanInput& input, const fields::Sourced<std::string>& field,
                          const sys::InventoryLink& link) {
  if (input.own_parents != OwnParents::kNone) {
    return {};
  }
  const std::string begin = field.path + ": " + quoted(field.value);
  if (link.is_uplink || input.node->is_uplink(link)) {
    return Error(Code::kDenied,
                 begin +
                     " is the node's own; below level privileged a claim may have it as parent only "
                     "if its DeviceClass sets it, or if a list of parents (bounds of the policy file "
                     "or of a FieldPolicy) has it by its name, without * and ?; use another link, or "
                     "ask your admin for one of these");
  }
  if (const auto unknown = input.node->problem()) {
    return Error(Code::kUnavailable,
                 begin +
                     " cannot be a parent below level privileged while it is not known which "
                     "links are the node's own: " +
                     unknown->text);
  }
  return {};
}

std::string receiver_of(const netlink::Link& link) {
  if (link.kind == "macvlan" || link.kind == "macvtap") {
    return link.macvlan_mode == netlink::MacvlanMode::kPassthru ? "macvlan passthru" : "macvlan";
  }
  if (const auto* ipvlan = link.as<netlink::Ipvlan>()) {
    return "ipvlan " + std::string(to_string(ipvlan->mode)) + " " + std::string(to_string(ipvlan->flag));
  }
  if (link.kind == "ipvlan" || link.kind == "ipvtap") {
    return link.kind;
  }
  return "";
}

Result<> plan_parent(const PlanInput& input, const ParentWish& wish, NetdevPlan& plan) {
  const bool is_whole = input.device->device != kVirtualDevice;
  FL_ASSIGN(const sys::InventoryLink* parent,
            is_whole ? allocated_nic(input, wish) : named_link(input, wish));
  plan.master = parent->link.name;
  plan.parent = *parent;
  plan.exclusive = is_whole;
  if (!wish.receiver.empty()) {
    plan.must_agree["receiver"] = wish.receiver;
  }
  return {};
}

Result<> check_mac_on_parent(const CommonValues& common, const NetdevPlan& plan) {
  const netlink::Link& master = plan.parent->link;
  // drivers/net/macvlan.c macvlan_addr_busy
  if (common.mac && common.mac->value == master.mac) {
    return Error(Code::kExists, common.mac->path + ": " + common.mac->value.to_string() +
                                    " is the MAC address of the master " + master.name +
                                    " itself; take another, or leave mac out to get one");
  }
  return {};
}

Result<> check_mtu_on_parent(const CommonValues& common, const NetdevPlan& plan) {
  const netlink::Link& master = plan.parent->link;
  FL_TRY(check_inherited_mtu(common, "the master " + master.name, master.mtu));
  // drivers/net/macvlan.c macvlan_change_mtu, net/8021q/vlan_netlink.c vlan_newlink: never above the lower link's.
  if (common.mtu && common.mtu->value > master.mtu) {
    return Error(Code::kInvalid, common.mtu->path + ": " + std::to_string(common.mtu->value) +
                                     " is more than the master " + master.name + " has (" +
                                     std::to_string(master.mtu) + ")");
  }
  return {};
}

Result<netlink::Link> parent_again(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                   const NodeOptions& options, NicUse use) {
  FL_ASSIGN(netlink::Link master, find_parent(node, plan.parent, plan.master, "master"));
  if (master.arphrd != ARPHRD_ETHER) {
    return Error(Code::kInvalid, "the master " + quoted(plan.master) + " is not an Ethernet link any more");
  }
  const auto owner = Marker::parse(master.alias);
  if (owner && owner->claim_uid != marker.claim_uid) {
    return Error(Code::kBusy, "the master " + quoted(plan.master) + " belongs to another claim now");
  }
  if (master.master.valid()) {
    return Error(Code::kBusy, "the master " + quoted(plan.master) + " has become a port of another link");
  }
  // A record of version 0.1 may have passthru on a link that is not the claim's alone.
  if (plan.exclusive || use == NicUse::kAll) {
    FL_TRY(check_still_alone(node, options, master, use));
  }
  return master;
}

}  // namespace fairlead::devices::netdev
