// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/net_hardware.h"

#include <sys/stat.h>

#include <optional>

namespace fairlead::sys {
namespace {

/// nullopt: unknown.
std::optional<bool> exists(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) == 0) {
    return true;
  }
  return errno == ENOENT ? std::optional(false) : std::nullopt;
}

bool is_name(std::string_view text) {
  return !text.empty() && text != "." && text != ".." && !text.contains('/') && !text.contains('\0');
}

}  // namespace

NetHardware net_hardware(const std::string& sysfs_root, std::string_view bus, std::string_view device) {
  if (!is_name(bus) || !is_name(device)) {
    return NetHardware::kUnknown;
  }
  const std::string devices = sysfs_root + "/bus/" + std::string(bus) + "/devices";
  if (!exists(devices).value_or(false)) {
    return NetHardware::kUnknown;
  }
  const std::string folder = devices + "/" + std::string(device);
  const auto is_there = exists(folder);
  const auto has_link = exists(folder + "/net");
  if (!is_there || !has_link) {
    return NetHardware::kUnknown;
  }
  if (!*is_there) {
    return NetHardware::kGone;
  }
  return *has_link ? NetHardware::kHasLink : NetHardware::kNoLink;
}

}  // namespace fairlead::sys
