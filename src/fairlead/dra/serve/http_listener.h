// SPDX-License-Identifier: Apache-2.0
// Serves GET on one listening socket, with its own thread: one request on each connection, with limits on
// size, number and time, so that a client costs the process little and does not affect other clients.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fairlead/core/fd.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"

namespace fairlead::dra {

struct HttpAnswer {
  int status = 200;
  std::string_view type = "text/plain; charset=utf-8";
  std::string body;
};

class HttpListener : private Pinned {
 public:
  struct Limits {
    /// A further connection closes one that has been served, or the one whose request takes longest: slow
    /// clients do not keep others out.
    std::size_t connections = 32;
    std::size_t request_bytes = 8192;
    /// From the first byte to the last: a client that needs longer is disconnected.
    std::chrono::milliseconds time{5'000};
  };
  /// Called with the path of a GET, from the listener's thread. Must not throw.
  using Answer = std::function<HttpAnswer(std::string_view path)>;

  /// `socket` is listening and non-blocking.
  static Result<std::unique_ptr<HttpListener>> start(UniqueFd socket, Answer answer, Limits limits);
  static Result<std::unique_ptr<HttpListener>> start(UniqueFd socket, Answer answer) {
    return start(std::move(socket), std::move(answer), Limits{});
  }
  /// Ends all connections; waits for a response that is being generated.
  ~HttpListener();

 private:
  class Server;
  explicit HttpListener(std::unique_ptr<Server> server);

  const std::unique_ptr<Server> server_;
};

}  // namespace fairlead::dra
