// SPDX-License-Identifier: Apache-2.0
// The node's links as the driver sees them: which it offers, which are the node's own, and how they are
// called in ResourceSlices. netdev/nic_offers.h makes devices of them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/identity.h"
#include "fairlead/devices/node_memory.h"
#include "fairlead/dra/base/driver.h"
#include "fairlead/sys/inventory.h"

namespace fairlead::devices {

/// The one device from which virtual links of every kind are made.
inline constexpr std::string_view kVirtualDevice = "netdev-virtual";

/// How a link gets into a pod.
enum class AttachMode : std::uint8_t {
  kGuard,       // our createRuntime hook: links are born in the pod's namespace or moved by us
  kNetdevices,  // made in the node's namespace, moved by the OCI runtime (CDI 1.1.0 netDevices)
};

/// As what a function with an RDMA device is offered: never as both.
enum class RdmaView : std::uint8_t {
  kNic,   // its network interface
  kRdma,  // its RDMA device; those of software too
};

struct NodeOptions {
  std::string driver_name;
  AttachMode mode = AttachMode::kGuard;
  /// Mode netdevices: the guard is there, too, and completes what the runtime moved. Without it no claim can
  /// have addresses or routes. Mode guard always has one.
  bool has_guard = true;
  int slots = 128;                        // of netdev-virtual
  std::vector<std::string> uplinks;       // more links that belong to the node itself
  std::vector<std::string> not_uplinks;   // globs of names, PCI addresses: NICs in spite of a default route
  std::vector<std::string> host_devices;  // globs: links that are offered although they look virtual
  RdmaView rdma_view = RdmaView::kNic;
  bool allow_connected = false;           // NICs over which the node has connections may be taken
  std::set<std::string> kinds_of_kernel;  // "macvlan", "veth", ...: what this kernel can make
  std::string sysfs_root = "/sys";
  std::shared_ptr<NodeMemory> memory;  // nullptr: a node without addresses and without a past
};

/// Why a NIC is not handed out now.
struct Withheld {
  enum class Why : std::uint8_t {
    // The node's own, whatever flag says otherwise:
    kUplink,       // it carries the default route, or is below or above a link that does
    kNodeAddress,  // the same for the Node's address
    kTunnel,       // the same for the link that carries a tunnel's packets
    kUplinkFlag,   // --uplink names it
    // Until it is known what the node's own is:
    kNodeUnknown,
    kUplinkMissing,
    // Until it is known what other drivers of the node have handed out:
    kDriversUnknown,
    // --not-uplink releases these:
    kOtherRoute,
    kWasUplink,
    kMaybeTunnel,
    // The kernel does not move it to another network namespace:
    kImmovable,
    // In use:
    kPort,
    kLinkOnIt,
    kClaims,
    kOtherDriver,
    kVfs,
    kRdma,
  };
  Why why;
  std::string text;  // "it is a port of br0"
};
/// A word for metrics: "uplink", "other-route", ...
std::string_view to_string(Withheld::Why why);

/// What drivers of other names on this node have.
struct OtherDrivers {
  std::map<std::string, std::string>
      nics;                            // node_wide_name() -> "a claim of the driver b.example.com has it"
  std::optional<std::string> problem;  // why that is not known
  friend bool operator==(const OtherDrivers&, const OtherDrivers&) = default;
};

/// Links that cannot be had as a whole since they are, or a claim has, an RDMA device: why, as a sentence.
using RdmaLinks = std::map<netlink::IfIndex, std::string>;

/// A snapshot; immutable.
class NodeView {
 public:
  /// `shared`: links that interfaces of claims sit on, wherever those are.
  NodeView(sys::Inventory inventory, const NodeOptions& options, std::vector<sys::InventoryLink> shared = {},
           OtherDrivers other_drivers = {}, RdmaLinks rdma_links = {});

  [[nodiscard]] const NodeOptions& options() const { return *options_; }
  [[nodiscard]] const sys::Inventory& inventory() const { return inventory_; }
  /// The addresses in the Node object; empty until they are known.
  [[nodiscard]] const std::vector<netlink::IpAddress>& addresses() const { return addresses_; }
  /// By name or altname.
  [[nodiscard]] const sys::InventoryLink* find(std::string_view name) const { return inventory_.find(name); }
  /// The node itself uses this link or one that depends on it or that it depends on: never published, never
  /// taken.
  [[nodiscard]] bool is_uplink(const sys::InventoryLink& link) const;
  /// Whether the NIC is of a type that claims may have as a whole, regardless of who has it now.
  [[nodiscard]] bool is_candidate(const sys::InventoryLink& link) const;
  /// Why the link cannot be handed out as a whole now; nullopt if it can.
  [[nodiscard]] std::optional<Withheld> withheld(const sys::InventoryLink& link) const;
  /// Why the link's RDMA device cannot be given to a claim, which leaves the link on the node: the link is the
  /// node's own, or that is not known. --not-uplink releases any of them.
  [[nodiscard]] std::optional<Withheld> withheld_for_rdma(const sys::InventoryLink& link) const;
  /// What a claim of another driver has of a PCI function, as a sentence; nullopt: nothing.
  [[nodiscard]] std::optional<std::string> other_driver_of(std::string_view bdf) const;
  /// A NIC that claims may have as a whole: a candidate that is not withheld.
  [[nodiscard]] bool is_offered(const sys::InventoryLink& link) const;
  /// Another link that sits on this one (a VLAN, a macvlan of this namespace, ...); nullptr when there is
  /// none.
  [[nodiscard]] const sys::InventoryLink* link_on(const sys::InventoryLink& link) const;
  /// Why no NIC is offered at all: the node's own links cannot be determined. One sentence; nullopt if NICs
  /// are offered.
  [[nodiscard]] std::optional<Withheld> problem() const;
  /// A link's device name: by what it is, not by what it is called (identity.h).
  [[nodiscard]] std::string device_name(const sys::InventoryLink& link) const;
  [[nodiscard]] NicIdentity identity(const sys::InventoryLink& link) const;
  /// The NIC of that device name, offered or withheld; nullptr if there is none. Allocations of version 0.1
  /// use the link's name: if no device has that name, the link is looked up by it, until the next version.
  [[nodiscard]] const sys::InventoryLink* find_device(std::string_view device_name) const;

 private:
  sys::Inventory inventory_;
  const NodeOptions* options_;
  using Reasons = std::map<netlink::IfIndex, Withheld>;
  void find_own(const NodeMemory::Known& known);
  void find_releasable(const NodeMemory::Known& known);
  void add_stack(Reasons& reasons, const sys::InventoryLink& link, Withheld::Why why,
                 const std::string& predicate);
  [[nodiscard]] bool is_released(const sys::InventoryLink& link) const;
  [[nodiscard]] std::optional<Withheld> use_of(const sys::InventoryLink& link) const;

  Reasons own_;         // never handed out
  Reasons releasable_;  // unless --not-uplink names them
  std::optional<std::string> node_unknown_;
  std::vector<netlink::IpAddress> addresses_;
  std::vector<sys::InventoryLink> shared_;
  OtherDrivers other_drivers_;
  RdmaLinks rdma_links_;
  std::map<netlink::IfIndex, std::string> names_;
};

/// A VLAN, a macvlan and the like on its lower link, both of one namespace. The parent of a veth is its other
/// end: neither sits on the other.
bool sits_on(const netlink::Link& upper, const netlink::Link& lower);

/// Whether the link has an identity that cannot be changed: a permanent MAC, or a port of a device. Others (a
/// veth as the node's NIC, a VF without a configured MAC) are identified by their index on the node.
bool has_identity(const netlink::Link& link);
/// False if an unchangeable property shows that `now` is another NIC than `was`.
bool may_be_nic(const sys::InventoryLink& was, const netlink::Link& now);
/// True when both are one NIC, whatever it is called now: same device, permanent MAC and port, or, without
/// identity, same device and index. `now` is in the node's namespace.
bool same_nic(const sys::InventoryLink& was, const netlink::Link& now);
/// True when both are one link of the node's namespace: same index, kind and type, or the same NIC. A link of
/// which only the name is known (no index) is compared by name.
bool is_same_link(const sys::InventoryLink& was, const netlink::Link& now);

}  // namespace fairlead::devices
