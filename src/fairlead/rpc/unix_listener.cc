// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/unix_listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "fairlead/sys/files.h"
#include "fairlead/sys/unix_socket.h"

namespace fairlead::rpc {
namespace {

Result<UniqueFd> make_socket() {
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return Error::from_errno(errno, "create a unix socket");
  }
  return fd;
}

/// Binds; false when the name is taken.
Result<bool> try_bind(int fd, const std::string& path, const sockaddr_un& address) {
  if (::bind(fd, sys::as_sockaddr(address), sizeof address) == 0) {
    return true;
  }
  const int e = errno;
  return e == EADDRINUSE ? Result<bool>(false) : Error::from_errno(e, "bind " + path);
}

std::string folder_of(const std::string& path) {
  return path.substr(0, std::max<std::size_t>(1, path.rfind('/')));
}

/// Protects the time between checking a name and binding it: a lock on the folder itself, which needs no file
/// and ends with the process. Its holder needs milliseconds; a holder that was stopped meanwhile, or an
/// unrelated process that locks the folder, is not waited for: then the bind goes ahead without the lock.
Result<UniqueFd> lock_folder(const std::string& path) {
  constexpr std::chrono::seconds kPatience{2};
  FL_ASSIGN(UniqueFd folder, sys::open_file(folder_of(path), O_RDONLY | O_DIRECTORY));
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (::flock(folder.get(), LOCK_EX | LOCK_NB) != 0 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return folder;
}

/// Removes a socket that no process listens on; the folder is locked.
Result<> remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0) {
    const int e = errno;
    return e == ENOENT ? Result<>() : Error::from_errno(e, "stat " + path);
  }
  if (!S_ISSOCK(info.st_mode)) {
    return Error(Code::kExists, path + " exists and is no socket; remove it");
  }
  FL_ASSIGN(const UniqueFd probe, make_socket());
  const int e = ::connect(probe.get(), sys::as_sockaddr(address), sizeof address) == 0 ? 0 : errno;
  if (e == ENOENT) {
    return {};
  }
  if (e != ECONNREFUSED) {  // connected, or its backlog is full (EAGAIN)
    return Error(Code::kBusy, "another instance is running: it listens on " + path);
  }
  return sys::remove_file(path);
}

}  // namespace

Result<UnixListener> UnixListener::open(const std::string& path) {
  FL_ASSIGN(const sockaddr_un address, sys::unix_address(path));
  FL_TRY(sys::make_dirs(folder_of(path), 0750));
  FL_ASSIGN(UniqueFd fd, make_socket());
  FL_ASSIGN(const UniqueFd lock, lock_folder(path));  // until it listens: before that it looks stale
  // bind() gives the new inode the mode of the socket's own (unix_bind_bsd in net/unix/af_unix.c), less the
  // umask: so there is no moment at which others could connect, and no umask to change for all threads.
  if (::fchmod(fd.get(), 0600) != 0) {
    return Error::from_errno(errno, "set the mode of socket " + path);
  }
  FL_ASSIGN(bool bound, try_bind(fd.get(), path, address));
  if (!bound) {
    FL_TRY(remove_stale(path, address));
    FL_ASSIGN(bound, try_bind(fd.get(), path, address));
  }
  if (!bound) {
    return Error(Code::kBusy, "another instance is starting: it took " + path);
  }
  struct stat info = {};
  if (::lstat(path.c_str(), &info) != 0) {
    return Error::from_errno(errno, "stat " + path);
  }
  UnixListener listener(std::move(fd), path, info.st_dev, info.st_ino);
  if (::listen(listener.descriptor(), SOMAXCONN) != 0) {
    return Error::from_errno(errno, "listen on " + path);
  }
  return listener;
}

UnixListener::UnixListener(UnixListener&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

UnixListener& UnixListener::operator=(UnixListener&& other) noexcept {
  close();
  fd_ = std::move(other.fd_);
  path_ = std::exchange(other.path_, {});
  device_ = other.device_;
  inode_ = other.inode_;
  return *this;
}

UnixListener::~UnixListener() { close(); }

bool UnixListener::is_in_place() const {
  // The inode is ours as long as the socket is open: no other can get its number.
  struct stat info = {};
  return !path_.empty() && ::lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ &&
         info.st_ino == inode_;
}

void UnixListener::unlink() {
  if (path_.empty()) {
    return;
  }
  const auto lock = lock_folder(path_);  // without it the moment is tiny, and leaving the name is worse
  if (is_in_place()) {
    (void)::unlink(path_.c_str());
  }
  path_.clear();
}

void UnixListener::close() {
  unlink();
  fd_.reset();
}

Result<bool> remove_dead_socket(const std::string& path) {
  const auto address = sys::unix_address(path);
  struct stat before = {};
  if (!address || ::lstat(path.c_str(), &before) != 0 || !S_ISSOCK(before.st_mode)) {
    return false;
  }
  FL_ASSIGN(const UniqueFd lock, lock_folder(path));
  const auto removed = remove_stale(path, *address);
  if (!removed && removed.error().code() == Code::kBusy) {
    return false;
  }
  FL_TRY(removed);
  return true;
}

}  // namespace fairlead::rpc
