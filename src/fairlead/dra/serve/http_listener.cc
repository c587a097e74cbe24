// SPDX-License-Identifier: Apache-2.0
// Everything but start() and stop() happens in the listener's thread, so nothing here is locked.
#include "fairlead/dra/serve/http_listener.h"

// Fences are for an io_context with several threads, and gcc's thread sanitizer does not know them.
#define BOOST_ASIO_DISABLE_FENCED_BLOCK

#include <sys/socket.h>

#include <algorithm>
#include <array>
// gcc 12 with -fsanitize=address takes the operators of Asio's coroutine frames for mismatched: operator new
// is inlined down to aligned_alloc(), operator delete is not (to free()).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <exception>
#include <list>
#include <memory>
#include <thread>
#include <utility>

#include "fairlead/core/pinned.h"

namespace fairlead::dra {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::generic::stream_protocol;
using boost::system::error_code;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds kOutOfDescriptors{100};

/// Of a socket that is open: only open() would ask for the family.
stream_protocol any_family() { return {AF_UNSPEC, 0}; }

HttpAnswer refusal(http::status status, std::string sentence) {
  return {.status = static_cast<int>(status), .body = std::move(sentence) + "\n"};
}

/// The connection has ended: not an invalid request, but none to respond to.
bool is_gone(error_code error) {
  return error && (error.category() != make_error_code(http::error::bad_method).category() ||
                   error == http::error::end_of_stream || error == http::error::partial_message);
}

http::response<http::string_body> response_of(HttpAnswer answer) {
  http::response<http::string_body> out{static_cast<http::status>(answer.status), 11, std::move(answer.body)};
  out.set(http::field::content_type, answer.type);
  out.set(http::field::cache_control, "no-store");
  if (out.result() == http::status::method_not_allowed) {
    out.set(http::field::allow, "GET");
  }
  out.keep_alive(false);
  out.prepare_payload();
  return out;
}

}  // namespace

class HttpListener::Server : private Pinned {
 public:
  Server(Answer answer, Limits limits) : answer_(std::move(answer)), limits_(limits) {}
  ~Server() {
    context_.stop();
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  void start(UniqueFd socket) {
    acceptor_.assign(any_family(), socket.get());
    (void)socket.release();
    accept();
    thread_ = std::thread([this] { context_.run(); });
  }

 private:
  enum class Stage : std::uint8_t { kRequest, kAnswer, kDrain };
  struct Connection {
    explicit Connection(asio::io_context& context) : socket(context), until(context) {}
    stream_protocol::socket socket;
    asio::steady_timer until;  // its end
    Stage stage = Stage::kRequest;
  };
  using ConnectionPtr = std::shared_ptr<Connection>;

  /// An exception (there is no memory) ends what it came from, not the listener.
  void accept() {
    asio::co_spawn(context_, accept_all(), [this](const std::exception_ptr&) { accept(); });
  }
  asio::awaitable<void> accept_all();
  void admit(UniqueFd fd);
  void make_room();
  void limit_time(const ConnectionPtr& connection);
  asio::awaitable<void> serve(ConnectionPtr connection);
  http::response<http::string_body> answer_to(const http::request_parser<http::empty_body>& parser,
                                              error_code error) const;

  const Answer answer_;
  const Limits limits_;
  asio::io_context context_{1};
  asio::basic_socket_acceptor<stream_protocol> acceptor_{context_};
  std::list<ConnectionPtr> connections_;  // those that are open; the oldest first
  std::thread thread_;
};

asio::awaitable<void> HttpListener::Server::accept_all() {
  asio::steady_timer pause(context_);
  for (;;) {
    co_await acceptor_.async_wait(acceptor_.wait_read, asio::use_awaitable);
    // No more at a time than are kept: those that came before get their turn.
    for (std::size_t i = 0; i < limits_.connections; ++i) {
      // Asio's own accept leaves the descriptor open across exec.
      UniqueFd fd(::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (fd.valid()) {
        admit(std::move(fd));
        continue;
      }
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        pause.expires_after(kOutOfDescriptors);
        co_await pause.async_wait(asio::use_awaitable);
      }
      break;
    }
  }
}

void HttpListener::Server::admit(UniqueFd fd) {
  if (connections_.size() >= limits_.connections) {
    make_room();
  }
  const auto connection = std::make_shared<Connection>(context_);
  connection->socket.assign(any_family(), fd.get());
  (void)fd.release();
  limit_time(connection);
  connections_.push_back(connection);
  asio::co_spawn(context_, serve(connection), [this, connection](const std::exception_ptr&) {
    connection->until.cancel();
    connections_.remove(connection);
  });
}

/// Connections whose response is complete are closed first; then the one whose request takes longest.
void HttpListener::Server::make_room() {
  for (const Stage stage : {Stage::kDrain, Stage::kRequest, Stage::kAnswer}) {
    const auto found =
        std::ranges::find(connections_, stage, [](const ConnectionPtr& each) { return each->stage; });
    if (found != connections_.end()) {
      error_code ignored;
      (void)(*found)->socket.close(ignored);
      connections_.erase(found);
      return;
    }
  }
}

void HttpListener::Server::limit_time(const ConnectionPtr& connection) {
  connection->until.expires_after(limits_.time);
  connection->until.async_wait([connection](error_code error) {
    if (!error && connection->until.expiry() <= steady_clock::now()) {  // it may have been put off since
      (void)connection->socket.close(error);
    }
  });
}

asio::awaitable<void> HttpListener::Server::serve(ConnectionPtr connection) {
  boost::beast::flat_buffer buffer(limits_.request_bytes);
  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(limits_.request_bytes));
  parser.body_limit(0);
  error_code error;
  auto token = asio::redirect_error(asio::use_awaitable, error);
  co_await http::async_read_header(connection->socket, buffer, parser, token);
  if (!connection->socket.is_open() || is_gone(error)) {
    co_return;
  }
  auto response = answer_to(parser, error);
  connection->stage = Stage::kAnswer;
  limit_time(connection);  // generating the response may have taken long
  co_await http::async_write(connection->socket, response, token);
  if (!error) {
    (void)connection->socket.shutdown(stream_protocol::socket::shutdown_send, error);
  }
  connection->stage = Stage::kDrain;
  // Closing with unread bytes resets the connection, and the response may be lost.
  for (std::array<char, 4096> rest{}; !error;) {
    co_await connection->socket.async_read_some(asio::buffer(rest), token);
  }
}

http::response<http::string_body> HttpListener::Server::answer_to(
    const http::request_parser<http::empty_body>& parser, error_code error) const {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return response_of(refusal(http::status::request_header_fields_too_large, "the request is too long"));
  }
  if (error == http::error::body_limit || (!error && parser.chunked())) {
    return response_of(refusal(http::status::payload_too_large, "a question here has no body"));
  }
  if (error) {
    return response_of(refusal(http::status::bad_request, "this is no HTTP/1 request"));
  }
  if (parser.get().method() != http::verb::get) {
    return response_of(refusal(http::status::method_not_allowed, "everything here can only be read"));
  }
  const std::string_view target = parser.get().target();
  return response_of(answer_(target.substr(0, target.find('?'))));
}

Result<std::unique_ptr<HttpListener>> HttpListener::start(UniqueFd socket, Answer answer, Limits limits) {
  try {
    auto server = std::make_unique<Server>(std::move(answer), limits);
    server->start(std::move(socket));
    return std::unique_ptr<HttpListener>(new HttpListener(std::move(server)));
  } catch (const boost::system::system_error& e) {
    return Error::from_errno(e.code().value(), "wait for connections");
  }
}

HttpListener::HttpListener(std::unique_ptr<Server> server) : server_(std::move(server)) {}
HttpListener::~HttpListener() = default;

}  // namespace fairlead::dra
