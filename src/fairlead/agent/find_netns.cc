// SPDX-License-Identifier: Apache-2.0
#include "fairlead/agent/find_netns.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "fairlead/sys/files.h"

namespace fairlead::agent {
namespace {

std::optional<UniqueFd> open_if(const std::string& path, sys::NetnsId id) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0 || info.st_ino != id.inode || info.st_dev != id.device) {
    return std::nullopt;
  }
  auto fd = sys::open_netns(path);
  if (!fd) {
    return std::nullopt;
  }
  const auto opened = sys::netns_id(fd->get());
  return opened && *opened == id ? std::optional(*std::move(fd)) : std::nullopt;
}

bool is_number(const std::string& name) {
  return std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::optional<UniqueFd> find_netns(sys::NetnsId id) {
  for (const std::string dir : {"/run/netns", "/var/run/netns"}) {
    for (const std::string& name : sys::list_dir(dir).value_or(std::vector<std::string>{})) {
      if (auto fd = open_if(dir + "/" + name, id)) {
        return fd;
      }
    }
  }
  for (const std::string& name : sys::list_dir("/proc").value_or(std::vector<std::string>{})) {
    if (!is_number(name)) {
      continue;
    }
    if (auto fd = open_if("/proc/" + name + "/ns/net", id)) {
      return fd;
    }
  }
  return std::nullopt;
}

}  // namespace fairlead::agent
