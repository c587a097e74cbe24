// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/request_text.h"

#include <array>
#include <cstdio>

namespace fairlead::netlink {

std::string text_of(IfIndex link) { return "link " + std::to_string(link.value()); }

std::string text_of(const NewRoute& route) {
  std::string text = route.destination.network().to_string();
  if (route.gateway) {
    text += " via " + route.gateway->to_string();
  }
  return text + " on " + text_of(route.link);
}

std::string text_of(IfIndex link, const LinkChange& change) {
  std::string text = "set " + text_of(link);
  const auto add = [&](const std::string& part) { text += " " + part; };
  if (change.name) {
    add("name " + change.name->substr(0, 32));
  }
  if (change.mac) {
    add("address " + change.mac->to_string());
  }
  if (change.mtu) {
    add("mtu " + std::to_string(*change.mtu));
  }
  if (change.alias) {
    add("alias");
  }
  if (change.master) {
    add(change.master->valid() ? "master " + std::to_string(change.master->value()) : "nomaster");
  }
  if (change.group) {
    add("group " + std::to_string(*change.group));
  }
  if (!change.limits.empty()) {
    add("GSO and GRO limits");
  }
  if (change.mode) {
    add("mode " + std::to_string(*change.mode));
  }
  if (change.tx_queue_len) {
    add("txqueuelen " + std::to_string(*change.tx_queue_len));
  }
  if (change.flags) {
    std::array<char, 48> flags = {};
    (void)std::snprintf(flags.data(), flags.size(), "flags %#x of %#x",
                        change.flags->flags & change.flags->mask, change.flags->mask);
    add(flags.data());
  }
  if (change.arp_notify) {
    add(*change.arp_notify ? "arp_notify" : "no arp_notify");
  }
  if (change.up) {
    add(*change.up ? "up" : "down");
  }
  return text;
}

std::string text_of(const NewLink& link) {
  return "create " + std::string(kind_name(link)) + " " + link.name.substr(0, 32);
}

/// errno and the kernel's own sentence, if it gave one.
Error refusal(const std::string& what, const codec::Answer& answer) {
  return Error::from_errno(answer.error, answer.text.empty() ? what : what + ": " + answer.text);
}

}  // namespace fairlead::netlink
