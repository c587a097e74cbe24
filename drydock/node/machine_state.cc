// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/machine_state.h"

#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <sstream>
#include <utility>

#include "fairlead/sys/files.h"

namespace drydock {
namespace {

using fairlead::Error;
using fairlead::Result;

Result<std::set<std::string>> read_links() {
  struct if_nameindex* all = ::if_nameindex();
  if (all == nullptr) {
    return Error::from_errno(errno, "list network interfaces");
  }
  std::set<std::string> out;
  for (const auto* one = all; one->if_index != 0; ++one) {
    out.insert(std::string(one->if_name) + " (index " + std::to_string(one->if_index) + ")");
  }
  ::if_freenameindex(all);
  return out;
}

struct Mount {
  std::string point, type;
};

Result<std::vector<Mount>> read_mounts() {
  FL_ASSIGN(const auto text, fairlead::sys::read_file("/proc/self/mountinfo"));
  std::vector<Mount> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    // proc_pid_mountinfo(5): id parent major:minor root mount-point options tags... - type source options
    std::istringstream words(line);
    const std::vector<std::string> fields(std::istream_iterator<std::string>(words), {});
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() > 5 && std::distance(dash, fields.end()) > 1) {
      out.push_back({fields[4], *(dash + 1)});
    }
  }
  return out;
}

Result<> add_cgroups(const std::vector<Mount>& mounts, const std::string& wanted,
                     std::set<std::string>& out) {
  for (const auto& mount : mounts) {
    if (mount.type != "cgroup" && mount.type != "cgroup2") {
      continue;
    }
    FL_ASSIGN(const auto names, fairlead::sys::list_dir(mount.point));
    for (const auto& name : names) {
      if (name == wanted) {
        out.insert(mount.point + "/" + name);
      }
    }
  }
  return {};
}

void compare(const std::string& what, const std::set<std::string>& before, const std::set<std::string>& after,
             std::vector<std::string>& out) {
  for (const auto& one : after) {
    if (!before.contains(one)) {
      out.push_back(what + " " + one + " is new");
    }
  }
  for (const auto& one : before) {
    if (!after.contains(one)) {
      out.push_back(what + " " + one + " is gone");
    }
  }
}

}  // namespace

Result<MachineState> MachineState::read(const std::string& cgroup) {
  MachineState state;
  FL_ASSIGN(state.links, read_links());
  FL_ASSIGN(const auto mounts, read_mounts());
  for (const auto& mount : mounts) {
    state.mounts.insert(mount.point + " (" + mount.type + ")");
  }
  FL_TRY(add_cgroups(mounts, cgroup, state.cgroups), "list cgroups");
  for (const std::string folder : {"/etc/cdi", "/var/run/cdi"}) {
    FL_ASSIGN(const auto names, fairlead::sys::list_dir(folder));
    for (const auto& name : names) {
      state.cdi_files.insert((folder + "/").append(name));
    }
  }
  return state;
}

void forget_indices(MachineState& state, const std::vector<std::string>& links) {
  std::set<std::string> out;
  for (const auto& text : state.links) {
    const auto name = text.substr(0, text.rfind(" (index "));
    out.insert(std::find(links.begin(), links.end(), name) == links.end() ? text : name);
  }
  state.links = std::move(out);
}

std::vector<std::string> differences(const MachineState& before, const MachineState& after) {
  std::vector<std::string> out;
  compare("link", before.links, after.links, out);
  compare("mount", before.mounts, after.mounts, out);
  compare("CDI file", before.cdi_files, after.cdi_files, out);
  compare("cgroup", before.cgroups, after.cgroups, out);
  return out;
}

}  // namespace drydock
