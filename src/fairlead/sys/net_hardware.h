// SPDX-License-Identifier: Apache-2.0
// Whether the device below a network interface is present, in whatever namespace the interface is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fairlead::sys {

enum class NetHardware : std::uint8_t {
  kUnknown,  // the device is not known, or sysfs does not show its bus
  kGone,     // there is no such device (any more)
  kNoLink,   // it has no network interface in any namespace: no driver, or one that makes none
  kHasLink,  // it has at least one, in whatever namespace
};

/// `bus` and `device` as netlink::Link::parent_bus and parent_dev name them. The interfaces that a sysfs
/// mount shows are those of one network namespace; the folder "net" that they lie in is there for all
/// (drivers/base/core.c get_device_parent, cleanup_glue_dir).
NetHardware net_hardware(const std::string& sysfs_root, std::string_view bus, std::string_view device);

}  // namespace fairlead::sys
