// SPDX-License-Identifier: Apache-2.0
#include "fairlead/devices/node_questions.h"

#include <memory>
#include <optional>

#include "fairlead/core/fd.h"
#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/sysctl.h"

namespace fairlead::devices {

NodeQuestions questions_to_kernel() {
  // Most plans have no question.
  const auto opened = std::make_shared<std::optional<netlink::Socket>>();
  const auto socket = [opened]() -> Result<netlink::Socket*> {
    if (!*opened) {
      FL_ASSIGN(*opened, netlink::Socket::open());
    }
    return &**opened;
  };
  return {.addresses_of = [socket](netlink::IfIndex link) -> Result<std::vector<netlink::ToldAddress>> {
            FL_ASSIGN(netlink::Socket* const node, socket());
            return node->told_addresses(link);
          },
          .routes_of = [socket](netlink::IfIndex link) -> Result<std::vector<netlink::ToldRoute>> {
            FL_ASSIGN(netlink::Socket* const node, socket());
            return node->told_routes(link);
          },
          .settings_in = [socket](const std::string& folder) -> Result<std::map<std::string, std::string>> {
            FL_ASSIGN(netlink::Socket* const node, socket());
            FL_ASSIGN(const UniqueFd netns, node->netns());
            return sys::read_net_sysctls(netns.get(), folder);
          },
          .connections = [](const netlink::SocketQuery& query) { return netlink::connected_sockets(query); }};
}

}  // namespace fairlead::devices
