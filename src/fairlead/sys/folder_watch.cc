// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/folder_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace fairlead::sys {
namespace {

constexpr std::uint32_t kEntries =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE;
constexpr std::uint32_t kFolder = IN_DELETE_SELF | IN_MOVE_SELF;
constexpr std::uint32_t kLost = IN_Q_OVERFLOW | IN_IGNORED | IN_UNMOUNT;

}  // namespace

Result<FolderWatch> FolderWatch::open(const std::string& path) {
  UniqueFd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd.valid()) {
    return Error::from_errno(errno, "watch " + path + ": inotify_init1");
  }
  if (::inotify_add_watch(fd.get(), path.c_str(), kEntries | kFolder | IN_ONLYDIR) < 0) {
    return Error::from_errno(errno, "watch " + path);
  }
  return FolderWatch(std::move(fd));
}

FolderWatch::Changes FolderWatch::take() {
  Changes changes;
  alignas(inotify_event) std::array<char, 16 * 1024> buffer{};
  for (;;) {
    const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      changes.all = changes.all || (got < 0 && errno != EAGAIN);
      return changes;
    }
    for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof(event));
      // An event without a name is of the folder itself.
      if ((event.mask & (kFolder | kLost)) != 0 || event.len == 0) {
        changes.all = true;
      } else {
        changes.names.emplace(buffer.data() + at + sizeof(event));
      }
      at += sizeof(event) + event.len;
    }
  }
}

}  // namespace fairlead::sys
