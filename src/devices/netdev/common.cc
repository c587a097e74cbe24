// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/common.h"

#include <algorithm>

namespace fairlead::devices::netdev {

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

namespace {

/// What waits in the node's namespace for the container runtime may have no address there: it would be the
/// node's own (net/ipv4/fib_frontend.c fib_add_ifaddr makes the local route even on a link that is down).
/// And OCI runtime-spec 1.3.0, linux.netDevices, carries no routes. So both are the guard's work.
template <class T>
Result<> check_addressing(const NodeView& node, const Field<std::vector<T>>& field) {
  const NodeOptions& options = node.options();
  if (field.value.empty() || options.mode != AttachMode::kNetdevices || options.has_guard) {
    return {};
  }
  return Error(Code::kUnsupported,
               field.path +
                   ": this node attaches with --attach=netdevices and has no fairlead-guard, which sets "
                   "addresses and routes after the container runtime moved the interface; leave them out, or "
                   "install the guard on the node (--install-guard, --guard-path)");
}

}  // namespace

Result<NetdevPlan> common_plan(const PlanInput& input, const Config& config) {
  NetdevPlan plan;
  if (config.mtu) {
    plan.mtu = config.mtu->value;
  }
  if (config.mac) {
    plan.mac = config.mac->value;
  }
  if (config.addresses) {
    FL_TRY(check_addressing(*input.node, *config.addresses), "");
    plan.addresses = config.addresses->value;
  }
  if (config.routes) {
    FL_TRY(check_addressing(*input.node, *config.routes), "");
    plan.routes = config.routes->value;
  }
  return plan;
}

DevicePlan device_plan(const Config& config, const NetdevPlan& plan) {
  DevicePlan out;
  if (config.interface_name) {
    out.interface_name = config.interface_name->value;
    out.interface_name_path = config.interface_name->path;
  }
  out.body = to_json(plan);
  return out;
}

Result<const sys::InventoryLink*> find_link(const NodeView& node, const Field<std::string>& name,
                                            std::string_view what) {
  const sys::InventoryLink* link = node.find(name.value);
  if (link != nullptr) {
    return link;
  }
  std::string links;
  for (const sys::InventoryLink& other : node.inventory().links()) {
    const bool ours = Marker::parse(other.link.alias).has_value();
    if (!ours && !other.link.is_loopback() && links.size() < 80) {
      links += (links.empty() ? "" : ", ") + other.link.name;
    }
  }
  return Error(Code::kNotFound, name.path + ": this node has no " + std::string(what) + " " +
                                    quoted(name.value) + " (it has " + (links.empty() ? "no links" : links) +
                                    ")");
}

Error name_taken(std::string_view interface_name) {
  return {Code::kExists, "the name " + quoted(interface_name) +
                             " is already taken in the container's network namespace; choose another "
                             "interfaceName"};
}

Result<std::optional<netlink::Link>> find_marked(netlink::Socket& socket, std::string_view alias) {
  FL_ASSIGN(auto links, socket.links(), "");
  const auto it = std::ranges::find(links, alias, &netlink::Link::alias);
  return it == links.end() ? std::nullopt : std::optional(std::move(*it));
}

Result<> configure(netlink::Socket& socket, netlink::IfIndex link, const NetdevPlan& plan,
                   const std::string& alias) {
  netlink::Batch batch;
  if (!alias.empty()) {
    batch.change_link(link, {.alias = alias});
  }
  for (const netlink::IpPrefix& prefix : plan.addresses) {
    batch.add_address({.link = link, .prefix = prefix});
  }
  batch.change_link(link, {.up = true});
  for (const RouteConfig& route : plan.routes) {
    batch.add_route({.destination = route.destination, .gateway = route.gateway, .link = link});
  }
  return socket.run(std::move(batch));
}

}  // namespace fairlead::devices::netdev
