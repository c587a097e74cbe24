// SPDX-License-Identifier: Apache-2.0
#include "fairlead/kube/client.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>

#include "fairlead/core/backoff.h"
#include "fairlead/core/retry_delay.h"
#include "fairlead/kube/claim_proto.h"
#include "fairlead/kube/http.h"
#include "fairlead/kube/rate_limit.h"
#include "fairlead/kube/status.h"

namespace fairlead::kube {
namespace {

using std::chrono::milliseconds;

constexpr int kMaxTries = 10;
constexpr std::chrono::seconds kMaxWatchRetryAfter{60};
/// A single try of a small request: a dead connection must not eat the whole deadline.
constexpr milliseconds kTryTimeout{5'000};
/// Short for as long as the server is away: callers must go on within a second of its coming back.
constexpr Backoff::Options kRetryBackoff{.initial = milliseconds(100), .max = RetryDelay::kMaxOutage};
/// An overloaded server that does not say when to come back. Kubernetes' own always says so.
constexpr std::chrono::seconds kRetryAfterOverload{1};
constexpr int kMaxNameDraws = 5;
constexpr int kMaxListRestarts = 3;
constexpr int kPageSize = 500;
/// How long a watch may take until the server answers its headers.
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

/// May it be sent again when nobody knows whether the first one was acted on?
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

Result<> require(std::string_view value, const char* what) {
  return value.empty() ? Result<>(Error(Code::kInvalid, std::string(what) + " is empty")) : Result<>{};
}

std::string delete_options(const ObjectMeta& meta) {
  nlohmann::json preconditions = {{"uid", meta.uid}};
  if (!meta.resource_version.empty()) {
    preconditions["resourceVersion"] = meta.resource_version;
  }
  return nlohmann::json{
      {"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"preconditions", std::move(preconditions)}}
      .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string slice_path(std::string_view name) {
  std::string path = "/apis/resource.k8s.io/v1/resourceslices";
  return name.empty() ? path : path + "/" + percent_encode(name);
}

std::string claim_path(std::string_view namespace_, std::string_view name) {
  return "/apis/resource.k8s.io/v1/namespaces/" + percent_encode(namespace_) + "/resourceclaims/" +
         percent_encode(name);
}

std::string event_path(std::string_view namespace_, std::string_view name) {
  std::string path = "/api/v1/namespaces/" + percent_encode(namespace_) + "/events";
  return name.empty() ? path : path + "/" + percent_encode(name);
}

std::string field_selector(const SliceSelector& selector) {
  return "spec.driver=" + selector.driver + ",spec.nodeName=" + selector.node_name;
}

struct Client::Impl {
  Impl(std::unique_ptr<Http> opened, ClientOptions given)
      : http(std::move(opened)),
        options(std::move(given)),
        limiter(options.qps, options.burst, *options.clock) {}

  /// Tries until success, a final answer or the deadline. A 2xx response or an Error.
  Result<HttpResponse> send(HttpRequest request, const CallOptions& call, milliseconds try_timeout);
  /// As send(), with "get resourceclaims: " in front of errors.
  Result<HttpResponse> call(std::string method, const std::string& target, std::string body,
                            const CallOptions& call, milliseconds try_timeout = kTryTimeout,
                            std::string content_type = "application/json",
                            std::string accept = "application/json");
  Result<HttpResponse> observed(const HttpRequest& request);
  /// What is left of a call that takes several requests.
  [[nodiscard]] CallOptions rest_of(const CallOptions& call, Clock::TimePoint start) const {
    CallOptions rest = call;
    rest.timeout -= std::chrono::duration_cast<milliseconds>(options.clock->now() - start);
    rest.timeout = std::max(rest.timeout, milliseconds(1));
    return rest;
  }
  void observe(std::string_view verb, std::string_view resource, int code, Clock::TimePoint start) const;
  Result<ListOf<ResourceSlice>> list_all_pages(const SliceSelector& selector, const CallOptions& call,
                                               Clock::TimePoint start);

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

Result<HttpResponse> Client::Impl::call(std::string method, const std::string& target, std::string body,
                                        const CallOptions& call, milliseconds try_timeout,
                                        std::string content_type, std::string accept) {
  const auto [resource, named] = parse_path(std::string_view(target).substr(0, target.find('?')));
  const std::string context = std::string(verb_of(method, named)) + " " + std::string(resource);
  HttpRequest request{.method = std::move(method),
                      .target = target,
                      .body = std::move(body),
                      .content_type = std::move(content_type),
                      .accept = std::move(accept)};
  auto response = send(std::move(request), call, try_timeout);
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

Result<ResourceClaim> Client::get_claim(const std::string& namespace_, const std::string& name,
                                        const CallOptions& call) {
  FL_TRY(require(namespace_, "get resourceclaims: the namespace"));
  FL_TRY(require(name, "get resourceclaims: the name"));
  FL_ASSIGN(const auto response, impl_->call("GET", claim_path(namespace_, name), {}, call));
  FL_ASSIGN(auto claim, parse_claim(response.body), "get resourceclaims");
  return claim;
}

Result<std::string> Client::get_node_uid(const std::string& name, const CallOptions& call) {
  FL_TRY(require(name, "get nodes: the name"));
  FL_ASSIGN(const auto response, impl_->call("GET", "/api/v1/nodes/" + percent_encode(name), {}, call));
  FL_ASSIGN(auto meta, parse_meta(response.body), "get nodes");
  if (meta.uid.empty()) {
    return Error(Code::kCorrupt, "get nodes: node " + name + " has no metadata.uid");
  }
  return std::move(meta.uid);
}

Result<std::vector<std::string>> Client::get_node_addresses(const std::string& name,
                                                            const CallOptions& call) {
  FL_TRY(require(name, "get nodes: the name"));
  FL_ASSIGN(const auto response, impl_->call("GET", "/api/v1/nodes/" + percent_encode(name), {}, call));
  FL_ASSIGN(auto addresses, parse_internal_addresses(response.body), "get nodes");
  return addresses;
}

Result<ResourceSlice> Client::create_slice(const ResourceSlice& slice, const CallOptions& call) {
  const std::string body = slice_to_json(slice);
  const bool server_names = slice.meta.name.empty() && !slice.meta.generate_name.empty();
  const auto start = impl_->options.clock->now();
  for (int draws = 1;; ++draws) {
    auto response = impl_->call("POST", slice_path(), body, impl_->rest_of(call, start));
    if (response) {
      FL_ASSIGN(auto stored, parse_slice(response->body), "create resourceslices");
      return stored;
    }
    const bool name_taken = server_names && response.error().code() == Code::kExists;
    if (!name_taken || draws == kMaxNameDraws) {
      return std::move(response).error();
    }
  }
}

Result<ResourceSlice> Client::update_slice(const ResourceSlice& slice, const CallOptions& call) {
  FL_TRY(require(slice.meta.name, "update resourceslices: metadata.name"));
  FL_TRY(require(slice.meta.resource_version, "update resourceslices: metadata.resourceVersion"));
  FL_ASSIGN(const auto response, impl_->call("PUT", slice_path(slice.meta.name), slice_to_json(slice), call));
  FL_ASSIGN(auto stored, parse_slice(response.body), "update resourceslices");
  return stored;
}

Result<> Client::delete_slice(const ObjectMeta& meta, const CallOptions& call) {
  FL_TRY(require(meta.name, "delete resourceslices: metadata.name"));
  FL_TRY(require(meta.uid, "delete resourceslices: metadata.uid"));
  const auto start = impl_->options.clock->now();
  auto response = impl_->call("DELETE", slice_path(meta.name), delete_options(meta), call);
  if (response || response.error().code() == Code::kNotFound) {
    return {};
  }
  if (response.error().code() != Code::kConflict) {
    return std::move(response).error();
  }
  // A precondition failed: another object by now (then ours is gone), or ours in another version.
  const auto now = impl_->call("GET", slice_path(meta.name), {}, impl_->rest_of(call, start));
  if (!now && now.error().code() == Code::kNotFound) {
    return {};
  }
  if (now) {
    const auto found = parse_meta(now->body);
    if (found && !found->uid.empty() && found->uid != meta.uid) {
      return {};
    }
  }
  return std::move(response).error();
}

Result<ListOf<ResourceSlice>> Client::Impl::list_all_pages(const SliceSelector& selector,
                                                           const CallOptions& whole, Clock::TimePoint start) {
  ListOf<ResourceSlice> all;
  do {
    Query query = {{"fieldSelector", field_selector(selector)}, {"limit", std::to_string(kPageSize)}};
    if (!all.continue_token.empty()) {
      query.emplace_back("continue", all.continue_token);
    }
    const CallOptions rest = rest_of(whole, start);
    FL_ASSIGN(const auto response, call("GET", target_of(slice_path(), query), {}, rest, rest.timeout));
    FL_ASSIGN(auto page, parse_slice_list(response.body), "list resourceslices");
    std::ranges::move(page.items, std::back_inserter(all.items));
    all.resource_version = std::move(page.resource_version);
    all.continue_token = std::move(page.continue_token);
  } while (!all.continue_token.empty());
  return all;
}

Result<ListOf<ResourceSlice>> Client::list_slices(const SliceSelector& selector, const CallOptions& call) {
  FL_TRY(require(selector.driver, "list resourceslices: the driver"));
  FL_TRY(require(selector.node_name, "list resourceslices: the node"));
  const auto start = impl_->options.clock->now();
  for (int restarts = 0;; ++restarts) {
    auto all = impl_->list_all_pages(selector, call, start);
    if (all || all.error().code() != Code::kGone || restarts == kMaxListRestarts) {
      return all;
    }
  }
}

Result<> Client::apply_claim_status(const ObjectMeta& claim, const std::vector<DeviceStatus>& devices,
                                    const std::string& field_manager, const CallOptions& call) {
  FL_TRY(require(claim.namespace_, "patch resourceclaims: metadata.namespace"));
  FL_TRY(require(claim.name, "patch resourceclaims: metadata.name"));
  FL_TRY(require(field_manager, "patch resourceclaims: the field manager"));
  FL_ASSIGN(std::string body, claim_status_to_json(claim.namespace_, claim.name, claim.uid, devices),
            "patch resourceclaims");
  const std::string target = target_of(claim_path(claim.namespace_, claim.name) + "/status",
                                       {{"fieldManager", field_manager}, {"force", "true"}});
  FL_TRY(impl_->call("PATCH", target, std::move(body), call, kTryTimeout, "application/apply-patch+yaml"));
  return {};
}

Result<> Client::replace_claim_status(const ObjectMeta& claim, const std::vector<DeviceStatus>& devices,
                                      const std::string& driver, const CallOptions& call) {
  FL_TRY(require(claim.namespace_, "update resourceclaims: metadata.namespace"));
  FL_TRY(require(claim.name, "update resourceclaims: metadata.name"));
  const auto start = impl_->options.clock->now();
  const std::string path = claim_path(claim.namespace_, claim.name);
  FL_ASSIGN(const auto now, impl_->call("GET", path, {}, call, kTryTimeout, kProtobufType, kProtobufType));
  FL_ASSIGN(std::string changed, replace_claim_devices(now.body, claim.uid, driver, devices),
            "get resourceclaims");
  FL_TRY(impl_->call("PUT", target_of(path + "/status", {{"fieldManager", driver}}), std::move(changed),
                     impl_->rest_of(call, start), kTryTimeout, kProtobufType));
  return {};
}

Result<> Client::create_event(const Event& event, const CallOptions& call) {
  FL_TRY(require(event.meta.namespace_, "create events: metadata.namespace"));
  FL_TRY(require(event.meta.name, "create events: metadata.name"));
  FL_TRY(impl_->call("POST", event_path(event.meta.namespace_), event_to_json(event), call));
  return {};
}

Result<> Client::patch_event(const Event& event, const CallOptions& call) {
  FL_TRY(require(event.meta.namespace_, "patch events: metadata.namespace"));
  FL_TRY(require(event.meta.name, "patch events: metadata.name"));
  FL_TRY(impl_->call("PATCH", event_path(event.meta.namespace_, event.meta.name), event_patch(event), call,
                     kTryTimeout, "application/merge-patch+json"));
  return {};
}

Result<ClaimStatus> Client::get_claim_status(const std::string& namespace_, const std::string& name,
                                             const CallOptions& call) {
  FL_TRY(require(namespace_, "get resourceclaims: the namespace"));
  FL_TRY(require(name, "get resourceclaims: the name"));
  FL_ASSIGN(const auto response, impl_->call("GET", claim_path(namespace_, name), {}, call));
  FL_ASSIGN(auto status, parse_claim_status(response.body), "get resourceclaims");
  return status;
}

Result<RawResponse> Client::request(const RawRequest& request, const CallOptions& call) {
  if (!request.path.starts_with('/')) {
    return Error(Code::kInvalid, "request path \"" + request.path + "\" does not start with /");
  }
  FL_ASSIGN(auto response, impl_->call(request.method, target_of(request.path, request.query), request.body,
                                       call, call.timeout, request.content_type, request.accept));
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
