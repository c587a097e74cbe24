// SPDX-License-Identifier: Apache-2.0
// Each address has its own listener and thread: probes on one do not wait for clients of another.
#include "fairlead/dra/serve/admin_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/fd.h"
#include "fairlead/core/mutex.h"
#include "fairlead/dra/serve/http_listener.h"
#include "fairlead/sys/unix_socket.h"

namespace fairlead::dra {
namespace {

constexpr int kPatienceSeconds = 5;
constexpr int kBacklog = 64;
/// How long a result of health() is reused for clients over TCP, since anyone may send requests at any rate.
constexpr std::chrono::seconds kHealthKept{1};
constexpr std::string_view kUnix = "unix:";

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

Result<Address> unix_address(const std::string& listen) {
  FL_ASSIGN(const sockaddr_un un, sys::unix_address(std::string_view(listen).substr(kUnix.size())),
            "listen address \"" + listen + "\"");
  Address out;
  std::memcpy(&out.storage, &un, sizeof un);
  out.size = sizeof un;
  return out;
}

/// The addresses to try, the preferred one first.
Result<std::vector<Address>> parse_listen(const std::string& listen) {
  const Error malformed(Code::kInvalid, "listen address \"" + listen +
                                            "\": must be address:port with a numeric address, such as "
                                            "127.0.0.1:9095, [::1]:9095 or :9095, or unix:/path");
  if (listen.starts_with(kUnix)) {
    FL_ASSIGN(const Address address, unix_address(listen));
    return std::vector<Address>{address};
  }
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
    std::vector<Address> any{any_v6(port)};
    if (const auto any_v4 = numeric("0.0.0.0", port)) {
      any.push_back(*any_v4);
    }
    return any;
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

/// "a,b" as {"a", "b"}.
std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    out.push_back(list.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

const sockaddr* as_sockaddr(const Address& address) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how the socket API is
  return reinterpret_cast<const sockaddr*>(&address.storage);
}

void prepare_tcp(int fd, const Address& address, AdminHttp::Port port) {
  const int on = 1;
  const int off = 0;
  (void)::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (port == AdminHttp::Port::kShared) {
    (void)::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  }
  if (address.storage.ss_family == AF_INET6) {
    (void)::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
}

/// A listening socket, or the errno. An existing file of a unix socket is replaced: its folder is ours, and a
/// process that was killed leaves the file there.
std::expected<UniqueFd, int> open_listener(const Address& address, AdminHttp::Port port) {
  UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) {
    return std::unexpected(errno);
  }
  if (address.storage.ss_family == AF_UNIX) {
    sockaddr_un un{};
    std::memcpy(&un, &address.storage, sizeof un);
    (void)::unlink(un.sun_path);
    (void)::fchmod(fd.get(), S_IRUSR | S_IWUSR);  // before bind(2): the file is never open to others
  } else {
    prepare_tcp(fd.get(), address, port);
  }
  if (::bind(fd.get(), as_sockaddr(address), address.size) != 0 || ::listen(fd.get(), kBacklog) != 0) {
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

HttpAnswer verdict_page(const Result<>& verdict) {
  return {.status = verdict ? 200 : 503, .body = verdict ? "ok\n" : verdict.error().what() + "\n"};
}

}  // namespace

class AdminHttp::Impl {
 public:
  explicit Impl(Sources sources) : sources_(std::move(sources)) {}

  Result<> serve(std::vector<UniqueFd> sockets, std::vector<bool> is_unix, int port) {
    port_ = port;
    for (std::size_t i = 0; i < sockets.size(); ++i) {
      const Health health = is_unix[i] ? Health::kFresh : Health::kKept;
      FL_ASSIGN(auto listener,
                HttpListener::start(std::move(sockets[i]),
                                    [this, health](std::string_view path) { return answer(path, health); }));
      listeners_.push_back(std::move(listener));
    }
    return {};
  }

  [[nodiscard]] int port() const { return port_; }

 private:
  enum class Health : bool { kFresh, kKept };

  HttpAnswer answer(std::string_view path, Health health) {
    if (path == "/metrics") {
      return {.type = "text/plain; version=0.0.4; charset=utf-8", .body = sources_.metrics()};
    }
    if (path == "/healthz") {
      return verdict_page(health == Health::kFresh ? sources_.health() : kept_health());
    }
    if (path == "/readyz") {
      return verdict_page(sources_.ready());
    }
    return {.status = 404, .body = "there are /metrics, /healthz and /readyz\n"};
  }

  Result<> kept_health() {
    const Lock lock(mutex_);
    if (std::chrono::steady_clock::now() >= kept_until_) {
      health_ = sources_.health();
      kept_until_ = std::chrono::steady_clock::now() + kHealthKept;
    }
    return health_;
  }

  Sources sources_;
  int port_ = 0;
  Mutex mutex_;
  Result<> health_ FL_GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point kept_until_ FL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<HttpListener>> listeners_;  // last: their threads use all of the above
};

AdminHttp::AdminHttp(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AdminHttp::~AdminHttp() = default;
int AdminHttp::port() const { return impl_->port(); }

namespace {

/// The socket that listens on one of the list's addresses.
Result<UniqueFd> listen_on(const std::string& listen, AdminHttp::Port port) {
  FL_ASSIGN(const auto addresses, parse_listen(listen));
  int e = 0;
  for (const Address& address : addresses) {
    auto listener = open_listener(address, port);
    if (listener) {
      return *std::move(listener);
    }
    e = listener.error();
    if (e == EADDRINUSE) {
      break;  // the next address would only hide it
    }
  }
  return listen_error(listen, e);
}

/// 0 for a unix socket.
int port_of(const UniqueFd& listener) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how the socket API is
  if (::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0 ||
      bound.ss_family == AF_UNIX) {
    return 0;
  }
  sockaddr_in6 in6{};  // the port is at the same place in sockaddr_in
  std::memcpy(&in6, &bound, sizeof in6);
  return ntohs(in6.sin6_port);
}

/// All that comes until the other side ends the connection.
Result<std::string> exchange(int fd, const std::string& request) {
  if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
    return Error::from_errno(errno, "send the request");
  }
  std::string out;
  std::array<char, 4096> chunk{};
  for (;;) {
    const ssize_t got = ::recv(fd, chunk.data(), chunk.size(), 0);
    if (got < 0) {
      return Error::from_errno(errno, "wait for the response");
    }
    if (got == 0) {
      return out;
    }
    out.append(chunk.data(), static_cast<std::size_t>(got));
  }
}

}  // namespace

Result<std::unique_ptr<AdminHttp>> AdminHttp::start(const std::string& listen, Sources sources, Port port) {
  std::vector<UniqueFd> sockets;
  std::vector<bool> is_unix;
  int number = 0;
  for (const std::string& one : split(listen)) {
    FL_ASSIGN(UniqueFd socket, listen_on(one, port));
    number = number != 0 ? number : port_of(socket);
    sockets.push_back(std::move(socket));
    is_unix.push_back(one.starts_with(kUnix));
  }
  auto impl = std::make_unique<Impl>(std::move(sources));
  FL_TRY(impl->serve(std::move(sockets), std::move(is_unix), number), "listen on " + listen);
  return std::unique_ptr<AdminHttp>(new AdminHttp(std::move(impl)));
}

Result<std::string> AdminHttp::ask(const std::string& listen, const std::string& page) {
  const std::string where = split(listen).front();
  FL_ASSIGN(const auto addresses, parse_listen(where));
  const Address& address = addresses.back();  // of ":port" the IPv4 one, which every node has
  const UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience = {.tv_sec = kPatienceSeconds, .tv_usec = 0};
  (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (!fd.valid() || ::connect(fd.get(), as_sockaddr(address), address.size) != 0) {
    return Error::from_errno(errno, "no server responds at " + where);
  }
  FL_ASSIGN(const std::string answer,
            exchange(fd.get(), "GET " + page + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
            where);
  const auto head = answer.find("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.1 ") || head == std::string::npos) {
    return Error(Code::kUnavailable, where + " did not respond as an HTTP server");
  }
  std::string body = answer.substr(head + 4);
  if (!answer.starts_with("HTTP/1.1 200 ")) {
    body.erase(body.find_last_not_of('\n') + 1);
    return Error(Code::kUnavailable, std::move(body));
  }
  return body;
}

}  // namespace fairlead::dra
