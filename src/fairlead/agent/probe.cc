// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/probe.h"

#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netns.h"

namespace fairlead::agent {

Result<std::set<std::string>> probe_link_kinds() {
  FL_ASSIGN(const UniqueFd netns, sys::create_netns(), "try which links this kernel can make");
  FL_ASSIGN(netlink::Socket socket, netlink::Socket::open_in(netns.get()));
  std::set<std::string> kinds;
  const auto try_kind = [&](const netlink::NewLink& link) {
    if (socket.create_link(link)) {
      kinds.emplace(netlink::kind_name(link));
    }
  };
  try_kind({.name = "probe0", .kind = netlink::Dummy{}});
  try_kind({.name = "probe1", .kind = netlink::Veth{.peer = {.name = "probe2"}}});
  FL_ASSIGN(auto parent, socket.link("probe1"));
  if (!parent) {
    FL_ASSIGN(parent, socket.link("probe0"));
  }
  if (parent) {
    try_kind({.name = "probe3", .kind = netlink::Macvlan{.parent = parent->index}});
  }
  return kinds;
}

}  // namespace fairlead::agent
