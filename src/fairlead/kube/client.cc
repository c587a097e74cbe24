// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/client.h"

#include <algorithm>
#include <optional>

#include "fairlead/core/backoff.h"
#include "fairlead/core/retry_delay.h"
#include "fairlead/kube/http.h"
#include "fairlead/kube/rate_limit.h"
#include "fairlead/kube/status.h"

namespace fairlead::kube {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxTries = 10;
constexpr std::chrono::seconds kMaxWatchRetryAfter{60};
/// Short for as long as the server is away: callers must go on within a second of its coming back.
constexpr Backoff::Options kRetryBackoff{.initial = milliseconds(100), .max = RetryDelay::kMaxOutage};
/// For an overloaded server that sends no Retry-After. Kubernetes' own always sends it.
constexpr std::chrono::seconds kRetryAfterOverload{1};
/// How long a watch may take until the server sends its headers.
constexpr milliseconds kWatchAnswerTimeout{30'000};

using Query = std::vector<std::pair<std::string, std::string>>;

std::string target_of(const std::string& path, const Query& query) {
  std::string target = path;
  char separator = '?';
  for (const auto& [key, value] : query) {
    target += separator + percent_encode(key) + "=" + percent_encode(value);
    separator = '&';
  }
  return target;
}

struct ResourcePath {
  std::string_view resource;
  bool named = false;  // an object, not a collection
};

/// /api/v1/..., /apis/<group>/<version>/..., with [namespaces/<ns>/] before the resource.
ResourcePath parse_path(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    path.remove_prefix(1);
    const auto end = std::min(path.find('/'), path.size());
    parts.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  std::size_t at = !parts.empty() && parts[0] == "apis" ? 3 : 2;
  if (parts.size() > at + 2 && parts[at] == "namespaces") {
    at += 2;
  }
  if (parts.size() <= at) {
    return {.resource = "other", .named = true};
  }
  return {.resource = parts[at], .named = parts.size() > at + 1};
}

std::string_view verb_of(std::string_view method, bool named) {
  if (method == "POST") {
    return "create";
  }
  if (method == "PUT") {
    return "update";
  }
  if (method == "PATCH") {
    return "patch";
  }
  if (method == "DELETE") {
    return named ? "delete" : "deletecollection";
  }
  return named ? "get" : "list";
}

bool is_success(int status) { return status >= 200 && status < 300; }
bool is_overload(int status) { return status == 429 || status == 503; }

/// Whether it may be sent again if it is unknown whether the first one was executed.
bool is_idempotent(const HttpRequest& request) {
  return request.method != "POST" &&
         (request.method != "PATCH" || request.content_type == "application/apply-patch+yaml");
}

/// When the server wants to see us again, if it says so or is overloaded.
std::optional<std::chrono::seconds> retry_after_of(const HttpResponse& response) {
  if (response.status == 429) {
    return response.retry_after.value_or(kRetryAfterOverload);
  }
  return response.retry_after;
}

/// Is this outcome worth another try? `Retry-After` is the server's word that nothing was done (429, and 503
/// with it), so that even a POST may be repeated.
bool may_retry(const HttpRequest& request, const Result<HttpResponse>& outcome) {
  if (!outcome) {
    const Code code = outcome.error().code();
    return is_idempotent(request) && (code == Code::kUnavailable || code == Code::kTimeout);
  }
  const int status = outcome->status;
  if (is_overload(status) && (status == 429 || outcome->retry_after)) {
    return true;
  }
  return is_idempotent(request) && status >= 500 && status != 501 && status != 505;
}

/// When the last try was cut short by the deadline, what an earlier one met is the better explanation.
Error telling(std::optional<Error> earlier, Error last) {
  return earlier && last.code() == Code::kTimeout ? *std::move(earlier) : std::move(last);
}

}  // namespace

struct Client::Impl {
  Impl(std::unique_ptr<Http> opened, ClientOptions given)
      : http(std::move(opened)),
        options(std::move(given)),
        limiter(options.qps, options.burst, *options.clock) {}

  /// Tries until success, a final answer or the deadline. A 2xx response or an Error.
  Result<HttpResponse> send(HttpRequest request, const CallOptions& call, milliseconds try_timeout);
  /// As send(), with "get resourceclaims: " in front of errors.
  Result<HttpResponse> call(const RawRequest& request, const CallOptions& call);
  Result<HttpResponse> observed(const HttpRequest& request);
  void observe(std::string_view verb, std::string_view resource, int code, Clock::TimePoint start) const;

  const std::unique_ptr<Http> http;
  const ClientOptions options;
  RateLimiter limiter;
};

void Client::Impl::observe(std::string_view verb, std::string_view resource, int code,
                           Clock::TimePoint start) const {
  if (options.observer) {
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    options.observer({.verb = verb, .resource = resource, .code = code, .seconds = took.count()});
  }
}

Result<HttpResponse> Client::Impl::observed(const HttpRequest& request) {
  const auto start = std::chrono::steady_clock::now();
  auto outcome = http->perform(request);
  const auto [resource, named] =
      parse_path(std::string_view(request.target).substr(0, request.target.find('?')));
  observe(verb_of(request.method, named), resource, outcome ? outcome->status : 0, start);
  return outcome;
}

Result<HttpResponse> Client::Impl::send(HttpRequest request, const CallOptions& call,
                                        milliseconds try_timeout) {
  Clock& clock = *options.clock;
  const auto deadline = clock.now() + call.timeout;
  Backoff backoff(kRetryBackoff);
  request.stop = call.stop;
  std::optional<Error> last_failure;
  for (int tries = 1;; ++tries) {
    if (call.limited) {
      FL_TRY(limiter.acquire(deadline, call.stop));
    }
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - clock.now());
    request.timeout = std::clamp(left, milliseconds(1), try_timeout);
    auto outcome = observed(request);
    if (outcome && is_success(outcome->status)) {
      return outcome;
    }
    const auto retry_after = outcome ? retry_after_of(*outcome) : std::nullopt;
    const bool retry =
        (tries < call.max_tries || (retry_after && tries < kMaxTries)) && may_retry(request, outcome);
    if (outcome && call.any_status && !retry) {
      return outcome;
    }
    Clock::Duration delay = backoff.next();
    if (retry_after) {
      delay += *retry_after;  // the jitter keeps many clients from coming back in step
    }
    Error failure = outcome ? error_of_status(outcome->status, outcome->body) : std::move(outcome).error();
    if (!retry || clock.now() + delay >= deadline) {
      return telling(std::move(last_failure), std::move(failure));
    }
    if (!last_failure || failure.code() != Code::kTimeout) {
      last_failure = std::move(failure);
    }
    if (!clock.wait_for(delay, call.stop)) {
      return Error(Code::kCancelled, "the request was cancelled");
    }
  }
}

Result<HttpResponse> Client::Impl::call(const RawRequest& request, const CallOptions& call) {
  const auto [resource, named] = parse_path(std::string_view(request.path).substr(0, request.path.find('?')));
  const std::string context = std::string(verb_of(request.method, named)) + " " + std::string(resource);
  const auto try_timeout = request.try_timeout > milliseconds(0) ? request.try_timeout : call.timeout;
  auto response = send({.method = request.method,
                        .target = target_of(request.path, request.query),
                        .body = request.body,
                        .content_type = request.content_type,
                        .accept = request.accept},
                       call, try_timeout);
  if (!response) {
    const bool no_server =
        response.error().code() == Code::kUnavailable || response.error().code() == Code::kTimeout;
    return std::move(response).error().with(no_server ? context + " at " + http->server() : context);
  }
  return response;
}

Result<std::unique_ptr<Client>> Client::open(ClientConfig config, ClientOptions options) {
  FL_ASSIGN(auto http, Http::open(std::move(config), *options.clock));
  return std::unique_ptr<Client>(new Client(std::make_unique<Impl>(std::move(http), std::move(options))));
}

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Clock& Client::clock() const { return *impl_->options.clock; }

Result<RawResponse> Client::request(const RawRequest& request, const CallOptions& call) {
  if (!request.path.starts_with('/')) {
    return Error(Code::kInvalid, "request path \"" + request.path + "\" does not start with /");
  }
  FL_ASSIGN(auto response, impl_->call(request, call));
  return RawResponse{.status = response.status, .body = std::move(response.body)};
}

Result<> Client::watch(const WatchRequest& request,
                       const std::function<Result<>(std::string_view line)>& on_line,
                       const std::stop_token& stop) {
  FL_TRY(impl_->limiter.acquire(impl_->options.clock->now() + kWatchAnswerTimeout, stop), "watch");
  const HttpRequest http_request{.method = "GET",
                                 .target = target_of(request.path, request.query),
                                 .timeout = kWatchAnswerTimeout,
                                 .stop = stop};
  const auto resource = parse_path(request.path).resource;
  const std::string context = "watch " + std::string(resource);
  const auto start = std::chrono::steady_clock::now();
  auto response = impl_->http->stream(
      http_request,
      {.idle_timeout = request.idle_timeout, .max_line = request.max_line, .on_open = request.on_open},
      on_line);
  impl_->observe("watch", resource, response ? response->status : 0, start);
  if (!response) {
    return std::move(response).error().with(context);
  }
  if (!is_success(response->status)) {
    const auto retry_after = is_overload(response->status) ? retry_after_of(*response) : std::nullopt;
    if (retry_after && !impl_->options.clock->wait_for(std::min(*retry_after, kMaxWatchRetryAfter), stop)) {
      return Error(Code::kCancelled, "the watch was cancelled");
    }
    return error_of_status(response->status, response->body).with(context);
  }
  return {};
}

}  // namespace fairlead::kube
