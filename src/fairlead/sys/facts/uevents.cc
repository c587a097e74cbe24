// SPDX-License-Identifier: Apache-2.0
#include "fairlead/sys/facts/uevents.h"

#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace fairlead::sys {
namespace {

constexpr std::uint32_t kKernelGroup = 1;  // 2 is libudev's
/// lib/kobject_uevent.c UEVENT_BUFFER_SIZE, and the path in front of it.
constexpr std::size_t kMessageMax = std::size_t{16} << 10U;
constexpr int kReceiveBuffer = 2 << 20;

constexpr std::array<std::string_view, 3> kSubsystems = {"net", "pci", "infiniband"};

/// SO_RCVBUFFORCE needs CAP_NET_ADMIN in the initial user namespace; the usual size is enough for less.
void enlarge_receive_buffer(int fd) {
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) != 0) {
    (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  }
}

}  // namespace

std::optional<Uevent> parse_uevent(std::span<const std::uint8_t> message) {
  std::string_view rest(reinterpret_cast<const char*>(message.data()), message.size());
  const auto next = [&] {
    const std::string_view text = rest.substr(0, rest.find('\0'));
    rest.remove_prefix(std::min(rest.size(), text.size() + 1));
    return text;
  };
  const std::string_view head = next();
  const auto at = head.find('@');
  if (at == std::string_view::npos || at == 0 || at + 1 >= head.size() || head[at + 1] != '/') {
    return std::nullopt;
  }
  Uevent event{
      .action = std::string(head.substr(0, at)), .path = std::string(head.substr(at + 1)), .subsystem = {}};
  constexpr std::string_view kSubsystem = "SUBSYSTEM=";
  while (!rest.empty()) {
    if (const std::string_view text = next(); text.starts_with(kSubsystem)) {
      event.subsystem = text.substr(kSubsystem.size());
    }
  }
  return event.subsystem.empty() ? std::nullopt : std::optional(std::move(event));
}

bool is_about_facts(const Uevent& event) {
  return std::ranges::find(kSubsystems, event.subsystem) != kSubsystems.end();
}

bool is_about_virtual_link(const Uevent& event) {
  return event.subsystem == "net" && event.path.starts_with("/devices/virtual/");
}

Result<Uevents> Uevents::open() {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
  if (!fd.valid()) {
    return Error::from_errno(errno, "open a socket for the kernel's uevents");
  }
  enlarge_receive_buffer(fd.get());
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = kKernelGroup;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Error::from_errno(errno, "join the kernel's uevents");
  }
  return Uevents(std::move(fd));
}

Result<bool> Uevents::drain(const std::function<void(const Uevent&)>& each) {
  buffer_.resize(kMessageMax);
  bool is_relevant = false;
  were_lost_ = false;
  for (;;) {
    sockaddr_nl sender = {};
    iovec part = {.iov_base = buffer_.data(), .iov_len = buffer_.size()};
    msghdr message = {};
    message.msg_name = &sender;
    message.msg_namelen = sizeof sender;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t got = ::recvmsg(fd_.get(), &message, 0);
    if (got < 0) {
      const int e = errno;
      if (e == EAGAIN) {
        return is_relevant;
      }
      if (e == ENOBUFS) {
        is_relevant = were_lost_ = true;  // the kernel dropped some
      } else if (e != EINTR) {
        return Error::from_errno(e, "read the kernel's uevents");
      }
      continue;
    }
    if (sender.nl_pid != 0) {
      continue;  // any process with CAP_NET_ADMIN may send to the group; only the kernel's count
    }
    if ((message.msg_flags & MSG_TRUNC) != 0) {
      is_relevant = were_lost_ = true;
      continue;
    }
    const auto event = parse_uevent(std::span(buffer_).first(static_cast<std::size_t>(got)));
    if (event && is_about_facts(*event)) {
      is_relevant = true;
      if (each) {
        each(*event);
      }
    }
  }
}

}  // namespace fairlead::sys
