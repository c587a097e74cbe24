// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/sysctl.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <mutex>
#include <optional>

#include "fairlead/core/fd.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netns.h"

namespace fairlead::sys {
namespace {

/// A proc file system that is not visible to other processes (fsmount(2), Linux 5.2).
Result<UniqueFd> mount_proc() {
  const UniqueFd context(::fsopen("proc", FSOPEN_CLOEXEC));
  if (!context.valid()) {
    return Error::from_errno(errno, "open a proc file system");
  }
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return Error::from_errno(errno, "make a proc file system");
  }
  UniqueFd mount(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
  if (!mount.valid()) {
    return Error::from_errno(errno, "mount a proc file system");
  }
  return mount;
}

/// If this is not permitted, /proc may still work; if not, its error shows the reason.
Result<UniqueFd> open_proc() {
  auto own = mount_proc();
  return own ? std::move(own) : open_file("/proc", O_PATH | O_DIRECTORY);
}

/// The process's own, made once: to unmount one takes the kernel milliseconds. A child makes its own: it may
/// have closed what it inherited, and the number may be another file's by now.
Result<int> proc() {
  static std::mutex mutex;
  static pid_t owner = 0;
  static std::optional<Result<UniqueFd>> mount;
  const std::lock_guard lock(mutex);
  if (owner != ::getpid()) {
    if (mount && *mount) {
      (void)(*mount)->release();
    }
    mount.emplace(open_proc());
    owner = ::getpid();
  }
  return *mount ? Result<int>((*mount)->get()) : Result<int>(mount->error());
}

/// /proc/sys/net is that of the thread which opens it (net/sysctl_net.c net_ctl_header_lookup).
Result<UniqueFd> open_setting(int netns, const std::string& path, int flags) {
  FL_ASSIGN(const int root, proc());
  return with_netns(netns, [&]() -> Result<UniqueFd> {
    UniqueFd file(::openat(root, ("sys/net/" + path).c_str(), flags | O_CLOEXEC));
    if (!file.valid()) {
      return Error::from_errno(errno, "open net/" + path);
    }
    return file;
  });
}

}  // namespace

Result<> write_net_sysctl(int netns, const std::string& path, std::string_view value) {
  FL_ASSIGN(const UniqueFd file, open_setting(netns, path, O_WRONLY));
  if (::write(file.get(), value.data(), value.size()) < 0) {
    return Error::from_errno(errno, "write " + std::string(value) + " to net/" + path);
  }
  return {};
}

namespace {

/// nullopt if it cannot be read, such as a secret that was never set.
std::optional<std::string> read_line(int folder, const char* name) {
  const UniqueFd file(::openat(folder, name, O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> text = {};
  const ssize_t size = file.valid() ? ::read(file.get(), text.data(), text.size()) : -1;
  if (size < 0) {
    return std::nullopt;
  }
  const std::string_view read(text.data(), static_cast<std::size_t>(size));
  return std::string(read.substr(0, read.find('\n')));
}

struct CloseDir {
  void operator()(DIR* folder) const { (void)::closedir(folder); }
};

Result<std::map<std::string, std::string>> read_folder(int root, const std::string& folder) {
  std::map<std::string, std::string> out;
  UniqueFd fd(::openat(root, ("sys/net/" + folder).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) {
    return errno == ENOENT ? Result<std::map<std::string, std::string>>(out)
                           : Error::from_errno(errno, "open net/" + folder);
  }
  const std::unique_ptr<DIR, CloseDir> list(::fdopendir(fd.get()));
  if (list == nullptr) {
    return Error::from_errno(errno, "list net/" + folder);
  }
  const int at = fd.release();  // the list's now
  while (const dirent* entry = ::readdir(list.get())) {
    struct stat info = {};
    if (::fstatat(at, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode) ||
        (info.st_mode & S_IWUSR) == 0) {
      continue;
    }
    if (auto value = read_line(at, entry->d_name)) {
      out[entry->d_name] = *std::move(value);
    }
  }
  return out;
}

}  // namespace

Result<std::map<std::string, std::string>> read_net_sysctls(int netns, const std::string& folder) {
  FL_ASSIGN(const int root, proc());
  return with_netns(netns, [&] { return read_folder(root, folder); });
}

Result<std::string> read_net_sysctl(int netns, const std::string& path) {
  FL_ASSIGN(const UniqueFd file, open_setting(netns, path, O_RDONLY));
  std::array<char, 4096> text = {};
  const ssize_t size = ::read(file.get(), text.data(), text.size());
  if (size < 0) {
    return Error::from_errno(errno, "read net/" + path);
  }
  const std::string_view read(text.data(), static_cast<std::size_t>(size));
  return std::string(read.substr(0, read.find('\n')));
}

}  // namespace fairlead::sys
