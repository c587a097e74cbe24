// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/node_questions.h"

#include "fairlead/core/fd.h"
#include "fairlead/sys/sysctl.h"

namespace fairlead::devices {

NodeQuestions questions_to_kernel(netlink::Socket& socket) {
  return {.addresses_of = [&socket](netlink::IfIndex link) { return socket.told_addresses(link); },
          .routes_of = [&socket](netlink::IfIndex link) { return socket.told_routes(link); },
          .settings_in = [&socket](const std::string& folder) -> Result<std::map<std::string, std::string>> {
            FL_ASSIGN(const UniqueFd netns, socket.netns());
            return sys::read_net_sysctls(netns.get(), folder);
          },
          .connections = [](const netlink::SocketQuery& query) { return netlink::connected_sockets(query); }};
}

}  // namespace fairlead::devices
