// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/macvlan/macvlan.h"

#include <array>
#include <cerrno>

#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/parent.h"
#include "fairlead/devices/node.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::MacvlanMode;

constexpr std::array<std::string_view, 5> kModes = {"bridge", "passthru", "private", "source", "vepa"};
constexpr std::array kOwnFields = {
    fields::Field{.name = "mode",
                  .type = fields::Type::kWord,
                  .risk = fields::Risk::kShared,
                  .words = kModes,
                  .default_text = "`bridge`",
                  .meaning =
                      "`passthru` takes all that the master receives and has its MAC address; it is possible "
                      "only on an allocated NIC."},
};
constexpr auto kFields = fields::concat(kInterfaceFields, kAddressingFields, kParentFields, kOwnFields);

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

std::span<const fields::Field> MacvlanKind::fields() const { return kFields; }

Result<> MacvlanKind::resolve(const PlanInput& input, const fields::Values& values,
                              const CommonValues& common, NetdevPlan& plan) const {
  const auto word = values.string("mode");
  const MacvlanMode mode =
      word ? netlink::parse_macvlan_mode(word->value).value_or(kDefaultMode) : kDefaultMode;
  plan.own["mode"] = to_string(mode);
  const auto wanted = values.string("master");
  FL_TRY(plan_parent(input,
                     {.kind = kind(),
                      .section = values.path(),
                      .master = wanted ? &*wanted : nullptr,
                      .use = use_by(mode),
                      .receiver = mode == MacvlanMode::kPassthru ? "macvlan passthru" : "macvlan"},
                     plan));
  const std::string& master = plan.parent->link.name;
  if (mode == MacvlanMode::kPassthru && !plan.exclusive) {
    return Error(Code::kDenied, word->path + ": \"passthru\" takes all that " + master +
                                    " receives, and that link is not this claim's alone; take another mode, "
                                    "or ask for a whole NIC (a device of kind host-device) and leave master "
                                    "out");
  }
  // drivers/net/macvlan.c macvlan_common_newlink: in mode passthru it has the master's in any case.
  if (common.mac && mode == MacvlanMode::kPassthru) {
    return Error(Code::kInvalid, common.mac->path +
                                     ": a macvlan in mode passthru has the MAC address of its NIC (" +
                                     plan.parent->link.mac.to_string() + " of " + master +
                                     "); leave mac out, or take another mode");
  }
  FL_TRY(check_mac_on_parent(common, plan));
  return check_mtu_on_parent(common, plan);
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
