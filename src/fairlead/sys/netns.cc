// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <cstdlib>

#include "fairlead/core/log.h"
#include "fairlead/sys/files.h"

namespace fairlead::sys {
namespace {

constexpr const char* kOwnNetns = "/proc/thread-self/ns/net";

}  // namespace

std::string to_string(NetnsId id) { return "net:[" + std::to_string(id.inode) + "]"; }

Result<> check_netns(int fd) {
  const int type = ::ioctl(fd, NS_GET_NSTYPE);
  if (type < 0) {
    const int e = errno;
    if (e == ENOTTY || e == EINVAL) {
      return Error(Code::kInvalid, "descriptor " + std::to_string(fd) + " is not a network namespace", e);
    }
    return Error::from_errno(e, "ask descriptor " + std::to_string(fd) + " for its namespace type");
  }
  if (type != CLONE_NEWNET) {
    return Error(Code::kInvalid,
                 "descriptor " + std::to_string(fd) + " is a namespace, but not a network namespace");
  }
  return {};
}

Result<UniqueFd> open_netns(const std::string& path) {
  // O_NONBLOCK: a path from outside may be a FIFO, which must not hang us.
  FL_ASSIGN(UniqueFd fd, open_file(path, O_RDONLY | O_NONBLOCK));
  FL_TRY(check_netns(fd.get()), path);
  return fd;
}

Result<UniqueFd> open_netns_of(pid_t pid) {
  auto fd = open_netns("/proc/" + std::to_string(pid) + "/ns/net");
  if (!fd && (fd.error().sys_errno() == ENOENT || fd.error().sys_errno() == ESRCH)) {
    return Error(Code::kNotFound, "network namespace of process " + std::to_string(pid) + ": no such process",
                 ESRCH);
  }
  return fd;
}

Result<UniqueFd> open_own_netns() { return open_netns(kOwnNetns); }

Result<NetnsId> netns_id(int fd) {
  FL_TRY(check_netns(fd));
  struct stat info = {};
  if (::fstat(fd, &info) != 0) {
    return Error::from_errno(errno, "stat network namespace");
  }
  return NetnsId{.device = info.st_dev, .inode = info.st_ino};
}

Result<UniqueFd> create_netns() {
  Result<UniqueFd> made = Error(Code::kInternal, "the thread did not run");
  std::thread([&made] {
    if (::unshare(CLONE_NEWNET) != 0) {
      made = Error::from_errno(errno, "create a network namespace");
      return;
    }
    made = open_own_netns();
  }).join();
  return made;
}

Result<NetnsScope> NetnsScope::enter(int fd) {
  FL_ASSIGN(UniqueFd home, open_own_netns());
  if (::setns(fd, CLONE_NEWNET) != 0) {
    return Error::from_errno(errno, "enter network namespace");
  }
  return NetnsScope(std::move(home));
}

NetnsScope::~NetnsScope() {
  if (home_.valid() && ::setns(home_.get(), CLONE_NEWNET) != 0) {
    const int e = errno;
    log::error("cannot go back to the thread's own network namespace, aborting", {{"errno", e}});
    std::abort();
  }
}

}  // namespace fairlead::sys
