// SPDX-License-Identifier: Apache-2.0
// Client: requests to the API server, as JSON text. Typed ones of objects: resource.h.
//
// Errors by code: kNotFound 404, kExists 409 AlreadyExists, kConflict other 409, kGone 410, kInvalid 400 and
// 422 (the sentence names the field paths), kDenied 401, 403 and a server whose
// certificate is not trusted, kUnavailable 429, 5xx and transport (only
// after the retries), kTimeout, kCancelled, kCorrupt for an unexpected response.
//
// Requests that are safe to repeat are repeated inside the call's deadline, with jittered back-off and the
// server's Retry-After (429 without one: a second): GET, PUT, DELETE and apply after 429, 5xx and transport
// errors, POST after 429 only.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fairlead/core/clock.h"
#include "fairlead/core/pinned.h"
#include "fairlead/core/result.h"
#include "fairlead/kube/config.h"

namespace fairlead::kube {

/// How long a call may take, including all retries, and its cancellation.
struct CallOptions {
  std::chrono::milliseconds timeout = std::chrono::seconds(10);
  std::stop_token stop;
  /// 1 for callers that have their own back-off. A server's Retry-After is still waited for.
  int max_tries = 10;
  /// Retry until the timeout, however many tries that takes.
  static constexpr int kAnyTries = 1'000'000;
  /// For Client::request: a response of any status is a success, once it would not be retried. Distinguishes
  /// a refusal by the server from one of its certificate, which has the same code.
  bool any_status = false;
  /// false: not subject to ClientOptions::qps, and not counted there. For requests that a pod's start waits for.
  bool limited = true;
};

/// One HTTP exchange, for metrics.
struct RequestRecord {
  std::string_view verb;      // get, list, watch, create, update, patch, delete
  std::string_view resource;  // "resourceslices"
  int code = 0;               // HTTP status; 0: no response
  double seconds = 0;
};

/// Called from the thread that made the request, after each exchange (a watch: when it ends). Must be quick.
using RequestObserver = std::function<void(const RequestRecord&)>;

struct ClientOptions {
  /// The rate limit, in requests per second and burst, for all threads together; retries count, and watches,
  /// when they start. Calls with CallOptions::limited = false do not.
  double qps = 20;
  int burst = 40;
  RequestObserver observer;
  Clock* clock = &real_clock();  // of the QPS limit and the back-off
};

/// A request of any kind.
struct RawRequest {
  std::string method = "GET";
  std::string path;                                        // "/api/v1/nodes/n1"
  std::vector<std::pair<std::string, std::string>> query;  // not yet percent-encoded
  std::string body;
  std::string content_type = "application/json";
  std::string accept = "application/json";
  /// How long a single try may take, so that a dead connection does not use up the whole call. 0: as long as the call.
  std::chrono::milliseconds try_timeout{0};
};

struct RawResponse {
  int status = 0;
  std::string body;
};

/// Streams of newline-delimited JSON: the reflector's transport.
struct WatchRequest {
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;
  /// The connection is considered dead if no byte arrives for this long.
  std::chrono::milliseconds idle_timeout = std::chrono::seconds(90);
  std::size_t max_line = std::size_t{4} << 20;
  /// Called when the server has accepted the watch, before the first line. May be null.
  std::function<void()> on_open;
};

/// Thread-safe; every call blocks its caller. Idle connections are kept and used again, a few at most.
class Client : private Pinned {
 public:
  /// Reads certificates and token, does not connect.
  static Result<std::unique_ptr<Client>> open(ClientConfig config, ClientOptions options = {});
  ~Client();

  /// Any request; HTTP errors become Errors as above, success is 2xx. `call.timeout` bounds it with retries.
  Result<RawResponse> request(const RawRequest& request, const CallOptions& call = {});

  /// Blocks and passes each line, without its newline, to `on_line` until the server ends the stream
  /// (success), an error occurs, `on_line` returns an error (which is returned), or `stop`. Not retried; but
  /// after a 429 or 503 the server's Retry-After (a minute at most) is waited for before the error is
  /// returned.
  Result<> watch(const WatchRequest& request, const std::function<Result<>(std::string_view line)>& on_line,
                 const std::stop_token& stop);

  /// The clock for its deadlines.
  [[nodiscard]] Clock& clock() const;

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fairlead::kube
