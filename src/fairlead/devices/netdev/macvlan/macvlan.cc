// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/macvlan/macvlan.h"

#include <cerrno>

#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/parent.h"
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
NicUse use_by(MacvlanMode mode) { return mode == MacvlanMode::kPassthru ? NicUse::kAll : NicUse::kBeside; }

}  // namespace

Result<> MacvlanKind::resolve(const PlanInput& input, const Config& config, NetdevPlan& plan) const {
  const MacvlanMode mode = config.mode ? config.mode->value : kDefaultMode;
  plan.own["mode"] = to_string(mode);
  FL_TRY(plan_parent(input,
                     {.kind = kind(),
                      .section = config.path,
                      .master = config.master ? &*config.master : nullptr,
                      .use = use_by(mode),
                      .receiver = mode == MacvlanMode::kPassthru ? "macvlan passthru" : "macvlan"},
                     plan));
  const std::string& master = plan.parent->link.name;
  if (mode == MacvlanMode::kPassthru && !plan.exclusive) {
    return Error(Code::kDenied, config.mode->path + ": \"passthru\" takes all that " + master +
                                    " receives, and that link is not this claim's alone; take another mode, "
                                    "or ask for a whole NIC (a device of kind host-device) and leave master "
                                    "out");
  }
  // drivers/net/macvlan.c macvlan_common_newlink: in mode passthru it has the master's in any case.
  if (config.mac && mode == MacvlanMode::kPassthru) {
    return Error(Code::kInvalid, config.mac->path +
                                     ": a macvlan in mode passthru has the MAC address of its NIC (" +
                                     plan.parent->link.mac.to_string() + " of " + master +
                                     "); leave mac out, or take another mode");
  }
  FL_TRY(check_mac_on_parent(config, plan));
  return check_mtu_on_parent(config, plan);
}

Result<netlink::NewLink> MacvlanKind::make(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                           const NodeOptions& options) const {
  const MacvlanMode mode = mode_of(plan);
  FL_ASSIGN(const netlink::Link master, parent_again(plan, marker, node, options, use_by(mode)));
  return netlink::NewLink{.kind = netlink::Macvlan{.parent = master.index, .mode = mode}};
}

Error MacvlanKind::refused(Error error, const NetdevPlan& plan) const {
  if (error.sys_errno() != EBUSY) {
    return VirtualLink::refused(std::move(error), plan);
  }
  // drivers/net/macvlan.c macvlan_port_create: one receive handler per link; a passthru one wants it all.
  return {Code::kBusy,
          "the master " + quoted(plan.master) +
              " has no room for a macvlan: its traffic goes to another link (a bridge, a bond, an ipvlan, a "
              "macvlan "
              "in mode passthru); name another master",
          EBUSY};
}

}  // namespace fairlead::devices::netdev
