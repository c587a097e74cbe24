// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/link_settings.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <utility>

#include "fairlead/core/fd.h"
#include "fairlead/sys/sysctl.h"

namespace fairlead::sys {
namespace {

constexpr std::array kFolders = {"ipv4/conf", "ipv4/neigh", "ipv6/conf", "ipv6/neigh"};
constexpr std::string_view kIpv6 = "ipv6/conf";
/// Setting this sets addr_gen_mode too (net/ipv6/addrconf.c addrconf_sysctl_stable_secret).
constexpr std::string_view kBeforeOthers = "stable_secret";

/// The kernel gives it to a link that is set up (net/ipv6/addrconf.c addrconf_notify).
constexpr std::string_view kMtu = "mtu";

/// The MTU for IPv6 is the link's unless it was configured; the default's is another. Duplicate address
/// detection is off for a link that arrives with IFF_NOARP, whatever the default is.
bool is_own(const std::string& folder, const std::string& name, const std::string& value,
            const std::map<std::string, std::string>& defaults, const netlink::Link& nic) {
  if (folder == kIpv6 && name == kMtu) {
    return value != std::to_string(nic.mtu);
  }
  if (folder == kIpv6 && name == "accept_dad") {
    return true;
  }
  const auto usual = defaults.find(name);
  return usual == defaults.end() || usual->second != value;
}

/// Routes that the node has learned from advertisements, over any link: the kernel drops them all when
/// forwarding is enabled on one link (net/ipv6/addrconf.c addrconf_fixup_forwarding).
Result<> check_nothing_learned(netlink::Socket& node) {
  FL_ASSIGN(const auto routes, node.routes());
  if (std::ranges::find(routes, RTPROT_RA, &netlink::Route::protocol) == routes.end()) {
    return {};
  }
  return Error(Code::kConflict,
               "the kernel would drop the routes that the node has from router advertisements");
}

Result<> write(netlink::Socket& node, int netns, const std::string& path, const std::string& value,
               bool forwards_ipv6) {
  const auto now = read_net_sysctl(netns, path);
  if (now && *now == value) {
    return {};
  }
  if (forwards_ipv6) {
    FL_TRY(check_nothing_learned(node));
  }
  return write_net_sysctl(netns, path, value);
}

}  // namespace

Result<LinkSettings> own_link_settings(const ReadFolder& read, const netlink::Link& nic) {
  LinkSettings settings;
  if (nic.name == "all" || nic.name == "default") {
    return settings;  // the kernel has none for a link of such a name
  }
  for (const std::string folder : kFolders) {
    FL_ASSIGN(const auto values, read(folder + "/" + nic.name));
    if (values.empty()) {
      continue;
    }
    // Of neighbours only the first namespace has defaults: elsewhere all of the link's are remembered.
    FL_ASSIGN(const auto defaults, read(folder + "/default"));
    for (const auto& [name, value] : values) {
      if (is_own(folder, name, value, defaults, nic)) {
        settings[folder][name] = value;
      }
    }
  }
  return settings;
}

namespace {

/// In the order of writing.
std::vector<std::pair<std::string, std::string>> those_for(LinkIs link, const std::string& folder,
                                                           const std::map<std::string, std::string>& values) {
  std::vector<std::pair<std::string, std::string>> out;
  std::ranges::copy_if(values, std::back_inserter(out), [&](const auto& entry) {
    return (folder == kIpv6 && entry.first == kMtu) == (link == LinkIs::kUp);
  });
  std::ranges::stable_partition(out, [](const auto& entry) { return entry.first == kBeforeOthers; });
  return out;
}

}  // namespace

std::vector<RefusedSetting> restore_link_settings(netlink::Socket& node, const std::string& name, LinkIs link,
                                                  const LinkSettings& settings) {
  std::vector<RefusedSetting> refused;
  if (settings.empty()) {
    return refused;
  }
  const auto netns = node.netns();
  if (!netns) {
    return {{.path = "all of " + name, .error = netns.error()}};
  }
  for (const auto& [folder, values] : settings) {
    for (const auto& [setting, value] : those_for(link, folder, values)) {
      const std::string path = folder + "/" + name + "/" + setting;
      const bool forwards_ipv6 = folder == kIpv6 && setting == "forwarding" && value != "0";
      if (const auto done = write(node, netns->get(), path, value, forwards_ipv6); !done) {
        refused.push_back({.path = path, .error = done.error()});
      }
    }
  }
  return refused;
}

}  // namespace fairlead::sys
