// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/host_device/host_device.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <poll.h>

#include <algorithm>

#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"
#include "fairlead/devices/netdev/check.h"
#include "fairlead/devices/netdev/sharing.h"
#include "fairlead/sys/netlink/monitor.h"
#include "fairlead/sys/pci.h"

namespace fairlead::devices::netdev {
namespace {

using std::chrono::steady_clock;

/// The kernel gives NICs back when a namespace's last user is gone, from a worker of its own (net/core/dev.c
/// default_device_exit_batch): usually milliseconds later, under load seconds.
constexpr std::chrono::seconds kComeHomeTime{15};

Error is_uplink(const std::string& path, const std::string& name) {
  return {Code::kDenied, path + ": " + quoted(name) + " is the node's uplink and can never be taken"};
}

/// Does a field of the claim name this NIC?
struct Named {
  const Field<std::string>* field = nullptr;
  const sys::InventoryLink* link = nullptr;  // on this node; nullptr when there is none of that name
};

Named named_by_claim(const NodeView& node, const Config& config) {
  if (config.device) {
    const sys::InventoryLink* link = node.find(config.device->value);
    return {.field = &*config.device,
            .link = link != nullptr ? link : node.find_device(config.device->value)};
  }
  if (config.pci_bus_id) {
    const auto links = node.inventory().find_bdf(config.pci_bus_id->value);
    return {.field = &*config.pci_bus_id, .link = links.empty() ? nullptr : links.front()};
  }
  return {};
}

bool names(const NodeView& node, const Config& config, const sys::InventoryLink& nic) {
  // Version 0.1 called a device by its link.
  if (config.device && !nic.link.has_name(config.device->value) &&
      node.device_name(nic) != config.device->value && name_by_link(nic.link.name) != config.device->value) {
    return false;
  }
  if (!config.pci_bus_id) {
    return true;
  }
  const auto links = node.inventory().find_bdf(config.pci_bus_id->value);
  return std::ranges::find(links, &nic) != links.end();
}

/// A selector that works: netdev-virtual has no ifName, and CEL's error about a missing key on any device
/// fails the whole allocation, so the kind is asked first.
std::string how_to_ask(const NodeView& node, const Named& named) {
  const std::string attributes = "device.attributes[\"" + node.options().driver_name + "\"]";
  const std::string name = named.link != nullptr ? named.link->link.name : "...";
  return "ask for a NIC with a selector such as " + attributes + ".kind == \"host-device\" && " + attributes +
         ".ifName == \"" + name + "\"";
}

/// The NIC this request was allocated, after every check of who may take what.
Result<const sys::InventoryLink*> allocated_nic(const PlanInput& input, const Config& config) {
  const NodeView& node = *input.node;
  const Named named = named_by_claim(node, config);
  if (named.link != nullptr && node.is_uplink(*named.link)) {
    return is_uplink(named.field->path, named.field->value);
  }
  const std::string& allocated = input.device->device;
  if (allocated == kVirtualDevice) {
    return Error(Code::kInvalid, config.path + ".kind: host-device takes a NIC, but the request " +
                                     quoted(input.device->request) + " was allocated " + allocated + "; " +
                                     how_to_ask(node, named));
  }
  const sys::InventoryLink* nic = node.find_device(allocated);
  if (nic == nullptr) {
    return Error(Code::kNotFound, "the device " + allocated + " that the request " +
                                      quoted(input.device->request) +
                                      " was allocated is not on this node now");
  }
  if (!names(node, config, *nic)) {
    return Error(Code::kInvalid, named.field->path + ": " + quoted(named.field->value) +
                                     " is not the NIC that the request " + quoted(input.device->request) +
                                     " was allocated, which is " + nic->link.name + "; " +
                                     how_to_ask(node, named));
  }
  FL_TRY(check_alone(input, *nic), "");
  return nic;
}

Result<Original> remember(const PlanInput& input, const sys::InventoryLink& nic) {
  if (const auto marker = Marker::parse(nic.link.alias)) {
    return Error(Code::kBusy,
                 "the NIC " + nic.link.name + " is still being given back by the claim " + marker->claim_uid);
  }
  Original original{.link = nic};
  FL_ASSIGN(const auto addresses, input.addresses_of(nic.link.index),
            "read the addresses of " + nic.link.name);
  for (const netlink::Address& address : addresses) {
    if ((address.flags & IFA_F_PERMANENT) != 0 && address.scope == RT_SCOPE_UNIVERSE) {
      original.addresses.push_back(address.prefix);
    }
  }
  return original;
}

enum class Where : std::uint8_t { kNode, kPod };

/// The NIC in the socket's namespace, whatever it is called there.
Result<std::optional<netlink::Link>> find_nic(netlink::Socket& socket, Where where, const Original& original,
                                              const Marker& marker) {
  FL_ASSIGN(auto links, socket.links(), "");
  auto it = std::ranges::find(links, marker.alias(), &netlink::Link::alias);
  // A NIC without an identity of its own is known by its index, which means something on the node only.
  const netlink::Link& was = original.link.link;
  const bool has_identity = !was.permanent_mac.empty() || !was.parent_dev.empty();
  if (it == links.end() && (has_identity || where == Where::kNode)) {
    it =
        std::ranges::find_if(links, [&](const netlink::Link& link) { return same_nic(original.link, link); });
  }
  return it == links.end() ? std::nullopt : std::optional(std::move(*it));
}

/// Addresses as recorded: others (a tenant's) go, missing ones come back.
Result<> restore_addresses(netlink::Socket& socket, netlink::IfIndex link,
                           const std::vector<netlink::IpPrefix>& wanted) {
  FL_ASSIGN(const auto present, socket.addresses(link), "");
  for (const netlink::Address& address : present) {
    const bool ours_to_remove = address.scope == RT_SCOPE_UNIVERSE && (address.flags & IFA_F_PERMANENT) != 0;
    if (ours_to_remove && std::ranges::find(wanted, address.prefix) == wanted.end()) {
      FL_TRY(socket.delete_address(link, address.prefix), "");
    }
  }
  netlink::Batch batch;
  for (const netlink::IpPrefix& prefix : wanted) {
    batch.add_address({.link = link, .prefix = prefix});
  }
  return batch.empty() ? Result<>() : socket.run(std::move(batch));
}

/// Those that the pod gave it would follow it home, and one that a link of the node has by now would hold it
/// up.
Result<> drop_foreign_altnames(netlink::Socket& socket, const netlink::Link& now, const netlink::Link& was) {
  netlink::Batch batch;
  for (const std::string& altname : now.altnames) {
    if (std::ranges::find(was.altnames, altname) == was.altnames.end()) {
      batch.delete_altname(now.index, altname);
    }
  }
  return batch.empty() ? Result<>() : socket.run(std::move(batch));
}

/// The recorded set of altnames. One that another link has taken meanwhile stays with that link.
Result<> restore_altnames(netlink::Socket& socket, const netlink::Link& now, const netlink::Link& was) {
  FL_TRY(drop_foreign_altnames(socket, now, was), "");
  for (const std::string& altname : was.altnames) {
    if (std::ranges::find(now.altnames, altname) != now.altnames.end()) {
      continue;
    }
    const auto added = socket.add_altname(now.index, altname);
    if (!added && added.error().code() != Code::kExists) {
      return added.error();
    }
    if (!added) {
      log::warn("an altname of a NIC that came home belongs to another link now",
                {{"nic", was.name}, {"altname", altname}});
    }
  }
  return {};
}

/// `other` has the name that a NIC had. If it is a NIC of ours, which the kernel gave back under the name
/// that a pod had for it, it waits for its own way home under its transit name: two that have each other's
/// names would block each other for ever.
Result<> make_room(netlink::Socket& socket, const netlink::Link& other, const netlink::Link& now,
                   const netlink::Link& was) {
  const auto marker = Marker::parse(other.alias);
  if (!marker || other.alias != marker->alias()) {
    return Error(Code::kExists, "the NIC " + was.name + " came home as " + now.name +
                                    ", and another link has its name; rename that one");
  }
  FL_TRY(socket.set_down(other.index), "");
  return socket.rename(other.index, marker->transit_name());
}

/// A NIC that is in the node's namespace gets everything back.
Result<> restore(netlink::Socket& socket, const netlink::Link& now, const Original& original) {
  const netlink::Link& was = original.link.link;
  // Down: kernels before 6.2 rename nothing that is up, and many drivers take a MAC only then.
  netlink::LinkChange change;
  if (now.name != was.name) {
    FL_ASSIGN(const auto other, socket.link(was.name), "");
    if (other && other->index != now.index) {
      FL_TRY(make_room(socket, *other, now, was), "");
    }
    change.name = was.name;
  }
  if (now.mac != was.mac) {
    change.mac = was.mac;
  }
  if (now.mtu != was.mtu) {
    change.mtu = was.mtu;
  }
  FL_TRY(socket.set_down(now.index), "");
  FL_TRY(socket.change_link(now.index, change), "");
  if (was.is_up()) {
    FL_TRY(socket.set_up(now.index), "");
  }
  FL_TRY(restore_altnames(socket, now, was), "");
  FL_TRY(restore_addresses(socket, now.index, original.addresses), "");
  // Last: until here the marker says that there is work left.
  return socket.change_link(now.index, {.alias = was.alias});
}

/// From the pod's namespace to the node's.
Result<> bring_home(const Place& pod, const Place& node, const netlink::Link& there, const Original& original,
                    const Marker& marker) {
  FL_TRY(pod.socket->set_down(there.index), "");
  if (there.alias != marker.alias()) {
    FL_TRY(pod.socket->change_link(there.index, {.alias = marker.alias()}), "");
  }
  FL_TRY(drop_foreign_altnames(*pod.socket, there, original.link.link), "");
  // In transit under a name of its own: its old one may be taken by now, and a NIC must never be stuck.
  FL_ASSIGN(
      const netlink::Link home,
      pod.socket->move_link({.link = there.index, .netns = node.netns, .new_name = marker.transit_name()}),
      "take the NIC " + original.link.link.name + " home");
  return restore(*node.socket, home, original);
}

/// Everything that can be wrong with taking it may have changed since the claim was planned.
Result<> check_free(const Place& place, const NodeOptions& options, const netlink::Link& nic) {
  FL_ASSIGN(sys::Inventory inventory, sys::read_inventory(*place.socket, {.sysfs_root = options.sysfs_root}),
            "");
  const NodeView node(std::move(inventory), options);
  const sys::InventoryLink* link = node.inventory().find(nic.index);
  if (link == nullptr) {
    return Error(Code::kNotFound, "the NIC " + nic.name + " is not on this node now");
  }
  if (node.is_uplink(*link)) {
    return Error(Code::kDenied, quoted(nic.name) + " has become the node's uplink and can never be taken");
  }
  if (const auto withheld = node.withheld(*link)) {
    return Error(Code::kBusy, "the NIC " + nic.name + " cannot be taken any more: " + withheld->text);
  }
  if (const sys::InventoryLink* other = node.link_on(*link)) {
    return Error(Code::kBusy,
                 "the NIC " + nic.name + " cannot be taken any more: " + other->link.name + " sits on it");
  }
  return check_not_connected(options, *link, [&](const netlink::SocketQuery& query) {
    return netlink::connected_sockets(query, place.netns);
  });
}

/// Moves the NIC into the pod; it is home again when that fails.
Result<netlink::Link> take(const AttachInput& input, const Original& original) {
  FL_ASSIGN(const auto nic, find_nic(*input.node.socket, Where::kNode, original, input.marker), "");
  if (!nic) {
    return Error(Code::kNotFound, "the NIC " + original.link.link.name + " is not on this node now");
  }
  FL_TRY(check_free(input.node, *input.options, *nic), "");
  FL_ASSIGN(const auto taken, input.pod.socket->link(input.plan->interface_name), "");
  if (taken) {
    return name_taken(input.plan->interface_name);
  }
  ScopeExit undo([&] { (void)restore(*input.node.socket, *nic, original); });
  FL_TRY(input.node.socket->change_link(nic->index, {.up = false, .alias = input.marker.alias()}), "");
  FL_ASSIGN(netlink::Link there,
            input.node.socket->move_link(
                {.link = nic->index, .netns = input.pod.netns, .new_name = input.plan->interface_name}),
            "");
  undo.release();
  return there;
}

/// MAC and MTU asked for by the claim.
Result<> set_properties(netlink::Socket& socket, const netlink::Link& link, const NetdevPlan& plan) {
  netlink::LinkChange change;
  if (plan.mac && *plan.mac != link.mac) {
    change.mac = plan.mac;
  }
  if (plan.mtu && *plan.mtu != link.mtu) {
    change.mtu = plan.mtu;
  }
  return change.mac || change.mtu ? socket.change_link(link.index, change) : Result<>();
}

Result<NetdevPlan> read_plan(const DevicePlan& plan) {
  FL_ASSIGN(NetdevPlan parsed, parse_plan(plan.body), "");
  if (!parsed.original) {
    return Error(Code::kCorrupt, "the claim's record does not say how the NIC was");
  }
  return parsed;
}

bool hardware_is_gone(const Original& original, const NodeOptions* options) {
  if (original.link.pci && options != nullptr) {
    const auto function = sys::read_pci_device(options->sysfs_root, original.link.pci->bdf);
    return function && !*function;
  }
  // Links with a kind are deleted with their namespace (net/core/dev.c: only those without rtnl_link_ops go
  // back to the first one).
  return !original.link.link.kind.empty();
}

/// Waits for a NIC that the kernel is giving back; nothing when it does not come in time.
Result<std::optional<netlink::Link>> wait_for_nic(const DetachInput& input, const Original& original) {
  FL_ASSIGN(netlink::Monitor monitor, netlink::Monitor::open_in(input.node.netns, {}), "");
  const auto end = std::min(input.deadline, steady_clock::now() + kComeHomeTime);
  while (true) {
    FL_ASSIGN(auto nic, find_nic(*input.node.socket, Where::kNode, original, input.marker), "");
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now());
    if (nic || left.count() <= 0 || hardware_is_gone(original, input.options)) {
      return nic;
    }
    pollfd ready{.fd = monitor.fd(), .events = POLLIN, .revents = 0};
    (void)::poll(&ready, 1, static_cast<int>(left.count()));
    FL_TRY(monitor.drain([](const netlink::Event&) {}), "");
  }
}

}  // namespace

Result<DevicePlan> HostDeviceKind::plan(const PlanInput& input, std::vector<Section> sections) const {
  FL_ASSIGN(const Config config, decode(kind(), std::move(sections)), "");
  FL_ASSIGN(const sys::InventoryLink* nic, allocated_nic(input, config), "");
  FL_TRY(check_not_connected(input.node->options(), *nic, input.connections), "");
  FL_ASSIGN(NetdevPlan plan, common_plan(input, config), "");
  FL_TRY(check_inherited_mtu(config, nic->link.name, nic->link.mtu), "");
  FL_ASSIGN(plan.original, remember(input, *nic), "");
  return device_plan(config, plan);
}

Result<Attached> HostDeviceKind::attach(const AttachInput& input) const {
  FL_ASSIGN(const NetdevPlan plan, read_plan(*input.plan), "");
  FL_ASSIGN(auto nic, find_nic(*input.pod.socket, Where::kPod, *plan.original, input.marker), "");
  Attached attached{.addresses = plan.addresses};
  if (!nic) {
    FL_ASSIGN(nic, take(input, *plan.original), "");
    attached.changed = true;
  }
  attached.index = nic->index;
  attached.mac = plan.mac.value_or(nic->mac);
  if (!attached.changed && input.was_attached) {
    return attached;
  }
  ScopeExit undo([&] {
    if (attached.changed) {
      const auto home = bring_home(input.pod, input.node, *nic, *plan.original, input.marker);
      if (!home) {
        log::error("a NIC could not be taken home after a failed attach", {{"error", home.error().what()}});
      }
    }
  });
  FL_TRY(set_properties(*input.pod.socket, *nic, plan), "");
  FL_TRY(configure(input.pod, {.index = nic->index, .name = nic->name}, plan), "");
  undo.release();
  return attached;
}

Result<std::string> HostDeviceKind::stage(const StageInput& input) const {
  FL_ASSIGN(const NetdevPlan plan, read_plan(*input.plan), "");
  FL_ASSIGN(const auto nic, find_nic(*input.node.socket, Where::kNode, *plan.original, input.marker), "");
  if (!nic) {
    return Error(Code::kNotFound, "the NIC " + plan.original->link.link.name + " is not on this node now");
  }
  FL_TRY(check_free(input.node, *input.options, *nic), "");
  ScopeExit undo([&] { (void)restore(*input.node.socket, *nic, *plan.original); });
  // The runtime finds it by its own name. Down, and without addresses: see VirtualLink::stage.
  const std::string& name = plan.original->link.link.name;
  FL_TRY(input.node.socket->change_link(nic->index, {.up = false, .alias = input.marker.alias()}), "");
  if (nic->name != name) {
    FL_TRY(input.node.socket->rename(nic->index, name), "");  // staged before, and renamed by a runtime
  }
  FL_TRY(set_properties(*input.node.socket, *nic, plan), "");
  FL_TRY(restore_addresses(*input.node.socket, nic->index, {}), "");
  undo.release();
  return name;
}

Result<> HostDeviceKind::detach(const DetachInput& input) const {
  FL_ASSIGN(const NetdevPlan plan, read_plan(*input.plan), "");
  const Original& original = *plan.original;
  if (input.pod) {
    FL_ASSIGN(const auto nic, find_nic(*input.pod->socket, Where::kPod, original, input.marker), "");
    if (nic) {
      return bring_home(*input.pod, input.node, *nic, original, input.marker);
    }
  }
  FL_ASSIGN(const auto nic, wait_for_nic(input, original), "");
  if (nic) {
    const bool touched = input.was_attached || nic->alias == input.marker.alias();
    return touched ? restore(*input.node.socket, *nic, original) : Result<>();
  }
  if (hardware_is_gone(original, input.options)) {
    log::warn("a NIC of a claim is gone from the node",
              {{"nic", original.link.link.name}, {"claim", input.marker.claim_uid}});
    return {};
  }
  return Error(Code::kUnavailable,
               "the NIC " + original.link.link.name +
                   " has not come home from the pod's network namespace yet; it does when the "
                   "pod's last process has ended");
}

std::optional<sys::InventoryLink> HostDeviceKind::takes(const DevicePlan& plan) const {
  const auto parsed = parse_plan(plan.body);
  if (!parsed || !parsed->original) {
    return std::nullopt;
  }
  return parsed->original->link;
}

}  // namespace fairlead::devices::netdev
