// SPDX-License-Identifier: Apache-2.0
// What a netdev kind decided, as it is kept in the claim's record (DevicePlan::body).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/devices/netdev/route_config.h"
#include "fairlead/sys/inventory.h"
#include "fairlead/sys/link_settings.h"

namespace fairlead::devices::netdev {

/// The details of a NIC that records of version 0.1 do not contain.
struct Details {
  std::vector<netlink::Told> addresses;  // permanent, manually configured ones, in the kernel's order
  std::vector<netlink::Told> routes;     // manually configured ones, those without gateway first
  sys::LinkSettings settings;            // that differ from those of a new link
};

/// How a NIC was before we touched it: what it gets back, and how it is found again.
struct Original {
  sys::InventoryLink link;  // name, altnames, alias, MAC, MTU, flags, PCI function
  /// Permanent, global ones, and static routes over this link alone, those without gateway first: what is
  /// known without `details`.
  std::vector<netlink::IpPrefix> addresses;
  std::vector<netlink::NewRoute> routes;
  std::optional<Details> details;  // nothing: the record is of version 0.1; nor does it say group and queue
};

struct NetdevPlan {
  std::optional<std::uint32_t> mtu;
  std::optional<netlink::MacAddress> mac;
  std::vector<netlink::IpPrefix> addresses;
  std::vector<RouteConfig> routes;
  std::string master;  // the link below a macvlan or the like
  std::string bridge;  // veth; empty: the host end is no port
  /// The kind's own settings: the claim's fields by name, as texts that the kind writes and reads.
  std::map<std::string, std::string> own;
  /// What all links on `parent` must have alike, for messages too: {"receiver": "ipvlan l2 bridge"}.
  std::map<std::string, std::string> must_agree;
  /// What only one link on `parent` can have, for messages too: "VLAN 7 (802.1Q)".
  std::vector<std::string> wants;
  std::optional<Original> original;  // of a NIC that leaves the node
  /// The link that `master` or `bridge` names, as it was when the claim was planned. nullopt in records of
  /// version 0.1.
  std::optional<sys::InventoryLink> parent;
  bool exclusive = false;  // the master is a NIC that was allocated as a whole
  /// In the pod. The record has it beside the body, so that it is not in to_json().
  std::string interface_name;
  std::string interface_name_path;  // where the claim asks for it; empty: a default, or it is from the record
};

/// NetdevPlan as a kind's plan.
struct NetdevBody final : PlanBody {
  explicit NetdevBody(NetdevPlan decided) : plan(std::move(decided)) {}
  [[nodiscard]] std::string to_json() const override;
  [[nodiscard]] std::string name_in_pod() const override { return plan.interface_name; }
  NetdevPlan plan;
};

std::string to_json(const NetdevPlan& plan);
/// kCorrupt when it is not ours.
Result<NetdevPlan> parse_plan(std::string_view json);
/// The link of the node that the planned one sits on; of records of version 0.1 only its name is known.
std::optional<sys::InventoryLink> parent_of(const NetdevPlan& plan);
/// The same without a copy where there is one to point to: into the plan, or into `made`. nullptr: it has none.
const sys::InventoryLink* find_parent_of(const NetdevPlan& plan, std::optional<sys::InventoryLink>& made);

}  // namespace fairlead::devices::netdev
