// SPDX-License-Identifier: Apache-2.0
#include "fairlead/dra/http_listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <expected>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace fairlead::dra {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kOutOfDescriptors{100};

std::string_view phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Error";
  }
}

std::string text_of(const HttpAnswer& answer) {
  std::string text = "HTTP/1.1 " + std::to_string(answer.status) + " " + std::string(phrase(answer.status));
  text += "\r\nContent-Type: " + std::string(answer.type);
  text += "\r\nContent-Length: " + std::to_string(answer.body.size());
  text += answer.status == 405 ? "\r\nAllow: GET" : "";
  text += "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n";
  return text + answer.body;
}

HttpAnswer refusal(int status, std::string sentence) {
  return {.status = status, .body = std::move(sentence) + "\n"};
}

/// Whether a header announces a body.
bool has_body(std::string_view request) {
  std::string lower(request);
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::string_view kLength = "\ncontent-length:";
  const auto at = lower.find(kLength);
  const auto digit = at == std::string::npos ? at : lower.find_first_not_of(" \t0", at + kLength.size());
  return (digit != std::string::npos && std::isdigit(static_cast<unsigned char>(lower[digit])) != 0) ||
         lower.find("\ntransfer-encoding:") != std::string::npos;
}

/// The path of "GET /path?query HTTP/1.x".
std::expected<std::string_view, HttpAnswer> path_of(std::string_view request) {
  const std::string_view line = request.substr(0, request.find_first_of("\r\n"));
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || !line.substr(last + 1).starts_with("HTTP/1.")) {
    return std::unexpected(refusal(400, "this is no HTTP/1 request"));
  }
  if (line.substr(0, first) != "GET") {
    return std::unexpected(refusal(405, "everything here can only be read"));
  }
  if (has_body(request)) {
    return std::unexpected(refusal(413, "a question here has no body"));
  }
  const std::string_view target = line.substr(first + 1, last - first - 1);
  return target.substr(0, target.find('?'));
}

bool is_whole(std::string_view request) {
  return request.find("\r\n\r\n") != std::string_view::npos || request.find("\n\n") != std::string_view::npos;
}

}  // namespace

Result<std::unique_ptr<HttpListener>> HttpListener::start(UniqueFd socket, Answer answer, Limits limits) {
  UniqueFd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop.valid()) {
    return Error::from_errno(errno, "make an eventfd");
  }
  return std::unique_ptr<HttpListener>(
      new HttpListener(std::move(socket), std::move(stop), std::move(answer), limits));
}

HttpListener::HttpListener(UniqueFd socket, UniqueFd stop, Answer answer, Limits limits)
    : socket_(std::move(socket)), stop_(std::move(stop)), answer_(std::move(answer)), limits_(limits) {
  thread_ = std::thread([this] { run(); });
}

HttpListener::~HttpListener() {
  (void)::eventfd_write(stop_.get(), 1);
  thread_.join();
}

void HttpListener::run() {
  std::vector<pollfd> watched;
  for (;;) {
    const auto now = steady_clock::now();
    std::optional<TimePoint> next;
    const auto wake_at = [&next](TimePoint when) { next = next ? std::min(*next, when) : when; };
    watched.assign({{.fd = stop_.get(), .events = POLLIN, .revents = 0},
                    {.fd = accept_after_ > now ? -1 : socket_.get(), .events = POLLIN, .revents = 0}});
    if (accept_after_ > now) {
      wake_at(accept_after_);
    }
    for (const Connection& connection : connections_) {
      const short events = connection.stage == Stage::kAnswer ? POLLOUT : POLLIN;
      watched.push_back({.fd = connection.fd.get(), .events = events, .revents = 0});
      wake_at(connection.until);
    }
    const int timeout = next ? static_cast<int>(std::max<std::int64_t>(
                                   0, std::chrono::ceil<milliseconds>(*next - now).count()))
                             : -1;
    (void)::poll(watched.data(), watched.size(), timeout);
    if (watched[0].revents != 0) {
      return;
    }
    std::size_t at = 2;
    for (auto each = connections_.begin(); each != connections_.end(); ++at) {
      const bool goes_on = watched[at].revents != 0 ? proceed(*each) : steady_clock::now() < each->until;
      each = goes_on ? std::next(each) : connections_.erase(each);
    }
    if (watched[1].revents != 0) {
      accept_all();
    }
  }
}

void HttpListener::accept_all() {
  // No more at a time than are kept: those that came before get their turn.
  for (std::size_t i = 0; i < limits_.connections; ++i) {
    UniqueFd fd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) {
      const int e = errno;
      if (e == EMFILE || e == ENFILE || e == ENOMEM || e == ENOBUFS) {
        accept_after_ = steady_clock::now() + kOutOfDescriptors;
      }
      return;
    }
    if (connections_.size() >= limits_.connections) {
      make_room();
    }
    connections_.push_back({.fd = std::move(fd), .until = steady_clock::now() + limits_.time});
  }
}

/// Whoever has all of its answer loses nothing; then who has been at its request for longest.
void HttpListener::make_room() {
  for (const Stage stage : {Stage::kDrain, Stage::kRequest, Stage::kAnswer}) {
    const auto found =
        std::ranges::find(connections_, stage, [](const Connection& each) { return each.stage; });
    if (found != connections_.end()) {
      connections_.erase(found);
      return;
    }
  }
}

bool HttpListener::proceed(Connection& connection) const {
  if (connection.stage == Stage::kRequest && !receive(connection)) {
    return false;
  }
  if (connection.stage == Stage::kAnswer && !send(connection)) {
    return false;
  }
  if (connection.stage == Stage::kDrain) {
    // Closing with unread bytes resets the connection, and the answer may be lost.
    std::array<char, 4096> rest{};
    const ssize_t n = ::recv(connection.fd.get(), rest.data(), rest.size(), 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
      return false;
    }
  }
  return steady_clock::now() < connection.until;
}

bool HttpListener::receive(Connection& connection) const {
  std::array<char, 4096> chunk{};
  const ssize_t n = ::recv(connection.fd.get(), chunk.data(), chunk.size(), 0);
  if (n < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  if (n == 0) {
    return false;
  }
  connection.text.append(chunk.data(), static_cast<std::size_t>(n));
  HttpAnswer answer;
  if (is_whole(connection.text)) {
    const auto path = path_of(connection.text);
    answer = path ? answer_(*path) : path.error();
  } else if (connection.text.size() >= limits_.request_bytes) {
    answer = refusal(431, "the request is too long");
  } else {
    return true;
  }
  connection.text = text_of(answer);
  connection.stage = Stage::kAnswer;
  connection.until = steady_clock::now() + limits_.time;  // making it may have taken its time
  return true;
}

bool HttpListener::send(Connection& connection) const {
  const std::string_view rest = std::string_view(connection.text).substr(connection.sent);
  const ssize_t n = ::send(connection.fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
  if (n < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  connection.sent += static_cast<std::size_t>(n);
  if (connection.sent == connection.text.size()) {
    (void)::shutdown(connection.fd.get(), SHUT_WR);
    connection.stage = Stage::kDrain;
  }
  return true;
}

}  // namespace fairlead::dra
