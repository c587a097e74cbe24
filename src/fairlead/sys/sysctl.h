// SPDX-License-Identifier: Apache-2.0
// Settings below /proc/sys/net of any network namespace. Any thread.
//
// A container's own /proc/sys is mounted read-only (OCI runtimes do so for every container without
// privileges), so these functions have a proc file system of their own, which is mounted nowhere. Who may
// write is the kernel's to say: CAP_NET_ADMIN over the namespace (fs/proc/proc_sysctl.c,
// net/sysctl_net.c net_ctl_permissions).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::sys {

/// `path` is relative to /proc/sys/net: "ipv6/conf/eth0/disable_ipv6". kNotFound: this namespace has no such
/// setting (the interface is not there, or the kernel lacks the protocol).
Result<> write_net_sysctl(int netns, const std::string& path, std::string_view value);
/// Without the newline at its end.
Result<std::string> read_net_sysctl(int netns, const std::string& path);
/// Those of a folder ("ipv4/conf/eth0") that can be read and that root may write, by name. A folder that is
/// not there has none.
Result<std::map<std::string, std::string>> read_net_sysctls(int netns, const std::string& folder);

}  // namespace fairlead::sys
