// SPDX-License-Identifier: Apache-2.0
// What plan() may ask the kernel about one link of the node, beyond NodeView. Tests supply fixed values.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "fairlead/core/result.h"
#include "fairlead/sys/netlink/address.h"
#include "fairlead/sys/netlink/route.h"
#include "fairlead/sys/netlink/sock_diag.h"

namespace fairlead::devices {

using AskConnections = std::function<Result<netlink::ConnectedSockets>(const netlink::SocketQuery&)>;

/// Any of them may be empty: then that check is skipped.
struct NodeQuestions {
  /// Of a link in the node's namespace.
  std::function<Result<std::vector<netlink::ToldAddress>>(netlink::IfIndex)> addresses_of = {};
  /// Of every table, with a hop over that link.
  std::function<Result<std::vector<netlink::ToldRoute>>(netlink::IfIndex)> routes_of = {};
  /// The node's network settings in a folder below /proc/sys/net ("ipv4/conf/eth0"), by name.
  std::function<Result<std::map<std::string, std::string>>(const std::string& folder)> settings_in = {};
  /// Connections of the node's namespace.
  AskConnections connections = {};
};

/// Queries the kernel; a socket is opened with the first question, in the network namespace of the thread that asks. One
/// thread at a time.
NodeQuestions questions_to_kernel();

}  // namespace fairlead::devices
