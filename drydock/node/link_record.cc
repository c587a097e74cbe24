// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/link_record.h"

#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "fairlead/core/text.h"
#include "fairlead/sys/netlink/codec.h"
#include "fairlead/sys/sysctl.h"

namespace drydock {
namespace {

namespace netlink = fairlead::netlink;
namespace sys = fairlead::sys;
using fairlead::joined;
using netlink::Link;

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

}  // namespace

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

}  // namespace drydock
