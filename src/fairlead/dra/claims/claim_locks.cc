// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/claims/claim_locks.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <thread>

#include "fairlead/core/hash.h"
#include "fairlead/sys/files.h"

namespace fairlead::dra {
namespace {

/// The byte of the lock file for a key: FNV-1a, 62 bits so that it is a valid off_t. Two keys that share a
/// byte only wait for each other.
off_t byte_of(std::string_view key) { return static_cast<off_t>(fnv1a_64(key) >> 2U); }

/// False: another instance has it. Locks of the open file description, not of the process (POSIX locks would
/// vanish when any thread closes the file).
Result<bool> try_lock_byte(int fd, off_t byte) {
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  range.l_start = byte;
  range.l_len = 1;
  if (::fcntl(fd, F_OFD_SETLK, &range) == 0) {
    return true;
  }
  const int e = errno;
  if (e == EAGAIN || e == EACCES || e == EINTR) {
    return false;
  }
  return Error::from_errno(e, "lock the claim records");
}

/// There is no lock call with a timeout, so it asks again, in growing steps up to 20 ms. Only the short time
/// in which two instances overlap ever comes here twice.
Result<> lock_byte(int fd, off_t byte, ClaimLocks::Deadline deadline, const std::stop_token& stop) {
  for (std::chrono::milliseconds pause{1};; pause = std::min(pause * 2, std::chrono::milliseconds{20})) {
    FL_ASSIGN(const bool taken, try_lock_byte(fd, byte));
    if (taken) {
      return {};
    }
    if (stop.stop_requested()) {
      return Error(Code::kCancelled, "the caller went away");
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return Error(Code::kTimeout, "another instance of the driver is at work on this claim or its devices");
    }
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace

Result<> ClaimLocks::Keys::add(std::vector<std::string> keys, Deadline deadline,
                               const std::stop_token& stop) {
  std::ranges::sort(keys);
  for (const std::string& key : keys) {
    FL_TRY(lock_byte(fd_.get(), byte_of(key), deadline, stop));
  }
  return {};
}

Result<ClaimLocks::Keys> ClaimLocks::lock(std::vector<std::string> keys, Deadline deadline,
                                          const std::stop_token& stop) const {
  FL_ASSIGN(UniqueFd fd, sys::open_file(path_, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  Keys held(std::move(fd));
  FL_TRY(held.add(std::move(keys), deadline, stop));
  return held;
}

}  // namespace fairlead::dra
