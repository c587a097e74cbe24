// SPDX-License-Identifier: Apache-2.0
// A server of three fixed pages, written here: Debian's cpp-httplib is a shared library that brings TLS and
// two compression libraries into the process, which is more memory than all the rest of the agent's own code.
#include "fairlead/dra/admin_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/log.h"

namespace fairlead::dra {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::size_t kThreads = 2;  // one more than a probe that hangs
constexpr std::size_t kMaxRequest = 8192;
constexpr std::chrono::seconds kReadTime{2};
constexpr std::chrono::seconds kWriteTime{5};
constexpr int kBacklog = 16;

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Address any_v6(std::uint16_t port) {
  Address out;
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  in6.sin6_addr = in6addr_any;
  std::memcpy(&out.storage, &in6, sizeof in6);
  out.size = sizeof in6;
  return out;
}

std::optional<Address> numeric(const std::string& host, std::uint16_t port) {
  Address out = any_v6(port);
  sockaddr_in6 in6{};
  std::memcpy(&in6, &out.storage, sizeof in6);
  if (::inet_pton(AF_INET6, host.c_str(), &in6.sin6_addr) == 1) {
    std::memcpy(&out.storage, &in6, sizeof in6);
    return out;
  }
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &in.sin_addr) != 1) {
    return std::nullopt;
  }
  out = {};
  std::memcpy(&out.storage, &in, sizeof in);
  out.size = sizeof in;
  return out;
}

/// The addresses to try, the preferred one first.
Result<std::vector<Address>> parse_listen(const std::string& listen) {
  const Error malformed(Code::kInvalid, "listen address \"" + listen +
                                            "\": must be address:port with a numeric address, such as "
                                            "127.0.0.1:9095, [::1]:9095 or :9095");
  const auto colon = listen.rfind(':');
  if (colon == std::string::npos) {
    return malformed;
  }
  std::string host = listen.substr(0, colon);
  const std::string_view digits = std::string_view(listen).substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (code != std::errc{} || end != digits.data() + digits.size()) {
    return malformed;
  }
  if (host.empty()) {
    // A node without IPv6 has only the second.
    return std::vector<Address>{any_v6(port), *numeric("0.0.0.0", port)};
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    return malformed;  // an IPv6 address needs its brackets: where would the port begin?
  }
  const auto address = numeric(host == "localhost" ? "127.0.0.1" : host, port);
  if (!address) {
    return malformed;
  }
  return std::vector<Address>{*address};
}

/// A listening socket, or the errno.
std::expected<UniqueFd, int> open_listener(const Address& address) {
  UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return std::unexpected(errno);
  }
  const int on = 1;
  const int off = 0;
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.storage.ss_family == AF_INET6) {
    (void)::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how the socket API is
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0 ||
      ::listen(fd.get(), kBacklog) != 0) {
    return std::unexpected(errno);
  }
  return fd;
}

Error listen_error(const std::string& listen, int e) {
  const std::string reason = e == EADDRINUSE
                                 ? "another program, or another instance of this driver, has the port"
                             : e == EADDRNOTAVAIL ? "no interface of this node has the address"
                                                  : "the address cannot be used";
  const Code code = e == EADDRINUSE ? Code::kBusy : e == EACCES ? Code::kDenied : Code::kUnavailable;
  return {code, "listen on " + listen + ": " + std::generic_category().message(e) + " (" + reason + ")", e};
}

struct Page {
  int status = 200;
  std::string body;
  std::string_view type = "text/plain; charset=utf-8";
};

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    default:
      return "Service Unavailable";
  }
}

std::string response(const Page& page, bool with_body) {
  std::string out = "HTTP/1.1 " + std::to_string(page.status) + " " + std::string(reason_of(page.status)) +
                    "\r\nContent-Type: " + std::string(page.type) +
                    "\r\nContent-Length: " + std::to_string(page.body.size()) +
                    "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n";
  if (page.status == 405) {
    out += "Allow: GET, HEAD\r\n";
  }
  out += "\r\n";
  return with_body ? out + page.body : out;
}

int remaining_ms(SteadyTime deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
}

}  // namespace

class AdminHttp::Impl {
 public:
  Impl(UniqueFd listener, UniqueFd stopper, int port, Sources sources)
      : listener_(std::move(listener)),
        stopper_(std::move(stopper)),
        port_(port),
        sources_(std::move(sources)) {
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads_.emplace_back([this] { serve(); });
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  Impl(Impl&&) = delete;
  Impl& operator=(Impl&&) = delete;
  ~Impl() {
    // The counter of the eventfd is never read, so that every thread sees it in every poll from now on.
    const std::uint64_t one = 1;
    if (::write(stopper_.get(), &one, sizeof one) != sizeof one) {
      log::error("admin HTTP server: cannot wake its threads");
    }
    for (std::thread& thread : threads_) {
      thread.join();
    }
  }

  [[nodiscard]] int port() const { return port_; }

 private:
  /// Until `fd` is ready for `events`; false at the deadline (none: wait for ever) or when stopping.
  bool wait(int fd, short events, std::optional<SteadyTime> deadline) const {
    for (;;) {
      std::array<pollfd, 2> fds = {{{.fd = fd, .events = events, .revents = 0},
                                    {.fd = stopper_.get(), .events = POLLIN, .revents = 0}}};
      const int ready = ::poll(fds.data(), fds.size(), deadline ? remaining_ms(*deadline) : -1);
      if (ready < 0 && errno == EINTR) {
        continue;
      }
      return ready > 0 && fds[1].revents == 0;
    }
  }

  void serve() const {
    while (wait(listener_.get(), POLLIN, std::nullopt)) {
      // The other thread may have been quicker: then there is nothing to accept.
      const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (client.valid()) {
        answer(client.get());
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        // The connection stays in the queue; do not spin on it.
        (void)wait(-1, 0, std::chrono::steady_clock::now() + std::chrono::milliseconds(100));
      }
    }
  }

  void answer(int client) const {
    const auto request = read_request(client);
    if (!request) {
      return;
    }
    send_all(client, response_to(*request));
    (void)::shutdown(client, SHUT_WR);
  }

  /// The request line, once all headers are in; nothing when the client is too slow or says too much.
  [[nodiscard]] std::optional<std::string> read_request(int client) const {
    const auto deadline = std::chrono::steady_clock::now() + kReadTime;
    std::string text;
    while (text.find("\r\n\r\n") == std::string::npos) {
      std::array<char, 2048> chunk;  // NOLINT(cppcoreguidelines-pro-type-member-init): recv fills it
      const ssize_t got = ::recv(client, chunk.data(), chunk.size(), 0);
      if (got > 0) {
        text.append(chunk.data(), static_cast<std::size_t>(got));
        if (text.size() > kMaxRequest) {
          return std::nullopt;
        }
        continue;
      }
      const bool again = got < 0 && (errno == EAGAIN || errno == EINTR);
      if (!again || !wait(client, POLLIN, deadline)) {
        return std::nullopt;
      }
    }
    return text.substr(0, text.find("\r\n"));
  }

  [[nodiscard]] std::string response_to(std::string_view line) const {
    const auto first = line.find(' ');
    const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
    if (second == std::string_view::npos || !line.substr(second + 1).starts_with("HTTP/1.")) {
      return response({.status = 400, .body = "not an HTTP/1 request\n"}, true);
    }
    const std::string_view method = line.substr(0, first);
    if (method != "GET" && method != "HEAD") {
      return response({.status = 405, .body = "only GET is served\n"}, true);
    }
    std::string_view path = line.substr(first + 1, second - first - 1);
    path = path.substr(0, path.find('?'));
    return response(page(path), method == "GET");
  }

  [[nodiscard]] Page page(std::string_view path) const {
    if (path == "/metrics") {
      return {.status = 200, .body = sources_.metrics(), .type = "text/plain; version=0.0.4; charset=utf-8"};
    }
    if (path == "/healthz") {
      return verdict(sources_.health());
    }
    if (path == "/readyz") {
      return verdict(sources_.ready());
    }
    return {.status = 404, .body = "there are /metrics, /healthz and /readyz\n"};
  }

  static Page verdict(const Result<>& result) {
    if (result) {
      return {.status = 200, .body = "ok\n"};
    }
    return {.status = 503, .body = result.error().what() + "\n"};
  }

  void send_all(int client, std::string_view text) const {
    const auto deadline = std::chrono::steady_clock::now() + kWriteTime;
    while (!text.empty()) {
      const ssize_t sent = ::send(client, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent > 0) {
        text.remove_prefix(static_cast<std::size_t>(sent));
        continue;
      }
      const bool again = sent < 0 && (errno == EAGAIN || errno == EINTR);
      if (!again || !wait(client, POLLOUT, deadline)) {
        return;
      }
    }
  }

  UniqueFd listener_;
  UniqueFd stopper_;  // eventfd
  int port_;
  Sources sources_;
  std::vector<std::thread> threads_;  // last: they use the above
};

AdminHttp::AdminHttp(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AdminHttp::~AdminHttp() = default;
int AdminHttp::port() const { return impl_->port(); }

Result<std::unique_ptr<AdminHttp>> AdminHttp::start(const std::string& listen, Sources sources) {
  FL_ASSIGN(const auto addresses, parse_listen(listen), "");
  int e = 0;
  for (const Address& address : addresses) {
    auto listener = open_listener(address);
    if (!listener) {
      e = listener.error();
      if (e == EADDRINUSE) {
        break;  // the next address would only hide it
      }
      continue;
    }
    sockaddr_in6 bound{};  // the port is at the same place in sockaddr_in
    socklen_t size = sizeof bound;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how the socket API is
    if (::getsockname(listener->get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
      return Error::from_errno(errno, "listen on " + listen);
    }
    UniqueFd stopper(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stopper.valid()) {
      return Error::from_errno(errno, "listen on " + listen + ": eventfd");
    }
    return std::unique_ptr<AdminHttp>(new AdminHttp(std::make_unique<Impl>(
        *std::move(listener), std::move(stopper), ntohs(bound.sin6_port), std::move(sources))));
  }
  return listen_error(listen, e);
}

}  // namespace fairlead::dra
