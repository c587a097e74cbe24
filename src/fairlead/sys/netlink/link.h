// SPDX-License-Identifier: Apache-2.0
// Links, as rtnetlink has them (include/uapi/linux/if_link.h). Plain data; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/kinds/kinds.h"
#include "fairlead/sys/netlink/kinds/tunnel.h"
#include "fairlead/sys/netlink/mac_address.h"

namespace fairlead::netlink {

/// RFC 2863 states with the kernel's numbers (IF_OPER_*).
enum class OperState : std::uint8_t {
  kUnknown,
  kNotPresent,
  kDown,
  kLowerLayerDown,
  kTesting,
  kDormant,
  kUp
};
std::string_view to_string(OperState state);

/// A link as the kernel describes it. Empty strings and invalid indices mean that the kernel reported none.
struct Link {
  IfIndex index;
  std::string name;
  std::vector<std::string> altnames;
  std::string kind;        // rtnl kind: "macvlan", "veth", ...; empty for hardware and loopback
  std::string slave_kind;  // its master's kind: "bridge", "bond", ...; empty without master
  MacAddress mac;
  MacAddress permanent_mac;  // burnt in; empty for virtual links
  std::uint32_t mtu = 0;
  std::uint32_t min_mtu = 0;  // accepted by its driver
  std::uint32_t max_mtu = 0;  // 0: the driver has no limit
  std::uint32_t flags = 0;    // IFF_*
  OperState operstate = OperState::kUnknown;
  IfIndex parent;                              // IFLA_LINK: lower link (macvlan, vlan) or veth peer
  std::optional<std::int32_t> parent_netnsid;  // set: `parent` is an index in that namespace
  IfIndex master;                              // bridge, bond, ... this is a port of
  std::uint32_t group = 0;                     // an arbitrary number; 0 is the default
  std::uint32_t tx_queue_len = 0;              // packets that may wait to be sent
  std::uint8_t mode = 0;                       // IF_LINK_MODE_*: DORMANT waits for a program to say "up"
  /// Of GSO and GRO, by attribute (IFLA_GSO_MAX_SIZE and its like); those that the kernel knows.
  std::map<std::uint16_t, std::uint32_t> limits = {};
  std::string alias;
  std::string parent_dev;  // "0000:03:00.0" when parent_bus is "pci" (kernel >= 5.14)
  std::string parent_bus;  // "pci", "virtio", ...
  /// The driver's name for the port of its card: "p0", "pf0vf1" (a VF's representor).
  std::string phys_port_name;
  std::string phys_port_id;                 // hex digits: the same for all functions of the port
  std::string phys_switch_id;               // hex digits: the switch that it is a port of
  std::uint16_t arphrd = 0;                 // ARPHRD_ETHER 1, ARPHRD_INFINIBAND 32, ARPHRD_LOOPBACK 772
  std::optional<MacvlanMode> macvlan_mode;  // of a macvlan or a macvtap
  std::optional<TunnelEnds> tunnel;         // vxlan, geneve, gre, ipip, sit, vti and their like
  /// How it was created, with local_parent() as its parent, if its kind is one that can be read; see as().
  std::optional<LinkKind> details = std::nullopt;

  [[nodiscard]] bool is_up() const;                          // administratively (IFF_UP)
  [[nodiscard]] bool is_running() const;                     // has carrier (IFF_RUNNING)
  [[nodiscard]] bool is_loopback() const;                    // IFF_LOOPBACK
  [[nodiscard]] bool has_name(std::string_view text) const;  // its name or one of its altnames
  /// As a link of one kind: link.as<Vlan>()->id. Null if it is of another kind.
  template <kinds::ReadableKind K>
  [[nodiscard]] const K* as() const {
    return details ? std::get_if<K>(&*details) : nullptr;
  }
  /// `parent` as an index of this namespace; invalid if there is none or it is in another one.
  [[nodiscard]] IfIndex local_parent() const { return parent_netnsid ? IfIndex() : parent; }
  friend bool operator==(const Link&, const Link&) = default;
};

/// A link to create, in its final form: with `netns` it is created there and never visible anywhere else.
struct NewLink {
  std::string name;
  LinkKind kind;
  std::optional<MacAddress> mac;
  std::optional<std::uint32_t> mtu;
  /// Descriptor of the namespace in which it is created; without one, the socket's. Borrowed for the call.
  std::optional<int> netns;
  IfIndex index;   // chosen; invalid lets the kernel choose
  IfIndex master;  // in the namespace in which the link is created
  std::uint32_t group = 0;
  std::string alias;
  bool up = false;
};
/// "macvlan", "veth", ...
std::string_view kind_name(const NewLink& link);

/// The flags of a link (IFF_*) that can be set by a request, except IFF_UP (net/core/dev.c
/// __dev_change_flags). For IFF_PROMISC and IFF_ALLMULTI the kernel reports and changes only what was set by
/// such a request, not what sockets and other links have requested in addition.
extern const std::uint32_t kSettableFlags;
struct FlagChange {
  std::uint32_t mask = 0;   // which
  std::uint32_t flags = 0;  // their new values
};

/// Changes to a link in its namespace; fields that are not set stay unchanged.
struct LinkChange {
  std::optional<std::string> name;
  std::optional<bool> up;
  std::optional<std::uint32_t> mtu;
  std::optional<MacAddress> mac;
  std::optional<std::string> alias;  // "" removes it
  std::optional<IfIndex> master;     // IfIndex() releases the link from its master
  std::optional<std::uint32_t> group = std::nullopt;
  /// Announce its IPv4 addresses to neighbours when it is set up or gets another MAC (sysctl arp_notify).
  /// Takes effect after `up` in the same request: set it in an earlier one.
  std::optional<bool> arp_notify = std::nullopt;
  std::optional<FlagChange> flags = std::nullopt;
  std::optional<std::uint32_t> tx_queue_len = std::nullopt;
  std::optional<std::uint8_t> mode = std::nullopt;
  std::map<std::uint16_t, std::uint32_t> limits = {};  // of Link::limits, those to change
};

/// A link to move to another namespace. Down on arrival, without addresses and routes (the kernel drops
/// them); MAC, MTU and altnames are kept.
struct MoveLink {
  IfIndex link;
  int netns = -1;        // the target; borrowed for the call
  std::string new_name;  // empty: unchanged
};

}  // namespace fairlead::netlink
