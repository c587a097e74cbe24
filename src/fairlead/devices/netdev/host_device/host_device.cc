// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/host_device/host_device.h"

#include <poll.h>

#include <algorithm>

#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/check.h"
#include "fairlead/devices/netdev/common.h"
#include "fairlead/devices/netdev/host_device/find_nic.h"
#include "fairlead/devices/netdev/host_device/restore.h"
#include "fairlead/devices/netdev/nic_offers.h"
#include "fairlead/devices/netdev/sharing.h"
#include "fairlead/devices/node.h"
#include "fairlead/devices/node_questions.h"
#include "fairlead/sys/net_hardware.h"
#include "fairlead/sys/netlink/monitor.h"

namespace fairlead::devices::netdev {
namespace {

using std::chrono::steady_clock;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

std::optional<std::string> check_pci_address(std::string_view text) {
  return sys::is_bdf(lower(text))
             ? std::nullopt
             : std::optional(quoted(text) + " is not a PCI address (such as 0000:03:00.1)");
}

constexpr std::array kOwnFields = {
    fields::Field{.name = "device",
                  .risk = fields::Risk::kOwn,
                  .format = kLinkReference,
                  .default_text = "the allocated NIC",
                  .meaning = "Must name the NIC that was allocated: by link, altname or device."},
    fields::Field{.name = "pciBusID",
                  .risk = fields::Risk::kOwn,
                  .format = {.check = check_pci_address,
                             .pattern = "^[0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}[.][0-7]$",
                             .example = "0000:03:00.1"},
                  .default_text = "the allocated NIC's",
                  .meaning = "Must be the PCI address of the NIC that was allocated."},
};
constexpr auto kFields = fields::concat(kInterfaceFields, kAddressingFields, kOwnFields);

/// The kernel gives NICs back when a namespace's last user is gone, from a worker of its own (net/core/dev.c
/// default_device_exit_batch): usually milliseconds later. When it takes longer the kubelet calls again, and
/// no worker is held meanwhile.
constexpr std::chrono::seconds kComeHomeTime{2};

Error is_uplink(const std::string& path, const std::string& name) {
  return {Code::kDenied, path + ": " + quoted(name) + " is the node's uplink and can never be taken"};
}

/// The fields that name a NIC.
struct OwnValues {
  std::optional<fields::Sourced<std::string>> device, pci_bus_id;
};

OwnValues own_values(const fields::Values& values) {
  OwnValues own{.device = values.string("device"), .pci_bus_id = values.string("pciBusID")};
  if (own.pci_bus_id) {
    own.pci_bus_id->value = lower(own.pci_bus_id->value);
  }
  return own;
}

/// Does a field of the claim name this NIC?
struct Named {
  const fields::Sourced<std::string>* field = nullptr;
  const sys::InventoryLink* link = nullptr;  // on this node; nullptr when there is none of that name
};

Named named_by_claim(const NodeView& node, const OwnValues& own) {
  if (own.device) {
    const sys::InventoryLink* link = node.find(own.device->value);
    return {.field = &*own.device, .link = link != nullptr ? link : node.find_device(own.device->value)};
  }
  if (own.pci_bus_id) {
    const auto links = node.inventory().find_bdf(own.pci_bus_id->value);
    return {.field = &*own.pci_bus_id, .link = links.empty() ? nullptr : links.front()};
  }
  return {};
}

bool names(const NodeView& node, const OwnValues& own, const sys::InventoryLink& nic) {
  // Version 0.1 called a device by its link.
  if (own.device && !nic.link.has_name(own.device->value) && node.device_name(nic) != own.device->value &&
      name_by_link(nic.link.name) != own.device->value) {
    return false;
  }
  if (!own.pci_bus_id) {
    return true;
  }
  const auto links = node.inventory().find_bdf(own.pci_bus_id->value);
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
Result<const sys::InventoryLink*> allocated_nic(const PlanInput& input, const fields::Values& values) {
  const NodeView& node = *input.node;
  const OwnValues own = own_values(values);
  const Named named = named_by_claim(node, own);
  if (named.link != nullptr && node.is_uplink(*named.link)) {
    return is_uplink(named.field->path, named.field->value);
  }
  const std::string& allocated = input.device->device;
  if (allocated == kVirtualDevice) {
    return Error(Code::kInvalid, values.path_of("kind") + ": host-device takes a NIC, but the request " +
                                     quoted(input.device->request) + " was allocated " + allocated + "; " +
                                     how_to_ask(node, named));
  }
  const sys::InventoryLink* nic = node.find_device(allocated);
  if (nic == nullptr) {
    return Error(Code::kNotFound, "the device " + allocated + " that the request " +
                                      quoted(input.device->request) +
                                      " was allocated is not on this node now");
  }
  if (!names(node, own, *nic)) {
    return Error(Code::kInvalid, named.field->path + ": " + quoted(named.field->value) +
                                     " is not the NIC that the request " + quoted(input.device->request) +
                                     " was allocated, which is " + nic->link.name + "; " +
                                     how_to_ask(node, named));
  }
  FL_TRY(check_alone(input, *nic, NicUse::kAll));
  return nic;
}

Result<Original> as_it_is(const PlanInput& input, const sys::InventoryLink& nic) {
  if (const auto marker = Marker::parse(nic.link.alias)) {
    return Error(Code::kBusy,
                 "the NIC " + nic.link.name + " is still being given back by the claim " + marker->claim_uid);
  }
  const NodeQuestions nothing;
  const NodeQuestions& ask = input.ask == nullptr ? nothing : *input.ask;
  FL_ASSIGN(const auto addresses,
            ask.addresses_of ? ask.addresses_of(nic.link.index) : std::vector<netlink::ToldAddress>(),
            "read the addresses of " + nic.link.name);
  FL_ASSIGN(const auto routes,
            ask.routes_of ? ask.routes_of(nic.link.index) : std::vector<netlink::ToldRoute>(),
            "read the routes of " + nic.link.name);
  FL_ASSIGN(sys::LinkSettings settings,
            ask.settings_in ? sys::own_link_settings(ask.settings_in, nic.link) : sys::LinkSettings(),
            "read the settings of " + nic.link.name);
  return remember(nic, addresses, routes, std::move(settings));
}

/// Logs that the revert failed, after an error that is reported elsewhere.
void note_undone(const Result<Restored>& undone, const Original& original, const Marker& marker) {
  if (!undone) {
    log::error(
        "cannot restore a NIC after its attach failed; Unprepare tries again",
        {{"nic", original.link.link.name}, {"claim", marker.claim_uid}, {"error", undone.error().what()}});
  }
}

/// What one call on a NIC works with.
struct Work {
  const DeviceInput* input = nullptr;
  const NetdevPlan* plan = nullptr;
  Place node;

  [[nodiscard]] const Original& original() const { return *plan->original; }
  [[nodiscard]] const Marker& marker() const { return input->marker; }
  [[nodiscard]] Result<std::optional<netlink::Link>> find_on_node() const {
    return netdev::find_on_node(*node.socket, original(), marker());
  }
};

Result<Work> work_on(const DeviceInput& input) {
  FL_ASSIGN(const NetdevPlan* plan, netdev_plan(*input.plan));
  if (!plan->original) {
    return Error(Code::kCorrupt, "the claim's record does not say how the NIC was");
  }
  FL_ASSIGN(const Place node, place_of(input.node));
  return Work{.input = &input, .plan = plan, .node = node};
}

/// The NIC, on the node.
Result<netlink::Link> must_be_on_node(const Work& work) {
  FL_ASSIGN(auto nic, work.find_on_node());
  if (!nic) {
    return Error(Code::kNotFound, "the NIC " + work.original().link.link.name + " is not on this node now");
  }
  FL_TRY(check_still_alone(work.node, *work.input->options, *nic, NicUse::kAll));
  return *std::move(nic);
}

/// Moves the NIC into the pod; it is back on the node when that fails.
Result<netlink::Link> take(const Work& work, const Place& pod) {
  const Original& original = work.original();
  const std::string& name = work.plan->interface_name;
  FL_ASSIGN(const netlink::Link nic, must_be_on_node(work));
  FL_ASSIGN(const auto taken, pod.socket->link(name));
  if (taken) {
    return name_taken(name);
  }
  netlink::Socket& node = *work.node.socket;
  ScopeExit undo([&] { note_undone(restore(node, nic, original, work.marker()), original, work.marker()); });
  FL_TRY(node.change_link(nic.index, {.up = false, .alias = lent_alias(original, work.marker())}));
  reset_link(node, nic, original);  // it may have fallen back from another pod
  FL_ASSIGN(netlink::Link there, node.move_link({.link = nic.index, .netns = pod.netns, .new_name = name}));
  undo.release();
  return there;
}

/// MAC and MTU asked for by the claim. Only the kernel knows what a NIC's driver takes.
Result<> set_properties(netlink::Socket& socket, const netlink::Link& link, const NetdevPlan& plan) {
  const std::string give = "give the NIC " + plan.original->link.link.name + " the ";
  if (plan.mac && *plan.mac != link.mac) {
    if (auto done = socket.change_link(link.index, {.mac = plan.mac}); !done) {
      return refused_by_kernel(std::move(done).error(),
                               give + "MAC address " + plan.mac->to_string() + " that the claim asks for");
    }
  }
  if (plan.mtu && *plan.mtu != link.mtu) {
    if (auto done = socket.change_link(link.index, {.mtu = plan.mtu}); !done) {
      return refused_by_kernel(std::move(done).error(),
                               give + "MTU " + std::to_string(*plan.mtu) + " that the claim asks for");
    }
  }
  return {};
}

/// Why a NIC that is neither in the pod nor on the node is not on the node.
enum class Absence : std::uint8_t {
  kGone,      // there is no such NIC any more
  kUnbound,   // its device has no network interface: its driver left it, and may come back
  kOnItsWay,  // in a namespace that dies, perhaps: the kernel gives it back
  kKept,      // in a namespace that something keeps alive; the kernel would delete it with that
};

Result<Absence> why_absent(const Work& work) {
  const netlink::Link& was = work.original().link.link;
  // Links with a kind are deleted with their namespace (net/core/dev.c: only those without rtnl_link_ops go
  // back to the first one). Both ends of a veth go together: while one is there the other is.
  if (!was.kind.empty()) {
    const bool peer_on_node = was.kind == "veth" && was.parent.valid() && !was.parent_netnsid;
    FL_ASSIGN(const auto peer,
              peer_on_node ? work.node.socket->link(was.parent) : std::optional<netlink::Link>());
    return peer && peer->kind == was.kind ? Absence::kKept : Absence::kGone;
  }
  if (work.input->options == nullptr) {
    return Absence::kOnItsWay;
  }
  switch (sys::net_hardware(work.input->options->sysfs_root, was.parent_bus, was.parent_dev)) {
    case sys::NetHardware::kGone:
      return Absence::kGone;
    case sys::NetHardware::kNoLink:
      return Absence::kUnbound;
    case sys::NetHardware::kUnknown:
    case sys::NetHardware::kHasLink:
      break;
  }
  return Absence::kOnItsWay;
}

struct Search {
  std::optional<netlink::Link> nic;  // on the node
  Absence absence = Absence::kGone;  // without it: why
};

/// Waits briefly for a NIC that the kernel is returning to the node. Blocks the calling worker.
Result<Search> wait_for_nic(const Work& work, steady_clock::time_point deadline) {
  FL_ASSIGN(netlink::Monitor monitor, netlink::Monitor::open_in(work.node.netns, {}));
  const auto end = std::min(deadline, steady_clock::now() + kComeHomeTime);
  bool look = true;
  Search search;
  while (true) {
    if (look) {
      FL_ASSIGN(search.nic, work.find_on_node());
    }
    if (search.nic) {
      return search;
    }
    FL_ASSIGN(search.absence, why_absent(work));
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now());
    const bool may_come = search.absence == Absence::kOnItsWay || search.absence == Absence::kUnbound;
    if (!may_come || left.count() <= 0) {
      return search;
    }
    pollfd ready{.fd = monitor.fd(), .events = POLLIN, .revents = 0};
    (void)::poll(&ready, 1, static_cast<int>(left.count()));
    // Other pods' links come and go all the time: only what may be the NIC is looked at.
    look = false;
    FL_TRY(monitor.drain([&](const netlink::Event& event) {
      const auto* changed = std::get_if<netlink::LinkChanged>(&event);
      look = look || std::holds_alternative<netlink::Overrun>(event) ||
             (changed != nullptr && may_be_nic(work.original().link, changed->link));
    }));
  }
}

/// What to say of a NIC that does not return: an error while it may.
Result<> not_home(const Work& work, Absence absence) {
  const netlink::Link& was = work.original().link.link;
  const std::string device =
      was.parent_dev.empty() ? "" : " (" + was.parent_bus + " device " + was.parent_dev + ")";
  switch (absence) {
    case Absence::kGone:
    case Absence::kUnbound:
      log::warn(absence == Absence::kGone
                    ? "a NIC of a claim is gone from the node"
                    : "the device of a claim's NIC has no network interface any more; its driver left it",
                {{"nic", was.name + device}, {"claim", work.marker().claim_uid}});
      return {};
    case Absence::kOnItsWay:
    case Absence::kKept:
      break;
  }
  return Error(
      Code::kUnavailable,
      "the NIC " + was.name + device +
          " has not returned to the node: it is in a network namespace that the agent cannot see and that a "
          "process, a mount or an open file keeps alive; it returns when that ends");
}

/// Whether the NIC on the node may have been in a pod, which need not have left the marker.
bool is_changed(const netlink::Link& now, const Original& original) {
  const netlink::Link& was = original.link.link;
  const bool has_other_numbers =
      original.details && (now.group != was.group || now.tx_queue_len != was.tx_queue_len ||
                           now.mode != was.mode || now.limits != was.limits);
  return now.name != was.name || now.mac != was.mac || now.mtu != was.mtu || now.alias != was.alias ||
         now.altnames != was.altnames || ((now.flags ^ was.flags) & netlink::kSettableFlags) != 0 ||
         (was.is_up() && !now.is_up()) || has_other_numbers;
}

/// The NIC is back on the node; reports it if the NIC could not get its name back.
Result<> told(const DetachInput& input, Result<Restored> restored) {
  FL_ASSIGN(const Restored done, std::move(restored));
  if (!done.waits.empty() && input.tell) {
    input.tell("NicNameTaken", done.waits);
  }
  return {};
}

}  // namespace

std::span<const fields::Field> HostDeviceKind::fields() const { return kFields; }

Offers HostDeviceKind::offers(const OfferInput& input) const { return nic_offers(input); }

Result<> HostDeviceKind::check_is_same(std::string_view reported, const Offer& now,
                                       const std::string& who) const {
  return devices::check_is_same(reported, parse_identity(now.identity.data), who);
}

Result<DevicePlan> HostDeviceKind::plan(const PlanInput& input, const fields::Values& values) const {
  const CommonValues common = common_values(values);
  FL_ASSIGN(const sys::InventoryLink* nic, allocated_nic(input, values));
  FL_ASSIGN(NetdevPlan plan, common_plan(input, common));
  FL_TRY(check_nic_takes(common, nic->link));
  FL_TRY(check_inherited_mtu(common, nic->link.name, nic->link.mtu));
  FL_ASSIGN(plan.original, as_it_is(input, *nic));
  FL_TRY(check_not_the_nodes(input, common, plan));
  return device_plan(common, std::move(plan));
}

Result<Attached> HostDeviceKind::attach(const AttachInput& input) const {
  FL_ASSIGN(const Work work, work_on(input));
  FL_ASSIGN(const Place pod, place_of(input.pod));
  const NetdevPlan& plan = *work.plan;
  const Original& original = work.original();
  FL_ASSIGN(auto nic,
            find_in_pod(pod, work.node, original, input.marker, netlink::IfIndex(input.index_in_pod)));
  Attached attached{.given = {.mac = {}, .addresses = texts(plan.addresses)}};
  if (!nic) {
    FL_ASSIGN(nic, take(work, pod));
    attached.changed = true;
  }
  attached.index = nic->index.value();
  attached.given.mac = plan.mac.value_or(nic->mac).to_string();
  if (!attached.changed && input.was_attached) {
    return attached;
  }
  ScopeExit undo([&] {
    if (attached.changed) {
      note_undone(bring_home(pod, work.node, *nic, original, input.marker), original, input.marker);
    }
  });
  FL_TRY(set_properties(*pod.socket, *nic, plan));
  FL_ASSIGN(attached.undo_in_pod, configure(pod, {.index = nic->index, .name = nic->name}, plan));
  undo.release();
  return attached;
}

Result<std::string> HostDeviceKind::stage(const DeviceInput& input) const {
  FL_ASSIGN(const Work work, work_on(input));
  const Original& original = work.original();
  FL_ASSIGN(const netlink::Link nic, must_be_on_node(work));
  netlink::Socket& node = *work.node.socket;
  ScopeExit undo([&] { note_undone(restore(node, nic, original, input.marker), original, input.marker); });
  // The runtime finds it by its own name. Down, and without addresses: see VirtualLink::stage.
  const std::string& name = original.link.link.name;
  FL_TRY(node.change_link(nic.index, {.up = false, .alias = lent_alias(original, input.marker)}));
  if (nic.name != name) {
    FL_TRY(node.rename(nic.index, name));  // staged before, and renamed by a runtime
  }
  reset_link(node, nic, original);
  FL_ASSIGN(const auto now, node.link(nic.index));
  FL_TRY(set_properties(node, now.value_or(nic), *work.plan));
  FL_TRY(remove_addresses(node, nic.index));
  undo.release();
  return name;
}

Result<> HostDeviceKind::detach(const DetachInput& input) const {
  FL_ASSIGN(const Work work, work_on(input));
  const Original& original = work.original();
  if (input.pod) {
    FL_ASSIGN(const Place pod, place_of(*input.pod));
    FL_ASSIGN(const auto nic,
              find_in_pod(pod, work.node, original, input.marker, netlink::IfIndex(input.index_in_pod)));
    if (nic) {
      return told(input, bring_home(pod, work.node, *nic, original, input.marker));
    }
  }
  // Without details the record is of version 0.1, which moved a NIC before it noted so.
  const bool may_have_left = input.was_attached || input.was_begun || !original.details;
  if (!may_have_left) {
    FL_ASSIGN(const auto nic, work.find_on_node());
    if (!nic) {
      return {};  // removed by someone else: this claim has nothing to return
    }
  }
  FL_ASSIGN(const Search search, wait_for_nic(work, input.deadline));
  if (!search.nic) {
    return not_home(work, search.absence);
  }
  const bool touched = input.was_attached || input.marker.marks(search.nic->alias) ||
                       (input.was_begun && is_changed(*search.nic, original));
  return touched ? told(input, restore(*work.node.socket, *search.nic, original, input.marker)) : Result<>();
}

Result<> HostDeviceKind::node_changed(const Side& node, const NodeOptions& options) const {
  FL_ASSIGN(const Place place, place_of(node));
  FL_TRY(give_names_back(*place.socket, options.driver_name));
  return {};
}

}  // namespace fairlead::devices::netdev
