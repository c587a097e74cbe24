// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/macvlan/macvlan.h"

#include <net/if_arp.h>

namespace fairlead::devices::netdev {
namespace {

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
  return nic;
}

/// A macvlan in passthru mode takes every frame that comes in on its master (drivers/net/macvlan.c
/// macvlan_handle_frame), so that whatever else uses the master is cut off: on the uplink, the node itself.
Result<> check_passthru(const PlanInput& input, const Config& config, const sys::InventoryLink& master) {
  if (!config.mode || config.mode->value != netlink::MacvlanMode::kPassthru) {
    return {};
  }
  const std::string takes_all =
      config.mode->path + ": \"passthru\" takes all that " + master.link.name + " receives";
  if (input.device->device == kVirtualDevice) {
    return Error(Code::kDenied, takes_all +
                                    ", and that link is not this claim's alone; take another mode, or ask "
                                    "for a whole NIC (a device of kind host-device) and leave master out");
  }
  if (const sys::InventoryLink* other = input.node->link_on(master); other != nullptr) {
    return Error(Code::kDenied, takes_all + ", and " + other->link.name + " of this node sits on it");
  }
  return {};
}

/// What a link of the node belongs to that already has all of its traffic; nothing when it may be a master.
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
  FL_ASSIGN(const sys::InventoryLink* master, find_link(*input.node, *config.master, "link"), "");
  if (master->link.arphrd != ARPHRD_ETHER) {
    return Error(Code::kInvalid, config.master->path + ": " + quoted(config.master->value) +
                                     " is no Ethernet link, a macvlan needs one");
  }
  FL_TRY(check_free(*config.master, input, *master), "");
  return master;
}

}  // namespace

Result<> MacvlanKind::resolve(const PlanInput& input, const Config& config, NetdevPlan& plan) const {
  FL_ASSIGN(const sys::InventoryLink* master, find_master(input, config), "");
  FL_TRY(check_passthru(input, config, *master), "");
  plan.master = master->link.name;
  if (config.mode) {
    plan.mode = config.mode->value;
  }
  // drivers/net/macvlan.c macvlan_change_mtu: never above the lower link's.
  if (config.mtu && config.mtu->value > master->link.mtu) {
    return Error(Code::kInvalid, config.mtu->path + ": " + std::to_string(config.mtu->value) +
                                     " is more than the master " + master->link.name + " has (" +
                                     std::to_string(master->link.mtu) + ")");
  }
  return {};
}

Result<netlink::NewLink> MacvlanKind::make(const NetdevPlan& plan, const Marker& /*marker*/,
                                           const Place& node) const {
  FL_ASSIGN(const auto master, node.socket->link(plan.master), "");
  if (!master) {
    return Error(Code::kNotFound, "the master " + quoted(plan.master) + " is gone from this node");
  }
  return netlink::NewLink{.kind = netlink::Macvlan{.parent = master->index, .mode = plan.mode}};
}

}  // namespace fairlead::devices::netdev
