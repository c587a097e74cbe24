// SPDX-License-Identifier: Apache-2.0
// Network namespaces as a container runtime makes them for pods: bind mounts below /run/netns. In a mount namespace of
// the benchmark's own.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <string>
#include <utility>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"
#include "fairlead/sys/files.h"
#include "fairlead/sys/netns.h"

namespace fairlead::bench {

/// Once, before other threads start: /run is an empty tmpfs from here on.
inline Result<> make_own_run_folder() {
  if (::unshare(CLONE_NEWNS) != 0) {
    return Error::from_errno(errno, "make a mount namespace (root is needed)");
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("tmpfs", "/run", "tmpfs", 0, "mode=0755") != 0) {
    return Error::from_errno(errno, "mount a tmpfs on /run");
  }
  return sys::make_dirs("/run/netns", 0755);
}

class PodNetns {
 public:
  static Result<PodNetns> make(const std::string& name) {
    PodNetns made;
    FL_ASSIGN(made.fd_, sys::create_netns());
    made.path_ = "/run/netns/" + name;
    FL_TRY(sys::replace_file("/run/netns", name, ""));
    const std::string source = "/proc/self/fd/" + std::to_string(made.fd_.get());
    if (::mount(source.c_str(), made.path_.c_str(), nullptr, MS_BIND, nullptr) != 0) {
      return Error::from_errno(errno, "mount a network namespace on " + made.path_);
    }
    return made;
  }
  PodNetns(PodNetns&& other) noexcept : fd_(std::move(other.fd_)), path_(std::exchange(other.path_, {})) {}
  PodNetns& operator=(PodNetns&&) = delete;
  PodNetns(const PodNetns&) = delete;
  PodNetns& operator=(const PodNetns&) = delete;
  ~PodNetns() {
    if (!path_.empty()) {
      ::umount2(path_.c_str(), MNT_DETACH);
      (void)sys::remove_file(path_);
    }
  }

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  PodNetns() = default;
  UniqueFd fd_;
  std::string path_;
};

}  // namespace fairlead::bench
