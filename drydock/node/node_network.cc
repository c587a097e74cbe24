// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/node_network.h"

#include <fcntl.h>
#include <sys/mount.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fairlead/core/log.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netns.h"

namespace drydock {
namespace {

namespace netlink = fairlead::netlink;
namespace sys = fairlead::sys;
using fairlead::Code;
using fairlead::Error;
using fairlead::Result;

constexpr auto kUplink = "eth0";
constexpr auto kBridge = "pods0";
constexpr auto kWorldIp = "198.18.0.1";
constexpr auto kBridgeIp = "10.85.0.1";
constexpr auto kPodNetwork = "10.85.0.0/24";
constexpr int kFirstHost = 2;
constexpr int kLastHost = 254;

struct Wanted {
  std::string link, address;
  std::string gateway;  // empty: no route
  std::string destination = "0.0.0.0/0";
};

Result<> set_address(netlink::Socket& socket, const Wanted& wanted) {
  FL_ASSIGN(const auto link, socket.link(std::string_view(wanted.link)));
  if (!link) {
    return Error(Code::kNotFound, "link " + wanted.link + " is not there");
  }
  FL_ASSIGN(const auto prefix, netlink::IpPrefix::parse(wanted.address));
  FL_TRY(socket.add_address({.link = link->index, .prefix = prefix}));
  if (wanted.gateway.empty()) {
    return {};
  }
  FL_ASSIGN(const auto gateway, netlink::IpAddress::parse(wanted.gateway));
  FL_ASSIGN(const auto destination, netlink::IpPrefix::parse(wanted.destination));
  return socket.add_route({.destination = destination, .gateway = gateway, .link = link->index});
}

Result<> bring_up_loopback(netlink::Socket& socket) {
  FL_ASSIGN(const auto link, socket.link(std::string_view("lo")));
  return link ? socket.set_up(link->index) : Result<>();
}

Result<> connect_to_world(netlink::Socket& node, int world, const std::string& here,
                          const std::string& there) {
  return node.create_link(
      {.name = here, .kind = netlink::Veth{.peer = {.name = there, .netns = world, .up = true}}, .up = true});
}

std::string host_link_name(int host_number) { return "pod" + std::to_string(host_number); }

Result<> bind_namespace(int netns, const std::string& path) {
  FL_TRY(sys::open_file(path, O_RDONLY | O_CREAT | O_EXCL, 0444));
  const std::string source = "/proc/self/fd/" + std::to_string(netns);
  if (::mount(source.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    const int failed = errno;
    (void)sys::remove_file(path);
    return Error::from_errno(failed, "bind the network namespace to " + path);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<NodeNetwork>> NodeNetwork::create(const std::vector<std::string>& nics,
                                                         std::string netns_folder) {
  std::unique_ptr<NodeNetwork> out(new NodeNetwork(std::move(netns_folder)));
  FL_ASSIGN(out->world_, sys::create_netns());
  const int world = out->world_.get();
  FL_ASSIGN(auto node, netlink::Socket::open());
  FL_ASSIGN(auto outside, netlink::Socket::open_in(world));
  FL_TRY(bring_up_loopback(node));
  FL_TRY(bring_up_loopback(outside));
  FL_TRY(connect_to_world(node, world, kUplink, "world0"), "make the node's uplink");
  FL_TRY(set_address(outside, {.link = "world0",
                               .address = std::string(kWorldIp) + "/24",
                               .gateway = node_ip(),
                               .destination = kPodNetwork}));
  FL_TRY(set_address(node, {.link = kUplink, .address = node_ip() + "/24", .gateway = kWorldIp}));
  for (std::size_t i = 0; i < nics.size(); ++i) {
    FL_TRY(connect_to_world(node, world, nics[i], "world-" + std::to_string(i + 1)), "--nic " + nics[i]);
  }
  FL_TRY(node.create_link({.name = kBridge, .kind = netlink::Bridge{}, .up = true}), "make the pods' bridge");
  FL_TRY(set_address(node, {.link = kBridge, .address = std::string(kBridgeIp) + "/24", .gateway = ""}));
  if (const auto done = sys::rewrite_file("/proc/sys/net/ipv4/ip_forward", "1"); !done) {
    fairlead::log::debug("pods cannot reach beyond the node", {{"error", done.error().what()}});
  }
  return out;
}

Result<> NodeNetwork::check_nics(const std::vector<std::string>& nics) {
  const auto own = own_names({});
  std::set<std::string> seen;
  for (const auto& name : nics) {
    FL_TRY(netlink::check_link_name(name), "--nic");
    if (own.contains(name)) {
      return Error(Code::kInvalid, "--nic " + name +
                                       ": the node has a link of that name itself (lo, eth0, pods0, pod2 to "
                                       "pod254); give it another name");
    }
    if (!seen.insert(name).second) {
      return Error(Code::kInvalid, "--nic " + name + " is given twice; each NIC needs a name of its own");
    }
  }
  return {};
}

std::set<std::string> NodeNetwork::own_names(const std::vector<std::string>& nics) {
  std::set<std::string> out = {"lo", kUplink, kBridge};
  for (int number = kFirstHost; number <= kLastHost; ++number) {
    out.insert(host_link_name(number));
  }
  out.insert(nics.begin(), nics.end());
  return out;
}

Result<int> NodeNetwork::take_host_number() {
  const fairlead::Lock lock(mutex_);
  for (int number = kFirstHost; number <= kLastHost; ++number) {
    if (taken_.insert(number).second) {
      return number;
    }
  }
  return Error(Code::kBusy, "no pod address is free (253 pods run)");
}

void NodeNetwork::give_back(int host_number) {
  const fairlead::Lock lock(mutex_);
  taken_.erase(host_number);
}

Result<> NodeNetwork::connect(const Sandbox& sandbox, int netns) {
  FL_ASSIGN(auto node, netlink::Socket::open());
  FL_ASSIGN(auto pod, netlink::Socket::open_in(netns));
  FL_ASSIGN(const auto bridge, node.link(std::string_view(kBridge)));
  if (!bridge) {
    return Error(Code::kNotFound, std::string("the pods' bridge ") + kBridge + " is gone from the node");
  }
  FL_TRY(bring_up_loopback(pod));
  FL_TRY(node.create_link({.name = host_link_name(sandbox.host_number),
                           .kind = netlink::Veth{.peer = {.name = "eth0", .netns = netns, .up = true}},
                           .master = bridge->index,
                           .up = true}));
  return set_address(pod, {.link = "eth0", .address = sandbox.ip + "/24", .gateway = kBridgeIp});
}

Result<Sandbox> NodeNetwork::add_sandbox(const std::string& id) {
  FL_ASSIGN(const int number, take_host_number());
  fairlead::ScopeExit free_number([&] { give_back(number); });
  const Sandbox out{.id = id,
                    .netns_path = netns_folder_ + "/cni-" + id,
                    .ip = "10.85.0." + std::to_string(number),
                    .host_number = number};
  FL_ASSIGN(const auto netns, sys::create_netns());
  FL_TRY(bind_namespace(netns.get(), out.netns_path));
  if (auto connected = connect(out, netns.get()); !connected) {
    free_number.release();
    (void)remove_sandbox(out);
    return std::move(connected).error().with("connect the pod to the node's network");
  }
  free_number.release();
  return out;
}

Result<> NodeNetwork::remove_sandbox(const Sandbox& sandbox) {
  // CNI DEL: the node's end goes at once, not when the kernel gets round to the namespace.
  FL_ASSIGN(auto node, netlink::Socket::open());
  FL_ASSIGN(const auto link, node.link(std::string_view(host_link_name(sandbox.host_number))));
  if (link) {
    FL_TRY(node.delete_link(link->index));
  }
  if (::umount2(sandbox.netns_path.c_str(), MNT_DETACH) != 0 && errno != EINVAL && errno != ENOENT) {
    return Error::from_errno(errno, "unmount " + sandbox.netns_path);
  }
  FL_TRY(sys::remove_file(sandbox.netns_path));
  give_back(sandbox.host_number);
  return {};
}

Result<std::vector<std::string>> NodeNetwork::links() {
  FL_ASSIGN(auto node, netlink::Socket::open());
  FL_ASSIGN(const auto all, node.links());
  std::vector<std::string> out;
  out.reserve(all.size());
  for (const auto& link : all) {
    out.push_back(link.name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace drydock
