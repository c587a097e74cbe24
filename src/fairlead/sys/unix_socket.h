// SPDX-License-Identifier: Apache-2.0
// Addresses of unix sockets, and connecting to one.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace fairlead::sys {

/// sockaddr_un has room for 107 bytes and the final NUL.
inline constexpr std::size_t kMaxSocketPath = sizeof(sockaddr_un::sun_path) - 1;

/// kInvalid: not absolute, too long, or with a NUL in it.
Result<sockaddr_un> unix_address(std::string_view path);

/// bind(2) and connect(2) take it as this.
const sockaddr* as_sockaddr(const sockaddr_un& address);

/// A blocking stream socket, connected. `timeout` bounds connect(2), which waits while the listener's backlog is full,
/// and every send; 0: none. The error keeps the errno (ECONNREFUSED: nothing listens; kNotFound: no such file).
Result<UniqueFd> connect_unix(const std::string& path,
                              std::chrono::milliseconds timeout = std::chrono::milliseconds(0));

}  // namespace fairlead::sys
