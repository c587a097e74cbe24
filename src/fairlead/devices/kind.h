// SPDX-License-Identifier: Apache-2.0
// What one kind of device can do. A new kind is one class that implements Kind and one line in app/ that
// registers it.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/marker.h"
#include "fairlead/devices/node.h"
#include "fairlead/dra/driver.h"
#include "fairlead/formats/strict_json.h"
#include "fairlead/sys/netlink/sock_diag.h"
#include "fairlead/sys/netlink/socket.h"

namespace fairlead::devices {

/// One opaque config, `type` and `kind` read, the section of its type ("netdev") still to be read.
struct Section {
  strict_json::Document document;
  strict_json::Object fields;
  std::string path;  // of the section: "config[1] of the claim: opaque.parameters.netdev"
  bool from_class = false;
};

/// What plan() decided for one device. Kept as JSON with the claim's record.
struct DevicePlan {
  /// Monitoring only (KEP-5018): nothing is made or taken, and type and kind are empty.
  bool admin_access = false;
  std::string type, kind;
  std::string request;              // for messages and for the container's environment
  std::string interface_name;       // in the pod; empty until the claim gives it a default
  std::string interface_name_path;  // where the name was asked for; empty: a default
  std::string body;                 // JSON object of the kind's own
  /// Of the NIC that was allocated: its device name by what it is, and its identity as JSON (identity.h).
  /// Empty: netdev-virtual, or the record is of version 0.1.
  std::string nic, identity;
};

/// How a device of a claim has a link of the node.
struct LinkUse {
  sys::InventoryLink link;  // as it was when the claim was planned
  bool whole = false;       // for itself; else others may use it, too
  /// What no two can have on one link, for messages too: "address 192.0.2.5", "MAC address 02:00:00:00:00:01".
  std::vector<std::string> wants = {};
};

/// A claim of this node and what its devices were planned to be.
struct PlannedClaim {
  std::string namespace_, name, uid;
  std::vector<DevicePlan> devices;
  std::vector<dra::Pod> reserved_for = {};
  /// In which its containers find the interfaces' names; one per device, empty for one that is only watched.
  std::vector<std::string> variables = {};
};

using AskConnections = std::function<Result<netlink::ConnectedSockets>(const netlink::SocketQuery&)>;

struct PlanInput {
  const dra::AllocatedDevice* device = nullptr;
  const NodeView* node = nullptr;
  const dra::Claim* claim = nullptr;  // the one that the device is for
  /// All other claims of this node that are prepared, or being prepared: what one of them has may be
  /// something that cannot be had twice. The claim itself, too, with the devices that were planned before
  /// this one. nullptr: none.
  const std::vector<PlannedClaim>* others = nullptr;
  /// Of a link in the node's namespace.
  std::function<Result<std::vector<netlink::ToldAddress>>(netlink::IfIndex)> addresses_of;
  /// Of every table, with a hop over that link. Empty: nobody asks.
  std::function<Result<std::vector<netlink::ToldRoute>>(netlink::IfIndex)> routes_of;
  /// The node's network settings in a folder below /proc/sys/net ("ipv4/conf/eth0"), by name. Empty: nobody
  /// asks.
  std::function<Result<std::map<std::string, std::string>>(const std::string& folder)> settings_in;
  /// Connections of the node's namespace; nullptr: nobody asks.
  AskConnections connections;
};

/// A network namespace and a socket in it. Borrowed.
struct Place {
  int netns = -1;
  netlink::Socket* socket = nullptr;
};

struct AttachInput {
  const DevicePlan* plan = nullptr;
  Marker marker;
  Place node;
  Place pod;
  /// The pod's links as they were when the claim's attach began: asked once for all its devices.
  const std::vector<netlink::Link>* pod_links = nullptr;
  /// All of the claim was attached here before, and a container ran with it: what is there stays as the pod
  /// made it, only what is missing is attached anew.
  bool was_attached = false;
  /// What an earlier attach() answered, if it is certain that this is the same namespace.
  netlink::IfIndex index_in_pod;
  const NodeOptions* options = nullptr;
};

struct Attached {
  netlink::IfIndex index;  // in the pod
  bool changed = false;    // made or moved by this call: undone when the call as a whole fails
  /// What it has been given. MAC: as it is when that was left to the kernel.
  netlink::MacAddress mac;
  std::vector<netlink::IpPrefix> addresses;
  /// What this call did to others in the pod, to be undone then before the device is detached; empty:
  /// nothing. The places of the call must still be there.
  std::function<void()> undo_in_pod = {};
};

struct StageInput {
  const DevicePlan* plan = nullptr;
  Marker marker;
  Place node;
  const NodeOptions* options = nullptr;
};

struct DetachInput {
  const DevicePlan* plan = nullptr;
  Marker marker;
  Place node;
  std::optional<Place> pod;       // nothing: the pod's namespace is gone, or was never known
  netlink::IfIndex index_in_pod;  // what attach() answered; invalid: not certain that `pod` is that namespace
  bool was_attached = false;      // attach() or stage() succeeded once
  bool was_begun = false;         // attach() began, and nobody knows how far it got
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  const NodeOptions* options = nullptr;
  /// Called with what the device's user should know although it is undone: a reason (CamelCase) and a
  /// sentence. May be empty.
  std::function<void(const std::string& reason, const std::string& message)> tell;
};

/// Stateless: any thread, several at once.
class Kind {
 public:
  Kind() = default;
  Kind(const Kind&) = delete;
  Kind& operator=(const Kind&) = delete;
  Kind(Kind&&) = delete;
  Kind& operator=(Kind&&) = delete;
  virtual ~Kind() = default;

  [[nodiscard]] virtual std::string_view type() const = 0;
  [[nodiscard]] virtual std::string_view kind() const = 0;

  /// Decodes strictly, checks against the node, changes nothing. Of several sections (class first, claim
  /// last) a later one overrides field by field. Everything detach() needs later must be in the plan.
  virtual Result<DevicePlan> plan(const PlanInput& input, std::vector<Section> sections) const = 0;
  /// Puts the device into the pod's namespace, or completes what is already there. Undoes its own part on
  /// failure.
  virtual Result<Attached> attach(const AttachInput& input) const = 0;
  /// Puts the device into the node's namespace for the OCI runtime to move; answers its name there. May be
  /// called again.
  virtual Result<std::string> stage(const StageInput& input) const = 0;
  /// Undoes attach() and stage(), however far they got. What is gone counts as undone.
  virtual Result<> detach(const DetachInput& input) const = 0;
  /// Something about the node's links has changed, or the program has just started: what had to wait for it
  /// can be done now. May be called at any time.
  virtual Result<> links_changed(netlink::Socket& node, const NodeOptions& options) const {
    (void)node;
    (void)options;
    return {};
  }
  /// The NIC that this plan takes away from the node, as it was before.
  [[nodiscard]] virtual std::optional<sys::InventoryLink> takes(const DevicePlan& plan) const {
    (void)plan;
    return std::nullopt;
  }
  /// The link of the node that this plan has, wholly or with others.
  [[nodiscard]] virtual std::optional<LinkUse> uses(const DevicePlan& plan) const {
    if (auto taken = takes(plan)) {
      return LinkUse{.link = *std::move(taken), .whole = true};
    }
    auto shared = shares(plan);
    return shared ? std::optional(LinkUse{.link = *std::move(shared)}) : std::nullopt;
  }
  /// The link of the node that this plan puts a link on, and that others may use too: as a NIC it can go to
  /// nobody as a whole meanwhile.
  [[nodiscard]] virtual std::optional<sys::InventoryLink> shares(const DevicePlan& plan) const {
    (void)plan;
    return std::nullopt;
  }
};

}  // namespace fairlead::devices
