// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/node_fs.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>

#include "fairlead/core/log.h"
#include "fairlead/sys/files.h"

namespace drydock {
namespace {

using fairlead::Error;
using fairlead::Result;
namespace fs = std::filesystem;
namespace sys = fairlead::sys;

Result<> mount_fs(const char* type, const std::string& where, unsigned long flags, const char* data) {
  if (::mount(type, where.c_str(), type, flags, data) != 0) {
    return Error::from_errno(errno, std::string("mount ") + type + " on " + where);
  }
  return {};
}

Result<> mount_tmpfs(const std::string& where) { return mount_fs("tmpfs", where, MS_NOSUID, "mode=0755"); }

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

/// A link to every entry of `view`; an entry that is itself a link is copied, so that it points where it did.
Result<> link_entries(const std::string& view, const std::string& folder) {
  FL_ASSIGN(const auto names, sys::list_dir(view));
  for (const auto& name : names) {
    std::error_code failed;
    const fs::path from = fs::path(view) / name;
    const fs::path target = fs::is_symlink(from, failed) ? fs::read_symlink(from, failed) : from;
    if (!failed) {
      fs::create_symlink(target, fs::path(folder) / name, failed);
    }
    if (failed) {
      return Error::from_errno(failed.value(), "link " + from.string());
    }
  }
  return {};
}

/// Replaces `folder`, in this mount namespace, by a writable one with the same entries.
Result<> make_writable_copy(const std::string& folder) {
  static std::atomic<int> count{0};
  const std::string view = NodePaths().lower + "/" + std::to_string(count++);
  FL_TRY(sys::make_dirs(view));
  if (::mount(folder.c_str(), view.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0) {
    return Error::from_errno(errno, "bind " + folder);
  }
  if (::mount(nullptr, view.c_str(), nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr) != 0) {
    return Error::from_errno(errno, "make a read-only view of " + folder);
  }
  FL_TRY(mount_tmpfs(folder));
  return link_entries(view, folder);
}

/// sysfs belongs to the network namespace of the process that mounts it.
Result<> mount_sys() {
  FL_TRY(mount_fs("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr));
  if (!is_folder("/sys/fs/cgroup")) {
    return {};  // a kernel without cgroups
  }
  if (const auto done = mount_fs("cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr);
      !done) {
    fairlead::log::debug("no cgroup v2 on the node", {{"error", done.error().what()}});
  }
  return {};
}

}  // namespace

Result<> make_private_folder(const std::string& folder) {
  if (!is_folder(folder)) {
    std::string parent = fs::path(folder).parent_path();
    while (parent.size() > 1 && !is_folder(parent)) {
      parent = fs::path(parent).parent_path();
    }
    if (parent.size() <= 1) {
      return Error(fairlead::Code::kNotFound, "no folder on the machine leads to " + folder);
    }
    FL_TRY(make_writable_copy(parent));
    return sys::make_dirs(folder);
  }
  return mount_tmpfs(folder);
}

Result<> lay_out_node_folders(const NodePaths& paths) {
  FL_TRY(mount_tmpfs("/run"));
  std::error_code ignored;
  if (!fs::is_symlink("/var/run", ignored)) {
    FL_TRY(sys::make_dirs("/var/run"));
    if (::mount("/run", "/var/run", nullptr, MS_BIND, nullptr) != 0) {
      return Error::from_errno(errno, "bind /run on /var/run");
    }
  }
  FL_TRY(make_private_folder(paths.static_cdi));
  FL_TRY(make_private_folder(paths.kubelet));
  FL_TRY(mount_sys());
  for (const auto& folder : {paths.registry, paths.plugins, paths.pods, paths.images, paths.bundles,
                             paths.runtime, paths.logs, paths.state, paths.netns, paths.cdi}) {
    FL_TRY(sys::make_dirs(folder));
  }
  return {};
}

}  // namespace drydock
