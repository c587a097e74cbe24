// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/netlink/endpoint.h"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "fairlead/sys/netns.h"

namespace fairlead::netlink {
namespace {

Result<UniqueFd> open_socket(int protocol) {
  const int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) {
    return Error::from_errno(errno, "open a netlink socket");
  }
  return UniqueFd(fd);
}

/// Kernels older than the option answer ENOPROTOOPT, and do without.
Result<> switch_on(int fd, int option) {
  const int one = 1;
  if (::setsockopt(fd, SOL_NETLINK, option, &one, sizeof one) != 0 && errno != ENOPROTOOPT) {
    return Error::from_errno(errno, "set netlink socket option " + std::to_string(option));
  }
  return {};
}

Result<> set_receive_buffer(int fd, int size) {
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) == 0) {
    return {};
  }
  if (errno != EPERM) {
    return Error::from_errno(errno, "set the netlink receive buffer");
  }
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0) {  // as far as net.core.rmem_max goes
    return Error::from_errno(errno, "set the netlink receive buffer");
  }
  return {};
}

/// The port is not the process id when the process has several sockets (netlink(7)): ask.
Result<std::uint32_t> bind_port(int fd) {
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (::bind(fd, generic, size) != 0 || ::getsockname(fd, generic, &size) != 0) {
    return Error::from_errno(errno, "bind a netlink socket");
  }
  return address.nl_pid;
}

/// Size of the next datagram; nullopt if there is none.
Result<std::optional<std::size_t>> next_size(int fd) {
  for (;;) {
    const ssize_t size = ::recv(fd, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    if (size >= 0) {
      return static_cast<std::size_t>(size);
    }
    const int e = errno;
    if (e == EAGAIN) {
      return std::optional<std::size_t>();
    }
    if (e != EINTR) {
      return Error::from_errno(e, "read from netlink");
    }
  }
}

}  // namespace

Result<Endpoint> open_endpoint(std::optional<int> netns, int receive_buffer, int protocol) {
  const auto open = [protocol] { return open_socket(protocol); };
  FL_ASSIGN(UniqueFd fd, netns ? sys::with_netns(*netns, open) : open());
  FL_TRY(switch_on(fd.get(), NETLINK_EXT_ACK));
  FL_TRY(switch_on(fd.get(), NETLINK_CAP_ACK));
  FL_TRY(switch_on(fd.get(), NETLINK_GET_STRICT_CHK));
  FL_TRY(set_receive_buffer(fd.get(), receive_buffer));
  FL_ASSIGN(const std::uint32_t port, bind_port(fd.get()));
  return Endpoint{.fd = std::move(fd), .port = port};
}

Result<std::optional<std::span<const std::uint8_t>>> receive_datagram(int fd,
                                                                      std::vector<std::uint8_t>& buffer) {
  constexpr std::size_t kUsual = std::size_t{32} << 10U;  // what the kernel fills at most in a dump
  using Datagram = std::optional<std::span<const std::uint8_t>>;
  for (;;) {
    FL_ASSIGN(const auto size, next_size(fd));
    if (!size) {
      return Datagram();
    }
    if (buffer.size() < std::max(*size, kUsual)) {
      buffer.resize(std::max(*size, kUsual));
    }
    sockaddr_nl sender = {};
    iovec part = {.iov_base = buffer.data(), .iov_len = buffer.size()};
    msghdr message = {};
    message.msg_name = &sender;
    message.msg_namelen = sizeof sender;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t got = ::recvmsg(fd, &message, MSG_DONTWAIT);
    if (got < 0) {
      const int e = errno;
      if (e == EINTR || e == EAGAIN) {
        continue;
      }
      return Error::from_errno(e, "read from netlink");
    }
    if ((message.msg_flags & MSG_TRUNC) != 0) {
      return Error(Code::kOverflow, "read from netlink: a message was cut off", EMSGSIZE);
    }
    if (sender.nl_pid == 0) {
      return Datagram(std::span<const std::uint8_t>(buffer).first(static_cast<std::size_t>(got)));
    }
  }
}

Result<std::span<const std::uint8_t>> receive_datagram_by(int fd, std::vector<std::uint8_t>& buffer,
                                                          std::chrono::steady_clock::time_point deadline,
                                                          const WaitWords& words) {
  for (;;) {
    FL_ASSIGN(const auto datagram, receive_datagram(fd, buffer));
    if (datagram) {
      return *datagram;
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return Error(Code::kTimeout, words.late, ETIMEDOUT);
    }
    pollfd ready = {.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&ready, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) {
      return Error::from_errno(errno, words.wait);
    }
  }
}

}  // namespace fairlead::netlink
