// SPDX-License-Identifier: Apache-2.0
// Settings below /proc/sys/net of any network namespace. Any thread.
//
// A container's own /proc/sys is mounted read-only (OCI runtimes do so for every container without
// privileges), so these functions use their own proc file system, which is not mounted anywhere. The kernel
// decides on write access: CAP_NET_ADMIN over the namespace (fs/proc/proc_sysctl.c, net/sysctl_net.c
// net_ctl_permissions).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::sys {

/// `path` is relative to /proc/sys/net: "ipv6/conf/eth0/disable_ipv6". kNotFound: this namespace has no such
/// setting (the interface does not exist, or the kernel lacks the protocol).
Result<> write_net_sysctl(int netns, const std::string& path, std::string_view value);
/// Without the trailing newline.
Result<std::string> read_net_sysctl(int netns, const std::string& path);
/// The settings of a folder ("ipv4/conf/eth0") that can be read and that root may write, by name. Empty if
/// the folder does not exist.
Result<std::map<std::string, std::string>> read_net_sysctls(int netns, const std::string& folder);

}  // namespace fairlead::sys
