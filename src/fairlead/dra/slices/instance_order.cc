// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/slices/instance_order.h"

#include <fcntl.h>

#include <cerrno>
#include <ctime>

#include "fairlead/sys/files.h"

namespace fairlead::dra {
namespace {

/// `length` 0: to the end of all.
struct flock write_lock(off_t start, off_t length) {
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = start;
  range.l_len = length;
  return range;
}

}  // namespace

Result<InstanceOrder> InstanceOrder::join(const std::string& state_dir) {
  FL_TRY(sys::make_dirs(state_dir, 0750));
  FL_ASSIGN(UniqueFd fd, sys::open_file(state_dir + "/instances", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  timespec now = {};
  (void)::clock_gettime(CLOCK_BOOTTIME, &now);  // one for all containers of the node; never set back
  auto place = static_cast<off_t>((now.tv_sec * 1'000'000) + (now.tv_nsec / 1'000));
  for (;; ++place) {
    struct flock own = write_lock(place, 1);
    if (::fcntl(fd.get(), F_OFD_SETLK, &own) == 0) {
      return InstanceOrder(std::move(fd), place);
    }
    const int e = errno;
    if (e != EAGAIN && e != EACCES) {
      return Error::from_errno(e, "lock " + state_dir + "/instances");
    }
  }
}

Result<bool> InstanceOrder::has_successor() const {
  struct flock later = write_lock(place_ + 1, 0);
  if (::fcntl(fd_.get(), F_OFD_GETLK, &later) != 0) {
    return Error::from_errno(errno, "look for a newer instance");
  }
  return later.l_type != F_UNLCK;
}

}  // namespace fairlead::dra
