// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/ipvlan/ipvlan.h"

#include <cerrno>

#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/parent.h"
#include "fairlead/devices/node.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::IpvlanFlag;
using netlink::IpvlanMode;

constexpr std::array<std::string_view, 3> kModes = {"l2", "l3", "l3s"};
constexpr std::array<std::string_view, 3> kFlags = {"bridge", "private", "vepa"};
constexpr std::array kOwnFields = {
    fields::Field{
        .name = "mode",
        .type = fields::Type::kWord,
        .risk = fields::Risk::kNode,  // of all ipvlans on the master
        .words = kModes,
        .default_text = "`l2`",
        .meaning =
            "Where packets are handled: `l2` as on a switch, `l3` as by a router without broadcast and "
            "multicast, `l3s` the same with the node's netfilter. One mode for all ipvlans on a master."},
    fields::Field{
        .name = "flag",
        .type = fields::Type::kWord,
        .risk = fields::Risk::kNode,
        .words = kFlags,
        .default_text = "`bridge`",
        .meaning = "Which ipvlans on the master reach each other: `bridge` all, `private` none, `vepa` those "
                   "that the switch outside sends back. One flag for all ipvlans on a master."},
};
constexpr auto kFields = fields::concat(kInterfaceFields, kAddressingFields, kParentFields, kOwnFields);

/// The CNI plugin's.
constexpr IpvlanMode kDefaultMode = IpvlanMode::kL2;
constexpr IpvlanFlag kDefaultFlag = IpvlanFlag::kBridge;

struct Settings {
  IpvlanMode mode = kDefaultMode;
  IpvlanFlag flag = kDefaultFlag;
};

/// As the plan has them.
Result<Settings> settings_of(const NetdevPlan& plan) {
  const auto mode = plan.own.find("mode");
  const auto flag = plan.own.find("flag");
  const auto known_mode = mode == plan.own.end() ? std::nullopt : netlink::parse_ipvlan_mode(mode->second);
  const auto known_flag = flag == plan.own.end() ? std::nullopt : netlink::parse_ipvlan_flag(flag->second);
  if (!known_mode || !known_flag) {
    return Error(Code::kCorrupt, "the claim's record does not say in which mode the ipvlan was planned");
  }
  return Settings{.mode = *known_mode, .flag = *known_flag};
}

}  // namespace

std::span<const fields::Field> IpvlanKind::fields() const { return kFields; }

Result<> IpvlanKind::resolve(const PlanInput& input, const fields::Values& values, const CommonValues& common,
                             NetdevPlan& plan) const {
  const auto mode = values.string("mode");
  const auto flag = values.string("flag");
  plan.own["mode"] = mode ? mode->value : std::string(to_string(kDefaultMode));
  plan.own["flag"] = flag ? flag->value : std::string(to_string(kDefaultFlag));
  const auto master = values.string("master");
  // ipvlan_link_new gives the mode and the flag of a new link to all that are on the master already.
  FL_TRY(plan_parent(input,
                     {.kind = kind(),
                      .section = values.path(),
                      .master = master ? &*master : nullptr,
                      .receiver = "ipvlan " + plan.own["mode"] + " " + plan.own["flag"]},
                     plan));
  if (common.mac) {
    return Error(Code::kInvalid, common.mac->path + ": an ipvlan has the MAC address of its master (" +
                                     plan.parent->link.mac.to_string() + " of " + plan.parent->link.name +
                                     "); leave mac out, or take the kind macvlan");
  }
  return check_mtu_on_parent(common, plan);
}

Result<netlink::NewLink> IpvlanKind::make(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                          const NodeOptions& options) const {
  FL_ASSIGN(const Settings settings, settings_of(plan));
  FL_ASSIGN(const netlink::Link master, parent_again(plan, marker, node, options, NicUse::kBeside));
  return netlink::NewLink{
      .kind = netlink::Ipvlan{.parent = master.index, .mode = settings.mode, .flag = settings.flag}};
}

Error IpvlanKind::refused(Error error, const NetdevPlan& plan) const {
  if (error.sys_errno() != EBUSY) {
    return VirtualLink::refused(std::move(error), plan);
  }
  // drivers/net/ipvlan/ipvlan_main.c ipvlan_port_create: one receive handler per link.
  return {
      Code::kBusy,
      "the master " + quoted(plan.master) +
          " has no room for an ipvlan: its traffic goes to another link (a bridge, a bond, a macvlan); name "
          "another master",
      EBUSY};
}

}  // namespace fairlead::devices::netdev
