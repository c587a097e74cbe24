// SPDX-License-Identifier: Apache-2.0
#include "fairlead/rpc/nri/mux.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include "fairlead/core/mutex.h"

namespace fairlead::rpc {
namespace {

constexpr std::size_t kHeader = 8;
using Header = std::array<char, kHeader>;

void put_u32(char* at, std::uint32_t value) {
  for (int i = 3; i >= 0; --i) {
    at[i] = static_cast<char>(value & 0xFFU);
    value >>= 8U;
  }
}

std::uint32_t get_u32(const char* at) {
  std::uint32_t out = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    out = (out << 8U) | static_cast<std::uint8_t>(at[i]);
  }
  return out;
}

Header header_of(std::uint32_t connection, std::size_t size) {
  Header out{};
  put_u32(out.data(), connection);
  put_u32(out.data() + 4, static_cast<std::uint32_t>(size));
  return out;
}

iovec part(std::string_view bytes) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): iovec serves reading and writing
  return {.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
}

Result<> write_all(int fd, std::span<iovec> parts) {
  while (!parts.empty()) {
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t wrote = ::sendmsg(fd, &message, MSG_NOSIGNAL);
    if (wrote < 0) {
      if (errno == EINTR) {
        continue;
      }
      return errno == EAGAIN ? Error(Code::kTimeout, "the other side of the NRI connection does not read")
                             : Error::from_errno(errno, "write to the NRI connection");
    }
    auto left = static_cast<std::size_t>(wrote);
    while (!parts.empty() && left >= parts.front().iov_len) {
      left -= parts.front().iov_len;
      parts = parts.subspan(1);
    }
    if (left > 0) {
      parts.front() =
          part(std::string_view(static_cast<const char*>(parts.front().iov_base), parts.front().iov_len)
                   .substr(left));
    }
  }
  return {};
}

}  // namespace

struct NriMux::Impl {
  Impl(UniqueFd given, Options wanted) : socket(std::move(given)), options(std::move(wanted)) {}

  void close() {
    closing = true;
    (void)::shutdown(socket.get(), SHUT_RDWR);
  }
  void run();
  Result<> read_all();
  Result<> take(std::string_view bytes);
  Result<> take_header(std::string_view& bytes);

  const UniqueFd socket;
  const Options options;
  std::atomic<bool> closing = false;
  Mutex sending;

  // Of the reading thread.
  Header header{};
  std::size_t header_size = 0;
  std::uint32_t connection = 0;
  std::size_t left = 0;  // of the frame

  std::thread reader;  // last: it uses all of the above
};

NriMux::NriMux(UniqueFd socket, Options options)
    : impl_(std::make_unique<Impl>(std::move(socket), std::move(options))) {
  const int fd = impl_->socket.get();
  const auto timeout = std::max(impl_->options.send_timeout, std::chrono::milliseconds(1));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  const timeval value = {.tv_sec = seconds.count(),
                         .tv_usec = std::chrono::microseconds(timeout - seconds).count()};
  // What fails here fails again in send() and in the reader, which can say so.
  (void)::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof value);
  if (const int flags = ::fcntl(fd, F_GETFL); flags >= 0 && (flags & O_NONBLOCK) != 0) {
    (void)::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  }
}

NriMux::~NriMux() {
  close();
  if (impl_->reader.joinable()) {
    impl_->reader.join();
  }
}

void NriMux::start() {
  impl_->reader = std::thread([impl = impl_.get()] { impl->run(); });
}

void NriMux::close() { impl_->close(); }

Result<> NriMux::send(std::uint32_t connection, std::string_view message) {
  if (message.size() > kNriMaxFrame) {
    return Error(Code::kInvalid, "the message has " + std::to_string(message.size()) + " bytes; NRI allows " +
                                     std::to_string(kNriMaxFrame));
  }
  const std::string_view first = message.substr(0, kNriFirstFrame);
  const std::string_view rest = message.substr(first.size());
  const Header first_header = header_of(connection, first.size());
  const Header rest_header = header_of(connection, rest.size());
  std::array<iovec, 4> parts = {part({first_header.data(), kHeader}), part(first),
                                part({rest_header.data(), kHeader}), part(rest)};
  const Lock lock(impl_->sending);
  auto sent = write_all(impl_->socket.get(), std::span(parts).first(rest.empty() ? 2 : 4));
  if (!sent) {
    impl_->close();  // half a frame may be out
  }
  return sent;
}

// ---- reading ----------------------------------------------------------------------------------------------

Result<> NriMux::Impl::take_header(std::string_view& bytes) {
  const std::size_t n = std::min(kHeader - header_size, bytes.size());
  std::copy_n(bytes.begin(), n, header.begin() + static_cast<std::ptrdiff_t>(header_size));
  header_size += n;
  bytes.remove_prefix(n);
  if (header_size < kHeader) {
    return {};
  }
  connection = get_u32(header.data());
  left = get_u32(header.data() + 4);
  if (left > kNriMaxFrame) {
    return Error(Code::kCorrupt, "the other side sent an NRI frame of " + std::to_string(left) +
                                     " bytes; at most " + std::to_string(kNriMaxFrame) + " make sense");
  }
  return {};
}

Result<> NriMux::Impl::take(std::string_view bytes) {
  while (!bytes.empty()) {
    if (header_size < kHeader) {
      FL_TRY(take_header(bytes));
    }
    const std::string_view now = bytes.substr(0, left);
    if (header_size == kHeader && !now.empty()) {
      FL_TRY(options.receive(connection, now));
      bytes.remove_prefix(now.size());
      left -= now.size();
    }
    if (header_size == kHeader && left == 0) {
      header_size = 0;
    }
  }
  return {};
}

Result<> NriMux::Impl::read_all() {
  std::array<char, std::size_t{16} * 1024> buffer{};
  while (true) {
    const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    if (got > 0) {
      FL_TRY(take({buffer.data(), static_cast<std::size_t>(got)}));
    } else if (got == 0) {
      return Error(Code::kUnavailable,
                   closing ? "the NRI connection was closed" : "the other side closed the NRI connection");
    } else if (errno != EINTR) {
      return Error::from_errno(errno, "read from the NRI connection");
    }
  }
}

void NriMux::Impl::run() {
  const auto end = read_all();
  close();
  if (options.closed) {
    options.closed(end.error());
  }
}

}  // namespace fairlead::rpc
