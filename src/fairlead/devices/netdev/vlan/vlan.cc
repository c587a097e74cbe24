// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/vlan/vlan.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>

#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/parent.h"
#include "fairlead/devices/node.h"

namespace fairlead::devices::netdev {
namespace {

using netlink::Vlan;
using netlink::VlanProtocol;

template <class T>
std::optional<T> number(std::string_view text, T max) {
  T value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = read.ec == std::errc() && read.ptr == text.data() + text.size();
  return whole && value <= max ? std::optional(value) : std::nullopt;
}

constexpr std::uint32_t kAnyPriority = std::numeric_limits<std::uint32_t>::max();

using QosEntry = std::pair<std::uint32_t, std::uint32_t>;

/// "FROM:TO"
std::optional<QosEntry> qos_entry(std::string_view text, std::uint32_t max_from, std::uint32_t max_to) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) {
    return std::nullopt;
  }
  const auto from = number(text.substr(0, colon), max_from);
  const auto to = number(text.substr(colon + 1), max_to);
  return from && to ? std::optional(QosEntry(*from, *to)) : std::nullopt;
}

std::optional<std::string> check_ingress(std::string_view text) {
  return qos_entry(text, Vlan::kMaxPriority, kAnyPriority)
             ? std::nullopt
             : std::optional(quoted(text) +
                             " is not a mapping from a tag's priority (0 to 7) to a packet's (such as 5:1)");
}

std::optional<std::string> check_egress(std::string_view text) {
  return qos_entry(text, kAnyPriority, Vlan::kMaxPriority)
             ? std::nullopt
             : std::optional(quoted(text) +
                             " is not a mapping from a packet's priority to a tag's (0 to 7; such as 1:5)");
}

/// Two mappings from one priority.
std::optional<fields::Problem> check_mapped_once(const fields::Value& value) {
  const auto& entries = std::get<std::vector<std::string>>(value.data);
  std::map<std::string_view, std::size_t> seen;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::string_view from = std::string_view(entries[i]).substr(0, entries[i].find(':'));
    if (!seen.try_emplace(from, i).second) {
      return fields::Problem{.at = "[" + std::to_string(i) + "]",
                             .why = "the priority " + std::string(from) + " is mapped twice"};
    }
  }
  return std::nullopt;
}

constexpr std::array<std::string_view, 2> kProtocols = {"802.1ad", "802.1q"};
constexpr std::array kOwnFields = {
    fields::Field{.name = "vlanId",
                  .type = fields::Type::kInteger,
                  .risk = fields::Risk::kNode,
                  .bound = fields::Bound::kVlan,
                  .required = true,
                  .min = 0,
                  .max = Vlan::kMaxId,
                  .meaning = "VLAN id; one link per master, protocol and id."},
    fields::Field{.name = "vlanProto",
                  .type = fields::Type::kWord,
                  .risk = fields::Risk::kNode,
                  .words = kProtocols,
                  .default_text = "`802.1q`",
                  .meaning = "Tag protocol; `802.1ad` is the service tag of provider bridges (QinQ)."},
    fields::Field{
        .name = "ingressQosMap",
        .type = fields::Type::kStrings,
        .risk = fields::Risk::kOwn,
        .max_items = 8,
        .format = {.check = check_ingress, .pattern = "^[0-7]:[0-9]{1,10}$", .example = "5:1"},
        .check = check_mapped_once,
        .default_text = "all to 0",
        .meaning = "Mappings `FROM:TO` from the priority in a received tag (0 to 7) to the packet's."},
    fields::Field{
        .name = "egressQosMap",
        .type = fields::Type::kStrings,
        .risk = fields::Risk::kShared,  // the network's queues are everybody's
        .max_items = 16,
        .format = {.check = check_egress, .pattern = "^[0-9]{1,10}:[0-7]$", .example = "1:5"},
        .check = check_mapped_once,
        .default_text = "all to 0",
        .meaning =
            "Mappings `FROM:TO` from a packet's priority (SO_PRIORITY) to that in the sent tag (0 to 7)."},
};
constexpr auto kFields = fields::concat(kInterfaceFields, kAddressingFields, kParentFields, kOwnFields);

/// The plan's words for the kernel's link; the parent is left out.
Result<Vlan> vlan_of(const NetdevPlan& plan) {
  const auto own = [&](const char* name) {
    const auto found = plan.own.find(name);
    return found == plan.own.end() ? std::string() : found->second;
  };
  const auto id = number<std::uint16_t>(own("vlanId"), Vlan::kMaxId);
  const auto protocol = netlink::parse_vlan_protocol(own("vlanProto"));
  if (!id || !protocol) {
    return Error(Code::kCorrupt, "the claim's record does not say which VLAN was planned");
  }
  Vlan vlan{.id = *id, .protocol = *protocol};
  const auto read = [](std::string_view text, auto& map) {
    while (!text.empty()) {
      const auto end = std::min(text.find(','), text.size());
      if (const auto entry = qos_entry(text.substr(0, end), kAnyPriority, kAnyPriority)) {
        map.insert(*entry);
      }
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  };
  read(own("ingressQosMap"), vlan.ingress_qos);
  read(own("egressQosMap"), vlan.egress_qos);
  return vlan;
}

/// "VLAN 7 (802.1q)"
std::string name_of(const Vlan& vlan) {
  return "VLAN " + std::to_string(vlan.id) + " (" + std::string(to_string(vlan.protocol)) + ")";
}

/// net/8021q/vlan.c vlan_check_real_dev: EEXIST. What the node itself has is known before the attach.
Result<> check_not_on_node(const PlanInput& input, const fields::Values& values, const Vlan& vlan,
                           const sys::InventoryLink& parent) {
  const auto& links = input.node->inventory().links();
  const auto same = std::ranges::find_if(links, [&](const sys::InventoryLink& other) {
    const auto* theirs = other.link.as<Vlan>();
    return theirs != nullptr && other.link.local_parent() == parent.link.index && theirs->id == vlan.id &&
           theirs->protocol == vlan.protocol;
  });
  if (same == links.end()) {
    return {};
  }
  return Error(Code::kExists,
               values.path_of("vlanId") + ": the " + name_of(vlan) + " on " + parent.link.name +
                   " is the node's link " + same->link.name +
                   "; take another id, or name that link as the master of a macvlan or ipvlan");
}

}  // namespace

std::span<const fields::Field> VlanKind::fields() const { return kFields; }

Result<> VlanKind::resolve(const PlanInput& input, const fields::Values& values, const CommonValues& common,
                           NetdevPlan& plan) const {
  plan.own["vlanId"] = std::to_string(values.integer("vlanId")->value);
  const auto protocol = values.string("vlanProto");
  plan.own["vlanProto"] = protocol ? protocol->value : std::string(to_string(VlanProtocol::k8021q));
  for (const char* map : {"ingressQosMap", "egressQosMap"}) {
    if (const auto entries = values.strings(map); entries && !entries->value.empty()) {
      plan.own[map] = joined(entries->value, ",");
    }
  }
  FL_ASSIGN(const Vlan vlan, vlan_of(plan));
  const auto master = values.string("master");
  FL_TRY(plan_parent(input, {.kind = kind(), .section = values.path(), .master = master ? &*master : nullptr},
                     plan));
  plan.wants.push_back(name_of(vlan));
  // net/8021q/vlan_dev.c vlan_dev_open: ENETDOWN, in the pod's sandbox.
  if (!plan.parent->link.is_up()) {
    return Error(Code::kUnavailable,
                 (master ? master->path + ": " + quoted(master->value)
                         : values.path() + ": the NIC " + plan.parent->link.name) +
                     " is down, and a VLAN on it comes up only when it is up; set it up on the "
                     "node, or take another master");
  }
  FL_TRY(check_not_on_node(input, values, vlan, *plan.parent));
  return check_mtu_on_parent(common, plan);
}

Result<netlink::NewLink> VlanKind::make(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                        const NodeOptions& options) const {
  FL_ASSIGN(Vlan vlan, vlan_of(plan));
  FL_ASSIGN(const netlink::Link master, parent_again(plan, marker, node, options, NicUse::kBeside));
  vlan.parent = master.index;
  return netlink::NewLink{.kind = std::move(vlan)};
}

Error VlanKind::refused(Error error, const NetdevPlan& plan) const {
  const auto vlan = vlan_of(plan);
  if (error.sys_errno() == EEXIST && vlan) {
    return {Code::kExists,
            "the " + name_of(*vlan) + " is taken on the master " + quoted(plan.master) +
                ", by a link of the node or in another pod's network namespace; take another id, or another "
                "master",
            EEXIST};
  }
  if (error.sys_errno() == EOPNOTSUPP) {  // NETIF_F_VLAN_CHALLENGED
    return {Code::kUnsupported,
            "the master " + quoted(plan.master) + " cannot carry VLANs; name another master", EOPNOTSUPP};
  }
  return VirtualLink::refused(std::move(error), plan);
}

}  // namespace fairlead::devices::netdev
