// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/link_choice.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "drydock/node/link_keeper.h"
#include "fairlead/core/text.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/pci.h"

namespace drydock {
namespace {

namespace netlink = fairlead::netlink;
namespace sys = fairlead::sys;
using fairlead::Code;
using fairlead::Error;
using fairlead::joined;
using fairlead::Result;
using netlink::Link;

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

}  // namespace

Error refused(const std::string& asked, const std::string& why) {
  return {Code::kInvalid, "--lend " + asked + ": " + why};
}

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

Result<> check_lendable(const std::string& asked, const Link& link, const std::vector<Link>& all,
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

}  // namespace drydock
