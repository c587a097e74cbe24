// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/lent_links.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <thread>
#include <utility>

#include "fairlead/core/fault.h"
#include "fairlead/core/log.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/link_settings.h"
#include "fairlead/sys/netlink/codec.h"
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
using fairlead::Result;
using fairlead::UniqueFd;
using netlink::IfIndex;
using netlink::Link;
using Steady = std::chrono::steady_clock;

// The kernel returns hardware from a dead namespace when it gets round to it: after a second or so.
constexpr std::chrono::seconds kReturnPatience(30);
constexpr std::chrono::milliseconds kLookAgain(20);
// Routes of IPv6 wait for duplicate address detection of their preferred source.
constexpr std::chrono::seconds kRoutePatience(4);
constexpr int kSure = 100;  // likeness

bool is_on_bus(const Link& link) { return !link.parent_dev.empty(); }
/// Those that the kernel hands back when their namespace dies (net/core/dev.c default_device_exit_net); the
/// others die with it.
bool outlives_namespace(const Link& link) { return link.kind.empty() || link.kind == "can"; }

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) {
    out += (out.empty() ? "" : ", ") + word;
  }
  return out;
}

Error refused(const std::string& asked, const std::string& why) {
  return {Code::kInvalid, "--lend " + asked + ": " + why};
}

/// The links that the machine reaches others by: those with a default route, and all that these stand on.
Result<std::set<std::int32_t>> uplinks(netlink::Socket& machine, const std::vector<Link>& links) {
  std::set<std::int32_t> out;
  FL_ASSIGN(const auto routes, machine.routes());
  for (const auto& route : routes) {
    for (const auto& hop : route.hops) {
      if (route.destination.is_default() && hop.link.valid()) {
        out.insert(hop.link.value());
      }
    }
  }
  for (std::size_t before = 0; before != out.size();) {
    before = out.size();
    for (const auto& link : links) {
      // A veth's other end is not one of the links below it.
      if (out.contains(link.index.value()) && link.local_parent().valid() && link.kind != "veth") {
        out.insert(link.local_parent().value());
      }
      if (link.master.valid() && out.contains(link.master.value())) {
        out.insert(link.index.value());
      }
    }
  }
  out.erase(1);  // loopback is refused as what it is
  return out;
}

/// The links on a PCI function, by way of another bus (virtio) too.
std::vector<const Link*> links_on(const std::string& bdf, const std::vector<Link>& links,
                                  const std::string& sysfs_root) {
  std::vector<const Link*> out;
  for (const auto& link : links) {
    if (link.parent_dev.empty()) {
      continue;
    }
    const auto function = link.parent_bus == "pci"
                              ? std::optional(link.parent_dev)
                              : sys::pci_function_of(sysfs_root, link.parent_bus, link.parent_dev);
    if (function == bdf) {
      out.push_back(&link);
    }
  }
  return out;
}

bool there_is_function(const std::string& bdf) {
  const auto device = sys::read_pci_device("/sys", bdf);
  return !device || device->has_value();
}

/// The link is not here: whether that may be because of another drydock, whose keeper (link_keeper.h) is
/// there as long as something is lent.
Error with_other_drydocks(Error error) {
  std::vector<std::string> keepers;
  const auto names = sys::list_dir("/proc");
  for (const auto& name : names ? *names : std::vector<std::string>()) {
    const auto command = std::isdigit(static_cast<unsigned char>(name.front())) != 0
                             ? sys::read_file("/proc/" + name + "/comm")
                             : Result<std::string>("");
    if (command && *command == std::string(kKeeperName) + "\n") {
      keepers.push_back(name);
    }
  }
  if (keepers.empty()) {
    return error;
  }
  return {error.code(), error.what() + "; it may be lent to another drydock just now (keeper: process " +
                            joined(keepers) + ")"};
}

/// An error if the link cannot be lent: the reason.
Result<> check(const std::string& asked, const Link& link, const std::vector<Link>& all,
               const std::set<std::int32_t>& machine_uplinks, LinkMessages& messages) {
  if (link.is_loopback()) {
    return refused(asked, link.name + " is the loopback link, which cannot leave the machine");
  }
  if (machine_uplinks.contains(link.index.value())) {
    return refused(asked, link.name + " carries a default route of this machine, which would be cut off");
  }
  if (link.master.valid()) {
    const auto master = std::ranges::find(all, link.master, &Link::index);
    return refused(asked, link.name + " is a port of " +
                              (master == all.end() ? "another link" : master->name) +
                              "; take it out of there first");
  }
  std::vector<std::string> on_it;
  for (const auto& other : all) {
    // A veth's other end does not stand on it.
    if (other.local_parent() == link.index && other.kind != "veth") {
      on_it.push_back(other.name + " (" + (other.kind.empty() ? "hardware" : other.kind) + ")");
    }
  }
  if (!on_it.empty()) {
    const bool one = on_it.size() == 1;
    return refused(asked, joined(on_it) + (one ? " sits" : " sit") + " on " + link.name +
                              ", and the kernel deletes such links when it leaves; delete " +
                              (one ? "it" : "them") + " first");
  }
  FL_ASSIGN(const bool may_leave, messages.can_leave(link.index), "--lend " + asked);
  if (!may_leave) {
    return refused(asked, "the kernel cannot move " + link.name + " to another network namespace" +
                              (link.kind.empty() ? "" : " (it is a " + link.kind + ")"));
  }
  return {};
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

netlink::codec::Message message_of(const LinkMessage& address) {
  return {.type = RTM_NEWADDR, .payload = std::span(address).subspan(NLMSG_HDRLEN)};
}

/// Somebody configured it: not the kernel, not from a router advertisement. Kernels before 5.18 do not say
/// whose a link-local one is.
bool is_configured(const LinkMessage& message) {
  const auto address = netlink::codec::read_address(message_of(message));
  const bool is_kernels = address && ((address->flags & IFA_F_STABLE_PRIVACY) != 0 || address->protocol != 0);
  return address && (address->flags & IFA_F_PERMANENT) != 0 && !is_kernels;
}

std::vector<LinkMessage> missing(const std::vector<LinkMessage>& wanted,
                                 const std::vector<LinkMessage>& there) {
  std::set<std::string> known;
  for (const auto& one : there) {
    known.insert(identity(one));
  }
  std::vector<LinkMessage> out;
  std::ranges::copy_if(wanted, std::back_inserter(out),
                       [&](const LinkMessage& one) { return !known.contains(identity(one)); });
  return out;
}

/// The flags that can be set.
std::string flag_names(const Link& link) {
  static const std::map<std::uint32_t, const char*> kNames = {
      {IFF_DEBUG, "DEBUG"},     {IFF_NOTRAILERS, "NOTRAILERS"}, {IFF_NOARP, "NOARP"},
      {IFF_PROMISC, "PROMISC"}, {IFF_ALLMULTI, "ALLMULTI"},     {IFF_MULTICAST, "MULTICAST"},
      {IFF_PORTSEL, "PORTSEL"}, {IFF_AUTOMEDIA, "AUTOMEDIA"},   {IFF_DYNAMIC, "DYNAMIC"}};
  std::vector<std::string> names;
  for (const auto& [flag, name] : kNames) {
    if ((link.flags & netlink::kSettableFlags & flag) != 0) {
      names.emplace_back(name);
    }
  }
  return names.empty() ? "none" : joined(names);
}

/// What the link is now that it was not, or was and is not.
std::vector<std::string> differences(const Link& was, const Link& now) {
  std::vector<std::string> out;
  const auto compare = [&](const std::string& what, const std::string& before, const std::string& after) {
    if (before != after) {
      out.push_back("its " + what + " is " + after + ", it was " + before);
    }
  };
  compare("name", was.name, now.name);
  compare("MAC address", was.mac.to_string(), now.mac.to_string());
  compare("MTU", std::to_string(was.mtu), std::to_string(now.mtu));
  compare("state", was.is_up() ? "up" : "down", now.is_up() ? "up" : "down");
  compare("flags", flag_names(was), flag_names(now));
  compare("group", std::to_string(was.group), std::to_string(now.group));
  compare("queue length", std::to_string(was.tx_queue_len), std::to_string(now.tx_queue_len));
  compare("mode", std::to_string(was.mode), std::to_string(now.mode));
  return out;
}

/// The reported messages of configured addresses, in the kernel's order, with the prefix.
std::vector<std::pair<std::string, netlink::Told>> configured(const std::vector<LinkMessage>& addresses) {
  std::vector<std::pair<std::string, netlink::Told>> out;
  for (const auto& address : addresses) {
    if (is_configured(address)) {
      out.emplace_back(destination(address), netlink::codec::told_address(message_of(address)));
    }
  }
  return out;
}

/// Of addresses all that was asked for: flags, scopes, peers, labels, broadcast addresses, metrics.
std::vector<std::string> changed_addresses(const std::vector<LinkMessage>& before,
                                           const std::vector<LinkMessage>& now) {
  std::vector<std::string> out;
  const auto were = configured(before);
  const auto are = configured(now);
  const auto has_prefix = [](const auto& all, const std::string& prefix) {
    return std::ranges::any_of(all, [&](const auto& one) { return one.first == prefix; });
  };
  for (const auto& [prefix, told] : were) {
    const bool is_same = std::ranges::any_of(
        are, [&, &was = told](const auto& one) { return netlink::codec::same_address(one.second, was); });
    if (!is_same) {
      out.push_back("its address " + prefix +
                    (has_prefix(are, prefix) ? " is not as it was" : " is not there"));
    }
  }
  for (const auto& [prefix, told] : are) {
    if (!has_prefix(were, prefix)) {
      out.push_back("its address " + prefix + " is new");
    }
  }
  return out;
}

/// Of the settings that the machine had for it.
std::vector<std::string> changed_settings(const LinkRecord& record, const Link& now, int netns) {
  std::vector<std::string> out;
  for (const auto& [folder, values] : record.settings) {
    for (const auto& [name, value] : values) {
      const std::string path = folder + "/" + now.name + "/" + name;
      const auto is = sys::read_net_sysctl(netns, path);
      if (!is || *is != value) {
        out.push_back("its setting " + path + " is " + (is ? *is : is.error().what()) + ", it was " + value);
      }
    }
  }
  return out;
}

std::string in_order(std::vector<std::string> words) {
  std::ranges::sort(words);
  return words.empty() ? "none" : joined(words);
}

/// For the node: what a pod or a driver may have left on a link.
std::vector<std::string> changes_of(const LinkRecord& record, const Link& now,
                                    const std::vector<LinkMessage>& addresses, int netns) {
  auto out = differences(record.link, now);
  std::ranges::move(changed_addresses(record.addresses, addresses), std::back_inserter(out));
  std::ranges::move(changed_settings(record, now, netns), std::back_inserter(out));
  const auto compare = [&](const char* part, const std::string& before, const std::string& after) {
    if (before != after) {
      std::string change = "its ";
      change.append(part).append(" is ").append(after).append(", it was ").append(before);
      out.push_back(std::move(change));
    }
  };
  compare("alias", record.link.alias.empty() ? "none" : record.link.alias,
          now.alias.empty() ? "none" : now.alias);
  compare("altname", in_order(record.link.altnames), in_order(now.altnames));
  return out;
}

/// `wanted`, or when that is taken there the first free one of dev0, dev1, ..., as the kernel names links.
Result<std::string> free_name(const std::string& wanted, netlink::Socket& there) {
  std::string name = wanted;
  FL_ASSIGN(auto taken, there.link(name));
  for (int number = 0; taken; ++number) {
    name = "dev" + std::to_string(number);
    FL_ASSIGN(taken, there.link(name));
  }
  return name;
}

/// Makes a link of one namespace what the record says. What is so already is not touched.
class Restorer {
 public:
  Restorer(netlink::Socket& socket, LinkMessages& messages) : socket_(socket), messages_(messages) {}

  /// Attempts everything; the error lists all that failed.
  Result<> restore(const LinkRecord& record, IfIndex index, bool at_home) {
    FL_ASSIGN(const auto now, socket_.link(index));
    if (!now) {
      return Error(Code::kNotFound, "it is gone again");
    }
    if (at_home) {
      drop_altnames(record.link, *now);
      restore_name(record.link, *now);
    }
    restore_link(record.link, *now);
    restore_altnames(record.link, *now);
    restore_settings(record, index, sys::LinkIs::kDown);
    note(messages_.set_flags(index, netlink::kSettableFlags | IFF_UP, record.link.flags));
    if (record.link.is_up()) {
      restore_settings(record, index, sys::LinkIs::kUp);
    }
    if (const auto there = messages_.addresses(index); !there) {
      note(there.error());
    } else {
      for (const auto& one : missing(record.addresses, *there)) {
        note(messages_.add(one, index, !at_home));
      }
    }
    if (at_home) {
      restore_routes(record.routes, index);
    }
    FL_TRY(verify(record, index));
    return problems_.empty() ? Result<>() : Error(Code::kInternal, joined(problems_));
  }

 private:
  void note(const Error& error) { problems_.push_back(error.what()); }
  void note(const Result<>& done) {
    if (!done) {
      note(done.error());
    }
  }

  /// A driver of the kernel may accept a change and do nothing.
  Result<> verify(const LinkRecord& record, IfIndex index) {
    FL_ASSIGN(const auto now, socket_.link(index));
    FL_ASSIGN(const auto addresses, messages_.addresses(index));
    if (!now) {
      return Error(Code::kNotFound, "it is gone again");
    }
    for (auto& difference : differences(record.link, *now)) {
      problems_.push_back(std::move(difference));
    }
    for (const auto& address : missing(record.addresses, addresses)) {
      problems_.push_back("its address " + destination(address) + " is not there");
    }
    return {};
  }

  void restore_link(const Link& wanted, const Link& now) {
    if (now.mac != wanted.mac) {
      // Few drivers take another address while the link is up.
      note(socket_.set_down(now.index));
      note(socket_.change_link(now.index, {.mac = wanted.mac}));
    }
    if (now.mtu != wanted.mtu) {
      note(socket_.change_link(now.index, {.mtu = wanted.mtu}));
    }
    if (now.alias != wanted.alias) {
      note(socket_.change_link(now.index, {.alias = wanted.alias}));
    }
    if (now.group != wanted.group) {
      note(socket_.change_link(now.index, {.group = wanted.group}));
    }
    if (now.tx_queue_len != wanted.tx_queue_len) {
      note(socket_.change_link(now.index, {.tx_queue_len = wanted.tx_queue_len}));
    }
    if (now.mode != wanted.mode || now.limits != wanted.limits) {
      note(socket_.change_link(now.index, {.mode = wanted.mode, .limits = wanted.limits}));
    }
  }

  /// Under the name that it has: its own may belong to another link now.
  void restore_settings(const LinkRecord& record, IfIndex index, sys::LinkIs link) {
    const auto now = socket_.link(index);
    if (!now || !*now) {
      return;
    }
    for (const auto& [path, error] :
         sys::restore_link_settings(socket_, (*now)->name, link, record.settings)) {
      problems_.push_back("its setting " + path + ": " + error.what());
    }
  }

  void drop_altnames(const Link& wanted, const Link& now) {
    for (const auto& name : now.altnames) {
      if (std::ranges::find(wanted.altnames, name) == wanted.altnames.end()) {
        note(socket_.delete_altname(now.index, name));
      }
    }
  }

  void restore_name(const Link& wanted, const Link& now) {
    if (now.name == wanted.name) {
      return;
    }
    note(socket_.set_down(now.index));  // a link that is up can be renamed from Linux 6.2 on
    const auto renamed = socket_.rename(now.index, wanted.name);
    if (!renamed && renamed.error().sys_errno() == EEXIST) {
      problems_.push_back("the name " + wanted.name + " belongs to another link now");
      // The name that it has may be another lent link's, which waits for it.
      if (!now.name.starts_with("dev")) {
        const auto other = free_name(wanted.name, socket_);
        note(other ? socket_.rename(now.index, *other) : Result<>(other.error()));
      }
    } else {
      note(renamed);
    }
  }

  void restore_altnames(const Link& wanted, const Link& now) {
    for (const auto& name : wanted.altnames) {
      if (std::ranges::find(now.altnames, name) == now.altnames.end()) {
        note(socket_.add_altname(now.index, name));
      }
    }
  }

  void restore_routes(const std::vector<LinkMessage>& wanted, IfIndex index) {
    const auto deadline = Steady::now() + kRoutePatience;
    while (true) {
      const auto there = messages_.routes(index);
      if (!there) {
        return note(there.error());
      }
      Result<> done;
      for (const auto& route : missing(wanted, *there)) {
        if (auto added = messages_.add(route, index, false); !added && done) {
          done = std::move(added);
        }
      }
      if (done || Steady::now() > deadline) {
        return note(done);
      }
      std::this_thread::sleep_for(kLookAgain);
    }
  }

  netlink::Socket& socket_;
  LinkMessages& messages_;
  std::vector<std::string> problems_;
};

struct Found {
  Link link;
  int netns = -1;
};

/// The index that a lent veth has now, wherever it is: its other end, which stayed on the machine, knows it.
Result<std::optional<IfIndex>> told_by_peer(const Link& recorded, netlink::Socket& machine) {
  if (recorded.kind != "veth" || !recorded.local_parent().valid()) {
    return std::optional<IfIndex>();
  }
  FL_ASSIGN(const auto peer, machine.link(recorded.local_parent()));
  return peer && peer->kind == "veth" ? std::optional(peer->parent) : std::nullopt;
}

/// The surest likeness in a namespace.
Result<std::optional<Found>> look_in(const Link& recorded, int netns, std::optional<IfIndex> told) {
  FL_ASSIGN(auto socket, netlink::Socket::open_in(netns));
  FL_ASSIGN(const auto links, socket.links());
  int best = 0;
  std::optional<Found> out;
  for (const auto& link : links) {
    const bool is_told = told == link.index && link.kind == recorded.kind && link.parent == recorded.parent;
    if (const int sure = is_told ? kSure : likeness(recorded, link); sure > best) {
      best = sure;
      out = Found{.link = link, .netns = netns};
    }
  }
  return out;
}

/// The link moves to another namespace, under `name` if possible: altnames that are taken there are dropped
/// (with one of them the kernel refuses the move), and a name that is taken becomes "devN".
Result<Link> move_anyhow(const Found& found, int netns, const std::string& name) {
  FL_ASSIGN(auto away, netlink::Socket::open_in(found.netns));
  FL_ASSIGN(auto there, netlink::Socket::open_in(netns));
  constexpr int kAttempts = 3;  // a name may be taken between the check and the move
  for (int attempt = 1;; ++attempt) {
    FL_ASSIGN(const auto now, away.link(found.link.index));
    for (const auto& altname : now ? now->altnames : std::vector<std::string>()) {
      FL_ASSIGN(const auto taken, there.link(altname));
      if (taken || altname == name) {
        FL_TRY(away.delete_altname(found.link.index, altname));
      }
    }
    FL_ASSIGN(const auto as, free_name(name, there));
    auto moved = away.move_link(
        {.link = found.link.index, .netns = netns, .new_name = now && as == now->name ? std::string() : as});
    if (moved || moved.error().sys_errno() != EEXIST || attempt == kAttempts) {
      return moved;
    }
  }
}

}  // namespace

std::string pci_address(const std::string& text) {
  std::string out = text.size() == std::string("01:10.0").size() ? "0000:" + text : text;
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return sys::is_bdf(out) ? out : "";
}

Result<const Link*> look_up(const std::string& asked, const std::vector<Link>& links,
                            const std::string& sysfs_root) {
  const auto bdf = pci_address(asked);
  if (bdf.empty()) {
    const auto found = std::ranges::find_if(links, [&](const Link& link) { return link.has_name(asked); });
    if (found == links.end()) {
      return refused(asked, "there is no such link (a name, an alternative name or a PCI address is wanted)");
    }
    return &*found;
  }
  FL_ASSIGN(const auto device, sys::read_pci_device(sysfs_root, bdf));
  if (!device) {
    return refused(asked, "there is no PCI function " + bdf);
  }
  const auto found = links_on(bdf, links, sysfs_root);
  if (found.empty()) {
    return refused(asked, "PCI function " + bdf + " has no network interface here (its kernel driver: " +
                              (device->driver.empty() ? "none" : device->driver) + ")");
  }
  if (found.size() > 1) {
    std::vector<std::string> names;
    names.reserve(found.size());
    for (const auto* link : found) {
      names.push_back(link->name);
    }
    return refused(asked,
                   "PCI function " + bdf +
                       " has several network interfaces, name the one that is meant: " + joined(names));
  }
  return found.front();
}

int likeness(const Link& recorded, const Link& seen) {
  if (recorded.kind != seen.kind) {
    return 0;
  }
  if (is_on_bus(recorded)) {
    const bool other_port = !recorded.permanent_mac.empty() && !seen.permanent_mac.empty() &&
                            recorded.permanent_mac != seen.permanent_mac;
    return recorded.parent_bus == seen.parent_bus && recorded.parent_dev == seen.parent_dev && !other_port
               ? kSure
               : 0;
  }
  if (is_on_bus(seen)) {
    return 0;
  }
  const int mac = !recorded.mac.empty() && recorded.mac == seen.mac ? 4 : 0;
  const int index = recorded.index == seen.index ? 2 : 0;
  const int name = seen.has_name(recorded.name) ? 1 : 0;
  // A MAC is sufficient, unless it may be that of a lower link and so of others on that; an index or a name
  // alone may easily belong to another link.
  const bool own_mac = recorded.kind != "vlan" && recorded.kind != "macvlan" && recorded.kind != "ipvlan";
  const bool is_it = mac > 0 ? own_mac || index + name > 0 : index > 0 && name > 0;
  return is_it ? mac + index + name : 0;
}

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
    FL_TRY(check(asked, *link, links, machine_uplinks, messages));
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
    FL_TRY(Restorer(there, messages).restore(record, moved.index, false), what);
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
  FL_TRY(Restorer(home, messages).restore(record, index, true), "it is back, but not all as it was");
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
