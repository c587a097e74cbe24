// SPDX-License-Identifier: Apache-2.0
// The parameters of type "netdev": the one place that decodes them.
//   {"type": "netdev", "netdev": {"kind": "macvlan", "interfaceName": "data0", "master": "eth0", ...}}
// Fields of every kind: interfaceName, mtu, mac, addresses, routes. Others belong to some kinds only and are
// refused elsewhere by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/devices/kind.h"
#include "fairlead/sys/netlink/types.h"

namespace fairlead::devices::netdev {

/// A value and the full path it was read at, for errors that are found later.
template <class T>
struct Field {
  T value = {};
  std::string path;
  bool from_class = false;  // an admin wrote it (DeviceClass), else whoever wrote the claim
};

/// What the kernel makes of an IPv6 route's metric 0 (IP6_RT_PRIO_USER), so what the cluster's usually has.
inline constexpr std::uint32_t kKernelMetric6 = 1024;
/// Of a default route without a metric: behind the cluster's, which has the kernel's own.
constexpr std::uint32_t default_route_metric(bool is_v6) { return is_v6 ? 2 * kKernelMetric6 : 1024; }

struct RouteConfig {
  netlink::IpPrefix destination;
  std::optional<netlink::IpAddress> gateway;
  /// Nothing: the kernel's own; of a default route in the main table, behind the cluster's.
  std::optional<std::uint32_t> metric = std::nullopt;
  std::uint32_t table = netlink::kMainTable;
  bool onlink = false;
  std::optional<std::uint8_t> scope = std::nullopt;  // RT_SCOPE_*, IPv4 only
  std::optional<netlink::IpAddress> source = std::nullopt;

  /// One of those that every packet of the pod is looked up in.
  [[nodiscard]] bool is_main_default() const {
    return destination.is_default() && table == netlink::kMainTable;
  }
  friend bool operator==(const RouteConfig&, const RouteConfig&) = default;
};

struct Config {
  std::optional<Field<std::string>> interface_name;
  std::optional<Field<std::uint32_t>> mtu;
  std::optional<Field<netlink::MacAddress>> mac;
  std::optional<Field<std::vector<netlink::IpPrefix>>> addresses;
  std::optional<Field<std::vector<RouteConfig>>> routes;
  std::optional<Field<std::string>> master;         // macvlan
  std::optional<Field<netlink::MacvlanMode>> mode;  // macvlan
  std::optional<Field<std::string>> bridge;         // veth
  std::optional<Field<std::string>> device;         // host-device
  std::optional<Field<std::string>> pci_bus_id;     // host-device
  std::string path;  // of the last section, for what is missing: "config[1].opaque.parameters.netdev"
};

/// Reads the sections of one device, weakest first; a later one overrides field by field (a list as a whole).
/// kInvalid names the first wrong field of the first wrong section.
Result<Config> decode(std::string_view kind, std::vector<Section> sections);

}  // namespace fairlead::devices::netdev
