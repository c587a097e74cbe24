// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/virtual_link.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/check.h"
#include "fairlead/devices/netdev/nic_offers.h"
#include "fairlead/devices/node.h"
#include "fairlead/sys/sysctl.h"

namespace fairlead::devices::netdev {

namespace {

/// A link in the scratch namespace that others can sit on.
Result<netlink::IfIndex> scratch_parent(netlink::Socket& socket) {
  const std::string name = "parent";
  FL_ASSIGN(auto parent, socket.link(name));
  if (!parent) {
    const auto made = socket.create_link({.name = name, .kind = netlink::Veth{.peer = {.name = "peer"}}});
    if (!made) {
      FL_TRY(socket.create_link({.name = name, .kind = netlink::Dummy{}}),
             "make a link to try others on (a veth: " + made.error().what() + ")");
    }
    FL_ASSIGN(parent, socket.link(name));
  }
  return parent ? Result<netlink::IfIndex>(parent->index)
                : Error(Code::kInternal, "the link " + name + " was made but is not there");
}

}  // namespace

Offers VirtualLink::offers(const OfferInput& input) const { return virtual_offers(input); }

Result<> VirtualLink::probe(const Side& scratch) const {
  FL_ASSIGN(const Place place, place_of(scratch));
  FL_ASSIGN(const netlink::IfIndex parent, scratch_parent(*place.socket));
  const std::string name = "probe";
  netlink::NewLink link = sample(parent);
  link.name = name;
  FL_TRY(place.socket->create_link(link), "make a link of kind " + std::string(kind()));
  FL_ASSIGN(const auto made, place.socket->link(name));
  return made ? place.socket->delete_link(made->index)
              : Result<>();  // the next kind may want the parent alone
}

Result<DevicePlan> VirtualLink::plan(const PlanInput& input, const fields::Values& values) const {
  if (!input.node->options().kinds_of_kernel.contains(std::string(kind()))) {
    return Error(Code::kUnsupported, values.path_of("kind") + ": this node's kernel has no " +
                                         std::string(kind()) + " links (module " + std::string(kind()) + ")");
  }
  const CommonValues common = common_values(values);
  FL_ASSIGN(NetdevPlan plan, common_plan(input, common));
  FL_TRY(resolve(input, values, common, plan));
  FL_TRY(check_not_the_nodes(input, common, plan));
  FL_TRY(check_taken(input, common, plan));
  return device_plan(common, std::move(plan));
}

Error VirtualLink::refused(Error error, const NetdevPlan& plan) const {
  std::string with = plan.mac ? " with the MAC address " + plan.mac->to_string() : "";
  if (plan.mtu) {
    with += (with.empty() ? " with" : " and") + (" the MTU " + std::to_string(*plan.mtu));
  }
  return refused_by_kernel(std::move(error), "make the " + std::string(kind()) + with);
}

Result<> VirtualLink::remove_host_side(const Marker& /*marker*/, const Place& /*node*/) const { return {}; }

Result<> VirtualLink::finish_host_side(const NetdevPlan& /*plan*/, const Marker& /*marker*/,
                                       const Place& /*node*/) const {
  return {};
}

namespace {

/// Kernels before 6.15 refuse a name that a link has in the namespace of the caller, not only in the
/// namespace where the new link is to be (net/core/rtnetlink.c __rtnl_newlink): then it is created under
/// another name and renamed.
Result<> create_renamed(netlink::Socket& node, netlink::Socket& where, netlink::NewLink link,
                        const Marker& marker) {
  FL_ASSIGN(const auto other, where.link(link.name));
  const std::string name = std::exchange(link.name, marker.transit_name());
  if (other || name == link.name) {
    return Error(Code::kExists, "there is a link " + quoted(name) + " already");
  }
  FL_ASSIGN(const auto half_born, where.link(link.name));
  if (half_born && half_born->group == marker.birth_group()) {
    FL_TRY(where.delete_link(half_born->index));
  }
  FL_TRY(node.create_link(link));
  FL_ASSIGN(const auto made, where.link(link.name));
  if (!made) {
    return Error(Code::kInternal, "link " + link.name + " was made but is not there");
  }
  auto renamed = where.rename(made->index, name);
  if (!renamed) {
    (void)where.delete_link(made->index);
  }
  return renamed;
}

}  // namespace

/// Creates the link in its first namespace; nothing is left when that fails. The configuration that follows
/// sets its alias first, before the link is set up; until then its group identifies the owner.
Result<netlink::Link> VirtualLink::create(const NetdevPlan& plan, const Marker& marker, const Place& node,
                                          const Birth& birth) const {
  FL_TRY(remove_host_side(marker, node));
  if (birth.taken != nullptr) {
    // Ours, from a process that was killed right after the birth. Another claim's is just being made.
    const bool half_born = birth.taken->kind == kind() && birth.taken->alias.empty() &&
                           !birth.taken->is_up() && birth.taken->group == marker.birth_group();
    if (!half_born) {
      return name_taken(birth.name);
    }
    FL_TRY(birth.where.socket->delete_link(birth.taken->index));
  }
  FL_ASSIGN(netlink::NewLink link, make(plan, marker, node, *birth.options));
  link.name = birth.name;
  link.mac = plan.mac;
  link.mtu = plan.mtu;
  link.netns = birth.where.netns;
  link.group = marker.birth_group();
  auto created = node.socket->create_link(link);
  if (!created && created.error().code() == Code::kExists) {
    created = create_renamed(*node.socket, *birth.where.socket, link, marker);
  }
  if (!created) {
    // Another claim of the pod may have been a moment faster.
    const auto other = birth.where.socket->link(birth.name);
    const bool is_taken = created.error().code() == Code::kExists && other && *other;
    return is_taken ? name_taken(birth.name) : refused(std::move(created).error(), plan);
  }
  FL_ASSIGN(auto made, birth.where.socket->link(birth.name));
  if (!made) {
    return Error(Code::kInternal, "link " + birth.name + " was made but is not there");
  }
  return *std::move(made);
}

/// What an earlier attach() made. A pod with NET_ADMIN can take its marker off, or give it to another link, so
/// that the index goes first where it is certain.
const netlink::Link* VirtualLink::find_made(const AttachInput& input,
                                            const std::vector<netlink::Link>& links) const {
  const netlink::IfIndex index(input.index_in_pod);
  const netlink::Link* marked = nullptr;
  for (const netlink::Link& link : links) {
    if (index.valid() && link.index == index && link.kind == kind()) {
      return &link;
    }
    if (marked == nullptr && input.marker.marks(link.alias)) {
      marked = &link;
    }
  }
  return marked;
}

Result<Attached> VirtualLink::attach(const AttachInput& input) const {
  FL_ASSIGN(const NetdevPlan* plan, netdev_plan(*input.plan));
  FL_ASSIGN(const Place node, place_of(input.node));
  FL_ASSIGN(const Place pod, place_of(input.pod));
  FL_ASSIGN(const auto* pod_links, links_at_first(input.pod));
  const netlink::Link* there = find_made(input, *pod_links);
  Attached attached{.given = {.mac = {}, .addresses = texts(plan->addresses)}};
  Interface interface{.name = plan->interface_name};
  if (there != nullptr) {
    interface.index = there->index;
    interface.name = there->name;
    attached.given.mac = there->mac.to_string();
  } else {
    const auto taken = std::ranges::find_if(
        *pod_links, [&](const netlink::Link& link) { return link.has_name(plan->interface_name); });
    FL_ASSIGN(const netlink::Link made, create(*plan, input.marker, node,
                                               {.name = plan->interface_name,
                                                .where = pod,
                                                .taken = taken == pod_links->end() ? nullptr : &*taken,
                                                .options = input.options}));
    interface.index = made.index;
    interface.alias = input.marker.made_alias();
    attached.given.mac = made.mac.to_string();
    attached.changed = true;
  }
  attached.index = interface.index.value();
  ScopeExit undo([&] {
    if (attached.changed) {
      if (const auto gone = pod.socket->delete_link(interface.index); !gone) {
        log::warn("cannot delete an interface whose attach failed; Unprepare deletes it",
                  {{"interface", interface.name},
                   {"claim", input.marker.claim_uid},
                   {"error", gone.error().what()}});
      }
      (void)remove_host_side(input.marker, node);
    }
  });
  FL_TRY(finish_host_side(*plan, input.marker, node));
  if (attached.changed || !input.was_attached) {
    FL_ASSIGN(attached.undo_in_pod, configure(pod, interface, *plan));
  }
  undo.release();
  return attached;
}

Result<std::string> VirtualLink::stage(const DeviceInput& input) const {
  FL_ASSIGN(const NetdevPlan* plan, netdev_plan(*input.plan));
  FL_ASSIGN(const Place node, place_of(input.node));
  DetachInput leftovers;
  static_cast<DeviceInput&>(leftovers) = input;
  FL_TRY(detach(leftovers));  // start over: no container has it yet
  const std::string name = input.marker.transit_name();
  FL_ASSIGN(const auto taken, node.socket->link(name));
  FL_ASSIGN(
      const netlink::Link link,
      create(*plan, input.marker, node,
             {.name = name, .where = node, .taken = taken ? &*taken : nullptr, .options = input.options}));
  ScopeExit undo([&] { (void)detach(leftovers); });
  FL_TRY(finish_host_side(*plan, input.marker, node));
  // It stays down and without addresses: here they would be the node's own. attach() adds them in the pod. A
  // runtime may set it up here, too (hostNetwork); settings do not go with it when it is moved.
  FL_TRY(keep_out_of_ipv6(node, name));
  FL_TRY(node.socket->change_link(link.index, {.alias = input.marker.made_alias(), .group = 0}));
  undo.release();
  return name;
}

Result<> VirtualLink::detach(const DetachInput& input) const {
  FL_ASSIGN(const NetdevPlan* plan, netdev_plan(*input.plan));
  FL_ASSIGN(const Place node, place_of(input.node));
  if (input.pod) {
    FL_ASSIGN(const Place pod, place_of(*input.pod));
    FL_ASSIGN(const auto link, find_marked(*pod.socket, input.marker));
    if (link) {
      FL_TRY(pod.socket->delete_link(link->index));
    }
  }
  FL_ASSIGN(const auto staged, node.socket->link(input.marker.transit_name()));
  if (staged && (staged->alias.empty() || input.marker.marks(staged->alias))) {
    FL_TRY(node.socket->delete_link(staged->index));
  }
  // A pod that uses the node's own network: the runtime "moved" the link to where it was, under its new name.
  FL_ASSIGN(const auto renamed, node.socket->link(plan->interface_name));
  if (renamed && input.marker.marks(renamed->alias)) {
    FL_TRY(node.socket->delete_link(renamed->index));
  }
  return remove_host_side(input.marker, node);
}

Result<> keep_out_of_ipv6(const Place& node, const std::string& link) {
  // net/ipv6: disable_ipv6 drops all that comes in (ip6_input.c) and makes no address. The others hold when
  // an admin switches it on again: addr_gen_mode 1 is "none", which alone would not stop advertisements.
  struct Setting {
    const char* name;
    const char* value;
  };
  constexpr std::array<Setting, 4> kSettings = {
      {{"disable_ipv6", "1"}, {"accept_ra", "0"}, {"autoconf", "0"}, {"addr_gen_mode", "1"}}};
  for (const Setting& setting : kSettings) {
    const auto written =
        sys::write_net_sysctl(node.netns, "ipv6/conf/" + link + "/" + setting.name, setting.value);
    if (!written && written.error().code() == Code::kNotFound) {
      return {};  // no IPv6 on it: the kernel has none, or the MTU is too small
    }
    FL_TRY(written, "keep the node's IPv6 off " + link);
  }
  return {};
}

Result<> require_virtual_device(const PlanInput& input, const fields::Values& values, std::string_view kind) {
  if (input.device->device == kVirtualDevice) {
    return {};
  }
  return Error(Code::kInvalid, values.path_of("kind") + ": a " + std::string(kind) +
                                   " is made from nothing, but the request " + quoted(input.device->request) +
                                   " was allocated the NIC " + input.device->device +
                                   "; ask for the device " + std::string(kVirtualDevice) +
                                   " (its attribute kind is \"virtual\")");
}

}  // namespace fairlead::devices::netdev
