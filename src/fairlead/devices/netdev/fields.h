// SPDX-License-Identifier: Apache-2.0
// The fields that the netdev kinds share, as groups for their tables, and their values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fairlead/devices/netdev/route_config.h"
#include "fairlead/formats/fields.h"
#include "fairlead/sys/netlink/types.h"

namespace fairlead::devices::netdev {

// Format::check and Field::check of the tables below.
std::optional<std::string> check_interface_name(std::string_view text);
std::optional<std::string> check_mac(std::string_view text);
std::optional<std::string> check_interface_address(std::string_view text);
std::optional<std::string> check_destination(std::string_view text);
std::optional<std::string> check_gateway_address(std::string_view text);
std::optional<std::string> check_link_reference(std::string_view text);
std::optional<fields::Problem> check_distinct_addresses(const fields::Value& value);
std::optional<fields::Problem> check_table(const fields::Value& value);
std::optional<fields::Problem> check_routes_by_themselves(const fields::Value& value);

/// A link of the node: a name or altname. It is only ever compared with links that are there.
inline constexpr fields::Format kLinkReference = {
    .check = check_link_reference, .pattern = "^[^/]{1,127}$", .example = "eth0"};

inline constexpr std::int64_t kMaxUint32 = 0xffffffff;
inline constexpr std::array<std::string_view, 4> kRouteScopes = {"global", "host", "link", "site"};

inline constexpr std::array kRouteFields = {
    fields::Field{
        .name = "dst",
        .risk = fields::Risk::kOwn,
        .required = true,
        .format = {.check = check_destination,
                   .pattern = "^[0-9A-Fa-f:.]+/[0-9]{1,3}$",
                   .example = "10.0.0.0/8"},
        .meaning = "Destination network with its prefix length; `0.0.0.0/0` and `::/0` are default routes."},
    fields::Field{
        .name = "gw",
        .risk = fields::Risk::kOwn,
        .format = {.check = check_gateway_address, .pattern = "^[0-9A-Fa-f:.]+$", .example = "192.0.2.1"},
        .default_text = "none",
        .meaning = "Gateway, of the same family as `dst`; without it the destination is on the link itself."},
    fields::Field{
        .name = "metric",
        .type = fields::Type::kInteger,
        .risk = fields::Risk::kOwn,
        .min = 0,
        .max = kMaxUint32,
        .default_text = "the kernel's",
        .meaning = "Of several routes to one destination the kernel takes the one with the lowest metric."},
    fields::Field{
        .name = "table",
        .type = fields::Type::kInteger,
        .risk = fields::Risk::kOwn,
        .min = 1,
        .max = kMaxUint32,
        .check = check_table,
        .default_text = "254 (main)",
        .meaning = "Routing table, not 255; another one than main is used only by the pod's own rules."},
    fields::Field{.name = "onlink",
                  .type = fields::Type::kBool,
                  .risk = fields::Risk::kOwn,
                  .default_text = "`false`",
                  .meaning = "The gateway is on the link although no address of the interface says so."},
    fields::Field{.name = "scope",
                  .type = fields::Type::kWord,
                  .risk = fields::Risk::kOwn,
                  .words = kRouteScopes,
                  .default_text = "`global` with `gw`, else `link`",
                  .meaning = "IPv4 only; with `gw` it must be `global` or `site`."},
    fields::Field{.name = "src",
                  .risk = fields::Risk::kOwn,
                  .format = {.pattern = "^[0-9A-Fa-f:.]+$", .example = "192.0.2.10"},
                  .default_text = "the kernel's choice",
                  .meaning = "Source address of packets; must be one of the interface's addresses."},
};

/// interfaceName, mtu, mac.
inline constexpr std::array kInterfaceFields = {
    fields::Field{.name = "interfaceName",
                  .risk = fields::Risk::kOwn,
                  .format = {.check = check_interface_name,
                             .pattern = R"(^(?!(\.|\.\.|lo|all|default)$)[^\u0000-\u0020\u007f/:%]{1,15}$)",
                             .example = "data0"},
                  .default_text = "`net1`, `net2`, ...",
                  .meaning = "Name in the pod: 1 to 15 bytes without `/`, `:`, `%`, white space and control "
                             "characters; not `.`, `..`, `lo`, `all`, `default`."},
    fields::Field{.name = "mtu",
                  .type = fields::Type::kInteger,
                  .risk = fields::Risk::kOwn,
                  // IPv4's smallest (RFC 791), and the largest that an interface of ours can have.
                  .min = 68,
                  .max = 65535,
                  .default_text = "the parent's or the kernel's",
                  .meaning =
                      "At most that of the parent (master, bridge) or what the NIC's driver takes; with "
                      "IPv6 at least 1280."},
    fields::Field{
        .name = "mac",
        .risk = fields::Risk::kShared,
        .format = {.check = check_mac,
                   .pattern = "^[0-9A-Fa-f][02468ACEace]([:-][0-9A-Fa-f]{2}){5}$",
                   .example = "02:00:00:00:00:01"},
        .default_text = "the kernel's or the NIC's",
        .meaning = "Unicast MAC address of six bytes; on a parent or a NIC neither one of the node nor that "
                   "of another claim."},
};

/// addresses, routes.
inline constexpr std::array kAddressingFields = {
    fields::Field{.name = "addresses",
                  .type = fields::Type::kStrings,
                  .risk = fields::Risk::kShared,
                  .bound = fields::Bound::kAddress,
                  .max_items = 32,
                  .format = {.check = check_interface_address,
                             .pattern = "^[0-9A-Fa-f:.]+/[0-9]{1,3}$",
                             .example = "192.0.2.10/24"},
                  .check = check_distinct_addresses,
                  .default_text = "none",
                  .meaning = "IPv4 and IPv6 addresses with their prefix lengths; see Addresses."},
    fields::Field{.name = "routes",
                  .type = fields::Type::kObjects,
                  .risk = fields::Risk::kOwn,
                  .max_items = 64,
                  .table = fields::table_of(kRouteFields),
                  .check = check_routes_by_themselves,
                  .default_text = "none",
                  .meaning = "Routes through the interface; see Routes."},
};

/// master: of kinds that sit on a link of the node.
inline constexpr std::array kParentFields = {
    fields::Field{
        .name = "master",
        .risk = fields::Risk::kNode,
        .bound = fields::Bound::kParent,
        .format = kLinkReference,
        .default_text = "the allocated NIC",
        .meaning = "Link of the node that the interface is on, by name or altname; required with the device "
                   "`netdev-virtual`. The uplink is allowed."},
};

/// What every netdev kind has.
inline constexpr auto kCommonFields = fields::concat(kInterfaceFields, kAddressingFields);

/// The values of kCommonFields.
struct CommonValues {
  std::optional<fields::Sourced<std::string>> interface_name;
  std::optional<fields::Sourced<std::uint32_t>> mtu;
  std::optional<fields::Sourced<netlink::MacAddress>> mac;
  std::optional<fields::Sourced<std::vector<netlink::IpPrefix>>> addresses;
  std::optional<fields::Sourced<std::vector<RouteConfig>>> routes;
  std::string path;  // of the last section, for what is missing: "config[1].opaque.parameters.netdev"
};

/// `values` of a table that contains kCommonFields.
CommonValues common_values(const fields::Values& values);

}  // namespace fairlead::devices::netdev
