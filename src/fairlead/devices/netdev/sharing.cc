// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/netdev/sharing.h"

#include <net/if_arp.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/devices/netdev/common.h"
#include "fairlead/devices/netdev/netdev_kind.h"
#include "fairlead/devices/node.h"
#include "fairlead/devices/node_questions.h"
#include "fairlead/devices/other_claims.h"

namespace fairlead::devices::netdev {
namespace {

/// A device of another claim that has the link, or for kAny also one that sits on it.
std::optional<OtherDevice> find_use(const PlanInput& input, const netlink::Link& link, LinkShare share) {
  if (input.others == nullptr) {
    return std::nullopt;
  }
  auto use =
      input.others->find_on([&](const sys::InventoryLink& was) { return is_same_link(was, link); }, share);
  if (use || share != LinkShare::kAny) {
    return use;
  }
  use = input.others->find_on(  // a VLAN of the node, lent
      [&](const sys::InventoryLink& was) { return sits_on(was.link, link); }, LinkShare::kLent);
  if (use) {
    use->whole = false;
  }
  return use;
}

/// What the author of the claim may know of who has it: names of other namespaces are for the log only.
std::string owner_of(const PlanInput& input, const OtherDevice& use, const netlink::Link& link) {
  if (input.claim != nullptr && use.claim->uid == input.claim->uid) {
    return "another device of this claim";
  }
  if (input.claim != nullptr && use.claim->namespace_ == input.claim->namespace_) {
    return "the claim " + use.claim->name;
  }
  log::info("a claim is refused a link that another claim has",
            {{"link", link.name},
             {"claim", input.claim == nullptr ? "" : input.claim->namespace_ + "/" + input.claim->name},
             {"other", use.claim->namespace_ + "/" + use.claim->name}});
  return "another claim";
}

/// Fails if the NIC cannot be handed out as a whole. `refusal` begins the sentence.
Result<> check_available(const NodeView& node, const sys::InventoryLink& nic, const std::string& refusal) {
  const auto withheld = node.withheld(nic);
  if (!withheld) {
    return {};
  }
  // What is not known yet is no fault of the claim's author, and may be known at the next try.
  const bool is_temporary = withheld->why == Withheld::Why::kNodeUnknown ||
                            withheld->why == Withheld::Why::kUplinkMissing ||
                            withheld->why == Withheld::Why::kDriversUnknown;
  const Code code = is_temporary                                   ? Code::kUnavailable
                    : withheld->why == Withheld::Why::kOtherDriver ? Code::kBusy
                                                                   : Code::kDenied;
  return Error(code, refusal + withheld->text);
}

/// A link that is the NIC's receive handler disappears within milliseconds when its namespace ends.
constexpr std::chrono::milliseconds kDyingTime{1000};

/// The kernel's errno for a macvlan request on the NIC that always fails, at the latest because the loopback
/// takes no ports (net/core/rtnetlink.c do_set_master, EOPNOTSUPP): the link exists only briefly, within this
/// one request.
int ask_for_macvlan(netlink::Socket& node, const netlink::Link& nic, netlink::MacvlanMode mode) {
  constexpr netlink::IfIndex kLoopback(1);
  const auto made = node.create_link(
      {.name = "fl-probe", .kind = netlink::Macvlan{.parent = nic.index, .mode = mode}, .master = kLoopback});
  return made ? 0 : made.error().sys_errno();
}

/// Fails if macvlans, macvtaps, ipvlans or MACsec links in other network namespaces sit on the NIC; neither a
/// dump nor sysfs shows these. A pod that had the NIC made them and moved them on, or a CNI plugin did. They
/// receive the NIC's traffic. But only one link can be the NIC's receive handler (net/core/dev.c
/// netdev_rx_handler_register, EBUSY), and a passthru macvlan must be alone (drivers/net/macvlan.c
/// macvlan_common_newlink, EINVAL). A VLAN is not detected.
Result<> check_nobody_hidden(netlink::Socket& node, const NodeOptions& options, const netlink::Link& nic,
                             const std::string& refusal) {
  using Mode = netlink::MacvlanMode;
  // A macvlan made on a macvlan is made on the lower link of that one.
  const bool can_tell = options.kinds_of_kernel.contains("macvlan") && nic.arphrd == ARPHRD_ETHER &&
                        nic.kind != "macvlan" && nic.kind != "macvtap";
  if (!can_tell) {
    return {};
  }
  const auto end = std::chrono::steady_clock::now() + kDyingTime;
  for (auto pause = std::chrono::milliseconds(10);; pause *= 2) {
    const int error = ask_for_macvlan(node, nic, Mode::kPassthru);
    // What refuses every macvlan says nothing of others.
    const bool not_alone = error == EINVAL && ask_for_macvlan(node, nic, Mode::kBridge) == EOPNOTSUPP;
    if (error != EBUSY && !not_alone) {
      return {};
    }
    if (std::chrono::steady_clock::now() + pause > end) {
      return Error(Code::kBusy,
                   refusal + (not_alone ? "a macvlan" : "a link that receives in its place (an ipvlan?)") +
                       " in another network namespace sits on it, which an earlier pod or a CNI plugin has "
                       "made and this node cannot see; find it (ip netns, lsns -t net) and delete it");
    }
    std::this_thread::sleep_for(pause);
  }
}

/// kBusy: the node itself talks over the NIC.
Result<> check_not_connected(const NodeOptions& options, const sys::InventoryLink& nic,
                             const AskConnections& ask) {
  if (options.allow_connected || !ask) {
    return {};
  }
  const auto found = ask({.local = nic.addresses, .device = nic.link.index});
  if (!found && found.error().code() == Code::kUnsupported) {
    log::warn("cannot list the node's connections over a NIC that a claim takes; taking it",
              {{"nic", nic.link.name}, {"error", found.error().what()}});
    return {};
  }
  if (!found) {
    return found.error();
  }
  if (found->count == 0) {
    return {};
  }
  return Error(Code::kBusy, "the NIC " + nic.link.name + " cannot be taken now: the node itself has " +
                                std::to_string(found->count) +
                                (found->count == 1 ? " connection" : " connections") + " over it, such as " +
                                to_string(found->examples.front()) +
                                "; end them, or let the node's admin start the agent with --allow-connected");
}

}  // namespace

Result<> check_nobody_has(const PlanInput& input, const fields::Sourced<std::string>& field,
                          const sys::InventoryLink& link) {
  const sys::InventoryLink* below = &link;
  for (int depth = 0; below != nullptr && depth < 16; ++depth) {  // a loop of veth ends would have no end
    if (const auto use = find_use(input, below->link, LinkShare::kWhole)) {
      return Error(Code::kDenied, field.path + ": " + quoted(field.value) +
                                      (below == &link ? "" : " sits on " + below->link.name + ", which") +
                                      " belongs to " + owner_of(input, *use, below->link));
    }
    const netlink::IfIndex lower =
        below->link.kind == "veth" ? netlink::IfIndex() : below->link.local_parent();
    below = lower.valid() ? input.node->inventory().find(lower) : nullptr;
  }
  return {};
}

Result<> check_alone(const PlanInput& input, const sys::InventoryLink& nic, NicUse use) {
  const std::string refusal = "the device " + input.device->device + " that the request " +
                              quoted(input.device->request) + " was allocated cannot be taken now: ";
  FL_TRY(check_available(*input.node, nic, refusal));
  if (const auto other = find_use(input, nic.link, LinkShare::kAny)) {
    const std::string owner = owner_of(input, *other, nic.link);
    const bool own = input.claim != nullptr && other->claim->uid == input.claim->uid;
    const std::string on_it = (own ? owner : "an interface of " + owner) + " sits on it";
    return Error(Code::kBusy, refusal + (other->whole ? owner + " has it" : on_it));
  }
  return use == NicUse::kAll ? check_not_connected(input.node->options(), nic,
                                                   input.ask == nullptr ? nullptr : input.ask->connections)
                             : Result<>();
}

Result<> check_still_alone(const Place& node, const NodeOptions& options, const netlink::Link& nic,
                           NicUse use) {
  FL_ASSIGN(sys::Inventory inventory, sys::read_inventory(*node.socket, {.sysfs_root = options.sysfs_root}));
  const NodeView now(std::move(inventory), options);
  const sys::InventoryLink* link = now.inventory().find(nic.index);
  if (link == nullptr) {
    return Error(Code::kNotFound, "the NIC " + nic.name + " is not on this node now");
  }
  if (now.is_uplink(*link)) {
    return Error(Code::kDenied, quoted(nic.name) + " has become the node's uplink and can never be taken");
  }
  const std::string refusal = "the NIC " + nic.name + " cannot be taken any more: ";
  FL_TRY(check_available(now, *link, refusal));
  if (const sys::InventoryLink* other = now.link_on(*link)) {  // one of ours, of whatever claim
    return Error(Code::kBusy, refusal + other->link.name + " sits on it");
  }
  if (use == NicUse::kAll) {  // beside others a macvlan may be, its own of the sandbox before too
    FL_TRY(check_nobody_hidden(*node.socket, options, link->link, refusal));
  }
  return use == NicUse::kAll ? check_not_connected(options, *link,
                                                   [&](const netlink::SocketQuery& query) {
                                                     return netlink::connected_sockets(query, node.netns);
                                                   })
                             : Result<>();
}

bool is_made_anew(const sys::InventoryLink& planned, const netlink::Link& now) {
  const netlink::Link& was = planned.link;
  return !was.kind.empty() && now.name == was.name && now.kind == was.kind && now.arphrd == was.arphrd &&
         now.parent == was.parent;
}

namespace {

/// Reads one link if the planned one is still where it was, all of them only if it is not.
Result<std::optional<netlink::Link>> read_parent(netlink::Socket& node, const sys::InventoryLink& planned) {
  if (planned.link.index.valid()) {
    FL_ASSIGN(auto link, node.link(planned.link.index));
    if (link && is_same_link(planned, *link)) {
      return link;
    }
  }
  FL_ASSIGN(auto links, node.links());
  auto found =
      std::ranges::find_if(links, [&](const netlink::Link& link) { return is_same_link(planned, link); });
  if (found == links.end()) {
    found =
        std::ranges::find_if(links, [&](const netlink::Link& link) { return is_made_anew(planned, link); });
  }
  return found == links.end() ? std::nullopt : std::optional(std::move(*found));
}

}  // namespace

Result<netlink::Link> find_parent(const Place& node, const std::optional<sys::InventoryLink>& planned,
                                  const std::string& name, std::string_view what) {
  const auto is_planned = [&](const netlink::Link& link) { return planned && is_same_link(*planned, link); };
  if (node.just_read != nullptr) {
    const auto known = std::ranges::find_if(*node.just_read, is_planned);
    if (known != node.just_read->end()) {
      return *known;
    }
  }
  FL_ASSIGN(auto link, planned ? read_parent(*node.socket, *planned) : node.socket->link(name));
  if (!link) {
    return Error(Code::kNotFound,
                 "the " + std::string(what) + " " + quoted(name) + " is gone from this node");
  }
  if (node.just_read != nullptr) {
    node.just_read->push_back(*link);
  }
  return *std::move(link);
}

}  // namespace fairlead::devices::netdev
