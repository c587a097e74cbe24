// SPDX-License-Identifier: Apache-2.0
#include "drydock/node/registry_watcher.h"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "fairlead/core/log.h"
#include "fairlead/sys/files.h"

namespace drydock {

using fairlead::Error;
using fairlead::Result;

Result<RegistryWatcher> RegistryWatcher::open(const std::string& folder) {
  RegistryWatcher out(fairlead::UniqueFd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)));
  if (out.fd() < 0) {
    return Error::from_errno(errno, "inotify");
  }
  FL_TRY(out.watch_folder(folder), "watch the plugin registry");
  return out;
}

Result<> RegistryWatcher::watch_folder(const std::string& folder) {
  const int watch =
      ::inotify_add_watch(fd_.get(), folder.c_str(), IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR);
  if (watch < 0) {
    return Error::from_errno(errno, folder);
  }
  folders_[watch] = folder;
  // After the watch, so that nothing appears in between; a socket seen twice is harmless.
  FL_ASSIGN(const auto names, fairlead::sys::list_dir(folder));
  for (const auto& name : names) {
    created(folder, name);
  }
  return {};
}

void RegistryWatcher::created(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  struct stat info{};
  if (name.starts_with('.') || ::stat(path.c_str(), &info) != 0) {
    return;
  }
  if (S_ISDIR(info.st_mode)) {
    if (const auto watched = watch_folder(path); !watched) {
      fairlead::log::warn("cannot watch a folder of the plugin registry, ignoring it",
                          {{"error", watched.error().what()}});
    }
    return;
  }
  if (S_ISSOCK(info.st_mode)) {
    sockets_[path] = next_++;
  }
}

Result<bool> RegistryWatcher::drain() {
  bool changed = false;
  alignas(inotify_event) std::array<char, 16384> buffer{};
  while (true) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got < 0) {
      if (errno == EAGAIN || errno == EINTR) {
        return changed;
      }
      return Error::from_errno(errno, "read inotify events");
    }
    for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const std::string name = event.len > 0 ? std::string(buffer.data() + at + sizeof event) : std::string();
      at += sizeof event + event.len;
      const auto folder = folders_.find(event.wd);
      if (folder == folders_.end() || name.empty()) {
        continue;
      }
      changed = true;
      if ((event.mask & IN_DELETE) != 0) {
        sockets_.erase(folder->second + "/" + name);
      } else {
        created(std::string(folder->second), name);
      }
    }
  }
}

}  // namespace drydock
