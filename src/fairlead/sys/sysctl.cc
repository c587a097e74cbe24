// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/sysctl.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "fairlead/core/fd.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netns.h"

namespace fairlead::sys {
namespace {

/// A proc file system that nobody else sees (fsmount(2), Linux 5.2).
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

/// Where this is not permitted, /proc may still do; what it says then tells why it does not.
Result<UniqueFd> open_proc() {
  auto own = mount_proc();
  return own ? std::move(own) : open_file("/proc", O_PATH | O_DIRECTORY);
}

/// The process's own, made once: to unmount one takes the kernel milliseconds.
Result<int> proc() {
  static const Result<UniqueFd> mount = open_proc();
  return mount ? Result<int>(mount->get()) : Result<int>(mount.error());
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
