// SPDX-License-Identifier: Apache-2.0
// The network links of this node, joined with the PCI functions below them: an immutable snapshot.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netlink/types.h"
#include "fairlead/sys/pci.h"

namespace fairlead::sys {

struct InventoryOptions {
  /// Where PCI facts are read: below bus/ and devices/. Links come from netlink, so the network namespace of
  /// the sysfs mount does not matter.
  std::string sysfs_root = "/sys";
};

/// How the node itself uses a link.
struct NodeUse {
  enum class Kind : std::uint8_t {
    kBestRoute,    // the default route of the main table that is used; several of one metric are
    kOtherRoute,   // any other default route
    kTunnel,       // packets of a tunnel leave here
    kMaybeTunnel,  // a tunnel with unknown lower link has a default route
  };
  Kind kind = Kind::kBestRoute;
  bool v6 = false;
  std::string text;  // a predicate: "carries the node's default route (IPv4)"
  friend bool operator==(const NodeUse&, const NodeUse&) = default;
};

struct InventoryLink {
  netlink::Link link;
  /// The function the link sits on, if any. link.parent_bus is "pci" when it is the function's own link.
  std::optional<PciDevice> pci;
  /// The node itself depends on this link: it carries a default route of the main table (IPv4 or IPv6), or is
  /// below one that does (lower link of a VLAN or macvlan, port of a bond, bridge or team).
  bool is_uplink = false;
  /// Of the device that the link is of (`parent_dev`), on whatever bus; empty: none, or unknown.
  std::string driver = {};
  /// Which link of its device this is (sysfs dev_port): cards with one function for several ports number
  /// them.
  int dev_port = 0;
  std::vector<NodeUse> uses = {};  // of this link itself
  std::vector<netlink::IpAddress> addresses = {};
  /// Of the node's routes over this link, in any table; each once.
  std::vector<netlink::IpAddress> gateways = {};
};

class Inventory {
 public:
  Inventory() = default;
  explicit Inventory(std::vector<InventoryLink> links) : links_(std::move(links)) {}
  // These return pointers into the inventory, so they cannot be called on a temporary.
  [[nodiscard]] const std::vector<InventoryLink>& links() const& { return links_; }
  void links() const&& = delete;
  /// By name or altname; nullptr if there is none.
  [[nodiscard]] const InventoryLink* find(std::string_view name) const&;
  void find(std::string_view name) const&& = delete;
  [[nodiscard]] const InventoryLink* find(netlink::IfIndex index) const&;
  void find(netlink::IfIndex index) const&& = delete;
  /// The function's own links; a multi-port card without a function per port has several.
  [[nodiscard]] std::vector<const InventoryLink*> find_bdf(std::string_view bdf) const&;
  void find_bdf(std::string_view bdf) const&& = delete;

  /// Links that depend on each other: the link itself, the links below it (parent, ports, the other end of a
  /// pair), and all links above any of these.
  enum class Where : std::uint8_t { kItself, kBelow, kAbove };
  struct StackEntry {
    const InventoryLink* link;
    Where where;
  };
  [[nodiscard]] std::vector<StackEntry> stack_of(netlink::IfIndex index) const&;
  void stack_of(netlink::IfIndex index) const&& = delete;

 private:
  std::vector<InventoryLink> links_;  // sorted by index
};

/// Reads links, addresses and routes of all tables in the socket's namespace (the node's own) and PCI facts
/// from sysfs. Objects that vanish while being read are left out.
Result<Inventory> read_inventory(netlink::Socket& socket, const InventoryOptions& options = {});

/// The same from values: for tests, and for callers that have the dumps already.
Inventory make_inventory(std::vector<netlink::Link> links, const std::vector<netlink::Route>& routes,
                         const InventoryOptions& options = {},
                         const std::vector<netlink::Address>& addresses = {});

}  // namespace fairlead::sys
