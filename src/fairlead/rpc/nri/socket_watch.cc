// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/nri/socket_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace fairlead::rpc {

SocketWatch::SocketWatch(const std::string& path)
    : folder_(path.substr(0, std::max<std::size_t>(1, path.rfind('/')))),
      name_(path.substr(path.rfind('/') + 1)),
      events_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void SocketWatch::arm() const {
  (void)::inotify_add_watch(events_.get(), folder_.c_str(), IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

void SocketWatch::stop() const {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
}

bool SocketWatch::appeared() const {
  bool out = false;
  alignas(inotify_event) std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = ::read(events_.get(), buffer.data(), buffer.size())) > 0;) {
    for (std::size_t at = 0; at < static_cast<std::size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* const name = buffer.data() + at + sizeof event;
      out = out || (event.len > 0 && name_ == name);
      at += sizeof event + event.len;
    }
  }
  return out;
}

bool SocketWatch::wait(std::chrono::steady_clock::duration duration) const {
  const auto end = std::chrono::steady_clock::now() + duration;
  std::array<pollfd, 2> fds = {pollfd{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                               pollfd{.fd = events_.get(), .events = POLLIN, .revents = 0}};
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left <= std::chrono::milliseconds(0)) {
      return false;
    }
    (void)::poll(fds.data(), fds.size(), static_cast<int>(left.count()));
    if (fds[0].revents != 0) {
      return false;
    }
    if (appeared()) {
      return true;
    }
  }
}

}  // namespace fairlead::rpc
