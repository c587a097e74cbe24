// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/virtual_link.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <ranges>
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

Result<netlink::NewLink> VirtualLink::new_link(const Birth& birth, const Place& node, const Place& where,
                                               const netlink::Link* taken, const NodeOptions& options) const {
  FL_TRY(remove_host_side(*birth.marker, node));
  if (taken != nullptr) {
    // Ours, from a process that was killed right after the birth. Another claim's is just being made.
    const bool half_born = taken->kind == kind() && taken->alias.empty() && !taken->is_up() &&
                           taken->group == birth.marker->birth_group();
    if (!half_born) {
      return name_taken(birth.link.name);
    }
    FL_TRY(where.socket->delete_link(taken->index));
  }
  FL_ASSIGN(netlink::NewLink link, make(*birth.plan, *birth.marker, node, options));
  link.name = birth.link.name;
  link.mac = birth.plan->mac;
  link.mtu = birth.plan->mtu;
  link.netns = where.netns;
  link.group = birth.marker->birth_group();
  return link;
}

Error VirtualLink::not_created(Error error, const Birth& birth, const Place& where) const {
  // Another claim of the pod may have been a moment faster.
  const auto other = where.socket->link(birth.link.name);
  const bool is_taken = error.code() == Code::kExists && other && *other;
  return is_taken ? name_taken(birth.link.name) : refused(std::move(error), *birth.plan);
}

namespace {

/// The links of these names that are there: of one name by that name, of several in one list.
Result<std::vector<netlink::Link>> look_up(netlink::Socket& socket, const std::vector<std::string>& names) {
  if (names.size() != 1) {
    return names.empty() ? Result<std::vector<netlink::Link>>() : socket.links();
  }
  FL_ASSIGN(auto link, socket.link(names.front()));
  return link ? std::vector{*std::move(link)} : std::vector<netlink::Link>();
}

}  // namespace

/// The configuration that follows sets the alias first, before the link is set up; until then its group identifies
/// the owner.
Result<> VirtualLink::create(std::span<Birth> births, const Place& node, const Place& where,
                             std::size_t& failed) const {
  if (births.empty()) {
    return {};
  }
  failed = births.front().device;
  netlink::Batch batch;
  for (const Birth& birth : births) {
    batch.create_link(birth.link);
  }
  auto failures = node.socket->run_each(std::move(batch));
  if (!failures) {
    return refused(std::move(failures).error(), *births.front().plan);
  }
  Result<> first;
  std::vector<bool> is_made(births.size(), true);
  for (netlink::BatchFailure& failure : *failures) {
    const Birth& birth = births[failure.at];
    Result<> created = std::move(failure.error);
    if (created.error().code() == Code::kExists) {
      created = create_renamed(*node.socket, *where.socket, birth.link, *birth.marker);
    }
    is_made[failure.at] = created.has_value();
    if (!created && first) {
      failed = birth.device;
      first = not_created(std::move(created).error(), birth, where);
    }
  }
  std::vector<std::string> names;
  for (std::size_t i = 0; i < births.size(); ++i) {
    if (is_made[i]) {
      names.push_back(births[i].link.name);
    }
  }
  auto links = look_up(*where.socket, names);
  if (!links) {
    return first ? std::move(links).error() : std::move(first);
  }
  for (std::size_t i = 0; i < births.size(); ++i) {
    Birth& birth = births[i];
    const auto made = std::ranges::find(*links, birth.link.name, &netlink::Link::name);
    if (is_made[i] && made != links->end()) {
      birth.made = std::move(*made);
    } else if (is_made[i] && first) {
      failed = birth.device;
      first = Error(Code::kInternal, "link " + birth.link.name + " was made but is not there");
    }
  }
  return first;
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

Result<VirtualLink::Work> VirtualLink::look_at(const AttachInput& input, const Place& node, const Place& pod,
                                               std::vector<Birth>& births, std::size_t device) const {
  FL_ASSIGN(const NetdevPlan* plan, netdev_plan(*input.plan));
  FL_ASSIGN(const auto* pod_links, links_at_first(input.pod));
  Work work{.plan = plan,
            .interface = {.name = plan->interface_name},
            .attached = {.given = {.mac = {}, .addresses = texts(plan->addresses)}}};
  if (const netlink::Link* there = find_made(input, *pod_links)) {
    work.interface.index = there->index;
    work.interface.name = there->name;
    work.attached.index = there->index.value();
    work.attached.given.mac = there->mac.to_string();
    return work;
  }
  const auto taken = std::ranges::find_if(
      *pod_links, [&](const netlink::Link& link) { return link.has_name(plan->interface_name); });
  Birth birth{
      .plan = plan, .marker = &input.marker, .device = device, .link = {.name = plan->interface_name}};
  FL_ASSIGN(birth.link,
            new_link(birth, node, pod, taken == pod_links->end() ? nullptr : &*taken, *input.options));
  births.push_back(std::move(birth));
  work.interface.alias = input.marker.made_alias();
  return work;
}

/// Of a failed call.
void VirtualLink::take_back(std::span<const Birth> births, const Place& node, const Place& pod) const {
  for (const Birth& birth : std::views::reverse(births)) {
    if (!birth.made) {
      continue;
    }
    if (const auto gone = pod.socket->delete_link(birth.made->index); !gone) {
      log::warn("cannot delete an interface whose attach failed; Unprepare deletes it",
                {{"interface", birth.link.name},
                 {"claim", birth.marker->claim_uid},
                 {"error", gone.error().what()}});
    }
    (void)remove_host_side(*birth.marker, node);
  }
}

Result<std::vector<Attached>> VirtualLink::attach_all(std::span<const AttachInput> inputs,
                                                      std::size_t& failed) const {
  failed = 0;
  FL_ASSIGN(const Place node, place_of(inputs.front().node));
  FL_ASSIGN(const Place pod, place_of(inputs.front().pod));
  std::vector<netlink::Link> parents;
  Place checked = node;
  checked.just_read = &parents;
  std::vector<Birth> births;
  std::vector<Work> all;
  for (failed = 0; failed < inputs.size(); ++failed) {
    FL_ASSIGN(Work work, look_at(inputs[failed], checked, pod, births, failed));
    all.push_back(std::move(work));
  }
  ScopeExit undo([&] { take_back(births, node, pod); });
  FL_TRY(create(births, node, pod, failed));
  for (const Birth& birth : births) {
    Work& work = all[birth.device];
    work.interface.index = birth.made->index;
    work.attached.index = birth.made->index.value();
    work.attached.given.mac = birth.made->mac.to_string();
    work.attached.changed = true;
  }
  std::vector<Configuration> wanted;
  std::vector<std::size_t> configured;
  for (failed = 0; failed < inputs.size(); ++failed) {
    const Work& work = all[failed];
    FL_TRY(finish_host_side(*work.plan, inputs[failed].marker, node));
    if (work.attached.changed || !inputs[failed].was_attached) {
      wanted.push_back({.interface = work.interface, .plan = work.plan});
      configured.push_back(failed);
    }
  }
  std::size_t at = 0;
  auto undo_in_pod = configure_all(pod, wanted, at);
  if (!undo_in_pod) {
    failed = configured[at];
    return std::move(undo_in_pod).error();
  }
  undo.release();
  for (std::size_t i = 0; i < configured.size(); ++i) {
    all[configured[i]].attached.undo_in_pod = std::move((*undo_in_pod)[i]);
  }
  std::vector<Attached> attached;
  for (Work& work : all) {
    attached.push_back(std::move(work.attached));
  }
  return attached;
}

Result<Attached> VirtualLink::attach(const AttachInput& input) const {
  std::size_t failed = 0;
  FL_ASSIGN(auto attached, attach_all(std::span(&input, 1), failed));
  return std::move(attached.front());
}

Result<std::string> VirtualLink::stage(const DeviceInput& input) const {
  FL_ASSIGN(const NetdevPlan* plan, netdev_plan(*input.plan));
  FL_ASSIGN(const Place node, place_of(input.node));
  DetachInput leftovers;
  static_cast<DeviceInput&>(leftovers) = input;
  FL_TRY(detach(leftovers));  // start over: no container has it yet
  const std::string name = input.marker.transit_name();
  FL_ASSIGN(const auto taken, node.socket->link(name));
  Birth birth{.plan = plan, .marker = &input.marker, .link = {.name = name}};
  FL_ASSIGN(birth.link, new_link(birth, node, node, taken ? &*taken : nullptr, *input.options));
  std::size_t failed = 0;
  FL_TRY(create(std::span(&birth, 1), node, node, failed));
  ScopeExit undo([&] { (void)detach(leftovers); });
  FL_TRY(finish_host_side(*plan, input.marker, node));
  // It stays down and without addresses: here they would be the node's own. attach() adds them in the pod. A
  // runtime may set it up here, too (hostNetwork); settings do not go with it when it is moved.
  FL_TRY(keep_out_of_ipv6(node, name));
  FL_TRY(node.socket->change_link(birth.made->index, {.alias = input.marker.made_alias(), .group = 0}));
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
