// SPDX-License-Identifier: Apache-2.0
// Answers GET on one listening socket, with a thread of its own: one request on each connection, of bounded
// size, number and time, so that whoever comes costs the process little and nobody else anything.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fairlead/core/fd.h"
#include "fairlead/core/result.h"

namespace fairlead::dra {

struct HttpAnswer {
  int status = 200;
  std::string_view type = "text/plain; charset=utf-8";
  std::string body;
};

class HttpListener {
 public:
  struct Limits {
    /// One more closes a connection that is answered, or that has been at its request for longest: who sends
    /// slowly keeps nobody out.
    std::size_t connections = 32;
    std::size_t request_bytes = 8192;
    /// From the first byte to the last: whoever needs longer is cut off.
    std::chrono::milliseconds time{5'000};
  };
  /// Called with the path of a GET, from the listener's thread. Must not throw.
  using Answer = std::function<HttpAnswer(std::string_view path)>;

  /// `socket` listens and does not block.
  static Result<std::unique_ptr<HttpListener>> start(UniqueFd socket, Answer answer, Limits limits);
  static Result<std::unique_ptr<HttpListener>> start(UniqueFd socket, Answer answer) {
    return start(std::move(socket), std::move(answer), Limits{});
  }
  HttpListener(const HttpListener&) = delete;
  HttpListener& operator=(const HttpListener&) = delete;
  HttpListener(HttpListener&&) = delete;
  HttpListener& operator=(HttpListener&&) = delete;
  /// Ends all connections; waits for an answer that is being made.
  ~HttpListener();

 private:
  class Server;
  explicit HttpListener(std::unique_ptr<Server> server);

  const std::unique_ptr<Server> server_;
};

}  // namespace fairlead::dra
