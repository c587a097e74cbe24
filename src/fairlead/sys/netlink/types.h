// SPDX-License-Identifier: Apache-2.0
// The values of rtnetlink: what a link, an address and a route are, and how they are asked for.
// Plain data; any thread. Numbers are the kernel's (include/uapi/linux/if_link.h, rtnetlink.h).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/if_index.h"
#include "fairlead/sys/netlink/kinds/ipvlan.h"
#include "fairlead/sys/netlink/kinds/vlan.h"

namespace fairlead::netlink {

/// A link-layer address: 6 octets for Ethernet, 20 for IPoIB, at most 32 (MAX_ADDR_LEN); empty is none.
class MacAddress {
 public:
  static constexpr std::size_t kMaxSize = 32;
  MacAddress() = default;
  /// Octets beyond kMaxSize are dropped.
  explicit MacAddress(std::span<const std::uint8_t> octets);
  /// "02:00:00:aa:bb:01" (':' or '-', either case), 6 or 20 octets. kInvalid otherwise.
  static Result<MacAddress> parse(std::string_view text);

  /// Lower case with colons; "" when empty.
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] std::span<const std::uint8_t> octets() const { return std::span(octets_).first(size_); }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  /// All octets zero (an interface never has such an address of its own).
  [[nodiscard]] bool is_zero() const;
  /// The group bit: no interface can have such an address.
  [[nodiscard]] bool is_multicast() const { return size_ > 0 && (octets_[0] & 1U) != 0; }
  friend auto operator<=>(const MacAddress&, const MacAddress&) = default;

 private:
  std::array<std::uint8_t, kMaxSize> octets_ = {};
  std::size_t size_ = 0;
};

/// An IPv4 or IPv6 address.
class IpAddress {
 public:
  IpAddress() = default;  // 0.0.0.0
  /// 4 or 16 octets in network order; nothing for another length.
  static std::optional<IpAddress> from_octets(std::span<const std::uint8_t> octets);
  /// "10.0.0.1" or "fd00::1"; no zone, no prefix length. kInvalid otherwise.
  static Result<IpAddress> parse(std::string_view text);

  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] bool is_v6() const { return v6_; }
  /// AF_INET or AF_INET6.
  [[nodiscard]] std::uint8_t family() const;
  [[nodiscard]] std::size_t bits() const { return v6_ ? 128 : 32; }
  [[nodiscard]] std::span<const std::uint8_t> octets() const {
    return std::span(octets_).first(v6_ ? 16 : 4);
  }
  [[nodiscard]] bool is_unspecified() const;
  /// Keeps the first `length` bits and clears the rest.
  [[nodiscard]] IpAddress masked(std::size_t length) const;
  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  bool v6_ = false;
  std::array<std::uint8_t, 16> octets_ = {};
};

/// An address with a prefix length ("10.0.0.5/24"): an interface's address, host bits kept, or a destination.
class IpPrefix {
 public:
  IpPrefix() = default;  // 0.0.0.0/0
  /// `length` is cut to the family's bits.
  IpPrefix(IpAddress address, std::size_t length);
  /// CIDR text; the length must be there. kInvalid otherwise.
  static Result<IpPrefix> parse(std::string_view text);

  /// Canonical: "fd00::5/64".
  [[nodiscard]] std::string to_string() const;
  [[nodiscard]] const IpAddress& address() const { return address_; }
  [[nodiscard]] std::uint8_t length() const { return length_; }
  [[nodiscard]] bool is_v6() const { return address_.is_v6(); }
  /// The same with host bits cleared, as a route's destination must be.
  [[nodiscard]] IpPrefix network() const;
  /// 0.0.0.0/0 or ::/0.
  [[nodiscard]] bool is_default() const { return length_ == 0; }
  friend auto operator<=>(const IpPrefix&, const IpPrefix&) = default;

 private:
  IpAddress address_;
  std::uint8_t length_ = 0;
};

/// A name that the kernel takes for an interface (net/core/dev.c dev_valid_name): 1 to 15 bytes, not "." or
/// "..", no '/', ':', white space. Also refused: '%' (the kernel would count up) and control characters.
/// The error says what is wrong with it.
Result<> check_link_name(std::string_view name);

enum class MacvlanMode : std::uint8_t { kPrivate = 1, kVepa = 2, kBridge = 4, kPassthru = 8, kSource = 16 };
std::string_view to_string(MacvlanMode mode);
/// "private", "vepa", "bridge", "passthru", "source"; nothing for another word.
std::optional<MacvlanMode> parse_macvlan_mode(std::string_view word);

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

/// How a tunnel's packets leave: unset what the tunnel leaves open.
struct TunnelEnds {
  IfIndex link;  // the one they are bound to
  std::optional<IpAddress> local, remote;
  friend bool operator==(const TunnelEnds&, const TunnelEnds&) = default;
};

/// A link as the kernel describes it. Empty strings and invalid indices mean "the kernel said none".
struct Link {
  IfIndex index;
  std::string name;
  std::vector<std::string> altnames;
  std::string kind;        // rtnl kind: "macvlan", "veth", ...; empty for hardware and loopback
  std::string slave_kind;  // what its master is: "bridge", "bond", ...; empty without master
  MacAddress mac;
  MacAddress permanent_mac;  // burnt in; empty for virtual links
  std::uint32_t mtu = 0;
  std::uint32_t min_mtu = 0;  // what its driver takes
  std::uint32_t max_mtu = 0;  // 0: the driver names no limit
  std::uint32_t flags = 0;    // IFF_*
  OperState operstate = OperState::kUnknown;
  IfIndex parent;                              // IFLA_LINK: lower link (macvlan, vlan) or veth peer
  std::optional<std::int32_t> parent_netnsid;  // set: `parent` counts in that namespace, not in this one
  IfIndex master;                              // bridge, bond, ... this is a port of
  std::uint32_t group = 0;                     // a number that whoever made it chose; 0 is the default
  std::uint32_t tx_queue_len = 0;              // packets that may wait to be sent
  std::uint8_t mode = 0;                       // IF_LINK_MODE_*: DORMANT waits for a program to say "up"
  /// Of GSO and GRO, by attribute (IFLA_GSO_MAX_SIZE and its like); those that the kernel knows.
  std::map<std::uint16_t, std::uint32_t> limits = {};
  std::string alias;
  std::string parent_dev;  // "0000:03:00.0" when parent_bus is "pci" (kernel >= 5.14)
  std::string parent_bus;  // "pci", "virtio", ...
  /// The driver's word for which port of its card this is: "p0", "pf0vf1" (a VF's representor).
  std::string phys_port_name;
  std::string phys_port_id;    // hex digits: the port, whatever function sees it
  std::string phys_switch_id;  // hex digits: the switch that it is a port of
  std::uint16_t arphrd = 0;    // ARPHRD_ETHER 1, ARPHRD_INFINIBAND 32, ARPHRD_LOOPBACK 772
  std::optional<MacvlanMode> macvlan_mode;
  std::optional<TunnelEnds> tunnel;  // vxlan, geneve, gre, ipip, sit, vti and their like
  /// What links of some kinds have beside, with local_parent() as their parent; see as().
  std::variant<std::monostate, Ipvlan, Vlan> details = {};

  [[nodiscard]] bool is_up() const;                          // administratively (IFF_UP)
  [[nodiscard]] bool is_running() const;                     // has carrier (IFF_RUNNING)
  [[nodiscard]] bool is_loopback() const;                    // IFF_LOOPBACK
  [[nodiscard]] bool has_name(std::string_view text) const;  // its name or one of its altnames
  /// As a link of one kind: link.as<Vlan>()->id. Null when it is of another.
  template <class K>
  [[nodiscard]] const K* as() const {
    return std::get_if<K>(&details);
  }
  /// `parent` as an index of this namespace; invalid when there is none or it is in another one.
  [[nodiscard]] IfIndex local_parent() const { return parent_netnsid ? IfIndex() : parent; }
  friend bool operator==(const Link&, const Link&) = default;
};

/// The other end of a new veth pair.
struct VethPeer {
  std::string name;
  std::optional<MacAddress> mac;
  std::optional<std::uint32_t> mtu;
  /// Descriptor of the namespace it is born in; without one, the socket's. Borrowed for the call.
  std::optional<int> netns;
  bool up = false;  // not at birth but right after, see Socket::create_link
};
/// Cannot talk to its parent itself. kPassthru has the parent's MAC, whatever is asked for, and must be the
/// parent's only macvlan.
struct Macvlan {
  IfIndex parent;  // in the socket's namespace
  MacvlanMode mode = MacvlanMode::kBridge;
};
struct Veth {
  VethPeer peer;
};
struct Dummy {};
struct Bridge {};

/// A link to create, in its final shape: with `netns` it is born there and never seen anywhere else.
struct NewLink {
  std::string name;
  std::variant<Macvlan, Veth, Dummy, Bridge, Ipvlan, Vlan> kind;
  std::optional<MacAddress> mac;
  std::optional<std::uint32_t> mtu;
  /// Descriptor of the namespace it is born in; without one, the socket's. Borrowed for the call.
  std::optional<int> netns;
  IfIndex index;   // chosen; invalid lets the kernel choose
  IfIndex master;  // in the namespace the link is born in
  std::uint32_t group = 0;
  std::string alias;
  bool up = false;
};
/// "macvlan", "veth", ...
std::string_view kind_name(const NewLink& link);

/// The flags of a link (IFF_*) that are anybody's to set, but IFF_UP (net/core/dev.c __dev_change_flags). Of
/// IFF_PROMISC and IFF_ALLMULTI the kernel tells and changes what was set so, not what sockets and other links
/// have asked for beside that.
extern const std::uint32_t kSettableFlags;
struct FlagChange {
  std::uint32_t mask = 0;   // which
  std::uint32_t flags = 0;  // what those become
};

/// Changes to a link in its namespace; only what is set is touched.
struct LinkChange {
  std::optional<std::string> name;
  std::optional<bool> up;
  std::optional<std::uint32_t> mtu;
  std::optional<MacAddress> mac;
  std::optional<std::string> alias;  // "" removes it
  std::optional<IfIndex> master;     // IfIndex() releases the link from its master
  std::optional<std::uint32_t> group = std::nullopt;
  /// Tell neighbours of its IPv4 addresses when it is set up or gets another MAC (sysctl arp_notify). Takes
  /// effect after `up` in the same request: ask for it in one before.
  std::optional<bool> arp_notify = std::nullopt;
  std::optional<FlagChange> flags = std::nullopt;
  std::optional<std::uint32_t> tx_queue_len = std::nullopt;
  std::optional<std::uint8_t> mode = std::nullopt;
  std::map<std::uint16_t, std::uint32_t> limits = {};  // of Link::limits, those to change
};

/// A link to take to another namespace. Down on arrival, without addresses and routes (the kernel drops
/// them); MAC, MTU and altnames stay.
struct MoveLink {
  IfIndex link;
  int netns = -1;        // where to; borrowed for the call
  std::string new_name;  // empty: keeps its name
};

/// An address on a link.
struct Address {
  IfIndex link;
  IpPrefix prefix;
  std::uint8_t scope = 0;                        // RT_SCOPE_*
  std::uint32_t flags = 0;                       // IFA_F_*
  std::uint8_t protocol = 0;                     // IFAPROT_*: who added it (Linux 5.18); 0 when nobody said
  std::uint32_t metric = 0;                      // of its prefix route; 0: the kernel's default
  std::optional<IpAddress> peer = std::nullopt;  // the other end's; its prefix is then what is on the link
  friend bool operator==(const Address&, const Address&) = default;
};
/// What the kernel told of an address or a route, behind the message's header and in its own words, so that
/// it can be put back with every attribute that it had, also those that nobody here knows. Without what only
/// the kernel can say: the index, times, how the link was.
using Told = std::vector<std::uint8_t>;
struct ToldAddress {
  Address address;
  Told told;
};
struct NewAddress {
  IfIndex link;
  IpPrefix prefix;
  /// IPv6: usable at once, no duplicate address detection (about 1 s in which bind() fails).
  bool no_dad = true;
};

struct NextHop {
  IfIndex link;
  std::optional<IpAddress> gateway;
  friend bool operator==(const NextHop&, const NextHop&) = default;
};
/// A nexthop object (ip-nexthop(8), Linux 5.3): routes name it instead of a link. A group has no hop of its
/// own.
struct NextHopObject {
  std::uint32_t id = 0;
  NextHop hop;
  std::vector<std::uint32_t> group;  // ids of others
  friend bool operator==(const NextHopObject&, const NextHopObject&) = default;
};
inline constexpr std::uint32_t kMainTable = 254;  // RT_TABLE_MAIN
/// A route of any table.
struct Route {
  IpPrefix destination;
  std::vector<NextHop> hops;  // none for blackhole and the like, several for multipath
  std::uint32_t metric = 0;
  std::uint32_t table = kMainTable;
  std::uint8_t type = 1;                           // RTN_UNICAST
  std::uint8_t scope = 0;                          // RT_SCOPE_UNIVERSE
  std::uint8_t protocol = 0;                       // RTPROT_*
  std::optional<IpAddress> source = std::nullopt;  // what packets along it come from, if they do not say
  /// Of the nexthop object it names; 0: none. With sysctl net.ipv4.nexthop_compat_mode=0 the kernel says
  /// nothing else of its hops; Socket::routes() looks them up.
  std::uint32_t nexthop_id = 0;
  friend bool operator==(const Route&, const Route&) = default;
};
struct ToldRoute {
  Route route;
  Told told;             // with the hops that a nexthop object stands for
  bool expires = false;  // after some time, by itself
};
struct NewRoute {
  IpPrefix destination;  // host bits are cleared; 0.0.0.0/0 or ::/0 for the default route
  std::optional<IpAddress> gateway;
  IfIndex link;
  std::uint32_t metric = 0;  // 0: the kernel's default (IPv6: 1024)
  std::uint32_t table = kMainTable;
  /// The gateway is on the link even if no address of ours covers it (RTNH_F_ONLINK).
  bool onlink = false;
  /// RT_SCOPE_*, IPv4 only; nothing: universe with a gateway, link without.
  std::optional<std::uint8_t> scope = std::nullopt;
  std::optional<IpAddress> source = std::nullopt;  // an address of this namespace
};
/// To give the routes to a destination another metric.
struct MetricChange {
  IpPrefix destination;
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint32_t table = kMainTable;
};

}  // namespace fairlead::netlink
