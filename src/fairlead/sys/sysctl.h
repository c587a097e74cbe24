// SPDX-License-Identifier: Apache-2.0
// Settings below /proc/sys/net of any network namespace. Any thread.
//
// A container's own /proc/sys is mounted read-only (OCI runtimes do so for every container without
// privileges), so these functions have a proc file system of their own, which is mounted nowhere. Who may
// write is the kernel's to say: CAP_NET_ADMIN over the namespace (fs/proc/proc_sysctl.c,
// net/sysctl_net.c net_ctl_permissions).
#pragma once

#include <string>
#include <string_view>

#include "fairlead/core/result.h"

namespace fairlead::sys {

/// `path` is relative to /proc/sys/net: "ipv6/conf/eth0/disable_ipv6". kNotFound: this namespace has no such
/// setting (the interface is not there, or the kernel lacks the protocol).
Result<> write_net_sysctl(int netns, const std::string& path, std::string_view value);
/// Without the newline at its end.
Result<std::string> read_net_sysctl(int netns, const std::string& path);

}  // namespace fairlead::sys
