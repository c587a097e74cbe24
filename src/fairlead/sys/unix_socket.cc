// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/unix_socket.h"

#include <sys/time.h>

#include <cerrno>

namespace fairlead::sys {

Result<sockaddr_un> unix_address(std::string_view path) {
  const std::string what = "socket path \"" + std::string(path) + "\"";
  if (!path.starts_with('/') || path.contains('\0')) {
    return Error(Code::kInvalid, what + " must be absolute, without NUL bytes");
  }
  if (path.size() > kMaxSocketPath) {
    return Error(Code::kInvalid, what + " has " + std::to_string(path.size()) +
                                     " bytes; unix sockets allow " + std::to_string(kMaxSocketPath));
  }
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, path.size());
  return address;
}

const sockaddr* as_sockaddr(const sockaddr_un& address) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the sockets API
  return reinterpret_cast<const sockaddr*>(&address);
}

Result<UniqueFd> connect_unix(const std::string& path, std::chrono::milliseconds timeout) {
  FL_ASSIGN(const sockaddr_un address, unix_address(path));
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) {
    return Error::from_errno(errno, "create a unix socket");
  }
  if (timeout.count() > 0) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(timeout);
    const timeval limit = {.tv_sec = seconds.count(),
                           .tv_usec = std::chrono::microseconds(timeout - seconds).count()};
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  }
  if (::connect(fd.get(), as_sockaddr(address), sizeof address) != 0) {
    return Error::from_errno(errno, "connect to " + path);
  }
  return fd;
}

}  // namespace fairlead::sys
