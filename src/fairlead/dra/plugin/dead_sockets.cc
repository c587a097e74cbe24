// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/plugin/dead_sockets.h"

#include <string_view>
#include <vector>

#include "fairlead/core/log.h"
#include "fairlead/core/text.h"
#include "fairlead/rpc/unix_listener.h"
#include "fairlead/sys/files.h"

namespace fairlead::dra {
namespace {

/// What comes between the driver's name and "-reg.sock": a pod's uid, or a hash of it (see socket_paths).
bool is_of_a_pod(std::string_view part) {
  constexpr std::size_t kUid = 36;
  constexpr std::size_t kHash = 11;
  return (part.size() == kUid && is_uid(part)) || part.size() == kHash;
}

/// The files in `folder` whose names are `ours`, added to `paths`.
template <class Ours>
void add_files(const std::string& folder, Ours ours, std::vector<std::string>& paths) {
  const std::string begin = folder + "/";
  for (const std::string& name : sys::list_dir(folder).value_or(std::vector<std::string>{})) {
    if (ours(name)) {
      paths.push_back(begin + name);
    }
  }
}

}  // namespace

void remove_dead_sockets(const std::string& driver_name, const std::string& registry_dir,
                         const std::string& plugin_dir) {
  constexpr std::string_view kEnd = "-reg.sock";
  const std::string begin = driver_name + "-";
  std::vector<std::string> paths;
  const auto registers_us = [&](std::string_view name) {
    return name.starts_with(begin) && name.ends_with(kEnd) &&
           (name.size() < begin.size() + kEnd.size() ||  // "<driver>-reg.sock"
            is_of_a_pod(name.substr(begin.size(), name.size() - begin.size() - kEnd.size())));
  };
  add_files(registry_dir, registers_us, paths);
  const auto serves_claims = [](std::string_view name) {
    return name == "dra.sock" || (name.starts_with("dra-") && name.ends_with(".sock"));
  };
  add_files(plugin_dir, serves_claims, paths);
  for (const std::string& path : paths) {
    const auto removed = rpc::remove_dead_socket(path);
    if (!removed) {
      log::warn("a socket of an instance that is gone stays",
                {{"socket", path}, {"error", removed.error().what()}});
    } else if (*removed) {
      log::info("socket of an instance that is gone removed", {{"socket", path}});
    }
  }
}

}  // namespace fairlead::dra
