// SPDX-License-Identifier: Apache-2.0
// Http: HTTPS requests to one server, on libcurl. Internal to kube.
//
// Threads: any number may call at once. Each exchange runs on its caller's thread and has a connection of its
// own while it runs (a curl multi with one easy handle); idle connections are kept for the next one. HTTP/1.1
// on purpose: the HTTP/2 of Debian 12's curl 7.88 has known faults, and a watch wants its own connection.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "fairlead/core/clock.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/kube/config.h"

namespace fairlead::kube {

struct HttpRequest {
  std::string method = "GET";
  std::string target;  // path and query, percent-encoded
  std::string body;
  std::string content_type = "application/json";
  std::string accept = "application/json";
  std::chrono::milliseconds timeout = std::chrono::seconds(10);
  std::stop_token stop;
  std::size_t max_body = std::size_t{64} << 20;
};

struct HttpResponse {
  int status = 0;
  std::string body;
  std::optional<std::chrono::seconds> retry_after;  // from the header of that name
};

struct StreamOptions {
  std::chrono::milliseconds idle_timeout{};
  std::size_t max_line = 0;
  std::function<void()> on_open;  // the headers of a 2xx response have arrived
};

class Http : private Pinned {
 public:
  /// Reads the credential files; does not connect.
  static Result<std::unique_ptr<Http>> open(ClientConfig config, Clock& clock);
  ~Http();

  /// A response of any status is a success here. After a 401 it is retried once if the token file has a new
  /// token. Errors: kTimeout, kCancelled, kOverflow (body too large), kDenied (the server's certificate is
  /// not trusted, or ours cannot be used), kUnavailable (everything else).
  Result<HttpResponse> perform(const HttpRequest& request);

  /// As perform(), but a 2xx body is passed to `on_line` line by line as it arrives; it is not in the
  /// response. `request.timeout` bounds the time to the first byte of the response, `idle_timeout` each
  /// silence after it (kTimeout). Errors of `on_line` end the stream and are returned.
  using OnLine = std::function<Result<>(std::string_view line)>;
  Result<HttpResponse> stream(const HttpRequest& request, const StreamOptions& options,
                              const OnLine& on_line);

  /// "https://10.0.0.1:6443", for messages.
  [[nodiscard]] const std::string& server() const;

 private:
  struct Impl;
  explicit Http(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// RFC 3986: everything but unreserved characters becomes %XX.
std::string percent_encode(std::string_view text);

}  // namespace fairlead::kube
