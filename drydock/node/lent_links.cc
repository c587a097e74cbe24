// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/lent_links.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "drydock/node/link_choice.h"
#include "drydock/node/link_restorer.h"
#include "drydock/node/link_search.h"
#include "fairlead/core/fault.h"
#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/sys/netlink/monitor.h"
#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netns.h"
#include "fairlead/sys/pci.h"
#include "fairlead/sys/sysctl.h"

namespace drydock {
namespace {

namespace netlink = fairlead::netlink;
namespace sys = fairlead::sys;
using fairlead::Code;
using fairlead::Error;
using fairlead::joined;
using fairlead::Result;
using netlink::IfIndex;
using netlink::Link;
using Steady = std::chrono::steady_clock;

// The kernel returns hardware from a dead namespace when it gets round to it: after a second or so.
constexpr std::chrono::seconds kReturnPatience(30);
constexpr std::chrono::milliseconds kLookAgain(20);

bool there_is_function(const std::string& bdf) {
  const auto device = sys::read_pci_device("/sys", bdf);
  return !device || device->has_value();
}

Result<LinkRecord> record_of(const std::string& asked, const Link& link, LinkMessages& messages,
                             int machine) {
  LinkRecord out{.link = link, .addresses = {}, .routes = {}, .settings = {}};
  const auto read = [&](const std::string& folder) { return sys::read_net_sysctls(machine, folder); };
  FL_ASSIGN(out.settings, sys::own_link_settings(read, link), "--lend " + asked);
  FL_ASSIGN(out.addresses, messages.addresses(link.index), "--lend " + asked);
  FL_ASSIGN(out.routes, messages.routes(link.index), "--lend " + asked);
  for (const auto& route : out.routes) {
    if (const auto why = why_not_alone(route); !why.empty()) {
      return refused(asked, "the route to " + destination(route) + " over " + link.name + " " + why +
                                ", which drydock could not put back; delete it first");
    }
  }
  return out;
}

}  // namespace

Result<LentLinks> LentLinks::find(const std::vector<std::string>& wanted, const std::set<std::string>& own,
                                  const std::string& sysfs_root) {
  LentLinks out;
  if (wanted.empty()) {
    return out;
  }
  FL_ASSIGN(out.machine_, sys::open_own_netns());
  FL_ASSIGN(auto socket, netlink::Socket::open());
  FL_ASSIGN(auto messages, LinkMessages::open_in(out.machine_.get()));
  FL_ASSIGN(const auto links, socket.links());
  FL_ASSIGN(const auto machine_uplinks, uplinks(socket, links));
  std::map<std::int32_t, std::string> lent;  // index -> as it was asked for
  for (const auto& asked : wanted) {
    const auto found = look_up(asked, links, sysfs_root);
    if (!found) {
      return with_other_drydocks(found.error());
    }
    const auto* link = *found;
    FL_TRY(check_lendable(asked, *link, links, machine_uplinks, messages));
    if (const auto [other, fresh] = lent.emplace(link->index.value(), asked); !fresh) {
      return refused(asked, "link " + link->name + " is lent already" +
                                (other->second == asked ? "" : " (--lend " + other->second + ")"));
    }
    auto names = link->altnames;
    names.push_back(link->name);
    for (const auto& name : names) {
      if (own.contains(name)) {
        return refused(asked, "the node has a link " + name +
                                  " of its own (eth0, pods0, lo and those of --nic); "
                                  "rename the lent one first");
      }
    }
    FL_ASSIGN(auto record, record_of(asked, *link, messages, out.machine_.get()));
    out.records_.push_back(std::move(record));
  }
  // Where the kernel sends hardware whose namespace dies: pid 1's, unless this is a container.
  if (auto initial = sys::open_netns("/proc/1/ns/net")) {
    FL_ASSIGN(const auto here, sys::netns_id(out.machine_.get()));
    FL_ASSIGN(const auto there, sys::netns_id(initial->get()));
    if (here != there) {
      out.initial_ = std::move(*initial);
    }
  }
  return out;
}

std::vector<int> LentLinks::descriptors() const {
  std::vector<int> out = {machine_.get()};
  if (initial_.valid()) {
    out.push_back(initial_.get());
  }
  return out;
}

std::vector<std::string> LentLinks::names() const {
  std::vector<std::string> out;
  out.reserve(records_.size());
  for (const auto& record : records_) {
    out.push_back(record.link.name);
  }
  return out;
}

Result<> LentLinks::move_to(int node) {
  FL_ASSIGN(auto here, netlink::Socket::open_in(machine_.get()));
  FL_ASSIGN(auto there, netlink::Socket::open_in(node));
  FL_ASSIGN(auto messages, LinkMessages::open_in(node));
  for (const auto& record : records_) {
    const std::string what = "lend " + record.link.name + " to the node";
    fairlead::fault_point("lend-before-move");
    FL_ASSIGN(const auto moved, here.move_link({.link = record.link.index, .netns = node, .new_name = ""}),
              what);
    fairlead::fault_point("lend-after-move");
    FL_TRY(LinkRestorer(there, messages).restore(record, moved.index, false), what);
  }
  return {};
}

Result<> LentLinks::bring_home(const LinkRecord& record, int node) const {
  const auto& name = record.link.name;
  const bool survivor = outlives_namespace(record.link);
  const auto deadline = Steady::now() + (survivor ? kReturnPatience : std::chrono::seconds(0));
  FL_ASSIGN(auto home, netlink::Socket::open_in(machine_.get()));
  FL_ASSIGN(auto messages, LinkMessages::open_in(machine_.get()));
  std::optional<Found> found;
  while (true) {
    FL_ASSIGN(const auto told, told_by_peer(record.link, home));
    for (const int netns : {node, machine_.get(), initial_.get()}) {
      if (!found && netns >= 0 && (netns != initial_.get() || survivor)) {
        FL_ASSIGN(found, look_in(record.link, netns, told), "look for it");
      }
    }
    const bool hardware_gone = record.link.parent_bus == "pci" && !there_is_function(record.link.parent_dev);
    if (found || hardware_gone || Steady::now() >= deadline) {
      break;
    }
    std::this_thread::sleep_for(kLookAgain);
  }
  if (!found && record.link.parent_bus == "pci" && !there_is_function(record.link.parent_dev)) {
    return Error(Code::kNotFound,
                 "the PCI function " + record.link.parent_dev + " is gone from this machine");
  }
  if (!found) {
    return Error(Code::kNotFound,
                 survivor ? "it is neither in the node's network namespace nor in this machine's (" +
                                record.link.parent_bus + " " + record.link.parent_dev + ")"
                          : "it is gone: deleted in the node, or with the network namespace of a pod that "
                            "it was in");
  }
  IfIndex index = found->link.index;
  if (found->netns != machine_.get()) {
    fairlead::fault_point("return-before-move");
    FL_ASSIGN(const auto moved, move_anyhow(*found, machine_.get(), name));
    fairlead::fault_point("return-after-move");
    index = moved.index;
  }
  FL_TRY(LinkRestorer(home, messages).restore(record, index, true), "it is back, but not all as it was");
  return {};
}

Result<std::vector<std::string>> LentLinks::changes_in(int node) const {
  FL_ASSIGN(auto socket, netlink::Socket::open_in(node));
  FL_ASSIGN(auto messages, LinkMessages::open_in(node));
  std::vector<std::string> out;
  for (const auto& record : records_) {
    const std::string what = record.link.name + " was not given back";
    FL_ASSIGN(const auto found, look_in(record.link, node, std::nullopt));
    if (!found) {
      out.push_back(what + ": it is not among the node's links");
      continue;
    }
    FL_ASSIGN(const auto addresses, messages.addresses(found->link.index));
    const auto changes = changes_of(record, found->link, addresses, node);
    if (!changes.empty()) {
      out.push_back(what + " as it was: " + joined(changes));
    }
  }
  return out;
}

Result<> LentLinks::follow_fallbacks(int node, int stop) const {
  // The node's links are not in the initial namespace, so the kernel's return leads past the node.
  const int initial = initial_.valid() ? initial_.get() : machine_.get();
  FL_ASSIGN(auto monitor, netlink::Monitor::open_in(initial, {}));
  FL_ASSIGN(auto here, netlink::Socket::open_in(initial));
  const auto hand_on = [&](const Link& link) -> Result<> {
    FL_TRY(move_anyhow({.link = link, .netns = initial}, node, link.name));
    return {};
  };
  const auto look = [&] {
    const auto links = here.links();
    for (const auto& link : links ? *links : std::vector<Link>()) {
      const bool lent = std::ranges::any_of(records_, [&](const LinkRecord& record) {
        return is_on_bus(record.link) && outlives_namespace(record.link) &&
               likeness(record.link, link) == kSure;
      });
      if (const auto done = lent ? hand_on(link) : Result<>(); !done) {
        fairlead::log::warn("a lent link that the kernel gave back is not on the node",
                            {{"link", link.name}, {"error", done.error().what()}});
      }
    }
  };
  look();
  return monitor.run(stop, [&](const netlink::Event& event) {
    if (!std::holds_alternative<netlink::LinkGone>(event)) {
      look();
    }
  });
}

std::vector<Homecoming> LentLinks::take_back(int node) const {
  std::vector<Result<>> done;
  done.reserve(records_.size());
  for (const auto& record : records_) {
    done.push_back(bring_home(record, node));
  }
  // What stood in the way may have been the name of another lent link, which is home by now.
  std::vector<Homecoming> out;
  for (std::size_t i = 0; i < records_.size(); ++i) {
    if (!done[i] && done[i].error().code() != Code::kNotFound) {
      done[i] = bring_home(records_[i], node);
    }
    out.push_back({.name = records_[i].link.name, .problem = done[i] ? "" : done[i].error().what()});
  }
  return out;
}

}  // namespace drydock
