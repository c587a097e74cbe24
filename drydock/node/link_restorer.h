// SPDX-License-Identifier: Apache-2.0
// Makes a link what it was when it was lent.
#pragma once

#include <string>
#include <vector>

#include "drydock/node/link_messages.h"
#include "drydock/node/link_record.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/link_settings.h"
#include "fairlead/sys/netlink/socket.h"
#include "fairlead/sys/netlink/types.h"

namespace drydock {

/// Makes a link of one namespace what the record says. What is so already is not touched.
class LinkRestorer {
 public:
  LinkRestorer(fairlead::netlink::Socket& socket, LinkMessages& messages)
      : socket_(socket), messages_(messages) {}

  /// Attempts everything; the error lists all that failed. `at_home`: its name, altnames and routes too.
  fairlead::Result<> restore(const LinkRecord& record, fairlead::netlink::IfIndex index, bool at_home);

 private:
  using IfIndex = fairlead::netlink::IfIndex;
  using Link = fairlead::netlink::Link;

  void note(const fairlead::Error& error) { problems_.push_back(error.what()); }
  void note(const fairlead::Result<>& done);
  fairlead::Result<> verify(const LinkRecord& record, IfIndex index);
  void restore_link(const Link& wanted, const Link& now);
  void restore_settings(const LinkRecord& record, IfIndex index, fairlead::sys::LinkIs link);
  void drop_altnames(const Link& wanted, const Link& now);
  void restore_name(const Link& wanted, const Link& now);
  void restore_altnames(const Link& wanted, const Link& now);
  void restore_routes(const std::vector<LinkMessage>& wanted, IfIndex index);

  fairlead::netlink::Socket& socket_;
  LinkMessages& messages_;
  std::vector<std::string> problems_;
};

}  // namespace drydock
